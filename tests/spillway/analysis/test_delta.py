"""Delta and cumulative delta."""

from __future__ import annotations

import pandas as pd
import pandas.testing as pdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis import Session
from tests.spillway.analysis import agree, reference

LENGTHS = {"1m": 1, "5m": 5, "7m": 7, "1h": 60}


@given(agree.footprints(apart=2000), st.sampled_from(sorted(LENGTHS)))
def test_delta_cumulative_delta_and_vwap_agree_with_the_reference_by_utc_day(frame: pd.DataFrame, every: str) -> None:
    bar_of = reference.in_sessions([agree.FIRST, agree.FIRST + 2000], "00:00", "UTC", None, LENGTHS[every])
    agree.agree_on_sums(frame, bar_of, every=every, session=Session())


@given(
    agree.footprints(apart=3000), st.sampled_from([("18:00", "America/New_York", None), ("09:30", "America/New_York", "16:00")])
)
def test_they_agree_by_sessions_with_an_anchor_and_a_zone_too(
    frame: pd.DataFrame, session: tuple[str, str, str | None]
) -> None:
    bar_of = reference.in_sessions([agree.FIRST, agree.FIRST + 3000], *session, 60)
    agree.agree_on_sums(frame, bar_of, every="1h", session=Session(*session))


@given(agree.footprints())
def test_without_sessions_nothing_is_reset(frame: pd.DataFrame) -> None:
    agree.agree_on_sums(frame, reference.fixed(5), every="5m", session=None)


@given(agree.footprints())
def test_minutes_give_the_same_delta_as_their_levels(frame: pd.DataFrame) -> None:
    minutes = analysis.delta(frame)[["timestamp", "buy_volume", "sell_volume", "total_volume", "trade_count"]]
    for every in (None, "5m", "all"):
        pdt.assert_frame_equal(analysis.delta(minutes, every=every), analysis.delta(frame, every=every))
        since = [analysis.cumulative_delta(given, every=every, session=None) for given in (minutes, frame)]
        pdt.assert_frame_equal(since[0], since[1])


@pytest.fixture
def frame() -> pd.DataFrame:
    """Three minutes of +2, -5 and +1."""
    return agree.levels([(0, "10", "3", "1"), (1, "10", "0", "4"), (1, "11", "1", "2"), (2, "10", "1", "0")])


def test_the_extremes_of_a_bars_delta_are_those_after_each_minute_and_the_zero_it_begins_with(frame: pd.DataFrame) -> None:
    (bar,) = analysis.delta(frame, every="all").to_dict("records")
    assert (bar["delta"], bar["min_delta"], bar["max_delta"], bar["minutes"]) == (-2.0, -3.0, 2.0, 3)
    assert bar["delta_percent"] == pytest.approx(100 * -2 / 12)
    single = analysis.delta(frame)
    assert single[["delta", "min_delta", "max_delta"]].to_numpy().tolist() == [[2, 0, 2], [-5, -5, 0], [1, 0, 1]]


def test_cumulative_delta_is_a_candle_that_opens_where_the_last_one_closed(frame: pd.DataFrame) -> None:
    have = analysis.cumulative_delta(frame)[["open", "high", "low", "close"]].to_numpy().tolist()
    assert have == [[0, 2, 0, 2], [2, 2, -3, -3], [-3, -2, -3, -2]]


def test_cumulative_delta_begins_at_zero_with_each_session() -> None:
    minute = 1440 - 10 * 60 - 40  # midnight
    frame = agree.levels([(minute - 1, "10", "3", "0"), (minute, "10", "0", "1"), (minute + 1, "10", "0", "1")])
    have = analysis.cumulative_delta(frame)
    assert have["close"].tolist() == [3.0, -1.0, -2.0]
    assert have["open"].tolist() == [0.0, 0.0, -1.0]
    assert have["session"].tolist() == [pd.Timestamp(day, tz="UTC") for day in ("2023-03-28", "2023-03-29", "2023-03-29")]
    assert analysis.cumulative_delta(frame, session=None)["close"].tolist() == [3.0, 2.0, 1.0]


def test_trades_without_an_aggressor_count_in_the_total_only() -> None:
    (bar,) = analysis.delta(agree.levels([(0, "10", "1", "0", "3")])).to_dict("records")
    assert (bar["total_volume"], bar["delta"], bar["delta_percent"]) == (4.0, 1.0, 25.0)


def test_an_empty_frame_gives_an_empty_answer_with_all_columns(frame: pd.DataFrame) -> None:
    for function in (analysis.delta, analysis.cumulative_delta):
        assert list(function(frame.iloc[:0]).columns) == list(function(frame).columns)
        assert function(frame.iloc[:0]).empty


def test_a_frame_without_volumes_is_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(BadValue, match="no column sell_volume"):
        analysis.delta(frame.drop(columns="sell_volume"))
