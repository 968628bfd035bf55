"""The calendar's cells: each state in proportion, and none that is there left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway import plot
from spillway.coverage import STATES
from spillway.plot.coverage_view import NOTHING, SLOTS, CoverageView
from tests.spillway.plot.frames import minutes


def hours(*counts: list[int], start: str = "2024-10-23 14:00") -> pd.DataFrame:
    times = pd.date_range(start, periods=len(counts), freq="1h", tz="UTC").as_unit("us")
    rows = [[*row, *[0] * (len(STATES) - len(row))] for row in counts]
    return pd.DataFrame(rows, columns=list(STATES)).assign(timestamp=times)


def view(frame: pd.DataFrame, title: str = "") -> CoverageView:
    found = plot.coverage(frame, title=title).view
    assert isinstance(found, CoverageView)
    return found


@given(st.lists(st.integers(0, 60), min_size=len(STATES), max_size=len(STATES)).filter(any))
def test_a_cell_shows_each_state_that_is_there_in_the_order_of_trust(counts: list[int]) -> None:
    slots = view(hours(counts)).slots[0, 14 * SLOTS : 15 * SLOTS]
    assert set(slots.tolist()) == {n for n, count in enumerate(counts) if count}
    assert slots.tolist() == sorted(slots.tolist())
    shares = np.array(counts) / sum(counts) * SLOTS
    for state in range(len(STATES)):
        assert abs(int((slots == state).sum()) - shares[state]) <= len(STATES)


def test_outside_the_range_there_is_nothing() -> None:
    slots = view(hours([60, 0, 0, 0, 0, 0])).slots
    assert (slots[0, : 14 * SLOTS] == NOTHING).all()
    assert (slots[0, 15 * SLOTS :] == NOTHING).all()


def test_minutes_are_counted_by_hour_and_the_absent_among_them() -> None:
    found = view(minutes("complete", "degraded", None, *["repaired"] * 60), title="binance BTCUSDT")
    assert dict(zip(STATES, found.counts[0, 14].tolist(), strict=True)) == {
        "complete": 1,
        "repaired": 57,
        "empty": 0,
        "degraded": 1,
        "unknown": 0,
        "absent": 1,
        "removed": 0,
    }
    assert found.counts[0, 15].sum() == 3
    assert found.title == "binance BTCUSDT · coverage · 2024-10-23"


def test_a_share_that_is_not_all_never_reads_as_all() -> None:
    found = view(hours(*[[60, 0, 0, 0, 0, 0]] * 99, [59, 0, 0, 1, 0, 0]))
    assert found.text("complete") == "complete: 5,999 min (>99.9 %)"
    assert found.text("degraded") == "degraded: 1 min (<0.1 %)"
    assert view(hours([60, 0, 0, 0, 0, 0])).text("complete") == "complete: 60 min (100 %)"


def test_nothing_too_many_days_and_other_frames_are_refused() -> None:
    with pytest.raises(BadValue, match="nothing to draw"):
        view(hours())
    with pytest.raises(BadValue, match="shorter range"):
        view(pd.concat([hours([60, 0, 0, 0, 0, 0]), hours([60, 0, 0, 0, 0, 0], start="2026-10-23")]))
    two_years = pd.concat([minutes("complete"), minutes("complete").assign(timestamp=pd.Timestamp("2026-10-23", tz="UTC"))])
    with pytest.raises(BadValue, match="shorter range"):
        view(two_years)
    with pytest.raises(BadValue, match="neither status nor"):
        view(minutes("complete").drop(columns="status"))
