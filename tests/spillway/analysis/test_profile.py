"""Points of control, value areas and profiles; test_footprint.py holds them against the reference."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis import Method
from tests.spillway.analysis import agree, reference


def bar(*totals: int, first: int = 100) -> pd.DataFrame:
    """One minute, with these volumes at prices from 100 up; 0 is a price that nobody traded at."""
    return agree.levels((0, str(first + n), str(total), "0") for n, total in enumerate(totals) if total)


def area(frame: pd.DataFrame, **how: Any) -> tuple[float, float, float]:
    (found,) = analysis.value_area(frame, **({"tick": 1} | how)).to_dict("records")
    return found["val"], found["poc"], found["vah"]


@pytest.mark.parametrize(
    ("totals", "poc"),
    [
        ((1, 5, 2), 101),
        ((7,), 100),
        ((5, 1, 1, 5), 100),  # equally far from the middle: the lower
        ((5, 5, 1, 1, 1), 101),  # nearer to the middle
        ((1, 5, 5, 5, 1), 102),
        ((5, 0, 0, 5, 0, 0, 1), 103),  # the middle is that of the range, empty rows too
    ],
)
def test_of_equal_rows_the_one_nearest_to_the_middle_is_the_point_of_control_then_the_lower(
    totals: tuple[int, ...], poc: int
) -> None:
    assert analysis.point_of_control(bar(*totals))["poc"].tolist() == [poc]


def test_tradingviews_steps_are_followed_one_by_one() -> None:
    # 100 in all, so 70 are to be held. From 103 (30): 102 (20) beats 104 (10), 101 (12) beats 104: 62; then 104 (10) against
    # 100 (8) would make 72 and ends it.
    frame = bar(8, 12, 20, 30, 10, 9, 11)
    assert frame["total_volume"].sum() == 100
    (found,) = analysis.value_area(frame, tick=1).to_dict("records")
    assert (found["val"], found["poc"], found["vah"], found["value_area_volume"]) == (101, 103, 103, 62)
    assert found["value_area_share"] == 0.62
    assert area(frame, percent=72) == (101, 103, 104)


def test_two_rows_at_a_time_hold_at_least_the_share() -> None:
    # From 103 (30): 102 + 101 (32) beats 104 + 105 (19): 62; then 104 + 105 (19) beats 100 (8): 81 of 70 wanted.
    frame = bar(8, 12, 20, 30, 10, 9, 11)
    (found,) = analysis.value_area(frame, tick=1, method=Method.TWO_ROWS).to_dict("records")
    assert (found["val"], found["vah"], found["value_area_volume"]) == (101, 105, 81)


def test_dalton_style_example_of_single_pairs() -> None:
    frame = bar(2, 4, 6, 10, 6, 4, 2)  # ties: the pair above first
    assert area(frame, method="two_rows", percent=50) == (103, 103, 105)
    assert area(frame, method="two_rows", percent=70) == (101, 103, 105)


def test_of_equal_rows_the_nearer_joins_first_then_the_upper() -> None:
    assert area(bar(3, 10, 3), percent=81.25) == (101, 101, 102)  # equally near: above
    assert area(bar(5, 6, 9, 20, 5, 5, 5), percent=64) == (101, 103, 103)
    assert area(bar(5, 6, 9, 20, 5, 5, 5), percent=75) == (101, 103, 104)  # 104 is nearer than 100


def test_a_row_that_fills_the_share_to_the_last_unit_belongs_as_decimals_say_not_floats() -> None:
    frame = agree.levels((0, str(p), volume, "0") for p, volume in enumerate(("0.3", "0.8", "0.4")))
    assert area(frame, percent=80) == (1.0, 1.0, 2.0)
    assert 0.8 + 0.4 > (0.3 + 0.8 + 0.4) * 80 / 100  # which floats get wrong


def test_the_point_of_control_belongs_even_where_it_is_more_than_the_share() -> None:
    assert area(bar(10, 80, 10)) == (101, 101, 101)
    assert area(bar(5)) == (100, 100, 100)


def test_rows_without_trades_count_as_rows_of_zero() -> None:
    frame = bar(10, 0, 0, 30, 5, 0, 20)
    # 103 (30), 104 (5); of two zeros 102 is nearer than 105; then 105 is as near as 101, and above; 20 at 106 is too much.
    assert area(frame, percent=70) == (102, 103, 105)
    assert area(frame, percent=85) == (101, 103, 106)
    assert area(frame, percent=100) == (100, 103, 106)


def test_the_tick_decides_what_lies_next_to_each_other() -> None:
    frame = agree.levels((0, p, v, "0") for p, v in (("10", "4"), ("10.5", "9"), ("11.5", "5")))
    assert area(frame, tick=0.5, percent=80) == (10.0, 10.5, 11.0)
    assert area(frame, tick=1, percent=100) == (10.0, 10.0, 11.0)


def test_a_profile_of_everything_is_one_bar_and_shows_delta_at_price() -> None:
    frame = agree.levels([(0, "10", "3", "1"), (700, "10", "0", "4"), (2000, "11", "1", "1")])
    have = analysis.volume_profile(frame, tick=1, every="all")
    assert have[["price_level", "delta", "share", "poc"]].to_numpy().tolist() == [
        [10.0, -2.0, 0.8, True],
        [11.0, 0.0, 0.2, False],
    ]
    assert have["timestamp"].unique().tolist() == [agree.at(0)]
    by_day = analysis.volume_profile(frame, tick=1, every="1d")
    assert by_day["timestamp"].nunique() == 2


@given(agree.footprints(apart=3000))
def test_profiles_by_session_agree_with_the_reference(frame: pd.DataFrame) -> None:
    spans = [agree.FIRST, agree.FIRST + 3000]
    bar_of = reference.in_sessions(spans, "09:30", "America/New_York", "16:00", None)
    agree.agree_on_levels(frame, agree.ticks(frame)[1], bar_of, every="session", session=agree.NEW_YORK)


@pytest.mark.parametrize("percent", [0, 0.5, 101, "all"])
def test_a_share_that_is_none_is_refused(percent: Any) -> None:
    with pytest.raises(BadValue, match="percent"):
        analysis.value_area(bar(1, 2), tick=1, percent=percent)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(BadValue, match="expected tradingview or two_rows"):
        analysis.value_area(bar(1, 2), tick=1, method="three_rows")


def test_bars_that_hold_nothing_have_no_share() -> None:
    frame = bar(1, 2).assign(buy_volume=0.0, sell_volume=0.0, total_volume=0.0)
    assert analysis.value_area(frame, tick=1)["value_area_share"].isna().all()
    assert analysis.volume_profile(frame, tick=1)["share"].isna().all()
    assert analysis.vwap(frame)["vwap"].isna().all()


def test_volumes_and_bars_too_many_for_64_bits_together_are_still_ordered_right() -> None:
    large = 10**14
    frame = agree.levels(
        (minute, str(100 + row), str(large + (7 * minute + 13 * row) % 11 * 10**12), "0")
        for minute in range(400)
        for row in range(5)
    )
    frame = frame.assign(trade_count=1)
    found = reference.footprint(frame)
    have = analysis.value_area(frame, tick=1)
    wanted = [reference.value_area(rows, Decimal(1), Decimal(70)) for rows in found.values()]
    assert list(zip(have["val"], have["vah"], strict=True)) == [(float(low), float(high)) for low, high, _ in wanted]
