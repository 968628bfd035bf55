"""A year, small but with all its days: read as a whole, a day at a time, and lazily, it is the same trades."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import spillway
from pipeline.minute import MINUTES_PER_DAY, Minute
from sinks.parquet import Part, PartReader
from spillway.store import Store
from tests.pipeline.builders import BTC, START
from tests.sinks.days import random_minute
from tests.spillway.kept import stored

DAYS, PER_DAY = 365, 2
pytestmark = pytest.mark.long  # twenty seconds
NAMES = (BTC.venue, BTC.symbol)


def minutes() -> Iterator[Minute]:
    for day in range(DAYS):
        for n in range(PER_DAY):
            yield random_minute(START + day * MINUTES_PER_DAY + n * 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("year") / "data", minutes())


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    with spillway.open(folder) as opened:
        yield opened


def test_a_years_bars_levels_and_coverage_are_those_of_all_its_minutes(store: Store) -> None:
    told = list(minutes())
    bars = store.bars(*NAMES, every="1d")
    assert len(bars) == DAYS
    assert bars["trade_count"].sum() == sum(m.totals[3] for m in told)
    levels = store.levels(*NAMES, columns=["timestamp", "trade_count"])
    assert len(levels) == sum(len(m.levels) for m in told)
    assert levels["timestamp"].is_monotonic_increasing
    coverage = store.coverage(*NAMES, by="day")
    assert coverage["minutes"].sum() == told[-1].start - told[0].start + 1
    assert coverage["absent"].sum() == coverage["minutes"].sum() - len(told)


def test_a_years_bars_are_made_of_its_minutes_alone_each_file_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is some hundred bytes and its levels are thousands: so a year's bars fit where a year's levels don't."""
    opened: list[Path] = []
    read = PartReader.__init__

    def noted(self: PartReader, path: Path, part: Part) -> None:
        opened.append(path)
        read(self, path, part)

    monkeypatch.setattr(PartReader, "__init__", noted)
    with spillway.open(folder) as store:
        bars = store.bars(*NAMES, every="1h", as_="arrow")
        assert {path.parents[3].name for path in opened} == {"minutes"}
        assert len(opened) == DAYS
        assert len(bars) == DAYS * PER_DAY
        assert store.bars(*NAMES, every="5m", as_="arrow")["trade_count"].to_pylist() == bars["trade_count"].to_pylist()
        assert len(opened) == DAYS, "they are held"


def test_a_months_part_of_a_year_touches_only_that_month(store: Store) -> None:
    december = store.minutes(*NAMES, during="2023-12")
    assert len(december) == 31 * PER_DAY
    assert set(december["timestamp"].dt.strftime("%Y-%m")) == {"2023-12"}


def test_a_year_is_summed_lazily_and_day_by_day_to_the_same(store: Store) -> None:
    want = store.levels(*NAMES)
    lazy = store.levels(*NAMES, as_="lazy").group_by(pl.col("timestamp").dt.date()).agg(pl.col("trade_count").sum()).collect()
    assert len(lazy) == DAYS
    relation = store.levels(*NAMES, as_="duckdb")
    daily = [frame["trade_count"].sum() for frame in store.iter_levels(*NAMES)]
    sums = (lazy["trade_count"].sum(), relation.aggregate("sum(trade_count)").fetchall()[0][0], sum(daily))
    assert set(sums) == {want["trade_count"].sum()}
    assert len(daily) == DAYS


def test_a_day_at_a_time_takes_no_more_memory_the_longer_it_goes(store: Store) -> None:
    held = [pa.total_allocated_bytes() for _ in store.iter_levels(*NAMES, as_="arrow")]
    assert len(held) == DAYS
    assert max(held) < 4 * max(held[:10]), "Arrow's threads may let go of a frame a moment later; all of them would be 365"
