"""Points in time of the trading domain: always UTC, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.errors import BadValue
from pipeline.trading.names import brief


def utc(value: datetime, what: str = "time") -> datetime:
    """An aware datetime as UTC. BadValue for a naive one: nobody can tell which moment it means."""
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if not isinstance(value, datetime):
        raise BadValue(f"{what} {brief(value)}: expected a datetime with a time zone")
    if value.utcoffset() is None:
        raise BadValue(f"{what} {value.isoformat()}: expected a time zone, such as tzinfo=UTC")
    try:
        at = value.astimezone(UTC)
    except OverflowError:
        raise BadValue(f"{what} {value.isoformat()}: expected a moment of the years 1 to 9999 in UTC") from None
    # A subclass, such as pandas' Timestamp, becomes a plain datetime: stores know no other.
    return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, UTC)


def utc_or_none(value: datetime | None, what: str) -> datetime | None:
    """The same where a moment may lack."""
    if value is None or (type(value) is datetime and value.tzinfo is UTC):
        return value
    return utc(value, what)
