"""What is known of each minute of a range: whole or not, and what is missing. Pure: it works on the table of minutes.

A minute that isn't stored between the first and the last known one is `absent`; or `empty`, if the trade ids of its neighbours
join, so that nothing was traded in it; or `removed`, if it lies in a day that retention removed (of which it isn't known any
more which minutes it had). `complete`, `repaired` and `empty` minutes are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import BadValue
from pipeline.minute import MINUTES_PER_DAY, IdRange, Status
from sinks.tables import TIME, US_PER_MINUTE, codes_of, stamps

EMPTY, ABSENT, REMOVED = "empty", "absent", "removed"
STATES = (*map(str, (Status.COMPLETE, Status.REPAIRED)), EMPTY, *map(str, (Status.DEGRADED, Status.UNKNOWN)), ABSENT, REMOVED)
WHOLE = STATES[:3]
NEEDED = ("timestamp", "status", "first_trade_id", "last_trade_id", "missing", "trade_count")
BY = ("minute", "hour", "day", "range")

_CODE = {state: code for code, state in enumerate(STATES)}
_UNKNOWN = _CODE[str(Status.UNKNOWN)]
_LENGTHS = {"hour": 60, "day": MINUTES_PER_DAY}
Codes: TypeAlias = NDArray[np.int8]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The minutes `first`, `first + 1`, ...: a code each (its place in STATES), its trades, and which ids it misses."""

    first: int
    codes: Codes
    trades: Integers
    missing: dict[int, tuple[IdRange, ...]]  # of the minutes that miss any

    @property
    def end(self) -> int:
        """The minute after the last one."""
        return self.first + len(self.codes)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Whether each minute is whole."""
        return self.codes < len(WHOLE)

    def whole_in(self, starts: Integers, length: int) -> NDArray[np.bool_]:
        """Of spans of `length` minutes: whether all of their minutes are covered, and whole."""
        sums = np.r_[0, np.cumsum(self.whole)]
        low, high = (np.clip(at - self.first, 0, len(self.codes)) for at in (starts, starts + length))
        found: NDArray[np.bool_] = sums[high] - sums[low] == length
        return found

    def missing_in(self, starts: Integers, ends: Integers) -> Integers:
        """Of spans of minutes, in order: how many ids they miss. One that two minutes of a span miss counts once."""
        found = np.zeros(len(starts), np.int64)
        spans: dict[int, list[IdRange]] = {}
        for minute, ranges in self.missing.items():
            at = int(np.searchsorted(starts, minute, "right")) - 1
            if at >= 0 and minute < ends[at]:
                spans.setdefault(at, []).extend(ranges)
        for at, all_of_it in spans.items():
            found[at] = count_ids(all_of_it)
        return found


def coverage_of(minutes: pa.Table, first: int, last: int, removed: Iterable[int] = ()) -> Coverage:
    """The coverage of the minutes from `first` up to, and without, `last`. `minutes` may reach beyond on both sides: by the
    neighbours it is told whether the outer ones are empty. It has the columns NEEDED. `removed`: days, counted from 1970."""
    at = stamps(minutes) // US_PER_MINUTE
    states = codes_of(minutes["status"], STATES).astype(np.int8)
    codes = np.full(last - first, _CODE[ABSENT], np.int8)
    for day in removed:
        codes[max(day * MINUTES_PER_DAY - first, 0) : max((day + 1) * MINUTES_PER_DAY - first, 0)] = _CODE[REMOVED]
    for gap_start, gap_end in _empty_spans(minutes, at, states):
        codes[max(gap_start - first, 0) : max(gap_end - first, 0)] = _CODE[EMPTY]
    trades = np.zeros(last - first, np.int64)
    inside = (at >= first) & (at < last)
    codes[at[inside] - first] = states[inside]
    trades[at[inside] - first] = minutes["trade_count"].to_numpy()[inside]
    return Coverage(first, codes, trades, _missing(minutes, at, first, last))


def table_of(found: Coverage, by: str) -> pa.Table:
    """Coverage as a table. `by`: "minute"; "range" (runs of one status); "hour" or "day" (how many minutes of each status)."""
    if by not in BY:
        raise BadValue(f"by={by!r}: expected one of {', '.join(BY)}")
    if by == "minute":
        return _by_minute(found)
    return _by_run(found) if by == "range" else _by_span(found, _LENGTHS[by])


def count_ids(ranges: Iterable[IdRange]) -> int:
    """How many ids lie in ranges that may overlap."""
    total, end = 0, None
    for first, last in sorted(ranges):
        begin = first if end is None else max(first, end + 1)
        total += max(0, last - begin + 1)
        end = last if end is None else max(end, last)
    return total


# --- inside -------------------------------------------------------------------------------------------------------------


def _empty_spans(minutes: pa.Table, at: Integers, states: Codes) -> list[tuple[int, int]]:
    """Stretches between stored minutes whose ids join. Where neither's ids ever proved anything, they don't here."""
    holes = np.flatnonzero(np.diff(at) > 1)
    if not len(holes):
        return []
    before, after = (minutes.take(pa.array(holes + step)) for step in (0, 1))
    lasts, firsts = before["last_trade_id"].to_pylist(), after["first_trade_id"].to_pylist()
    found = []
    for hole, left, right in zip(holes.tolist(), lasts, firsts, strict=True):
        joins = left is not None and right is not None and left + 1 == right
        if joins and not (states[hole] == states[hole + 1] == _UNKNOWN):
            found.append((int(at[hole]) + 1, int(at[hole + 1])))
    return found


def _missing(minutes: pa.Table, at: Integers, first: int, last: int) -> dict[int, tuple[IdRange, ...]]:
    lacking = np.flatnonzero(pc.not_equal(minutes["missing"], "[]").to_numpy() & (at >= first) & (at < last))
    texts = minutes["missing"].take(pa.array(lacking)).to_pylist()
    ranges = (msgspec.json.decode(text, type=tuple[IdRange, ...]) for text in texts)
    return dict(zip(at[lacking].tolist(), ranges, strict=True))


def _times(minutes: Integers) -> pa.Array:
    return pa.array(minutes * US_PER_MINUTE).cast(TIME)


def _states(codes: Sequence[int] | Codes) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(STATES))


def _by_minute(found: Coverage) -> pa.Table:
    starts = np.arange(found.first, found.end)
    return pa.table(
        {
            "timestamp": _times(starts),
            "status": _states(found.codes),
            "whole": found.whole,
            "trade_count": found.trades,
            "missing_ids": found.missing_in(starts, starts + 1),
        }
    )


def _by_run(found: Coverage) -> pa.Table:
    cuts = np.flatnonzero(np.diff(found.codes)) + 1
    edges = [0, *cuts.tolist(), len(found.codes)] if len(found.codes) else [0]
    runs = list(pairwise(edges))
    starts, ends = (np.array(side, np.int64) + found.first for side in ([a for a, _ in runs], [b for _, b in runs]))
    codes = found.codes[starts - found.first] if runs else np.zeros(0, np.int8)
    return pa.table(
        {
            "start": _times(starts),
            "end": _times(ends),
            "minutes": ends - starts,
            "status": _states(codes),
            "whole": codes < len(WHOLE),
            "missing_ids": found.missing_in(starts, ends),
        }
    )


def _by_span(found: Coverage, length: int) -> pa.Table:
    starts = np.arange(found.first // length * length, found.end, length) if len(found.codes) else np.zeros(0, np.int64)
    which = (np.arange(found.first, found.end) // length) - found.first // length
    counts = np.zeros((len(starts), len(STATES)), np.int64)
    np.add.at(counts, (which, found.codes), 1)
    trades = np.zeros(len(starts), np.int64)
    np.add.at(trades, which, found.trades)
    return pa.table(
        {
            "timestamp": _times(starts),
            "minutes": counts.sum(axis=1),
            **{state: counts[:, code] for state, code in _CODE.items()},
            "whole": counts[:, : len(WHOLE)].sum(axis=1) == counts.sum(axis=1),
            "trade_count": trades,
            "missing_ids": found.missing_in(starts, starts + length),
        }
    )
