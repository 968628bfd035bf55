"""Times as users write them: text, dates and datetimes in, minutes since 1970 UTC out. Naive times are UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TypeAlias

import pandas as pd

from pipeline.errors import BadValue

TimeLike: TypeAlias = str | date | datetime | pd.Timestamp | None

_UNITS = {"m": 1, "min": 1, "h": 60, "d": 1440}
FIRST_MINUTE = 0
LAST_MINUTE = 4_102_444_800 // 60  # 2100-01-01


def minute_range(start: TimeLike, end: TimeLike) -> tuple[int, int]:
    """The minutes from `start` up to and without `end`; None is open. BadValue for what is no time, or runs backwards."""
    first = FIRST_MINUTE if start is None else _utc("start", start) // 60
    last = LAST_MINUTE if end is None else -(-_utc("end", end) // 60)
    if start is not None and end is not None and last < first:
        raise BadValue(f"time range {start} to {end}: the end is before the start")
    return max(first, FIRST_MINUTE), min(last, LAST_MINUTE)


def bar_minutes(every: str) -> int:
    """A bar's length (1m, 5m, 1h, 1d) in minutes. BadValue unless it is a whole number of minutes, hours or days."""
    found = re.fullmatch(r"([1-9]\d{0,5})(m|min|h|d)", every.strip().lower(), re.ASCII)
    if not found:
        raise BadValue(f"bar length {every!r}: expected whole minutes, hours or days, such as 1m, 5m, 1h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def _utc(what: str, value: str | date | datetime | pd.Timestamp) -> int:
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise BadValue(f"{what} {value!r}: expected a time such as 2024-10-23 or 2024-10-23T14:30") from None
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(aware.timestamp())
