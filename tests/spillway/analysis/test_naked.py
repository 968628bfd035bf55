"""Naked points of control."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spillway import analysis
from spillway.analysis import Session, naked
from tests.spillway.analysis import agree, reference


@given(agree.footprints(), st.sampled_from([1, 5, 7]), st.data(), st.sampled_from([1, 1000]))
def test_tests_agree_with_the_reference(frame: pd.DataFrame, length: int, data: st.DataObject, at_once: int) -> None:
    tick = data.draw(st.sampled_from(agree.ticks(frame)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(naked, "_AT_ONCE", at_once)
        agree.agree_on_tests(frame, tick, reference.fixed(length), every=f"{length}m")


@given(agree.footprints(apart=3000))
def test_tests_agree_by_session_and_may_come_outside_its_hours(frame: pd.DataFrame) -> None:
    bar_of = reference.in_sessions([agree.FIRST, agree.FIRST + 3000], "09:30", "America/New_York", "16:00", None)
    agree.agree_on_tests(frame, agree.ticks(frame)[0], bar_of, session=agree.NEW_YORK)


def test_a_point_of_control_is_naked_until_a_later_minutes_range_holds_it() -> None:
    frame = agree.levels(
        (day * 1440 + minute, price, volume, "0")
        for day, minute, price, volume in (
            *((0, 0, "10", "9"), (0, 0, "12", "1"), (1, 0, "20", "9")),
            *((1, 1, "9", "1"), (1, 2, "8", "1"), (1, 2, "11", "1")),
        )
    )
    have = analysis.naked_points_of_control(frame)
    assert have["poc"].tolist() == [10.0, 20.0]
    assert have["tested_at"].tolist()[0] == agree.at(1442)  # nobody traded at 10 there, but prices went from 8 to 11
    assert have["naked"].tolist() == [False, True]
    assert pd.isna(have["tested_at"].iloc[1])


def test_what_a_bar_does_itself_does_not_test_its_point_of_control() -> None:
    frame = agree.levels([(0, "10", "9", "0"), (1, "9", "1", "0"), (1, "11", "1", "0")])
    assert analysis.naked_points_of_control(frame, every="5m", session=Session("10:40"))["naked"].tolist() == [True]
    assert analysis.naked_points_of_control(frame, every="1m")["naked"].tolist()[0] is False


def known(broken: int | None = None) -> pd.DataFrame:
    return agree.minutes((n, "degraded" if n == broken else "complete", n, n) for n in range(20))


@pytest.mark.parametrize(
    ("broken", "whole"),
    [(None, [True, True, True]), (2, [False, True, True]), (7, [True, False, True]), (12, [True, True, False])],
)
def test_it_is_whole_where_everything_up_to_its_test_is(broken: int | None, whole: list[bool]) -> None:
    frame = agree.levels([(2, "10", "9", "0"), (6, "10", "1", "0"), (7, "15", "9", "0"), (12, "12", "1", "0")])
    have = analysis.naked_points_of_control(frame, every="5m", session=None, minutes=known(broken))
    assert have["naked"].tolist() == [False, True, True]
    wanted = [whole[0], whole[1] and whole[2], whole[2]]  # the second is naked to the end: what breaks later breaks that
    assert have["whole"].tolist() == wanted
    left = analysis.naked_points_of_control(frame, every="5m", session=None, minutes=known(broken), only_whole=True)
    assert left["timestamp"].tolist() == have["timestamp"][have["whole"]].tolist()


def test_many_bars_over_many_minutes_are_all_looked_at() -> None:
    frame = agree.levels((n, str(1000 + n), "1", "0") for n in range(3000))  # rising for ever: nothing is ever tested
    assert analysis.naked_points_of_control(frame, every="1m")["naked"].all()
    back = agree.levels(
        [*((n, str(1000 + n), "1", "0") for n in range(3000)), (3000, "1000", "1", "0"), (3000, "9999", "1", "0")]
    )
    have = analysis.naked_points_of_control(back, every="1m")
    assert (have["tested_at"].iloc[:-1] == agree.at(3000)).all()
