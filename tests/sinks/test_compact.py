"""Compaction: what was in the files is in the archive, exactly; then, and only then, the files go."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from pipeline.errors import JobRunning, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import Minute
from pipeline.ports import Compactor as CompactorPort
from sinks import durable
from sinks.compact import DayReport
from sinks.parquet import GROUP_ROWS
from tests.pipeline.builders import BTC, START, minute
from tests.sinks.days import DAY, ODD, Store, flip_bit, random_day, random_minute, tree


def compact(store: Store) -> DayReport:
    return store.compactor.compact_day(BTC, DAY)


def test_it_is_what_the_pipeline_asks_for(store: Store) -> None:
    port: CompactorPort = store.compactor
    store.put(*random_day(2))
    assert list(port.instruments()) == [BTC]
    assert list(port.days(BTC)) == [DAY]


def test_a_day_moves_from_files_to_the_archive_exactly(store: Store) -> None:
    day = random_day()
    store.put(*day)
    size = store.files.size(BTC, [one.start for one in day])
    report = compact(store)
    assert store.holds(day)
    assert store.files.of_day(BTC, DAY) == []
    assert store.archive.problems(BTC, DAY) == []
    counted = (report.generation, report.merged, report.deleted, report.levels, report.bytes_in, report.problems)
    assert counted == (0, 30, 30, sum(len(one.levels) for one in day), size, ())
    assert report.bytes_out == sum(p.stat().st_size for p in store.folder.rglob("*.parquet"))


def test_the_manifest_sums_the_day_exactly(store: Store) -> None:
    day = random_day()
    store.put(*day)
    compact(store)
    found = store.archive.manifest(BTC, DAY)
    assert found is not None
    buy = sum(Decimal(one.totals[0]).scaleb(-one.size_scale) for one in day)
    notional = sum(Decimal(one.notional).scaleb(-one.size_scale - one.price_scale) for one in day)
    assert Decimal(found.content.totals["buy_volume"]) == buy
    assert Decimal(found.content.totals["notional"]) == notional
    assert found.content.totals["trade_count"] == str(sum(one.totals[3] for one in day))
    assert found.content.minutes == 30 and sum(found.content.status.values()) == 30
    assert found.levels.rows == sum(len(one.levels) for one in day)


def test_a_second_run_changes_not_one_byte(store: Store) -> None:
    store.put(*random_day())
    compact(store)
    before = tree(store.folder)
    inodes = {p: p.stat().st_ino for p in store.folder.rglob("*") if p.is_file()}
    report = compact(store)
    assert tree(store.folder) == before
    assert {p: p.stat().st_ino for p in store.folder.rglob("*") if p.is_file()} == inodes, "nothing is written anew"
    assert (report.merged, report.deleted, report.generation) == (0, 0, 0)


def test_the_bytes_depend_on_the_minutes_alone(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    day = random_day()
    other = Store(tmp_path_factory.mktemp("other"))
    for one, minutes in ((store, day), (other, day[::-1])):
        one.put(*minutes)
        compact(one)
    assert tree(store.folder) == tree(other.folder)


def test_a_large_day_has_row_groups_of_whole_hours(store: Store) -> None:
    levels = {price: (price, 1, price + 1, 1) for price in range(1, 6_001)}
    day = [minute(levels, start=START + 20 * i) for i in range(15)]
    store.put(*day)
    compact(store)
    found = store.archive.manifest(BTC, DAY)
    assert found is not None
    assert [group.rows for group in found.levels.groups] == [36_000, 36_000, 18_000]
    assert found.levels.groups[0].rows > GROUP_ROWS
    assert [(g.first - START, g.last - START) for g in found.levels.groups] == [(0, 100), (120, 220), (240, 280)]
    assert store.holds(day)


def test_nothing_there_is_nothing_done(store: Store) -> None:
    report = compact(store)
    assert (report.generation, report.merged, report.levels) == (None, 0, 0)
    assert tree(store.folder) == {}


@pytest.mark.parametrize("instrument", ODD, ids=str)
def test_an_instrument_of_any_name_is_compacted_inside_the_root(instrument: Instrument, store: Store) -> None:
    day = random_day(5, instrument=instrument)
    store.put(*day)
    outside = set(store.folder.parent.iterdir())
    store.compactor.compact_day(instrument, DAY)
    assert store.archive.instruments() == [instrument]
    assert store.holds(day)
    assert set(store.folder.parent.iterdir()) == outside


# --- late minutes ---------------------------------------------------------------------------------------------------------


def test_a_late_revision_and_a_late_minute_merge_into_a_compacted_day(store: Store) -> None:
    day = random_day()
    store.put(*day)
    compact(store)
    late = [random_minute(day[4].start, revision=2), random_minute(day[4].start + 1)]
    store.put(*late)
    report = compact(store)
    assert (report.generation, report.merged, report.deleted) == (1, 2, 2)
    assert store.holds([*day[:4], *day[5:], *late])
    assert store.archive.problems(BTC, DAY) == []
    assert sorted(path.name for path in store.folder.rglob("*.parquet")) == ["part-1.parquet"] * 2


def test_late_minutes_give_the_bytes_that_they_would_have_given_in_time(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """But for the generation in the names, a day's bytes don't tell how it came together."""
    day = random_day()
    late = [random_minute(day[4].start, revision=2), random_minute(day[29].start + 1)]
    store.put(*day)
    compact(store)
    store.put(*late)
    compact(store)
    other = Store(tmp_path_factory.mktemp("other"))
    other.put(*day[:4], *day[5:], *late)
    compact(other)
    parts = [sorted(p.read_bytes() for p in one.folder.rglob("*.parquet")) for one in (store, other)]
    assert parts[0] == parts[1]


def test_a_late_trade_that_only_changes_the_head_is_merged_too(store: Store) -> None:
    first = random_minute(START)
    second = replace(first, revision=2, seen=first.seen + 1)
    store.put(first)
    compact(store)
    store.put(second)
    compact(store)
    assert store.holds([second])


def test_a_lower_revision_than_the_archives_goes_and_changes_nothing(store: Store) -> None:
    second = random_minute(START, revision=2)
    store.put(second)
    compact(store)
    before = tree(store.folder)
    store.put(random_minute(START, revision=1))
    report = compact(store)
    assert (report.merged, report.deleted) == (0, 1)
    assert tree(store.folder) == before


def test_a_revision_that_differs_from_the_archives_stays_and_is_reported(store: Store) -> None:
    day = random_day(3)
    store.put(*day)
    compact(store)
    other = random_minute(day[1].start, seed=7)
    store.put(other)
    report = compact(store)
    assert report.problems == (f"{store.path(other)}: differs from the archive in revision 1: which is right can't be told",)
    assert store.path(other).exists()
    assert store.holds(day)
    found = store.archive.manifest(BTC, DAY)
    assert found is not None and found.open == ("2023-11-15T00:07",)


def test_a_revision_that_is_spilled_during_the_compaction_is_not_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    day = random_day()
    late = random_minute(day[3].start, revision=2)
    store.put(*day)
    publish = store.compactor._publish

    def publish_and_spill(*arguments: object) -> None:
        publish(*arguments)  # type: ignore[arg-type]
        store.put(late)

    monkeypatch.setattr(store.compactor, "_publish", publish_and_spill)
    assert compact(store).deleted == 29
    assert store.files.of_day(BTC, DAY) == [late.start]
    monkeypatch.undo()
    compact(store)
    assert store.holds([*day[:3], late, *day[4:]])


def test_a_compaction_beside_a_busy_spill_loses_no_revision(store: Store) -> None:
    latest: dict[int, Minute] = {}
    done = threading.Event()

    def spill() -> None:
        for revision in range(1, 40):
            for start in range(START, START + 5):
                latest[start] = random_minute(start, revision=revision)
                store.put(latest[start])
        done.set()

    spiller = threading.Thread(target=spill)
    spiller.start()
    while not done.is_set():
        compact(store)
    spiller.join()
    compact(store)
    assert store.holds(latest.values())
    assert store.files.of_day(BTC, DAY) == []


# --- what can't be merged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "format"])
def test_a_damaged_file_stays_where_it_is_and_the_day_stays_open_for_it(damage: str, store: Store) -> None:
    day = random_day()
    store.put(*day)
    path, good = store.path(day[4]), store.path(day[4]).read_bytes()
    bad = {"truncated": good[:500], "empty": b"", "format": good.replace(b'"format":1', b'"format":2')}.get(damage)
    flip_bit(path, 300) if bad is None else path.write_bytes(bad)
    before = path.read_bytes()
    report = compact(store)
    assert len(report.problems) == 1 and str(path) in report.problems[0]
    assert (report.merged, report.deleted) == (29, 29)
    assert path.read_bytes() == before
    assert store.holds([*day[:4], *day[5:]])
    found = store.archive.manifest(BTC, DAY)
    assert found is not None and found.open == ("2023-11-15T00:28",)
    all_bytes = tree(store.folder)
    assert compact(store).problems == report.problems
    assert tree(store.folder) == all_bytes, "a run that finds the same damage writes nothing"
    path.write_bytes(good)
    assert compact(store).problems == ()
    assert store.holds(day)
    found = store.archive.manifest(BTC, DAY)
    assert found is not None and found.open == () and found.generation == 1


def test_a_damaged_file_that_is_taken_away_closes_the_day(store: Store) -> None:
    day = random_day(3)
    store.put(*day)
    store.path(day[1]).write_bytes(b"")
    compact(store)
    store.path(day[1]).unlink()
    compact(store)
    found = store.archive.manifest(BTC, DAY)
    assert found is not None and found.open == () and found.generation == 0


def test_a_day_of_damaged_files_only_is_reported_and_nothing_is_written(store: Store) -> None:
    store.put(*random_day(2))
    for path in store.folder.rglob("trades_*.json"):
        path.write_bytes(b"")
    before = tree(store.folder)
    report = compact(store)
    assert report.generation is None and len(report.problems) == 2
    assert tree(store.folder) == before


def test_a_minute_whose_numbers_a_float_cannot_give_back_stays_a_file(store: Store) -> None:
    fine = minute({1_234_567_890_123_456_789: (1, 1, 2, 1)}, price_scale=18, start=START + 7)
    day = random_day(3)
    store.put(day[0], fine, day[2])
    report = compact(store)
    says = "can't be archived: binance BTCUSDT 2023-11-15 00:07: price_level 1.234567890123456"
    assert len(report.problems) == 1 and f"{store.path(fine)}: {says}" in report.problems[0]
    assert store.holds([day[0], day[2]])
    assert store.files.load(BTC, START + 7) == fine


def test_strays_among_the_files_are_left_alone(store: Store) -> None:
    store.put(*random_day(2))
    folder = store.files.folder(BTC)
    (folder / "trades_20231115_0003.json").symlink_to("/etc/passwd")
    (folder / "notes.txt").write_text("mine")
    compact(store)
    assert sorted(os.listdir(folder)) == ["notes.txt", "trades_20231115_0003.json"]


# --- refusals -------------------------------------------------------------------------------------------------------------


def test_two_compactors_at_once_the_second_is_refused_by_name(store: Store) -> None:
    store.put(*random_day(3))
    before = tree(store.folder)
    with (
        durable.job_lock(store.archive.root, "compact"),
        pytest.raises(JobRunning, match=f"compact: process {os.getpid()} runs it already on {store.archive.root}"),
    ):
        compact(store)
    assert tree(store.folder) == before


def test_a_damaged_part_stops_a_merge_by_name_and_nothing_goes(store: Store) -> None:
    store.put(*random_day())
    compact(store)
    part = next(store.folder.rglob("levels/**/*.parquet"))
    flip_bit(part, part.stat().st_size // 2)
    store.put(random_minute(START, revision=2))
    before = tree(store.folder)
    with pytest.raises(StorageError, match=str(part)):
        compact(store)
    assert tree(store.folder) == before


def test_files_that_a_dead_run_merged_do_not_go_while_the_archive_is_damaged(store: Store) -> None:
    day = random_day()
    store.put(*day)
    compact(store)
    store.put(*day)  # as if the run had died before its deletions
    part = next(store.folder.rglob("levels/**/*.parquet"))
    flip_bit(part, part.stat().st_size // 2)
    with pytest.raises(StorageError, match=f"{part}: damaged: .* its minute files were not deleted"):
        compact(store)
    assert len(store.files.of_day(BTC, DAY)) == 30


def test_parts_whose_manifest_was_lost_are_not_written_over(store: Store) -> None:
    store.put(*random_day())
    compact(store)
    store.archive.layout.manifest(BTC, DAY).unlink()
    store.put(random_minute(START, revision=2))
    before = tree(store.folder)
    with pytest.raises(StorageError, match=r"holds minutes that are nowhere else, and its manifest .*15.json is missing"):
        compact(store)
    assert tree(store.folder) == before


def test_a_manifest_without_its_parts_stops_a_merge(store: Store) -> None:
    store.put(*random_day())
    compact(store)
    shutil.rmtree(store.archive.layout.folder("minutes", BTC, DAY))
    store.put(random_minute(START, revision=2))
    with pytest.raises(StorageError, match="the manifest names it, and it isn't there"):
        compact(store)
    assert store.files.of_day(BTC, DAY) == [START]


def test_a_part_that_reads_back_wrong_is_not_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    day = random_day()
    store.put(*day)
    rename = durable.rename

    def rename_and_rot(temporary: os.PathLike[str], path: os.PathLike[str]) -> None:
        rename(temporary, path)  # type: ignore[arg-type]
        if "levels" in os.fspath(path):
            flip_bit(path, 1000)  # type: ignore[arg-type]

    monkeypatch.setattr(durable, "rename", rename_and_rot)
    with pytest.raises(StorageError, match=r"part-0\.parquet: (damaged|read back)"):
        compact(store)
    assert store.archive.manifest(BTC, DAY) is None
    assert len(store.files.of_day(BTC, DAY)) == 30
    assert not list(store.folder.rglob("*.parquet")), "it must not stand in the way"
    monkeypatch.undo()
    compact(store)
    assert store.holds(day)
