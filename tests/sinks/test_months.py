"""Merged months: the same minutes in fewer files, whatever comes late, dies or is damaged meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pandas as pd
import polars as pl
import pytest

from pipeline.errors import DiskFull, JobRunning, StorageError
from pipeline.minute import MINUTES_PER_DAY
from sinks import durable, signed
from sinks.lost import lost_parts
from sinks.manifest import KINDS, Month, first_day, load
from sinks.months import MonthMerger
from sinks.parquet import GROUP_ROWS
from sinks.verify import Verifier, Wanted
from tests.pipeline.builders import BTC, minute
from tests.sinks.days import (
    FIRST_OF_MONTH,
    LATE,
    MONTH,
    Store,
    compacted_month,
    flip_bit,
    late_month,
    random_minute,
    tree,
)

AFTER = FIRST_OF_MONTH + 30
START, END = FIRST_OF_MONTH * MINUTES_PER_DAY, AFTER * MINUTES_PER_DAY


def names(store: Store) -> list[str]:
    return sorted(name.rpartition("symbol=BTCUSDT/")[2] for name in tree(store.folder))


def test_a_month_is_the_same_minutes_in_one_file_of_each_kind(store: Store) -> None:
    minutes = compacted_month(store)
    before = [read(BTC, START, END).to_pylist() for read in (store.archive.read_levels, store.archive.read_minutes)]
    report = store.merger.merge_month(BTC, MONTH)
    assert (report.days, report.written, report.generation, report.deleted) == (3, True, 0, 9)
    assert names(store) == ["2023-11.json", *["date=2023-11-01/month-0.parquet"] * 2]
    assert store.holds(minutes)
    assert [read(BTC, START, END).to_pylist() for read in (store.archive.read_levels, store.archive.read_minutes)] == before
    assert store.archive.days(BTC) == [FIRST_OF_MONTH, FIRST_OF_MONTH + 1, FIRST_OF_MONTH + 2]
    assert all(store.archive.problems(BTC, day) == [] for day in store.archive.days(BTC))


def test_any_part_of_a_merged_month_is_read_as_it_was_by_days(store: Store) -> None:
    compacted_month(store)
    day, hour = MINUTES_PER_DAY, 60
    ranges = [(START, START + hour), (START + 8, START + day + 9), (START + day, START + 2 * day), (START + 35, END)]
    before = [store.archive.read_levels(BTC, *each, ["price_level", "timestamp"]) for each in ranges]
    store.merger.merge_month(BTC, MONTH)
    assert [store.archive.read_levels(BTC, *each, ["price_level", "timestamp"]) for each in ranges] == before
    assert all(len(table) for table in before)


def test_a_second_run_changes_not_one_byte(store: Store) -> None:
    compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    before = {p: p.stat().st_ino for p in store.folder.rglob("*") if p.is_file()}
    report = store.merger.merge_month(BTC, MONTH)
    assert (report.written, report.deleted, report.generation) == (False, 0, 0)
    assert {p: p.stat().st_ino for p in store.folder.rglob("*") if p.is_file()} == before


def test_only_closed_months_with_something_to_merge_are_due(store: Store) -> None:
    assert store.merger.due(BTC, AFTER) == []
    store.put(random_minute(START))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH)
    assert store.merger.due(BTC, AFTER) == [], "one day is one file already"
    compacted_month(store)
    assert store.merger.due(BTC, AFTER - 1) == [], "its last day may still get minutes"
    assert store.merger.due(BTC, AFTER) == [MONTH]
    store.merger.merge_month(BTC, MONTH)
    assert store.merger.due(BTC, AFTER) == []


def test_a_late_minute_counts_at_once_and_the_month_is_merged_anew(store: Store) -> None:
    minutes = late_month(store)
    assert store.holds(minutes)
    found = store.archive.read_minutes(BTC, START, END, ["timestamp", "revision"])
    assert len(found) == len(minutes), "none twice, though the month's file has the day's old generation too"
    assert store.merger.due(BTC, AFTER) == [MONTH]
    report = store.merger.merge_month(BTC, MONTH)
    assert (report.written, report.generation, report.days) == (True, 1, 3)
    assert store.holds(minutes)
    assert names(store) == ["2023-11.json", *["date=2023-11-01/month-1.parquet"] * 2]
    assert store.archive.read_minutes(BTC, START, END, ["timestamp", "revision"]) == found


def test_a_day_that_comes_later_goes_into_the_month_too(store: Store) -> None:
    minutes = compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    late = random_minute(START + 20 * MINUTES_PER_DAY)
    store.put(late)
    store.compactor.compact_day(BTC, FIRST_OF_MONTH + 20)
    store.merger.merge_month(BTC, MONTH)
    assert store.holds([*minutes, late])
    assert store.archive.days(BTC)[-1] == FIRST_OF_MONTH + 20
    assert len(names(store)) == 3


def test_the_bytes_depend_on_the_minutes_alone(store: Store, tmp_path: Path) -> None:
    minutes = late_month(store)
    store.merger.merge_month(BTC, MONTH)
    other = Store(tmp_path / "other")
    other.put(*minutes)
    for day in other.files.days(BTC):
        other.compactor.compact_day(BTC, day)
    other.merger.merge_month(BTC, MONTH)
    parts = [sorted(p.read_bytes() for p in one.folder.rglob("*.parquet")) for one in (store, other)]
    assert parts[0] == parts[1]


def test_row_groups_of_whole_hours_go_on_over_midnight(store: Store) -> None:
    levels = {price: (price, 1, price + 1, 1) for price in range(1, 6_001)}
    for day in range(2):
        store.put(*(minute(levels, start=START + day * MINUTES_PER_DAY + 20 * i) for i in range(4)))
        store.compactor.compact_day(BTC, FIRST_OF_MONTH + day)
    store.merger.merge_month(BTC, MONTH)
    found = store.archive.catalog.month(BTC, MONTH)
    assert found is not None
    assert [group.rows for group in found.levels.groups] == [42_000, 6_000]
    assert found.levels.groups[0].rows > GROUP_ROWS
    assert found.levels.groups[0].last == START + MINUTES_PER_DAY + 40
    assert [day.levels for day in found.days] == [24_000, 24_000]


def test_an_hour_of_a_merged_month_touches_one_row_group(store: Store) -> None:
    levels = {price: (price, 1, price + 1, 1) for price in range(1, 6_001)}
    for day in range(3):
        store.put(*(minute(levels, start=START + day * MINUTES_PER_DAY + 10 * i) for i in range(6)))
        store.compactor.compact_day(BTC, FIRST_OF_MONTH + day)
    store.merger.merge_month(BTC, MONTH)
    found = store.archive.catalog.month(BTC, MONTH)
    assert found is not None and len(found.levels.groups) == 3
    part = store.archive.layout.part("levels", BTC, FIRST_OF_MONTH, found.levels.file)
    flip_bit(part, part.stat().st_size // 20)  # in the first group: who reads it would find that out
    second = START + MINUTES_PER_DAY
    assert len(store.archive.read_levels(BTC, second, second + 60)) == 36_000
    with pytest.raises(StorageError, match="damaged"):
        store.archive.read_levels(BTC, START, START + 60)


def test_a_reader_beside_merges_and_late_minutes_sees_each_minute_once(store: Store) -> None:
    minutes = compacted_month(store)
    want, done, wrong = len(minutes), threading.Event(), []

    def read() -> None:
        while not done.is_set():
            found = store.archive.read_minutes(BTC, START, END, ["timestamp"])["timestamp"].to_pylist()
            if len(found) != want or len(set(found)) != want:
                wrong.append(len(found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for revision in range(2, 14):
        store.merger.merge_month(BTC, MONTH)
        store.put(random_minute(LATE, revision=revision))
        store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_what_a_day_is_open_for_is_written_down_in_its_month(store: Store) -> None:
    minutes = compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    bad = store.files.path(BTC, LATE)
    store.put(random_minute(LATE, revision=2))
    bad.write_bytes(b"")
    store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    found = store.archive.manifest(BTC, LATE // MINUTES_PER_DAY)
    assert found is not None and found.in_month and found.open == ("2023-11-02T00:00",)
    bad.unlink()
    store.put(random_minute(LATE, revision=1))  # what the archive has: the day has no file of its own any more
    store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    found = store.archive.manifest(BTC, LATE // MINUTES_PER_DAY)
    assert found is not None and found.open == () and store.holds(minutes)


# --- tools that read the files themselves ---------------------------------------------------------------------------------


def test_pandas_polars_and_duckdb_read_days_and_merged_months_together(store: Store) -> None:
    minutes = compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    december = random_minute(START + 40 * MINUTES_PER_DAY)
    store.put(december)
    store.compactor.compact_day(BTC, FIRST_OF_MONTH + 40)
    folder, want = store.archive.root / "minutes", len(minutes) + 1
    frame = pd.read_parquet(folder)
    assert len(frame) == want and str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert set(frame["symbol"]) == {"BTCUSDT"}
    lazy = pl.scan_parquet(folder / "**/*.parquet", hive_partitioning=True).collect()
    assert len(lazy) == want and lazy.schema["date"] == pl.Date and lazy.schema["total_volume"] == pl.Float64
    query = f"select count(*), any_value(typeof(date)), any_value(venue) from read_parquet('{folder}/**/*.parquet')"
    with duckdb.connect() as database:
        assert database.execute(query).fetchall() == [(want, "DATE", "binance")]


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_a_damaged_day_stops_the_merge_by_name_and_nothing_goes(store: Store) -> None:
    compacted_month(store)
    part = sorted(store.folder.rglob("levels/**/*.parquet"))[1]
    flip_bit(part, part.stat().st_size // 3)
    before = tree(store.folder)
    with pytest.raises(StorageError, match=str(part)):
        store.merger.merge_month(BTC, MONTH)
    assert tree(store.folder) == before


@pytest.mark.parametrize("position", range(0, 5000, 500))
def test_no_flipped_bit_is_carried_into_a_merge(position: int, store: Store) -> None:
    """A page's header has no checksum of its own: the whole file's is asked."""
    compacted_month(store)
    part = sorted(store.folder.rglob("levels/**/*.parquet"))[1]
    flip_bit(part, position)
    with pytest.raises(StorageError, match=str(part)):
        store.merger.merge_month(BTC, MONTH)
    store.put(random_minute(LATE, revision=2))
    with pytest.raises(StorageError, match=str(part)):
        store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    assert store.files.of_day(BTC, LATE // MINUTES_PER_DAY) == [LATE]


def test_a_manifest_that_lies_stops_the_merge_by_name(store: Store) -> None:
    compacted_month(store)
    path = store.archive.layout.manifest(BTC, FIRST_OF_MONTH + 1)
    found = load(path)
    assert found is not None
    lie = {**found.content.totals, "trade_count": "1"}
    content = msgspec.structs.replace(found.content, totals=lie)
    path.write_bytes(signed.encode(msgspec.structs.replace(found, content=content)))
    before = tree(store.folder)
    with pytest.raises(StorageError, match=f"{path}: its totals, .* nothing was merged"):
        store.merger.merge_month(BTC, MONTH)
    assert tree(store.folder) == before


def test_days_that_a_dead_run_merged_do_not_go_while_the_month_is_damaged(store: Store, tmp_path: Path) -> None:
    compacted_month(store)
    shutil.copytree(store.folder, tmp_path / "days")
    store.merger.merge_month(BTC, MONTH)
    shutil.copytree(tmp_path / "days", store.folder, dirs_exist_ok=True)  # as if it had died before its deletions
    part = next(store.folder.rglob("levels/**/month-0.parquet"))
    flip_bit(part, part.stat().st_size // 2)
    with pytest.raises(StorageError, match=f"{part}: damaged: .* what it was made of was not deleted"):
        store.merger.merge_month(BTC, MONTH)
    assert len(list(store.folder.rglob("part-0.parquet"))) == 6


def test_beside_a_compaction_it_is_refused_by_name(store: Store) -> None:
    compacted_month(store)
    with (
        durable.job_lock(store.archive.root, "compact"),
        pytest.raises(JobRunning, match=f"compact: process {os.getpid()} runs it already"),
    ):
        store.merger.merge_month(BTC, MONTH)


def test_without_room_nothing_is_begun(store: Store) -> None:
    compacted_month(store)
    before = tree(store.folder)
    with pytest.raises(DiskFull, match="nothing was begun"):
        MonthMerger(store.archive, reserve=1 << 60).merge_month(BTC, MONTH)
    assert tree(store.folder) == before


@pytest.mark.privileged
def test_a_disk_that_fills_up_on_the_way_leaves_the_days_as_they_were(
    store: Store, small_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Store(small_disk("1m"))
    minutes = compacted_month(small)
    system = os.statvfs(small.folder)
    (small.folder / "ballast").write_bytes(bytes((system.f_bavail - 4) * 4096))
    before = tree(small.folder)
    monkeypatch.setattr(durable, "require_room", lambda folder, needed: None)
    with pytest.raises(DiskFull, match="can't be written: the disk is full"):
        small.merger.merge_month(BTC, MONTH)
    assert tree(small.folder) == before and small.holds(minutes)
    (small.folder / "ballast").unlink()
    monkeypatch.undo()
    assert small.merger.merge_month(BTC, MONTH).written
    assert small.holds(minutes)


def test_a_months_manifest_of_another_month_is_refused(store: Store) -> None:
    compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    path = store.archive.layout.month(BTC, MONTH)
    os.rename(path, path.with_name("2023-12.json"))
    with pytest.raises(StorageError, match=r"2023-12\.json: is the manifest of binance BTCUSDT 2023-11"):
        store.archive.days(BTC)


def test_a_months_manifest_that_names_days_of_others_is_refused(store: Store) -> None:
    compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    path = store.archive.layout.month(BTC, MONTH)
    found = signed.load(path, Month, 1)
    assert found is not None
    late = msgspec.structs.replace(found.days[0].content, first_minute=END, last_minute=END, minutes=1)
    days = (*found.days, msgspec.structs.replace(found.days[0], content=late))
    path.write_bytes(signed.encode(msgspec.structs.replace(found, days=days)))
    with pytest.raises(StorageError, match="lies: 2023-12-01 is no day of 2023-11"):
        store.archive.manifest(BTC, FIRST_OF_MONTH)


def test_what_is_no_month_is_refused() -> None:
    with pytest.raises(StorageError, match="2023-13: is no month"):
        first_day("2023-13")


# --- a late day's manifest that is lost -------------------------------------------------------------------------------------


def test_a_late_day_whose_manifest_is_lost_is_never_deleted_nor_written_over(store: Store) -> None:
    late_month(store)  # its second day was compacted anew since
    path = store.archive.layout.manifest(BTC, LATE // MINUTES_PER_DAY)
    path.unlink()
    parts = [store.archive.layout.part(kind, BTC, LATE // MINUTES_PER_DAY, "part-1.parquet") for kind in KINDS]
    kept = [part.read_bytes() for part in parts]
    assert not store.merger.merge_month(BTC, MONTH).written
    store.put(random_minute(LATE + 999))
    with pytest.raises(
        StorageError, match=r"part-1\.parquet: holds minutes that are nowhere else, and its manifest .* is missing"
    ):
        store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    store.put(random_minute((FIRST_OF_MONTH + 2) * MINUTES_PER_DAY + 999))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH + 2)
    assert store.merger.merge_month(BTC, MONTH).written
    assert [part.read_bytes() for part in parts] == kept
    told = {damage.path: damage.what for damage in Verifier(store.files, store.archive).verify(Wanted(0, 1 << 30)).damages}
    assert {told[part] for part in parts} == {
        "no manifest names it, and it is later than what counts: 2023-11-02.json is missing"
    }
    (found,) = lost_parts(store.archive, BTC, range(LATE, LATE + 1440), lambda: [])
    assert (found.part, found.manifest) == (parts[1], path)
    assert len(lost_parts(store.archive, BTC, range(1 << 40), lambda: [])) == 1


def test_what_a_compaction_of_a_merged_day_left_that_died_is_no_loss(store: Store) -> None:
    minutes = late_month(store)
    day = LATE // MINUTES_PER_DAY
    store.archive.layout.manifest(BTC, day).unlink()
    store.put(*(one for one in minutes if one.start in (LATE, LATE + 1)))  # as it was before the manifest stood
    assert lost_parts(store.archive, BTC, range(1 << 40), lambda: store.files.of_day(BTC, day)) == []
    assert not store.merger.merge_month(BTC, MONTH).written
    assert store.compactor.compact_day(BTC, day).merged == 2
    assert store.merger.merge_month(BTC, MONTH).written
    assert store.holds(minutes) and len(tree(store.folder)) == 3
