"""Times as users write them become minutes, and what is none is refused with an example."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline.errors import BadValue
from spillway.times import LAST_MINUTE, chosen_range, duration_minutes, minute_range, period


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) // 60  # type: ignore[misc,arg-type]


def now() -> int:
    return at(2024, 10, 23, 12)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", at(2024, 1, 1), at(2025, 1, 1)),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1)),
        ("2024-12", at(2024, 12, 1), at(2025, 1, 1)),
        ("2024-10-23", at(2024, 10, 23), at(2024, 10, 24)),
        ("2024-10-23 14", at(2024, 10, 23, 14), at(2024, 10, 23, 15)),
        ("2024-10-23 14:05", at(2024, 10, 23, 14, 5), at(2024, 10, 23, 14, 6)),
        ("2024-10-23T14:05", at(2024, 10, 23, 14, 5), at(2024, 10, 23, 14, 6)),
        ("2024-10/2024-10-05", at(2024, 10, 1), at(2024, 10, 5)),
        ("2024-10-23/", at(2024, 10, 23), LAST_MINUTE),
    ],
)
def test_a_period_is_as_long_as_its_text_says(text: str, first: int, last: int) -> None:
    assert period(text) == (first, last)


def test_a_date_is_its_whole_day() -> None:
    assert period(date(2024, 10, 23)) == period("2024-10-23")


def test_a_month_as_a_start_or_an_end_is_its_begin() -> None:
    assert minute_range("2024-10", "2024-11") == period("2024-10")


def test_a_time_between_minutes_takes_its_whole_minute() -> None:
    assert minute_range("2024-10-23 14:00:30", "2024-10-23T14:01:01") == (at(2024, 10, 23, 14), at(2024, 10, 23, 14, 2))


def test_the_last_hours_count_back_from_now_or_from_an_end() -> None:
    assert chosen_range(None, None, None, "36h", now) == (at(2024, 10, 22), LAST_MINUTE)
    assert chosen_range(None, None, None, timedelta(hours=1.5), now) == (at(2024, 10, 23, 10, 30), LAST_MINUTE)
    assert chosen_range(None, "2024-10-20", None, "1d", now) == (at(2024, 10, 19), at(2024, 10, 20))


@pytest.mark.parametrize(("text", "minutes"), [("90m", 90), ("2h", 120), ("7d", 10080), ("2w", 20160)])
def test_a_length_is_minutes_hours_days_or_weeks(text: str, minutes: int) -> None:
    assert duration_minutes(text) == minutes


@pytest.mark.parametrize("length", ["soon", "0h", "-1h", "90", "", timedelta(0), timedelta(hours=-1)])
def test_a_length_that_is_none_is_refused(length: str | timedelta) -> None:
    with pytest.raises(BadValue, match="36h"):
        duration_minutes(length)


@pytest.mark.parametrize("text", ["2024-13", "0000", "yesterday", "2024-10-40", "2024-10-23 25"])
def test_a_period_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="expected a time such as 2024-10"):
        period(text)


def test_ways_to_name_a_range_are_not_mixed() -> None:
    with pytest.raises(BadValue, match=r"during='2024'.*alone"):
        chosen_range("2024", None, "2024", None, now)
    with pytest.raises(BadValue, match="no start"):
        chosen_range("2024", None, None, "1h", now)
