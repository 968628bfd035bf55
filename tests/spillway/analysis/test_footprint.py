"""Regrouping levels to any tick and timeframe."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd
import pandas.testing as pdt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway import analysis
from tests.spillway.analysis import agree, reference

LENGTHS = {"1m": 1, "5m": 5, "7m": 7, "1h": 60, "1d": 1440}


@given(agree.footprints(), st.data())
def test_all_analyses_of_levels_agree_with_the_reference_at_any_tick_and_timeframe(
    frame: pd.DataFrame, data: st.DataObject
) -> None:
    every = data.draw(st.sampled_from(sorted(LENGTHS)))
    tick = data.draw(st.sampled_from(agree.ticks(frame)))
    agree.agree_on_levels(frame, tick, reference.fixed(LENGTHS[every]), every=every)


@given(agree.footprints())
def test_without_a_tick_and_a_timeframe_levels_stay_as_they_are(frame: pd.DataFrame) -> None:
    pdt.assert_frame_equal(analysis.regroup(frame), frame)


@given(agree.footprints(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter_nor_do_arrow_and_an_index_of_times(frame: pd.DataFrame, dice: Any) -> None:
    order = list(range(len(frame)))
    dice.shuffle(order)
    want = analysis.regroup(frame, every="5m", tick=1)
    shuffled = frame.iloc[order]
    for other in (shuffled, pa.Table.from_pandas(shuffled, preserve_index=False), shuffled.set_index("timestamp")):
        pdt.assert_frame_equal(analysis.regroup(other, every="5m", tick=1), want)


def test_prices_are_put_into_rows_as_decimals_not_as_floats() -> None:
    prices = ["0.1", "0.2", "0.3", "0.6", "0.7", "1.1", "1.2"]  # 0.6 // 0.1 is 5.0, and 0.7 // 0.1 is 6.0
    frame = agree.levels((0, p, "0.1", "0.2") for p in prices)
    assert analysis.regroup(frame, tick="0.1")["price_level"].tolist() == [float(p) for p in prices]
    summed = analysis.regroup(frame, tick=10)
    assert summed[["buy_volume", "sell_volume", "total_volume", "delta"]].iloc[0].tolist() == [0.7, 1.4, 2.1, -0.7]


def test_a_row_begins_at_the_largest_multiple_of_the_tick_below_also_under_zero() -> None:
    frame = agree.levels((0, p, "1", "0") for p in ("-0.3", "-0.25", "-0.2", "0", "0.24", "0.25"))
    assert analysis.regroup(frame, tick=0.25)["price_level"].tolist() == [-0.5, -0.25, 0.0, 0.25]


def test_a_tick_finer_than_the_prices_changes_nothing() -> None:
    frame = agree.levels([(0, "10", "1", "2"), (0, "11", "1", "0")])
    pdt.assert_frame_equal(analysis.regroup(frame, tick="0.0001"), frame)


def test_the_tick_of_a_frame_is_the_largest_step_that_all_its_prices_lie_on() -> None:
    assert analysis.tick_size(agree.levels((0, p, "1", "0") for p in ("100.5", "101", "103.5"))) == Decimal("0.5")
    assert analysis.tick_size(agree.levels((0, p, "1", "0") for p in ("0.00001234", "0.00001236"))) == Decimal("0.00000002")
    assert str(analysis.tick_size(agree.levels([(0, "300", "1", "0"), (0, "400", "1", "0")]))) == "100"
    with pytest.raises(BadValue, match="no price other than 0"):
        analysis.tick_size(agree.levels([]))


def test_an_empty_frame_gives_empty_answers_with_all_columns() -> None:
    empty, full = agree.levels([]), agree.levels([(0, "10", "1", "2")])
    known = agree.minutes([(0, "complete", 1, 9)])
    for name in analysis.__all__:
        if name in ("regroup", "point_of_control", "unfinished_auctions", "zero_prints", "naked_points_of_control", "vwap"):
            extra: dict[str, Any] = {}
        elif name in ("value_area", "volume_profile", "imbalances", "stacked_imbalances"):
            extra = {"tick": 1}
        else:
            continue
        function = getattr(analysis, name)
        for every in (None, "5m", "session", "all"):
            extra |= {"session": None} if every == "all" else {}
            have = function(empty, every=every, minutes=known, **extra)
            assert have.empty
            assert list(have.columns) == list(function(full, every=every, minutes=known, **extra).columns), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price_level": 0.1 + 0.2}, r"price_level: 0.30000000000000004 has more digits than a float64 gives back"),
        ({"buy_volume": float("nan")}, "buy_volume: row 0 is no number"),
        ({"sell_volume": float("inf")}, "sell_volume: row 0 is no number"),
        ({"total_volume": -1.0}, "a volume is below 0"),
        ({"trade_count": float("nan")}, "trade_count: row 0 is no number"),
        ({"buy_volume": "much"}, "buy_volume: expected a column of numbers"),
        ({"timestamp": "soon"}, "timestamp: expected a column of times"),
        ({"timestamp": pd.Timestamp("2024-01-01T00:00:30Z")}, "timestamp: row 0 is no whole minute"),
    ],
)
def test_what_is_no_footprint_is_refused_and_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        analysis.regroup(agree.levels([(0, "10", "1", "2")]).assign(**change))


def test_missing_columns_and_several_instruments_are_refused() -> None:
    frame = agree.levels([(0, "10", "1", "2"), (0, "11", "1", "2")])
    with pytest.raises(BadValue, match="no column buy_volume, trade_count"):
        analysis.regroup(frame.drop(columns=["buy_volume", "trade_count"]))
    with pytest.raises(BadValue, match=r"several instruments \(symbol BTCUSDT, ETHUSDT\)"):
        analysis.regroup(frame.assign(symbol=["BTCUSDT", "ETHUSDT"]))
    assert len(analysis.regroup(frame.assign(symbol="BTCUSDT"))) == 2


@pytest.mark.parametrize("tick", [0, -1, "a bit", float("nan"), float("inf")])
def test_a_tick_that_is_none_is_refused(tick: Any) -> None:
    with pytest.raises(BadValue, match="tick"):
        analysis.regroup(agree.levels([(0, "10", "1", "2")]), tick=tick)


def test_numbers_too_large_to_be_summed_exactly_are_refused_rather_than_rounded() -> None:
    frame = agree.levels([(0, "10", "123456789012", "0.0001")])
    with pytest.raises(BadValue, match=r"buy_volume|can't be summed exactly|more digits"):
        analysis.regroup(frame)


def test_prices_very_far_apart_in_very_many_bars_are_still_told_apart() -> None:
    cells = [(minute, price, "1", "2") for minute in range(0, 4000, 2) for price in ("0.00000001", "9999999.00000001")]
    frame = agree.levels(cells)
    shuffled = frame.iloc[::-1]
    pdt.assert_frame_equal(analysis.regroup(shuffled), frame)
