"""What pictures know of each minute: whole, or degraded, unknown or absent. Pure; the rules are those of coverage.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.errors import BadValue
from spillway.analysis.columns import Frame, minutes_of, names_of, require, series
from spillway.analysis.exact import Integers
from spillway.coverage import NEEDED, STATES, WHOLE, coverage_of
from spillway.plot.scale import runs
from spillway.times import TimeLike, minute_range

SHOWN = ("degraded", "unknown", "absent")  # not whole: shaded
_TIME = pa.timestamp("us", "UTC")
_NONE: dict[str, Any] = {"first_trade_id": None, "last_trade_id": None, "missing": "[]", "trade_count": 0}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of minutes of one state that is not whole."""

    state: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Holes:
    """The stretches of a range that are not whole, and how many minutes they are, by state."""

    spans: tuple[Span, ...] = ()
    minutes: int = 0  # all of the range

    def of(self, state: str) -> list[Span]:
        """The stretches of one state."""
        return [span for span in self.spans if span.state == state]

    def wide(self, state: str, shares: int = 800) -> list[tuple[int, float]]:
        """The stretches of a state as they are drawn, start and length in minutes: each at least one of so many shares of the
        range, so that the shortest is seen; those that then touch are one, so that they are few."""
        least = self.minutes / shares
        found: list[tuple[int, float]] = []
        for span in self.of(state):
            length = max(span.end - span.start, least)
            if found and span.start <= found[-1][0] + found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], span.start + length - found[-1][0]))
            else:
                found.append((span.start, length))
        return found

    def strength(self, state: str) -> float:
        """How strongly a state is shaded: what is nearly everywhere needn't shout."""
        return 0.14 if self.count(state) > 0.8 * self.minutes else 0.32

    def count(self, state: str) -> int:
        """The minutes of one state."""
        return sum(span.end - span.start for span in self.of(state))

    def text(self, state: str) -> str:
        """What a legend says of a state."""
        count = self.count(state)
        return f"{state}: all {count:,} minutes" if count == self.minutes else f"{state}: {count:,} of {self.minutes:,} minutes"


def holes_of(minutes: Frame | None, first: int, end: int) -> Holes:
    """Of the minutes from `first` up to, and without, `end`. Without a frame of minutes nothing is known, and nothing told."""
    if minutes is None or "status" not in names_of(minutes):
        return Holes()
    codes = states_of(minutes, first, end)
    found = [Span(STATES[code], first + a, first + b) for code, a, b in runs(codes) if code >= len(WHOLE)]
    return Holes(tuple(found), end - first)


def states_of(minutes: Frame, first: int, end: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Of each minute its place in STATES. A minute with no row is absent; or empty, where the frame has ids that prove it."""
    return coverage_of(_table(minutes), first, end).codes


def bounds(frame: Frame, asked: tuple[TimeLike, TimeLike] = (None, None)) -> tuple[int, int]:
    """The first minute to draw, and the one after the last: those asked for, or else the frame's. BadValue: none is left."""
    times: Integers = minutes_of(frame)
    wanted = minute_range(*asked)
    first, end = (int(times.min()), int(times.max()) + 1) if len(times) else wanted
    first, end = (kept if at is None else want for at, kept, want in zip(asked, (first, end), wanted, strict=True))
    if first >= end:
        raise BadValue(f"from {asked[0]} to {asked[1]}: there is nothing to draw")
    return first, end


def within(frame: Frame, first: int, end: int) -> Frame:
    """The rows of a frame from the minute `first` up to, and without, `end`."""
    times = minutes_of(frame)
    inside = (times >= first) & (times < end)
    return frame.filter(pa.array(inside)) if isinstance(frame, pa.Table) else frame[inside]


def _table(minutes: Frame) -> pa.Table:
    require(minutes, ("timestamp", "status"))
    if alien := set(series(minutes, "status").astype(str)) - set(STATES):
        raise BadValue(f"status {sorted(alien)[0]!r}: expected one of {', '.join(STATES)}")
    times = minutes_of(minutes)
    order = np.argsort(times, kind="stable")
    columns = {name: _column(minutes, name, order) for name in NEEDED[1:]}
    return pa.table({"timestamp": pa.array(times[order] * 60_000_000).cast(_TIME), **columns})


def _column(minutes: Frame, name: str, order: Integers) -> pa.Array:
    if name not in names_of(minutes):
        return pa.array([_NONE[name]] * len(order), pa.int64() if name != "missing" else pa.string())
    values = series(minutes, name).iloc[order]
    if name in ("status", "missing"):
        texts = pa.array(values.astype(str).tolist(), pa.string())
        return texts.dictionary_encode() if name == "status" else texts
    return pa.array([None if pd.isna(value) else int(value) for value in values], pa.int64())
