"""Compaction under kill -9 at every step, on a full disk, and with a disk that fails: the next run gives the same bytes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DiskFull, StorageError
from pipeline.minute import Minute
from sinks import durable
from tests.pipeline.builders import BTC
from tests.sinks.days import DAY, Store, random_day, random_minute, tree

RUN = """
import sys
from pathlib import Path
from tests.sinks.days import BTC, DAY, Store
Store(Path(sys.argv[1])).compactor.compact_day(BTC, DAY)
"""
# Where a first compaction may die: three files are written, then thirty deleted.
FIRST = [
    *(f"file.{step}:{n}" for step in ("created", "written", "renamed") for n in (1, 2, 3)),
    *("compact.levels", "compact.minutes", "compact.manifest", "compact.deleting", "compact.deleting:30"),
]
# And a merge: after the late minutes' files the two old parts go.
MERGE = [*FIRST[:-1], *(f"compact.deleting:{n}" for n in (2, 3, 4))]


def killed_at(store: Store, point: str) -> None:
    """Compacts the day in a process that dies at a named point."""
    environment = os.environ | {"SPILLWAY_CRASH_AT": point}
    command = [sys.executable, "-c", RUN, os.fspath(store.folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, f"it never came to {point}: {done.stderr}"


def first_day(store: Store) -> list[Minute]:
    day = random_day()
    store.put(*day)
    return day


def late_day(store: Store) -> list[Minute]:
    """A compacted day, and files for two late minutes."""
    day = first_day(store)
    store.compactor.compact_day(BTC, DAY)
    late = [random_minute(day[4].start, revision=2), random_minute(day[4].start + 1)]
    store.put(*late)
    return sorted([*day[:4], *day[5:], *late], key=lambda one: one.start)


def settled(folder: Path, prepare: Callable[[Store], list[Minute]]) -> dict[str, str]:
    """The files of an undisturbed run."""
    store = Store(folder)
    prepare(store)
    store.compactor.compact_day(BTC, DAY)
    return tree(folder)


@pytest.fixture(scope="module")
def after_first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return settled(tmp_path_factory.mktemp("first"), first_day)


@pytest.fixture(scope="module")
def after_merge(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return settled(tmp_path_factory.mktemp("merge"), late_day)


@pytest.mark.parametrize("point", FIRST)
def test_a_first_compaction_killed_at_any_step_ends_in_the_same_bytes(
    point: str, store: Store, after_first: dict[str, str]
) -> None:
    day = first_day(store)
    killed_at(store, point)
    assert everywhere(store, day)
    report = store.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == after_first
    assert report.problems == () and store.holds(day)


@pytest.mark.parametrize("point", MERGE)
def test_a_merge_killed_at_any_step_ends_in_the_same_bytes(point: str, store: Store, after_merge: dict[str, str]) -> None:
    day = late_day(store)
    killed_at(store, point)
    assert everywhere(store, day)
    store.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == after_merge
    assert store.holds(day)


def test_killed_again_and_again_it_still_ends_in_the_same_bytes(store: Store, after_merge: dict[str, str]) -> None:
    day = late_day(store)
    for point in (
        "file.written:1",
        "compact.levels",
        "file.renamed:2",
        "compact.minutes",
        "file.created:3",
        "compact.manifest",
    ):
        killed_at(store, point)
        assert everywhere(store, day)
    store.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == after_merge


def everywhere(store: Store, day: list[Minute]) -> bool:
    """Whether each minute is in its file or in the archive, in its latest revision."""
    for one in day:
        kept = [store.files.load(BTC, one.start), store.archive.load(BTC, one.start)]
        if max((minute.revision for minute in kept if minute), default=0) != one.revision:
            return False
    return True


# --- a disk that is full or fails -----------------------------------------------------------------------------------------


def apart(store: Store, disk: Path) -> Store:
    """The same minute files with an archive on another disk."""
    other = Store(disk)
    other.files = store.files
    other.compactor.files = store.files
    return other


@pytest.mark.privileged
def test_too_small_a_disk_is_told_before_anything_is_written(store: Store, small_disk: Callable[..., Path]) -> None:
    day = random_day(200, step=3)
    store.put(*day)
    before = tree(store.folder)
    small = apart(store, small_disk("128k"))
    with pytest.raises(DiskFull, match="MB are free: nothing was begun"):
        small.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == before and tree(small.folder) == {}


@pytest.mark.privileged
@pytest.mark.parametrize("last", ["levels", "minutes", "manifest"])
def test_a_disk_that_fills_up_on_the_way_loses_nothing_and_it_goes_on_when_there_is_room(
    last: str, store: Store, small_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Others write too: the room that was there at the start may be gone later, at any of the three files."""
    day = first_day(store)
    before = tree(store.folder)
    small = apart(store, small_disk("1m"))
    durable.make_folder(small.archive.root)
    leave_free(small.folder, room_up_to(last, tmp_path / "undisturbed"))
    monkeypatch.setattr(durable, "require_room", lambda folder, needed: None)
    with pytest.raises(DiskFull, match=rf"/{last}/.*: can't be written: the disk is full"):
        small.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == before
    assert small.archive.manifest(BTC, DAY) is None
    # Once both parts stand they are left for the next run: whether a manifest came to count can't be told from an error.
    assert list(tree(small.folder)) == ["ballast"] or last == "manifest"
    (small.folder / "ballast").unlink()
    monkeypatch.undo()
    small.compactor.compact_day(BTC, DAY)
    assert small.holds(day) and store.files.of_day(BTC, DAY) == []


def room_up_to(last: str, undisturbed: Path) -> int:
    """The pages that the lock and the files before `last` take; a file's last page is what is missing."""
    names = settled(undisturbed, first_day)
    pages = {name.split("/")[1]: -(-(undisturbed / name).stat().st_size // 4096) for name in names}
    order = ["levels", "minutes", "manifest"]
    return sum(pages[name] for name in order[: order.index(last) + 1])


def leave_free(disk: Path, pages: int) -> None:
    """Fills a disk but for some pages."""
    system = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes((system.f_bavail - pages) * 4096))


@pytest.mark.privileged
def test_a_full_disk_does_not_keep_a_dead_runs_files_from_going(store: Store, small_disk: Callable[..., Path]) -> None:
    """After the manifest stands nothing need be written: the deletions make room where it is short."""
    day = random_day()
    small = Store(small_disk("1m"))
    small.put(*day)
    killed_at(small, "compact.manifest")
    leave_free(small.folder, 1)
    assert small.compactor.compact_day(BTC, DAY).deleted == 30
    assert small.holds(day)


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "unlink"])
@pytest.mark.parametrize("nth", range(6))
def test_an_io_error_at_any_call_loses_nothing_and_the_next_run_goes_on(
    call: str, nth: int, store: Store, monkeypatch: pytest.MonkeyPatch, after_merge: dict[str, str]
) -> None:
    day = late_day(store)
    real, calls = getattr(os, call), iter(range(10**6))

    def failing(*arguments: object, **named: object) -> object:
        if next(calls) in (nth, nth + 1):  # twice: one failed fsync is made up for by a new file
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)
    try:
        store.compactor.compact_day(BTC, DAY)
    except StorageError as error:
        assert "Input/output error" in str(error) and os.fspath(store.folder) in str(error)
    monkeypatch.undo()
    assert everywhere(store, day)
    store.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == after_merge


def test_a_file_that_cannot_be_read_stays_and_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    day = first_day(store)
    bad = store.path(day[2])
    read = durable.read_whole

    def failing(path: Path) -> object:
        if path == bad:
            raise durable.failure(OSError(errno.EIO, os.strerror(errno.EIO)), path, "read")
        return read(path)

    monkeypatch.setattr(durable, "read_whole", failing)
    report = store.compactor.compact_day(BTC, DAY)
    assert report.problems == (f"{bad}: can't be read: Input/output error",)
    assert bad.exists() and report.deleted == 29
