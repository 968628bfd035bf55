"""Merging a month under kill -9 at every step and with a disk that fails: days or month, never both, never neither."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.minute import MINUTES_PER_DAY, Minute
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, LATE, MONTH, Store, compacted_month, late_month, random_minute, tree

RUN = """
import sys
from pathlib import Path
from tests.sinks.days import BTC, MONTH, Store
Store(Path(sys.argv[1])).merger.merge_month(BTC, MONTH)
"""
START, END = FIRST_OF_MONTH * MINUTES_PER_DAY, (FIRST_OF_MONTH + 30) * MINUTES_PER_DAY
_WRITING = [
    *(f"file.{step}:{n}" for step in ("created", "written", "renamed") for n in (1, 2, 3)),
    *("month.levels", "month.minutes", "month.manifest"),
]
# Three manifests and six parts go; of a month that is merged anew, one manifest, two parts and the month's two old files.
FIRST = [*_WRITING, *(f"month.deleting:{n}" for n in range(1, 10))]
AGAIN = [*_WRITING, *(f"month.deleting:{n}" for n in range(1, 6))]


def killed_at(store: Store, point: str) -> None:
    environment = os.environ | {"SPILLWAY_CRASH_AT": point}
    command = [sys.executable, "-c", RUN, os.fspath(store.folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, f"it never came to {point}: {done.stderr}"


def settled(folder: Path, prepare: Callable[[Store], list[Minute]]) -> dict[str, str]:
    """The files of an undisturbed run."""
    store = Store(folder)
    prepare(store)
    store.merger.merge_month(BTC, MONTH)
    return tree(folder)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    found = {"first": compacted_month, "again": late_month}
    return {name: settled(tmp_path_factory.mktemp(name), prepare) for name, prepare in found.items()}


def each_once(store: Store, minutes: list[Minute]) -> bool:
    """Whether each minute is read just once, exactly, by a range and by itself."""
    found = store.archive.read_minutes(BTC, START, END, ["timestamp"])["timestamp"].to_pylist()
    levels = store.archive.read_levels(BTC, START, END, ["timestamp"])
    return (
        [int(when.timestamp()) // 60 for when in found] == [one.start for one in minutes]
        and len(levels) == sum(len(one.levels) for one in minutes)
        and store.holds(minutes)
    )


@pytest.mark.parametrize("point", FIRST)
def test_a_first_merge_killed_at_any_step_is_read_the_same_and_ends_in_the_same_bytes(
    point: str, store: Store, after: dict[str, dict[str, str]]
) -> None:
    minutes = compacted_month(store)
    killed_at(store, point)
    assert each_once(store, minutes)
    assert store.merger.due(BTC, FIRST_OF_MONTH + 30) == ([MONTH] if tree(store.folder) != after["first"] else [])
    store.merger.merge_month(BTC, MONTH)
    assert tree(store.folder) == after["first"]
    assert each_once(store, minutes)


@pytest.mark.parametrize("point", AGAIN)
def test_a_merge_of_late_minutes_killed_at_any_step_is_read_the_same_and_ends_in_the_same_bytes(
    point: str, store: Store, after: dict[str, dict[str, str]]
) -> None:
    minutes = late_month(store)
    killed_at(store, point)
    assert each_once(store, minutes)
    store.merger.merge_month(BTC, MONTH)
    assert tree(store.folder) == after["again"]
    assert each_once(store, minutes)


@pytest.mark.parametrize("point", ["month.manifest", "month.deleting:2", "month.deleting:5"])
def test_a_late_minute_after_a_merge_that_died_half_way_is_not_lost(point: str, store: Store) -> None:
    minutes = compacted_month(store)
    killed_at(store, point)
    late = random_minute(LATE, revision=2)
    store.put(late)
    store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    now = sorted([late, *(one for one in minutes if one.start != LATE)], key=lambda one: one.start)
    assert each_once(store, now)
    store.merger.merge_month(BTC, MONTH)
    assert each_once(store, now)
    assert len(tree(store.folder)) == 3


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "unlink"])
@pytest.mark.parametrize("nth", range(6))
def test_an_io_error_at_any_call_loses_nothing_and_the_next_run_goes_on(
    call: str, nth: int, store: Store, monkeypatch: pytest.MonkeyPatch, after: dict[str, dict[str, str]]
) -> None:
    minutes = compacted_month(store)
    real, calls = getattr(os, call), iter(range(10**6))

    def failing(*arguments: object, **named: object) -> object:
        if next(calls) in (nth, nth + 1):  # twice: one failed fsync is made up for by a new file
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)
    try:
        store.merger.merge_month(BTC, MONTH)
    except StorageError as error:
        assert "Input/output error" in str(error) and os.fspath(store.folder) in str(error)
    monkeypatch.undo()
    assert each_once(store, minutes)
    store.merger.merge_month(BTC, MONTH)
    assert tree(store.folder) == after["first"]
