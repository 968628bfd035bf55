"""Minute buckets, price levels and gaps refuse bad values, and derive the rest exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline.errors import BadValue
from pipeline.minute import Gap, PriceLevel, day_of, day_text, minute_of, minute_text, minute_time
from tests.pipeline.builders import START, at, minute, rows

D = Decimal


@pytest.mark.parametrize(
    "values",
    [
        (D("-1"), D(1), D(0), D(1), 1),
        (D(100), D(-1), D(0), D(1), 1),
        (D(100), D(0), D(-1), D(1), 1),
        (D(100), D(1), D(1), D("1.5"), 2),
        (D(100), D(1), D(0), D(1), 0),
    ],
)
def test_a_price_level_that_contradicts_itself_is_refused(values: Any) -> None:
    with pytest.raises(BadValue, match="price level"):
        PriceLevel(*values)


def test_a_level_s_delta_is_buys_less_sells_and_its_total_may_exceed_both() -> None:
    level = PriceLevel(D(100), D("0.3"), D("0.1"), D("0.5"), 3)
    assert level.delta == D("0.2")


def test_grouped_prices_below_the_group_lie_at_level_zero() -> None:
    assert rows(minute({0: (5, 0, 5, 1)}, price_scale=0, size_scale=0, open=1, high=1, low=1, close=1)) == {
        "0": ("5", "0", "5", 1)
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": {}},
        {"high": 999},
        {"low": 1001},
        {"low": 0},
        {"open": 1002},
        {"close": 999},
        {"revision": 0},
    ],
)
def test_a_minute_that_contradicts_itself_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match="binance BTCUSDT 2023-11-15 00:00"):
        replace(minute(), **changes)


def test_a_minute_s_totals_are_the_sums_of_its_levels() -> None:
    assert minute({1000: (1, 2, 5, 4), 1001: (10, 20, 30, 6)}).totals == (11, 22, 35, 10)


def test_a_minute_expects_what_it_saw_and_what_is_missing() -> None:
    assert minute(missing=((3, 5), (9, 9)), seen=10).expected == 14


def test_the_vwap_is_rounded_half_to_even_at_any_number_of_decimals() -> None:
    bucket = minute({100: (1, 0, 1, 1), 105: (1, 0, 1, 1)}, price_scale=2, size_scale=0)  # the mean of 1.00 and 1.05 is 1.025
    assert [bucket.vwap(decimals) for decimals in (2, 3, 6)] == [102, 1025, 1025000]


def test_levels_come_in_price_order_as_decimals() -> None:
    bucket = minute({1001: (0, 5, 7, 2), 1000: (150, 80, 230, 15)})
    assert list(rows(bucket).items()) == [("100", ("1.5", "0.8", "2.3", 15)), ("100.1", ("0", "0.05", "0.07", 2))]


def test_a_gap_counts_its_ids_and_names_the_minutes_it_may_touch() -> None:
    gap = Gap(10, 14, at("2:59"), at("4:01"))
    assert len(gap) == 5
    assert list(gap.minutes) == [START + 2, START + 3, START + 4]


def test_a_gap_whose_times_step_back_touches_the_same_minutes() -> None:
    assert list(Gap(10, 14, at("4:01"), at("2:59")).minutes) == [START + 2, START + 3, START + 4]


def test_a_gap_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(BadValue, match=r"5\.\.4"):
        Gap(5, 4, 0, 0)


def test_minutes_and_days_count_from_1970_in_utc() -> None:
    assert minute_of(at("3:59.999999999")) == START + 3
    assert minute_time(START) == datetime(2023, 11, 15, tzinfo=UTC)
    assert minute_text(START + 61) == "2023-11-15 01:01"
    assert day_text(day_of(START)) == "2023-11-15"
    assert day_of(START - 1) == day_of(START) - 1
