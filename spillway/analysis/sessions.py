"""Sessions, and bars on the axis of time. Pure: minutes since 1970 UTC in and out."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from pipeline.errors import BadValue
from pipeline.minute import MINUTES_PER_DAY
from spillway.analysis.columns import US_PER_MINUTE, timestamps
from spillway.analysis.exact import Flags, Integers
from spillway.times import bar_minutes

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Session:
    """A day's trading: from `start` by the clock of `zone` until the next day's start, or until `end`, past midnight or not.

    Session() is the UTC day; Session("18:00", "America/New_York") a futures day, of 23 or 25 hours where the clocks change;
    Session("09:30", "America/New_York", "16:00") regular trading hours: what lies outside belongs to no session, and
    analyses by session leave it out. A start that the clocks skip is moved to where they go on; one that comes twice is the
    first. BadValue for an unknown zone or what is no time.
    """

    start: str = "00:00"
    zone: str = "UTC"
    end: str | None = None

    def __post_init__(self) -> None:
        _clock(self.start)
        if self.end is not None and _clock(self.end) == _clock(self.start):
            raise BadValue(f"session {self.start} to {self.end}: it has no length; without an end it lasts a day")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadValue(f"time zone {self.zone!r}: unknown; expected a name such as UTC or America/New_York") from None

    def bounds(self, first: int, last: int) -> tuple[Integers, Integers]:
        """Where the sessions that may touch these minutes begin, and where they end (the first minute after)."""
        days = pd.date_range(*_days(first, last, self.zone), freq="D")
        starts = self._at(days, _clock(self.start))
        if self.end is None:
            return starts[:-1], starts[1:]
        length = (_clock(self.end) - _clock(self.start)) % MINUTES_PER_DAY
        ends = self._at(days, _clock(self.start) + length)
        return starts, np.minimum(ends, np.append(starts[1:], ends[-1]))

    def _at(self, days: pd.DatetimeIndex, minute: int) -> Integers:
        """When the local clock first shows a time of each day, or a later one."""
        wanted = days + timedelta(minutes=minute)
        local = wanted.tz_localize(self.zone, ambiguous=np.ones(len(days), dtype=bool), nonexistent="NaT")
        found = local.as_unit("us").asi8 // US_PER_MINUTE
        for n in np.flatnonzero(local.isna()).tolist():
            found[n] = _after_the_gap(wanted[n].to_pydatetime(), ZoneInfo(self.zone))
        return found


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars in time order: where each starts, the first minute after it, and where its session starts."""

    starts: Integers
    ends: Integers
    sessions: Integers

    def __len__(self) -> int:
        return len(self.starts)

    def session_firsts(self) -> Integers:
        """Of each bar, the number of its session's first bar."""
        new = np.flatnonzero(changes(self.sessions))
        return np.repeat(new, np.diff(np.append(new, len(self))))

    def chosen(self, keep: Flags) -> Bars:
        """Some of them."""
        return Bars(self.starts[keep], self.ends[keep], self.sessions[keep])


def bars_of(minutes: Integers, every: str | None, session: Session | None) -> tuple[Bars, Integers]:
    """The bars that ascending minutes fall into, and of each minute the number of its bar, or -1 outside all sessions.

    `every`: "5m", "1h", ... from the session's start, or from 1970 without one; the last of a session may be shorter.
    "session" (or "1d" with a session): one bar a session. "all", without a session: one for all. None: each minute its own.
    """
    if not len(minutes):
        empty = np.empty(0, np.int64)
        return Bars(empty, empty, empty), empty
    if every in ("session", "1d") and (session or every == "session"):
        every, session = "session", session or Session()
    if every == "all" and session:
        raise BadValue("every='all': one bar can't reach over several sessions; expected session=None")
    begin, until = _spans(minutes, session)
    starts, ends = _cut(minutes, every, session, begin, until)
    inside = (begin <= minutes) & (minutes < until)
    new = changes(starts[inside])
    number = np.full(len(minutes), -1)
    number[inside] = np.cumsum(new) - 1
    return Bars(starts[inside][new], ends[inside][new], begin[inside][new]), number


def changes(values: Integers) -> Flags:
    """Where a value differs from the one before; the first always does."""
    new = np.ones(len(values), dtype=bool)
    new[1:] = values[1:] != values[:-1]
    return new


def _spans(minutes: Integers, session: Session | None) -> tuple[Integers, Integers]:
    """Of each minute, where its session begins and ends. Without sessions all are in one."""
    if session is None:
        whole = np.ones(len(minutes), np.int64)
        return whole * minutes[0], whole * (minutes[-1] + 1)
    starts, ends = session.bounds(int(minutes[0]), int(minutes[-1]))
    at = np.searchsorted(starts, minutes, "right") - 1
    return starts[at], ends[at]


def _cut(
    minutes: Integers, every: str | None, session: Session | None, begin: Integers, until: Integers
) -> tuple[Integers, Integers]:
    """Of each minute, where its bar begins and ends."""
    if every is None:
        return minutes, minutes + 1
    if every in ("all", "session"):
        return begin, until
    length = bar_minutes(every)
    if session is None:
        return (starts := minutes // length * length), starts + length
    if length > MINUTES_PER_DAY:
        raise BadValue(f"bar length {every!r}: longer than a session")
    starts = begin + (minutes - begin) // length * length
    return starts, np.minimum(starts + length, until)


def _days(first: int, last: int, zone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Local days, two to spare on each side: clocks have been set by up to a day."""
    local = timestamps(np.array([first, last])).tz_convert(zone).tz_localize(None).normalize()
    return local[0] - timedelta(days=2), local[1] + timedelta(days=2)


def _after_the_gap(wanted: datetime, zone: ZoneInfo) -> int:
    """The minute in which the clock goes on, of a local time that it skips."""

    def shows(minute: int) -> datetime:
        return datetime.fromtimestamp(minute * 60, zone).replace(tzinfo=None)

    about = int(wanted.replace(tzinfo=UTC).timestamp()) // 60
    around = range(about - 2 * MINUTES_PER_DAY, about + 2 * MINUTES_PER_DAY)
    return around[bisect_left(around, wanted, key=shows)]


def _clock(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if not found:
        raise BadValue(f"session time {text!r}: expected hours and minutes, such as 09:30")
    return int(found[1]) * 60 + int(found[2])
