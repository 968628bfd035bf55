"""One read API for all tools: columns, prices, statuses, several instruments, and each library's own frames, lazy or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pandas.testing as pdt
import polars as pl
import pyarrow as pa
import pytest

import spillway
from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from sinks.archive import Archive
from sinks.months import MonthMerger
from spillway.frames import NotInstalled
from spillway.store import Store
from tests.pipeline.builders import BTC as BTC_INSTRUMENT
from tests.pipeline.builders import START
from tests.sinks.days import random_day, random_minute
from tests.spillway.kept import BTC, all_cold, replayed, stored

KRAKEN = Instrument("kraken", "BTC/USD")
VOLUMES = ("buy_volume", "sell_volume", "total_volume", "delta")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Hot, warm and cold."""
    with spillway.open(replayed(tmp_path_factory.mktemp("mixed") / "data")) as store:
        yield store


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The same, all of it cold."""
    with spillway.open(all_cold(replayed(tmp_path_factory.mktemp("cold") / "data"))) as store:
        yield store


@pytest.fixture(scope="module", params=["mixed", "cold"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Store]:
    """Two venues, with a day that a file of a later revision replaces a minute of."""
    folder = stored(tmp_path / "data", [*random_day(30), *random_day(20, instrument=KRAKEN, step=11)])
    late = random_minute(START + 14, revision=2, seed=5)
    stored(folder, [late], compacted=False)
    with spillway.open(folder) as opened:
        yield opened


def time_of(minute: int) -> pd.Timestamp:
    return pd.Timestamp(minute * 60, unit="s", tz="UTC")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Without what depends on the library: categories as texts, one kind of missing."""
    frame = frame.copy()
    for name in frame.columns:
        if str(frame[name].dtype) in ("category", "str", "object", "string"):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None).astype(str)
    return frame.reset_index(drop=True)


def as_pandas(frame: Any) -> pd.DataFrame:
    """Any library's frame, read."""
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pl.DataFrame):
        frame = frame.to_arrow()
    if isinstance(frame, duckdb.DuckDBPyRelation):
        frame = frame.to_arrow_table()
    found: pd.DataFrame = frame.to_pandas() if isinstance(frame, pa.Table) else frame
    return found


@pytest.mark.parametrize("kind", ["arrow", "polars", "lazy", "duckdb"])
@pytest.mark.parametrize("what", ["levels", "minutes", "bars", "coverage"])
def test_every_library_gets_the_same_rows_in_the_same_order(what: str, kind: str, store: Store) -> None:
    ask = getattr(store, what)
    want = plain(ask(*BTC, "2023-11-15 10:00"))
    got = plain(as_pandas(ask(*BTC, "2023-11-15 10:00", as_=kind)))
    assert len(want)
    pdt.assert_frame_equal(got, want, check_dtype=False)


@pytest.mark.parametrize("kind", ["arrow", "polars", "lazy", "duckdb"])
@pytest.mark.parametrize("what", ["levels", "minutes"])
def test_a_late_revision_beside_its_archived_copy_counts_once_in_every_library(what: str, kind: str, two: Store) -> None:
    ask = getattr(two, what)
    want = plain(ask("binance", "BTCUSDT"))
    assert len(want[want["timestamp"] == pd.Timestamp((START + 14) * 60, unit="s", tz="UTC")]) == (
        12 if what == "levels" else 1
    )
    pdt.assert_frame_equal(plain(as_pandas(ask("binance", "BTCUSDT", as_=kind))), want, check_dtype=False)
    alone = as_pandas(ask("binance", "BTCUSDT", columns=["total_volume"], as_=kind))
    assert alone.to_numpy().tolist() == want[["total_volume"]].to_numpy().tolist()


@pytest.mark.parametrize("kind", ["pandas", "arrow", "polars", "lazy", "duckdb"])
def test_types_are_the_same_wherever_a_minute_lies(kind: str, mixed: Store, cold: Store) -> None:
    def types(frame: Any) -> list[str]:
        if isinstance(frame, pl.LazyFrame):
            return [str(kind) for kind in frame.collect_schema().dtypes()]
        return [str(kind) for kind in (frame.schema.types if isinstance(frame, pa.Table) else list(frame.dtypes))]

    for what in ("levels", "minutes"):
        assert types(getattr(mixed, what)(*BTC, as_=kind)) == types(getattr(cold, what)(*BTC, as_=kind))


def test_only_the_columns_asked_for_come_and_in_that_order(store: Store) -> None:
    for kind in ("arrow", "lazy", "duckdb"):
        frame = as_pandas(store.levels(*BTC, columns=["trade_count", "price_level"], as_=kind))
        assert list(frame.columns) == ["trade_count", "price_level"]
        assert frame["trade_count"].sum() == 4800
    assert list(store.minutes(*BTC, columns=["close"]).columns) == ["close"]


def test_a_column_or_status_or_library_that_is_not_known_is_refused_with_those_that_are(store: Store) -> None:
    with pytest.raises(BadValue, match="levels have no column 'volume': expected some of timestamp"):
        store.levels(*BTC, columns=["volume"])
    with pytest.raises(BadValue, match="status 'fine': expected some of complete"):
        store.minutes(*BTC, status="fine")
    with pytest.raises(BadValue, match="as_='excel': expected one of pandas"):
        store.minutes(*BTC, as_="excel")


def test_a_price_range_includes_both_its_ends(store: Store) -> None:
    every = store.levels(*BTC)
    low, high = sorted(every["price_level"].unique())[3:6:2]
    want = every[(every["price_level"] >= low) & (every["price_level"] <= high)].reset_index(drop=True)
    assert 0 < len(want) < len(every)
    for kind in ("pandas", "lazy", "duckdb"):
        pdt.assert_frame_equal(plain(as_pandas(store.levels(*BTC, prices=(low, high), as_=kind))), plain(want))
    assert store.levels(*BTC, prices=(None, low))["price_level"].max() == low
    assert list(store.levels(*BTC, prices=(low, low), columns=["trade_count"]).columns) == ["trade_count"]


def test_only_minutes_of_a_status_or_whole_ones(two: Store) -> None:
    minutes = two.minutes("binance", "BTCUSDT")
    for status in ("complete", ["degraded", "unknown"]):
        kept = minutes[minutes["status"].isin([status] if isinstance(status, str) else status)]
        for kind in ("pandas", "lazy", "duckdb"):
            found = as_pandas(two.minutes("binance", "BTCUSDT", status=status, as_=kind))
            assert found["timestamp"].tolist() == kept["timestamp"].tolist()
            levels = as_pandas(two.levels("binance", "BTCUSDT", status=status, as_=kind))
            assert levels["timestamp"].drop_duplicates().tolist() == kept["timestamp"].tolist()
    whole = two.minutes("binance", "BTCUSDT", whole_only=True)
    assert set(whole["status"]) == {"complete", "repaired"}
    assert two.minutes("binance", "BTCUSDT", whole_only=True, status="degraded").empty


@pytest.mark.parametrize("kind", ["pandas", "polars", "lazy", "duckdb"])
def test_several_instruments_come_with_their_names_one_after_another(kind: str, two: Store) -> None:
    frame = as_pandas(two.levels(["binance", "kraken"], ["BTCUSDT", "BTC/USD"], as_=kind))
    assert list(frame.columns)[:3] == ["venue", "symbol", "timestamp"]
    names = list(dict.fromkeys(zip(frame["venue"], frame["symbol"], strict=True)))
    assert names == [("binance", "BTCUSDT"), ("kraken", "BTC/USD")]
    for venue, symbol in names:
        mine = frame[frame["venue"] == venue].drop(columns=["venue", "symbol"])
        pdt.assert_frame_equal(plain(mine), plain(two.levels(venue, symbol)), check_dtype=False)


def test_all_that_is_kept_comes_where_nothing_is_named(two: Store) -> None:
    assert set(two.bars(every="1h")["venue"]) == {"binance", "kraken"}
    assert set(two.minutes(symbol="BTC/USD")["venue"]) == {"kraken"}
    assert set(two.coverage("binance")["symbol"]) == {"BTCUSDT"}
    with pytest.raises(BadValue, match="nothing is kept of ETHUSDT; there is: binance BTCUSDT, kraken BTC/USD"):
        two.minutes("binance", ["BTCUSDT", "ETHUSDT"])


def test_a_range_is_named_in_many_ways(cold: Store) -> None:
    want = cold.minutes(*BTC, "2023-11-16", "2023-11-17")
    assert len(want) == 96
    for frame in (
        cold.minutes(*BTC, during="2023-11-16"),
        cold.minutes(*BTC, datetime(2023, 11, 16), datetime(2023, 11, 17, tzinfo=UTC)),
        cold.minutes(*BTC, end="2023-11-17", last="24h"),
        cold.minutes(*BTC, during="2023-11-16/2023-11-17"),
    ):
        pdt.assert_frame_equal(frame, want)
    assert len(cold.minutes(*BTC, during="2023-11")) == len(cold.minutes(*BTC))
    assert len(cold.minutes(*BTC, "2023-11-16", during=None)) > 96


def test_the_last_hours_of_a_replayed_tape_count_back_from_where_its_clock_stands(mixed: Store, cold: Store) -> None:
    for store in (mixed, cold):
        found = store.minutes(*BTC, last="2h")
        assert found["timestamp"].max() == store.minutes(*BTC)["timestamp"].max()
        assert len(found) == 8


def test_the_last_hours_of_live_data_count_back_from_now(two: Store, tmp_path: Path) -> None:
    with Store(spillway.Settings(data_dir=tmp_path / "data"), now=lambda: (START + 60) * 60.0) as store:
        assert store.minutes("binance", "BTCUSDT", last="20m")["timestamp"].min() >= pd.Timestamp(
            (START + 41) * 60, unit="s", tz="UTC"
        )


@pytest.mark.parametrize("kind", ["pandas", "arrow", "polars"])
def test_days_one_after_another_are_the_whole_range(kind: str, store: Store) -> None:
    for what in ("levels", "minutes"):
        days = list(getattr(store, f"iter_{what}")(*BTC, "2023-11-15 10:00", as_=kind))
        assert len(days) == 3
        whole = pd.concat([plain(as_pandas(day)) for day in days], ignore_index=True)
        pdt.assert_frame_equal(whole, plain(getattr(store, what)(*BTC, "2023-11-15 10:00")), check_dtype=False)


def test_a_footprint_of_bars_is_the_sum_of_its_levels_at_floored_prices(store: Store) -> None:
    origin, step, length = pd.Timestamp(0, tz="UTC"), Decimal("2.5"), pd.Timedelta("7h")
    want: dict[tuple[pd.Timestamp, Decimal], list[Any]] = {}
    for row in store.levels(*BTC).to_dict("records"):
        start = origin + (row["timestamp"] - origin) // length * length
        at = want.setdefault((start, Decimal(repr(row["price_level"])) // step * step), [Decimal(0)] * 4 + [0])
        for n, name in enumerate(VOLUMES):
            at[n] += Decimal(repr(row[name]))
        at[4] += row["trade_count"]
    bars = store.bars(*BTC, every="7h", price_group="2.5")
    found = {
        (row["timestamp"], Decimal(repr(row["price_level"]))): [*(Decimal(repr(row[n])) for n in VOLUMES), row["trade_count"]]
        for row in bars.to_dict("records")
    }
    assert found == want
    assert list(found) == sorted(found)


@pytest.mark.parametrize("group", ["0", "-1", "nan", "ten", 0.0])
def test_a_price_group_that_is_none_is_refused(group: str | float, store: Store) -> None:
    with pytest.raises(BadValue, match="price_group"):
        store.bars(*BTC, price_group=group)


@pytest.mark.parametrize(("kind", "name"), [("polars", "Polars"), ("lazy", "Polars"), ("duckdb", "DuckDB")])
def test_a_library_that_is_missing_is_named_with_how_to_install_it(
    kind: str, name: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name.lower(), None)
    with pytest.raises(NotInstalled, match=rf'{name} is not installed: pip install "spillway\[frames\]"'):
        store.levels(*BTC, as_=kind)


def test_of_a_merged_month_each_day_counts_once_though_one_was_compacted_anew(tmp_path: Path) -> None:
    """The month's file still holds the day as it was; lazy frames, which read the files themselves, must pass it over."""
    folder = stored(tmp_path / "data", [m for day in range(3) for m in random_day(8, start=START + day * 1440)])
    MonthMerger(Archive(folder / "archive")).merge_month(BTC_INSTRUMENT, "2023-11")
    late = random_minute(START + 1440 + 14, revision=2, seed=5)
    stored(folder, [late])
    with spillway.open(folder) as store:
        for ask in (store.levels, store.minutes):
            want = plain(ask(*BTC))
            assert len(want["timestamp"].unique()) == 24
            for kind in ("lazy", "duckdb"):
                pdt.assert_frame_equal(plain(as_pandas(ask(*BTC, as_=kind))), want, check_dtype=False)
        assert store.minutes(*BTC)["revision"].max() == 2
