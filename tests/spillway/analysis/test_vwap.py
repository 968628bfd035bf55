"""VWAP with bands; test_delta.py holds it against the reference."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pandas as pd
import pandas.testing as pdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis import Session
from tests.spillway.analysis import agree, reference
from tests.spillway.analysis.reference import Cell


def test_the_formula_by_hand() -> None:
    frame = agree.levels([(0, "10", "1", "0"), (0, "13", "1", "1"), (1, "7", "0", "3")])
    have = analysis.vwap(frame, bands=(1, 2))
    assert have["vwap"].tolist() == pytest.approx([12.0, 57 / 6])
    spread = [math.sqrt(2.0), math.sqrt((100 + 2 * 169 + 3 * 49) / 6 - 9.5**2)]
    assert have["stdev"].tolist() == pytest.approx(spread)
    assert have["upper_2"].tolist() == pytest.approx([12 + 2 * spread[0], 9.5 + 2 * spread[1]])
    assert have["lower_1"].tolist() == pytest.approx([12 - spread[0], 9.5 - spread[1]])
    assert have["volume"].tolist() == [3.0, 6.0]


def test_with_a_tick_each_row_counts_at_its_lower_edge() -> None:
    frame = agree.levels([(0, "10.1", "1", "0"), (0, "10.4", "1", "0"), (0, "10.9", "2", "0")])
    assert analysis.vwap(frame)["vwap"].tolist() == pytest.approx([10.575])
    assert analysis.vwap(frame, tick="0.5")["vwap"].tolist() == pytest.approx([10.25])
    assert analysis.vwap(frame, tick="0.5")["stdev"].tolist() == pytest.approx([0.25])


def test_it_begins_anew_with_each_session() -> None:
    midnight = 1440 - 10 * 60 - 40
    frame = agree.levels([(midnight - 1, "10", "1", "0"), (midnight, "20", "1", "0")])
    assert analysis.vwap(frame)["vwap"].tolist() == [10.0, 20.0]
    assert analysis.vwap(frame, session=None)["vwap"].tolist() == [10.0, 15.0]
    assert analysis.vwap(frame, session=Session("18:00", "America/New_York"))["vwap"].tolist() == [10.0, 15.0]


def test_large_prices_that_hardly_move_keep_their_deviation() -> None:
    frame = agree.levels((n, f"98765432.{n % 2}1", "1", "0") for n in range(1000))
    assert analysis.vwap(frame, every="all", session=None)["stdev"].tolist() == pytest.approx([0.05], rel=1e-9)


def candles(frame: pd.DataFrame) -> pd.DataFrame:
    """Minutes of levels; each opens at its lowest price and closes at its highest."""
    found = frame.groupby("timestamp", as_index=False).agg(low=("price_level", "min"), high=("price_level", "max"))
    return found.assign(open=found["low"], close=found["high"], total_volume=analysis.delta(frame)["total_volume"])


@given(agree.footprints(), st.sampled_from([None, "5m"]))
def test_of_bars_it_weighs_one_price_a_bar_as_tradingview_does(frame: pd.DataFrame, every: str | None) -> None:
    found = reference.footprint(frame)
    length = 5 if every else 1
    bars = reference.regroup(found, Decimal("1e-9"), reference.fixed(length))
    for source, part in (
        ("hlc3", Decimal(1) / 3),
        ("hl2", Decimal("0.5")),
        ("close", Decimal(0)),
    ):
        have = analysis.vwap_of_bars(candles(frame), source=source, every=every, session=None)
        points, wanted = [], []
        for bar, rows in bars.items():
            volume = sum((cell.total for cell in rows.values()), Cell().total)
            closing = max(found[max(m for m in found if bar <= m < bar + length)])
            price = {"hlc3": max(rows) + min(rows) + closing, "hl2": max(rows) + min(rows), "close": closing}[source]
            points.append((price * part if part else price, volume))
            wanted.append(reference.weighed(points))
        scale = float(frame["price_level"].abs().max()) * 1e-13
        assert have["vwap"].tolist() == pytest.approx([float(mean) for mean, _, _ in wanted], rel=1e-12, abs=scale)
        reach = float(frame["price_level"].max() - frame["price_level"].min())
        spreads = [float(spread) for _, spread, _ in wanted]
        assert have["stdev"].tolist() == pytest.approx(spreads, abs=reach * 1e-6 + scale * 1e3)


def test_several_minutes_make_one_bar() -> None:
    frame = pd.DataFrame({"timestamp": [agree.at(0), agree.at(1)], "open": [1.0, 2.0], "high": [3.0, 9.0], "low": [1.0, 2.0]})
    frame = frame.assign(close=[2.0, 4.0], total_volume=[0.1, 0.2])
    (bar,) = analysis.vwap_of_bars(frame, every="5m").to_dict("records")
    assert bar["vwap"] == pytest.approx((9 + 1 + 4) / 3)
    assert bar["volume"] == 0.3
    assert bar["stdev"] == 0.0
    (bar,) = analysis.vwap_of_bars(frame, every="5m", source="ohlc4").to_dict("records")
    assert bar["vwap"] == pytest.approx((1 + 9 + 1 + 4) / 4)
    pdt.assert_frame_equal(analysis.vwap_of_bars(frame.iloc[::-1]), analysis.vwap_of_bars(frame))


def test_of_bars_it_marks_what_is_not_whole_since_the_session_began() -> None:
    frame = candles(agree.levels((n, str(10 + n), "1", "0") for n in range(3))).assign(
        status=["complete", "degraded", "complete"]
    )
    have = analysis.vwap_of_bars(frame, session=Session("10:40"))
    assert have["whole"].tolist() == [True, False, False]
    assert len(analysis.vwap_of_bars(frame, session=Session("10:40"), only_whole=True)) == 1
    assert list(analysis.vwap_of_bars(frame.iloc[:0]).columns) == list(have.columns)


@pytest.mark.parametrize("bands", [(0,), (-1,), ("wide",), (float("nan"),)])
def test_a_band_that_is_none_is_refused(bands: Any) -> None:
    with pytest.raises(BadValue, match="band"):
        analysis.vwap(agree.levels([(0, "10", "1", "0")]), bands=bands)


def test_an_unknown_source_and_a_doubled_minute_are_refused() -> None:
    frame = candles(agree.levels([(0, "10", "1", "0")]))
    with pytest.raises(BadValue, match="expected hlc3, hl2, ohlc4, close"):
        analysis.vwap_of_bars(frame, source="typical")
    with pytest.raises(BadValue, match="stands twice"):
        analysis.vwap_of_bars(pd.concat([frame, frame]))
