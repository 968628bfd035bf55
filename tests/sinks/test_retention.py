"""Retention: the oldest whole days and months go, never what isn't compacted, and it stays known that they went."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.errors import DiskFull, JobRunning, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY
from sinks import durable, removed
from sinks.retention import ROOM, Expiry, Limits, Retention, Unit, expired
from sinks.verify import Verifier, Wanted
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, LATE, MONTH, Store, compacted_month, late_month, random_minute, tree
from tests.sinks.test_manifest import example

ETH = Instrument("binance", "ETHUSDT")
AT = "2024-01-01T00:00:00Z"
RUN = """
import sys
from pathlib import Path
from sinks.retention import Limits, Retention, expired
from tests.sinks.days import FIRST_OF_MONTH, Store
store = Store(Path(sys.argv[1]))
job = Retention(store.files, store.archive)
for one in expired(job.units(), Limits(keep_days=1), FIRST_OF_MONTH + 100):
    job.remove(one, "2024-01-01T00:00:00Z")
"""


def retention(store: Store) -> Retention:
    return Retention(store.files, store.archive)


def sweep(store: Store, limits: Limits, today: int) -> list[Expiry]:
    job = retention(store)
    job.finish()
    found = expired(job.units(), limits, today)
    for one in found:
        if not one.stays:
            job.remove(one, AT)
    return found


def files(store: Store) -> list[str]:
    return [name.rpartition("/")[2] for name in tree(store.folder)]


# --- what has to go -------------------------------------------------------------------------------------------------------


def unit(day: int, size: int, *, instrument: Instrument = BTC, waiting: int = 0) -> Unit:
    start = day * MINUTES_PER_DAY
    content = replace(example().content, first_minute=start, last_minute=start)
    return Unit(instrument, (replace(example(), content=content),), size, waiting)


def test_without_limits_nothing_goes() -> None:
    assert expired([unit(1, 10), unit(2, 10)], Limits(), 10**6) == []


def test_what_is_older_than_the_limit_goes_and_the_day_that_is_just_old_enough_stays() -> None:
    found = expired([unit(12, 1), unit(10, 1), unit(11, 1)], Limits(keep_days=2), 13)
    assert [(e.unit.first, e.why) for e in found] == [(10, "older than 2 days")]


def test_the_oldest_of_all_instruments_go_until_the_rest_fits() -> None:
    units = [unit(3, 10), unit(1, 10), unit(2, 10, instrument=ETH), unit(1, 10, instrument=ETH)]
    found = expired(units, Limits(max_bytes=25), 100)
    assert [(e.unit.last, e.unit.instrument) for e in found] == [(1, BTC), (1, ETH)]
    assert found[0].why == "the archive has 40 bytes and may have 25"


def test_what_has_minute_files_stays_and_the_next_oldest_goes_in_its_place() -> None:
    found = expired([unit(1, 10, waiting=3), unit(2, 10), unit(3, 10)], Limits(max_bytes=20), 100)
    assert [(e.unit.last, e.stays) for e in found] == [(1, "3 of its minute files still lie there"), (2, "")]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 100), st.booleans()), max_size=20),
    budget=st.integers(0, 600),
)
def test_what_stays_fits_and_nothing_goes_that_need_not(sizes: list[tuple[int, int, bool]], budget: int) -> None:
    units = [unit(day, size, waiting=int(waits)) for day, size, waits in sizes]
    gone = [e.unit for e in expired(units, Limits(max_bytes=budget), 0) if not e.stays]
    rest = sum(u.bytes for u in units) - sum(u.bytes for u in gone)
    assert rest <= budget or all(u.waiting for u in units if u not in gone)
    assert not any(u.waiting for u in gone)
    if gone:
        assert rest + gone[-1].bytes > budget, "the last of them was one too many"
        assert all(u.last <= gone[-1].last for u in gone)


# --- and goes -------------------------------------------------------------------------------------------------------------


def test_an_old_day_goes_whole_and_is_known_to_be_removed(store: Store) -> None:
    minutes = compacted_month(store)
    found = sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2)
    assert [e.unit.last for e in found] == [FIRST_OF_MONTH]
    assert store.archive.days(BTC) == [FIRST_OF_MONTH + 1, FIRST_OF_MONTH + 2]
    assert store.archive.load(BTC, minutes[0].start) is None
    assert store.holds(minutes[6:])
    assert store.archive.catalog.removed_days(BTC) == [FIRST_OF_MONTH]
    record = store.archive.catalog.removals(BTC)[0]
    assert (record.at, record.why, record.days, record.minutes) == (AT, "older than 1 days", {"2023-11-01": 0}, 6)
    assert record.bytes == found[0].unit.bytes
    assert not list(store.folder.rglob("date=2023-11-01")), "no empty folders stay"
    assert Verifier(store.files, store.archive).verify(Wanted(0, 1 << 30)).damages == []


def test_a_second_run_changes_nothing(store: Store) -> None:
    compacted_month(store)
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2)
    before = tree(store.folder)
    assert sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2) == []
    assert tree(store.folder) == before


def test_a_merged_month_goes_whole_and_only_once_its_last_day_is_old(store: Store) -> None:
    late_month(store)  # one of its days has files of its own beside
    assert sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 3) == []
    found = sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 4)
    assert len(found) == 1 and len(found[0].unit.days) == 3
    assert files(store) == ["removed.json"]
    assert store.archive.days(BTC) == []
    assert store.archive.catalog.removals(BTC)[0].days == {"2023-11-01": 0, "2023-11-02": 1, "2023-11-03": 0}


def test_a_budget_removes_the_oldest_until_it_is_kept(store: Store) -> None:
    compacted_month(store)
    sizes = [u.bytes for u in retention(store).units()]
    sweep(store, Limits(max_bytes=sum(sizes[1:])), FIRST_OF_MONTH)
    assert store.archive.days(BTC) == [FIRST_OF_MONTH + 1, FIRST_OF_MONTH + 2]
    assert sum(p.stat().st_size for p in store.folder.rglob("*.parquet")) == sum(sizes[1:])


def test_a_day_with_a_late_minutes_file_stays_until_that_is_compacted(store: Store) -> None:
    minutes = compacted_month(store)
    store.put(random_minute(LATE, revision=2))
    found = sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 90)
    assert [(e.unit.last, bool(e.stays)) for e in found] == [
        (FIRST_OF_MONTH, False),
        (FIRST_OF_MONTH + 1, True),
        (FIRST_OF_MONTH + 2, False),
    ]
    assert store.archive.days(BTC) == [FIRST_OF_MONTH + 1]
    assert store.files.of_day(BTC, FIRST_OF_MONTH + 1) == [LATE]
    assert store.holds(minutes[6:12])


def test_a_day_that_is_filled_again_after_it_was_removed_counts_again(store: Store) -> None:
    compacted_month(store)
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2)
    again = random_minute(FIRST_OF_MONTH * MINUTES_PER_DAY)
    store.put(again)
    report = store.compactor.compact_day(BTC, FIRST_OF_MONTH)
    assert report.generation == 1
    assert store.holds([again])
    assert store.archive.days(BTC)[0] == FIRST_OF_MONTH
    assert store.archive.catalog.removed_days(BTC) == []
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2)
    assert store.archive.catalog.removed_days(BTC) == [FIRST_OF_MONTH]


def fill(disk: Path) -> None:
    """Leaves not a byte."""
    with (disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))


@pytest.mark.privileged
@pytest.mark.parametrize("limits", [Limits(keep_days=1), Limits(max_bytes=1)], ids=["age", "budget"])
def test_on_a_disk_without_a_byte_left_it_makes_room_all_the_same(limits: Limits, small_disk: Callable[..., Path]) -> None:
    small = Store(small_disk("4m"))
    compacted_month(small)
    late = random_minute(LATE, revision=2)
    small.put(late)  # its day waits for a compaction, which has no room
    retention(small).hold_room()
    fill(small.folder)
    with pytest.raises(DiskFull):
        small.put(random_minute(LATE + 1))
    assert len(sweep(small, limits, FIRST_OF_MONTH + 100)) == 3
    assert small.archive.days(BTC) == [LATE // MINUTES_PER_DAY], "what is not compacted stays"
    assert small.files.load(BTC, LATE) == late
    assert not (small.archive.root / ".room").exists()
    (small.folder / "ballast").unlink()
    for _ in range(2):
        retention(small).hold_room()
        assert (small.archive.root / ".room").stat().st_size == ROOM
    small.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    assert small.holds([late])
    assert Verifier(small.files, small.archive).verify(Wanted(0, 1 << 30)).damages == []


@pytest.mark.privileged
def test_without_the_room_it_says_that_the_disk_is_full_and_removes_nothing(small_disk: Callable[..., Path]) -> None:
    small = Store(small_disk("4m"))
    minutes = compacted_month(small)
    fill(small.folder)
    with pytest.raises(DiskFull, match=r"removed\.json: can't be written: the disk is full"):
        sweep(small, Limits(keep_days=1), FIRST_OF_MONTH + 100)
    assert small.holds(minutes)


def test_what_changed_since_it_was_looked_at_stays(store: Store) -> None:
    compacted_month(store)
    job = retention(store)
    found = expired(job.units(), Limits(keep_days=1), FIRST_OF_MONTH + 3)
    store.put(random_minute(LATE, revision=2))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH + 1)
    for one in found:
        job.remove(one, AT)
    assert store.archive.days(BTC) == [FIRST_OF_MONTH + 1, FIRST_OF_MONTH + 2]


def test_beside_a_compaction_it_is_refused_by_name(store: Store) -> None:
    compacted_month(store)
    with durable.job_lock(store.archive.root, "compact"), pytest.raises(JobRunning):
        retention(store).finish()


def test_an_instrument_that_is_damaged_is_passed_over_and_told(store: Store) -> None:
    compacted_month(store)
    path = store.archive.layout.manifest(BTC, FIRST_OF_MONTH)
    path.write_bytes(b"{}")
    job = retention(store)
    assert job.units() == []
    assert len(job.problems) == 1 and str(path) in job.problems[0]


def test_a_damaged_record_of_removals_is_refused_by_name(store: Store) -> None:
    compacted_month(store)
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2)
    path = store.archive.layout.removed(BTC)
    path.write_bytes(path.read_bytes().replace(b"2023-11-01", b"2023-11-02"))
    with pytest.raises(StorageError, match=f"{path}: damaged"):
        store.archive.days(BTC)
    assert any(d.path == path for d in Verifier(store.files, store.archive).verify(Wanted(0, 1 << 30)).damages)


# --- killed ---------------------------------------------------------------------------------------------------------------


def merged_and_a_day(store: Store) -> None:
    compacted_month(store, days=2)
    store.merger.merge_month(BTC, MONTH)
    store.put(random_minute((FIRST_OF_MONTH + 40) * MINUTES_PER_DAY))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH + 40)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    store = Store(tmp_path_factory.mktemp("after"))
    merged_and_a_day(store)
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 100)
    return tree(store.folder)


@pytest.mark.parametrize(
    "point",
    [
        *(f"file.{step}:{n}" for step in ("created", "written", "renamed") for n in (1, 2)),
        *(f"retention.recorded:{n}" for n in (1, 2)),
        *(f"retention.deleting:{n}" for n in range(1, 7)),
    ],
)
def test_killed_at_any_step_each_unit_is_there_whole_or_known_to_be_gone_and_the_next_run_ends_the_same(
    point: str, store: Store, after: dict[str, str]
) -> None:
    merged_and_a_day(store)
    environment = os.environ | {"SPILLWAY_CRASH_AT": point}
    command = [sys.executable, "-c", RUN, os.fspath(store.folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, f"it never came to {point}: {done.stderr}"
    whole = [FIRST_OF_MONTH, FIRST_OF_MONTH + 1, FIRST_OF_MONTH + 40]
    there, gone = store.archive.days(BTC), store.archive.catalog.removed_days(BTC)
    assert sorted([*there, *gone]) == whole
    assert there in (whole, whole[2:], [])
    found = store.archive.read_minutes(BTC, 0, 1 << 30, ["timestamp"])
    assert len(found) == {3: 13, 1: 1, 0: 0}[len(there)]
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 100)
    assert {n: d for n, d in tree(store.folder).items() if ".tmp-" not in n} == after


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("nth", range(4))
def test_an_io_error_at_any_call_removes_a_unit_or_leaves_it(
    call: str, nth: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged_and_a_day(store)
    real, calls = getattr(os, call), iter(range(10**6))

    def failing(*arguments: object, **named: object) -> object:
        if next(calls) in (nth, nth + 1):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)
    try:
        sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 100)
    except StorageError as error:
        assert "Input/output error" in str(error)
    monkeypatch.undo()
    assert len(store.archive.read_minutes(BTC, 0, 1 << 30, ["timestamp"])) in (13, 1, 0)
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 100)
    assert files(store) == ["removed.json"]


def test_the_record_is_one_of_its_instrument(store: Store, tmp_path: Path) -> None:
    compacted_month(store)
    sweep(store, Limits(keep_days=1), FIRST_OF_MONTH + 2)
    data = store.archive.layout.removed(BTC).read_bytes()
    other = store.archive.layout.removed(ETH)
    durable.make_folder(other.parent)
    other.write_bytes(data)
    with pytest.raises(StorageError, match="is the record of binance BTCUSDT"):
        store.archive.days(ETH)
    assert removed.empty(ETH).days == {}
