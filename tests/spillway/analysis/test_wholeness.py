"""Which bars are whole, and that no answer keeps quiet about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandas.testing as pdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis import Session
from spillway.analysis.wholeness import Wholeness
from tests.spillway.analysis import agree, reference

OF_LEVELS: dict[str, dict[str, Any]] = {
    "regroup": {},
    "point_of_control": {},
    "value_area": {"tick": 1},
    "volume_profile": {"tick": 1},
    "imbalances": {"tick": 1},
    "stacked_imbalances": {"tick": 1, "run": 1},
    "unfinished_auctions": {},
    "zero_prints": {},
    "delta": {},
}
SINCE_THE_START: dict[str, dict[str, Any]] = {"cumulative_delta": {}, "vwap": {}}
KINDS = ["complete", "repaired", "degraded", "unknown", "something new"]


@st.composite
def known(draw: st.DrawFn) -> pd.DataFrame:
    """Minutes of all kinds; ids that mostly join."""
    rows, last = [], 0
    for minute in sorted(draw(st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True))):
        first = last + draw(st.sampled_from([1, 1, 1, 1, 3, -2]))
        last = max(last, first + draw(st.integers(0, 3)))
        rows.append((minute, draw(st.sampled_from(KINDS[:2] * 3 + KINDS)), first, last))
    return agree.minutes(rows)


@given(known(), st.lists(st.tuples(st.integers(-5, 45), st.integers(1, 30)), min_size=1, max_size=20))
def test_a_bar_is_whole_where_each_of_its_minutes_is_proven_to_be(frame: pd.DataFrame, spans: list[tuple[int, int]]) -> None:
    starts = np.array([agree.FIRST + start for start, _ in spans])
    ends = starts + np.array([length for _, length in spans])
    wanted = [reference.whole(reference.statuses(frame), *span) for span in zip(starts.tolist(), ends.tolist(), strict=True)]
    assert Wholeness.of(frame.sample(frac=1, random_state=1)).between(starts, ends).tolist() == wanted


def five_minutes(*statuses: tuple[int, str, int, int]) -> bool:
    frame = agree.minutes(statuses)
    return bool(Wholeness.of(frame).between(np.array([agree.FIRST]), np.array([agree.FIRST + 5]))[0])


def test_a_minute_without_trades_is_whole_only_where_the_ids_around_it_join() -> None:
    before, after = (0, "complete", 1, 9), (4, "complete", 10, 20)
    assert five_minutes(before, after)
    assert not five_minutes(before, (4, "complete", 11, 20))
    assert not five_minutes(before, (4, "degraded", 10, 20))
    assert not five_minutes((0, "unknown", 1, 9), after)
    assert not five_minutes(before, (3, "complete", 10, 20))  # nothing proves the last minute
    assert not five_minutes(after)


def test_without_ids_an_absent_minute_is_never_whole() -> None:
    frame = agree.minutes([(0, "complete", 1, 9), (2, "complete", 10, 12)])
    span = np.array([agree.FIRST]), np.array([agree.FIRST + 3])
    assert Wholeness.of(frame).between(*span).tolist() == [True]
    assert Wholeness.of(frame.drop(columns=["first_trade_id"])).between(*span).tolist() == [False]
    named = frame.assign(first_trade_id=float("nan"), last_trade_id=float("nan"))
    assert Wholeness.of(named).between(*span).tolist() == [False]


def test_ids_that_a_float_can_no_longer_tell_apart_prove_nothing() -> None:
    frame = agree.minutes([(0, "complete", 1, 2**53 + 2), (2, "complete", 2**53 + 2, 2**53 + 9)])
    assert Wholeness.of(frame).between(np.array([agree.FIRST]), np.array([agree.FIRST + 3])).tolist() == [False]


@pytest.fixture
def frame() -> pd.DataFrame:
    return agree.levels(
        (minute, price, buy, "1") for minute in range(15) for price, buy in (("10", "5"), ("11", "9"), ("12", "0"))
    )


def statuses(broken: str) -> pd.DataFrame:
    """15 minutes; the eighth is broken, or absent."""
    rows = [(n, broken if n == 7 else "complete", 10 * n, 10 * n + 9) for n in range(15)]
    return agree.minutes(row for row in rows if row[1] != "absent")


@pytest.mark.parametrize("broken", ["degraded", "unknown", "absent", "something new"])
@pytest.mark.parametrize("name", OF_LEVELS)
def test_every_analysis_marks_the_bars_that_hold_a_minute_that_is_not_whole(
    name: str, broken: str, frame: pd.DataFrame
) -> None:
    function, known = getattr(analysis, name), statuses(broken)
    plain = function(frame, every="5m", **OF_LEVELS[name])
    marked = function(frame, every="5m", minutes=known, **OF_LEVELS[name])
    assert "whole" not in plain.columns
    pdt.assert_frame_equal(marked.drop(columns="whole"), plain)
    assert set(marked["timestamp"][~marked["whole"]]) == {agree.at(5)}
    left = function(frame, every="5m", minutes=known, only_whole=True, **OF_LEVELS[name])
    pdt.assert_frame_equal(left, marked[marked["whole"]].reset_index(drop=True))
    repaired = function(frame, every="5m", minutes=statuses("repaired"), **OF_LEVELS[name])
    assert repaired["whole"].all()


@pytest.mark.parametrize("broken", ["degraded", "absent"])
@pytest.mark.parametrize("name", SINCE_THE_START)
def test_what_is_summed_since_the_session_began_is_not_whole_from_the_first_hole_on(
    name: str, broken: str, frame: pd.DataFrame
) -> None:
    function, session = getattr(analysis, name), Session("10:40")
    marked = function(frame, every="5m", session=session, minutes=statuses(broken))
    assert marked["whole"].tolist() == [True, False, False]
    left = function(frame, every="5m", session=session, minutes=statuses(broken), only_whole=True)
    pdt.assert_frame_equal(left, marked.iloc[:1])
    new_day = function(frame, every="5m", session=Session("10:50"), minutes=statuses(broken))
    assert new_day["whole"].tolist() == [False, False, True]  # the first of these sessions began a day before its first minute


def test_only_whole_is_refused_where_nothing_says_what_is_whole(frame: pd.DataFrame) -> None:
    for name, extra in (OF_LEVELS | SINCE_THE_START | {"naked_points_of_control": {}}).items():
        with pytest.raises(BadValue, match="nothing says which minutes are whole"):
            getattr(analysis, name)(frame, only_whole=True, **extra)


def test_a_frame_of_minutes_brings_its_own_status(frame: pd.DataFrame) -> None:
    known = statuses("degraded").merge(analysis.delta(frame), on="timestamp")
    assert analysis.delta(known, every="5m")["whole"].tolist() == [True, False, True]
    assert len(analysis.delta(known, every="5m", only_whole=True)) == 2


def test_a_footprint_passes_on_what_it_says_of_its_bars_but_not_to_longer_ones(frame: pd.DataFrame) -> None:
    bars = analysis.regroup(frame, every="5m", minutes=statuses("degraded"))
    assert analysis.point_of_control(bars)["whole"].tolist() == [True, False, True]
    assert analysis.unfinished_auctions(bars, only_whole=True)["timestamp"].tolist() == [agree.at(0), agree.at(10)]
    assert analysis.delta(bars)["whole"].tolist() == [True, False, True]
    assert len(analysis.delta(bars, only_whole=True)) == 2
    with pytest.raises(BadValue, match="doesn't show which bars are absent"):
        analysis.point_of_control(bars, every="15m")
    for function in (analysis.cumulative_delta, analysis.vwap, analysis.naked_points_of_control):
        with pytest.raises(BadValue, match="doesn't show which bars are absent"):
            function(bars)
        assert "whole" in function(bars, minutes=statuses("degraded")).columns


def test_a_frame_without_a_status_is_refused_as_the_frame_of_minutes(frame: pd.DataFrame) -> None:
    with pytest.raises(BadValue, match="no column status"):
        analysis.regroup(frame, minutes=frame)
