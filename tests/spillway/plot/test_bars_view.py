"""Bars, volume by side and cumulative delta, exactly summed."""

from __future__ import annotations

import pytest

from pipeline.errors import BadValue
from spillway import plot
from spillway.plot.bars_view import BarsView
from tests.spillway.plot.frames import minutes


def view(*args: object, **options: object) -> BarsView:
    found = plot.bars(*args, **options).view  # type: ignore[arg-type]
    assert isinstance(found, BarsView)
    return found


def test_bars_sum_their_minutes_and_the_delta_goes_on() -> None:
    found = view(minutes("complete", "complete", None, "degraded"), every="2m", title="binance BTCUSDT")
    assert found.rows["x"].tolist() == [0, 1]
    assert found.rows["total"].tolist() == [24.0, 12.0]
    assert found.rows["cumulative"].tolist() == [4.0, 6.0]
    assert found.rows[["open", "high", "low", "close"]].to_numpy().tolist() == [[100.0, 102.0, 100.0, 102.0]] * 2
    assert {span.state for span in found.holes.spans} == {"absent", "degraded"}
    assert found.title == "binance BTCUSDT · volume and cumulative delta · 2024-10-23 14:00 to 14:04 UTC · 2m bars"


def test_a_tenth_and_two_tenths_are_three_tenths() -> None:
    frame = minutes("complete", "complete").assign(buy_volume=[0.1, 0.2], sell_volume=0.0, total_volume=[0.1, 0.2])
    assert view(frame).rows["cumulative"].tolist() == [0.1, 0.3]


def test_nothing_too_much_and_what_is_no_frame_of_minutes_are_refused() -> None:
    with pytest.raises(BadValue, match="nothing to draw"):
        view(minutes())
    with pytest.raises(BadValue, match="longer bars"):
        view(minutes("complete", *[None] * 2500, "complete"), every="1m")
    with pytest.raises(BadValue, match="open"):
        view(minutes("complete").drop(columns="open"))
