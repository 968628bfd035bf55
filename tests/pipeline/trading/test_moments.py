"""Moments are aware, in UTC, and plain datetimes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from pipeline.errors import BadValue
from pipeline.trading.moments import utc, utc_or_none
from tests.pipeline.trading.moves import AT


def test_a_moment_in_utc_is_itself() -> None:
    assert utc(AT) is AT
    assert utc_or_none(AT, "at") is AT
    assert utc_or_none(None, "at") is None


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=-3)), ZoneInfo("America/Sao_Paulo"), timezone(timedelta(0))])
def test_a_moment_elsewhere_becomes_the_same_one_in_utc(zone: Any) -> None:
    moved = utc(AT.astimezone(zone))
    assert moved == AT
    assert moved.tzinfo is UTC


def test_a_timestamp_of_pandas_becomes_a_plain_datetime() -> None:
    plain = utc(pd.Timestamp("2024-10-23T14:30:15.123456", tz="UTC"))
    assert (type(plain), plain) == (datetime, AT)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (datetime(2024, 10, 23, 14, 30), "2024-10-23T14:30:00: expected a time zone"),
        ("2024-10-23T14:30:00Z", "expected a datetime"),
        (1729693800, "expected a datetime"),
        (date(2024, 10, 23), "expected a datetime"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3))), "expected a moment of the years 1 to 9999"),
    ],
)
def test_a_naive_datetime_and_what_is_none_are_refused_by_name(value: Any, why: str) -> None:
    with pytest.raises(BadValue, match=f"^filled_at .*{why}"):
        utc(value, "filled_at")
    with pytest.raises(BadValue, match=r"^filled_at "):
        utc_or_none(value, "filled_at")
