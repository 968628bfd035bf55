"""The archive read: any range and any minute, exactly, whatever compaction does meanwhile; damage is noticed."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import codec
from pipeline.errors import BadValue, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import Minute
from pipeline.ports import Keeper
from sinks.archive import Archive, Prices
from sinks.manifest import Kind
from sinks.tables import LEVELS, MINUTES, starts
from tests.pipeline.builders import BTC, START
from tests.sinks.days import DAY, ODD, Store, flip_bit, random_day, random_minute

DAYS = 3


@pytest.fixture(scope="module")
def minutes() -> list[Minute]:
    return [one for day in range(DAYS) for one in random_day(40, start=START + 1440 * day, step=30 + day)]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, minutes: list[Minute]) -> Store:
    """Three compacted days."""
    store = Store(tmp_path_factory.mktemp("full"))
    store.put(*minutes)
    for day in store.compactor.days(BTC):
        store.compactor.compact_day(BTC, day)
    return store


def test_it_is_what_the_pipeline_asks_for(tmp_path: Path) -> None:
    keeper: Keeper = Archive(tmp_path / "none")
    assert keeper.load(BTC, START) is None
    assert keeper.newest(BTC) is None


def test_what_is_there_is_told(full: Store, minutes: list[Minute]) -> None:
    assert full.archive.instruments() == [BTC]
    assert full.archive.days(BTC) == [DAY, DAY + 1, DAY + 2]
    assert full.archive.newest(BTC) == minutes[-1].start


def test_each_minute_comes_back_to_the_last_byte(full: Store, minutes: list[Minute]) -> None:
    assert full.holds(minutes)
    assert full.archive.load(BTC, START + 1) is None
    assert full.archive.load(BTC, START - 1440) is None


@pytest.mark.parametrize(("start", "end"), [(0, 60), (29, 31), (30, 31), (31, 60), (1400, 1500), (0, 4320), (-9, 9999), (5, 5)])
def test_a_range_holds_just_its_minutes_in_order(start: int, end: int, full: Store, minutes: list[Minute]) -> None:
    want = [one for one in minutes if START + start <= one.start < START + end]
    heads = full.archive.read_minutes(BTC, START + start, START + end)
    levels = full.archive.read_levels(BTC, START + start, START + end)
    assert starts(heads) == [one.start for one in want]
    assert starts(levels) == [one.start for one in want for _ in one.levels]
    assert heads.schema == MINUTES and levels.schema == LEVELS
    prices = [float(level.price) for one in want for level in one.price_levels()]
    assert levels["price_level"].to_pylist() == prices


@pytest.mark.parametrize("end", [START + 31, START + 4320])
def test_only_the_columns_asked_for_come_and_in_that_order(end: int, full: Store) -> None:
    names = ["trade_count", "price_level"]
    part = full.archive.read_levels(BTC, START, end, names)
    assert part.column_names == names
    assert part.equals(full.archive.read_levels(BTC, START, end).select(names))
    assert full.archive.read_levels(BTC, START + 1, START + 2, names).column_names == names


@pytest.mark.parametrize("prices", [(None, 600.5), (6000, 6010.0), (60_005, None), (1.0, 2.0), (60_001.0, 60_001.0)])
def test_a_price_range_gives_the_rows_within_and_no_others(prices: Prices, full: Store) -> None:
    low, high = (-math.inf if prices[0] is None else prices[0]), (math.inf if prices[1] is None else prices[1])
    whole = full.archive.read_levels(BTC, START, START + 4320).to_pylist()
    found = full.archive.read_levels(BTC, START, START + 4320, prices=prices)
    assert found.schema == LEVELS
    assert found.to_pylist() == [row for row in whole if low <= row["price_level"] <= high]


def test_a_column_that_is_not_there_is_named(full: Store) -> None:
    with pytest.raises(BadValue, match="levels have no column 'volume': expected some of timestamp, price_level"):
        full.archive.read_levels(BTC, START, START + 1, ["volume"])


def test_an_instrument_that_was_never_compacted_is_empty(full: Store) -> None:
    assert len(full.archive.read_levels(Instrument("binance", "ETHUSDT"), START, START + 1440)) == 0


def test_pandas_and_duckdb_read_the_folders_as_they_are(full: Store, minutes: list[Minute]) -> None:
    levels = pd.read_parquet(full.folder / "archive/levels")
    heads = pd.read_parquet(full.folder / "archive/minutes")
    assert len(levels) == sum(len(one.levels) for one in minutes) and len(heads) == len(minutes)
    assert str(levels["timestamp"].dtype) == "datetime64[us, UTC]"
    assert {str(levels[name].dtype) for name in LEVELS.names[1:6]} == {"float64"}
    assert set(levels["symbol"]) == {"BTCUSDT"} and set(levels["date"].astype(str)) == {f"2023-11-{d}" for d in (15, 16, 17)}
    assert queried(f"select count(*), sum(trade_count), max(venue) from '{full.folder}/archive/levels/**/*.parquet'") == [
        (len(levels), sum(one.totals[3] for one in minutes), "binance")
    ]
    assert queried(f"select sum(notional) from '{full.folder}/archive/minutes/**/*.parquet'") == [(sum(heads["notional"]),)]


def queried(sql: str) -> list[tuple[object, ...]]:
    """What DuckDB says, where it is installed."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed: it comes with the bench extra")
    found: list[tuple[object, ...]] = duckdb.sql(sql).fetchall()
    return found


def test_folders_of_different_venues_open_as_one(store: Store) -> None:
    """Ids are numbers here and names there, scales differ, and symbols have odd characters: the columns are the same."""
    for instrument in (BTC, *ODD):
        store.put(*random_day(5, instrument=instrument))
        store.compactor.compact_day(instrument, DAY)
    frame = pd.read_parquet(store.folder / "archive/minutes")
    assert set(frame["symbol"]) == {"BTCUSDT", *(instrument.symbol for instrument in ODD)}
    assert queried(f"select count(*) from '{store.folder}/archive/minutes/**/*.parquet'") == [(20,)]


def test_a_whole_archive_has_no_problems(full: Store) -> None:
    assert [full.archive.problems(BTC, day) for day in full.archive.days(BTC)] == [[], [], []]


@pytest.fixture
def small(store: Store) -> Store:
    """One compacted day."""
    store.put(*random_day(10))
    store.compactor.compact_day(BTC, DAY)
    return store


@pytest.mark.parametrize("kind", ["levels", "minutes"])
def test_a_flipped_bit_is_noticed_by_readers_and_by_the_check(kind: Kind, small: Store) -> None:
    path = small.archive.layout.part(kind, BTC, DAY, "part-0.parquet")
    column = pq.read_metadata(path).row_group(0).column(1)
    flip_bit(path, (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1)
    read = small.archive.read_levels if kind == "levels" else small.archive.read_minutes
    with pytest.raises(StorageError, match=str(path)):
        read(BTC, START, START + 1440)
    with pytest.raises(StorageError, match=str(path)):
        small.archive.load(BTC, START)
    assert small.archive.problems(BTC, DAY) == [f"{path}: damaged: its checksum is not the one that the manifest names"]


def test_a_file_that_was_written_to_since_is_read_anew(small: Store) -> None:
    path = small.archive.layout.part("minutes", BTC, DAY, "part-0.parquet")
    before = small.archive.read_minutes(BTC, START, START + 1440)
    assert small.archive.read_minutes(BTC, START, START + 1440).equals(before)
    column = pq.read_metadata(path).row_group(0).column(1)
    flip_bit(path, column.data_page_offset + column.total_compressed_size - 1)
    with pytest.raises(StorageError, match=str(path)):
        small.archive.read_minutes(BTC, START, START + 1440)
    path.unlink()
    with pytest.raises(StorageError, match=f"{path}: the manifest names it, and it isn't there"):
        small.archive.read_minutes(BTC, START, START + 1440)


def test_a_missing_part_is_named_by_readers_and_by_the_check(small: Store) -> None:
    path = small.archive.layout.part("levels", BTC, DAY, "part-0.parquet")
    path.unlink()
    with pytest.raises(StorageError, match=f"{path}: the manifest names it, and it isn't there"):
        small.archive.read_levels(BTC, START, START + 1440)
    assert small.archive.problems(BTC, DAY) == [f"{path}: the manifest names it, and it isn't there"]


def test_a_manifest_in_the_wrong_place_is_refused(small: Store) -> None:
    path = small.archive.layout.manifest(BTC, DAY)
    path.rename(path.with_name("2023-11-16.json"))
    with pytest.raises(StorageError, match=r"2023-11-16\.json: is the manifest of binance BTCUSDT 2023-11-15"):
        small.archive.read_levels(BTC, START, START + 9999)
    assert small.archive.problems(BTC, DAY) == [f"{path}: there is no manifest"]


def test_a_damaged_manifest_is_a_problem(small: Store) -> None:
    path = small.archive.layout.manifest(BTC, DAY)
    path.write_bytes(path.read_bytes().replace(b'"generation": 0', b'"generation": 1'))
    assert small.archive.problems(BTC, DAY) == [f"{path}: damaged: its checksum is not that of its content"]


def test_a_part_that_no_manifest_names_is_not_data(small: Store) -> None:
    path = small.archive.layout.part("levels", BTC, DAY, "part-0.parquet")
    path.with_name("part-1.parquet").write_bytes(path.read_bytes())
    assert len(small.archive.read_levels(BTC, START, START + 1440)) == 120


def test_a_minute_that_was_held_is_read_anew_after_the_day_changed(small: Store) -> None:
    old, new = random_minute(START), random_minute(START, revision=2)
    assert small.load_bytes(old) == codec.encode(old)
    small.put(new)
    small.compactor.compact_day(BTC, DAY)
    assert small.load_bytes(new) == codec.encode(new)


def test_readers_see_a_day_before_or_after_a_compaction_and_never_neither(small: Store) -> None:
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            revisions = small.archive.read_minutes(BTC, START, START + 1440)["revision"].to_pylist()
            rows = len(small.archive.read_levels(BTC, START, START + 1440))
            loaded = small.archive.load(BTC, START + 7)
            if sorted(revisions)[:9] != [1] * 9 or rows != 120 or loaded is None:
                wrong.append((revisions, rows))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    one = random_minute(START)
    for revision in range(2, 12):
        small.put(replace(one, revision=revision))
        small.compactor.compact_day(BTC, DAY)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
