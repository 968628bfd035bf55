"""pandas, Polars and DuckDB read the archive by their own plain call, with the right types and partition columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

import spillway
from pipeline.instrument import Instrument
from tests.pipeline.builders import START
from tests.sinks.days import random_day
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


def test_exact_sums_are_exact_in_duckdb(folder: Path) -> None:
    """`notional` is a decimal, whose sum is no float's."""
    source = f"read_parquet('{folder}/archive/minutes/**/*.parquet')"
    ((total,),) = queried(f"select sum(notional) from {source}")
    assert total == sum(row[0] for row in queried(f"select notional from {source}"))
