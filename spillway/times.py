"""Times as users write them: text, dates and datetimes in, minutes since 1970 UTC out. Naive times are UTC."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import pandas as pd

from pipeline.errors import BadValue
from pipeline.minute import MINUTES_PER_DAY

TimeLike: TypeAlias = str | date | datetime | pd.Timestamp | None
DurationLike: TypeAlias = str | timedelta | None

_UNITS = {"m": 1, "min": 1, "h": 60, "d": 1440, "w": 10_080}
_MONTH = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2]))?", re.ASCII)
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}", re.ASCII)
_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}", re.ASCII)
_EXAMPLES = "2024-10, 2024-10-23 or 2024-10-23T14:30"
FIRST_MINUTE = 0
LAST_MINUTE = 4_102_444_800 // 60  # 2100-01-01


def minute_range(start: TimeLike, end: TimeLike) -> tuple[int, int]:
    """The minutes from `start` up to and without `end`; None is open. BadValue for what is no time, or runs backwards.

    A month or a year stands for its begin, like a day.
    """
    first = FIRST_MINUTE if start is None else _utc("start", start) // 60
    last = LAST_MINUTE if end is None else -(-_utc("end", end) // 60)
    if start is not None and end is not None and last < first:
        raise BadValue(f"time range {start} to {end}: the end is before the start")
    return max(first, FIRST_MINUTE), min(last, LAST_MINUTE)


def period(during: str | date) -> tuple[int, int]:
    """The minutes of a whole year, month, day, hour or minute ("2024", "2024-10", "2024-10-23", "2024-10-23 14"), or from one
    time up to another ("2024-10-23/2024-10-25"). BadValue for what is none."""
    if not isinstance(during, str):
        return _length("during", during, MINUTES_PER_DAY)
    start, both, end = during.partition("/")
    if both:
        return minute_range(start.strip() or None, end.strip() or None)
    if month := _MONTH.fullmatch(during):
        return _months(int(month[1]), month[2])
    if _MINUTE.fullmatch(during):
        return _length("during", during, 1)
    return _length("during", during, 60 if _HOUR.fullmatch(during) else MINUTES_PER_DAY)


def chosen_range(
    start: TimeLike, end: TimeLike, during: str | date | None, last: DurationLike, now: Callable[[], int]
) -> tuple[int, int]:
    """What a reader asked for, in minutes: `start` and `end`, or `during`, or the `last` so many before `end` or now."""
    if during is not None:
        if start is not None or end is not None or last is not None:
            raise BadValue(f"during={during!r}: expected it alone, with no start, end or last")
        return period(during)
    if last is None:
        return minute_range(start, end)
    if start is not None:
        raise BadValue(f"last={last!r}: expected it with no start")
    length = duration_minutes(last)
    until = now() if end is None else minute_range(None, end)[1]
    return max(FIRST_MINUTE, until - length), LAST_MINUTE if end is None else until


def duration_minutes(length: str | timedelta) -> int:
    """A length of time ("90m", "36h", "7d", "2w", or a timedelta) in minutes, rounded up. BadValue for what is none."""
    if isinstance(length, timedelta):
        minutes = -(-int(length.total_seconds()) // 60)
        if minutes > 0:
            return minutes
    found = re.fullmatch(r"([1-9]\d{0,6})(m|min|h|d|w)", str(length).strip().lower(), re.ASCII)
    if not found:
        raise BadValue(f"last={str(length)!r}: expected minutes, hours, days or weeks, such as 90m, 36h, 7d or 2w")
    return int(found[1]) * _UNITS[found[2]]


def bar_minutes(every: str) -> int:
    """A bar's length (1m, 5m, 1h, 1d) in minutes. BadValue unless it is a whole number of minutes, hours or days."""
    found = re.fullmatch(r"([1-9]\d{0,5})(m|min|h|d)", every.strip().lower(), re.ASCII)
    if not found:
        raise BadValue(f"bar length {every!r}: expected whole minutes, hours or days, such as 1m, 5m, 1h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def _months(year: int, month: str | None) -> tuple[int, int]:
    try:
        first = datetime(year, int(month or 1), 1, tzinfo=UTC)
        days = monthrange(year, int(month))[1] if month else (date(year, 12, 31) - date(year, 1, 1)).days + 1
    except ValueError:
        raise BadValue(f"during {year}: expected a time such as {_EXAMPLES}") from None
    start = int(first.timestamp()) // 60
    return start, start + days * MINUTES_PER_DAY


def _length(what: str, value: str | date, minutes: int) -> tuple[int, int]:
    first = _utc(what, value) // 60
    return first, first + minutes


def _utc(what: str, value: str | date | datetime | pd.Timestamp) -> int:
    try:
        when = _parsed(value) if isinstance(value, str) else value
    except ValueError:
        raise BadValue(f"{what} {value!r}: expected a time such as {_EXAMPLES}") from None
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(aware.timestamp())


def _parsed(text: str) -> datetime:
    month = _MONTH.fullmatch(text)
    return datetime(int(month[1]), int(month[2] or 1), 1) if month else datetime.fromisoformat(text)
