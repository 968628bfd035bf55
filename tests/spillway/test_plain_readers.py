"""pandas, Polars and DuckDB read the archive by their own plain call, with the right types and partition columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pandas.testing as pdt
import polars as pl
import pytest

import spillway
from pipeline.instrument import Instrument
from tests.pipeline.builders import BTC, START
from tests.sinks.days import FIRST_OF_MONTH, MONTH, ODD, Store, random_day
from tests.spillway.kept import stored

KRAKEN = Instrument("kraken", "BTC/USD")
SUMS = ("buy_volume", "sell_volume", "total_volume")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two venues, two days each."""
    minutes = [m for day in (0, 1) for i in (None, KRAKEN) for m in days(day, i)]
    return stored(tmp_path_factory.mktemp("kept") / "data", minutes)


def days(day: int, instrument: Instrument | None) -> list[Any]:
    options: dict[str, Any] = {"instrument": instrument} if instrument else {}
    return random_day(25, start=START + 1440 * day, **options)


def queried(sql: str) -> list[Any]:
    """What DuckDB's own call gives."""
    with duckdb.connect() as database:
        return database.execute(sql).fetchall()


def in_duckdb(sql: str) -> pd.DataFrame:
    with duckdb.connect() as database:
        return database.execute(sql).df()


def wanted(folder: Path, what: str) -> pd.DataFrame:
    with spillway.open(folder) as store:
        found: pd.DataFrame = getattr(store, what)()
    return found


@pytest.mark.parametrize("what", ["levels", "minutes"])
def test_pandas(what: str, folder: Path) -> None:
    frame = pd.read_parquet(folder / "archive" / what)
    want = wanted(folder, what)
    assert len(frame) == len(want)
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert {str(frame[name].dtype) for name in SUMS} == {"float64"}
    assert str(frame["trade_count"].dtype) == "int64"
    assert set(zip(frame["venue"], frame["symbol"], strict=True)) == {("binance", "BTCUSDT"), ("kraken", "BTC/USD")}
    assert sorted(set(frame["date"].astype(str))) == ["2023-11-15", "2023-11-16"]
    assert frame["trade_count"].sum() == want["trade_count"].sum()
    one = pd.read_parquet(folder / "archive" / what, filters=[("venue", "=", "kraken"), ("date", "=", "2023-11-16")])
    assert len(one) == len(want[(want["venue"] == "kraken") & (want["timestamp"] >= "2023-11-16")])


@pytest.mark.parametrize("what", ["levels", "minutes"])
def test_polars(what: str, folder: Path) -> None:
    frame = pl.scan_parquet(folder / "archive" / what, hive_partitioning=True)
    schema, want = frame.collect_schema(), wanted(folder, what)
    assert schema["timestamp"] == pl.Datetime("us", "UTC")
    assert {schema[name] for name in SUMS} == {pl.Float64}
    assert [str(schema[name]) for name in ("trade_count", "venue", "symbol", "date")] == ["Int64", "String", "String", "Date"]
    one = frame.filter(pl.col("symbol") == "BTC/USD", pl.col("date") == pl.date(2023, 11, 15)).select("trade_count").collect()
    mine = want[(want["symbol"] == "BTC/USD") & (want["timestamp"] < "2023-11-16")]
    assert one["trade_count"].to_list() == mine["trade_count"].tolist()


@pytest.mark.parametrize("what", ["levels", "minutes"])
def test_duckdb(what: str, folder: Path) -> None:
    source = f"read_parquet('{folder}/archive/{what}/**/*.parquet', hive_partitioning = true)"
    want = wanted(folder, what)
    types = {name: kind for name, kind, *_ in queried(f"describe select * from {source}")}
    assert types["timestamp"] == "TIMESTAMP WITH TIME ZONE"
    assert {types[name] for name in SUMS} == {"DOUBLE"}
    assert (types["trade_count"], types["venue"], types["symbol"], types["date"]) == ("BIGINT", "VARCHAR", "VARCHAR", "DATE")
    ((rows, trades),) = queried(f"select count(*), sum(trade_count) from {source} where venue = 'kraken'")
    mine = want[want["venue"] == "kraken"]
    assert (rows, trades) == (len(mine), mine["trade_count"].sum())


# --- names of any kind, days and merged months together ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instruments of which each name is written otherwise in a path, a day alone and a merged month each."""
    store = Store(tmp_path_factory.mktemp("odd"))
    starts = (FIRST_OF_MONTH * 1440, (FIRST_OF_MONTH + 1) * 1440, (FIRST_OF_MONTH + 40) * 1440)
    for instrument in NAMES:
        store.put(*(m for start in starts for m in random_day(5, instrument=instrument, start=start)))
        for day in store.files.days(instrument):
            store.compactor.compact_day(instrument, day)
        assert store.merger.merge_month(instrument, MONTH).written
    return store.folder


NAMES = (KRAKEN, BTC, Instrument("okx", "BTC-USDT"), *ODD[1:], Instrument("kraken", "A%2FB=1 +"))
PAIRS = sorted((i.venue, i.symbol) for i in NAMES)
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "pandas": pd.read_parquet,
    "Polars": lambda folder: pl.scan_parquet(folder, hive_partitioning=True).collect().to_pandas(),
    "DuckDB": lambda folder: in_duckdb(f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", ["levels", "minutes"])
def test_all_three_decode_each_name_and_read_days_and_months_each_once(what: str, reader: str, odd: Path) -> None:
    found = READERS[reader](odd / "archive" / what)
    assert sorted(map(tuple, found[["venue", "symbol"]].drop_duplicates().to_numpy().tolist())) == PAIRS
    assert sorted(found["date"].astype(str).str[:10].unique()) == ["2023-11-01", "2023-12-11"]
    want = wanted(odd, what)
    keys = ["venue", "symbol", "timestamp", *(["price_level"] if what == "levels" else [])]
    columns = [*keys, *SUMS, "trade_count"]
    pdt.assert_frame_equal(in_order(found, keys)[columns], in_order(want, keys)[columns], check_exact=True)


def in_order(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The libraries differ in how they hold texts and time zones, and in which file they read first."""
    times = frame["timestamp"].dt.tz_convert("UTC").dt.as_unit("us")
    names = {name: frame[name].astype(object) for name in ("venue", "symbol")}
    return frame.assign(timestamp=times, **names).sort_values(keys, ignore_index=True)


@pytest.mark.parametrize("reader", READERS)
def test_a_filter_by_time_is_right_for_days_and_months_alike(reader: str, odd: Path) -> None:
    found = READERS[reader](odd / "archive" / "minutes")
    second = found[(found["timestamp"] >= "2023-11-02") & (found["timestamp"] < "2023-11-03")]
    assert len(second) == 5 * len(NAMES)


def test_exact_sums_are_exact_in_duckdb(folder: Path) -> None:
    """`notional` is a decimal, whose sum is no float's."""
    source = f"read_parquet('{folder}/archive/minutes/**/*.parquet')"
    ((total,),) = queried(f"select sum(notional) from {source}")
    assert total == sum(row[0] for row in queried(f"select notional from {source}"))
