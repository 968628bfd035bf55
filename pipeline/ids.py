"""Which trades were taken already. Pure; small enough to be stored with every flush.

A tracker answers for each trade `fresh`, `seen` or `doubtful`: the last for what lies below what it remembers, where only the
minute itself can tell (a trade that was taken stands in its minute's ids).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.instrument import IdRule
from pipeline.minute import Gap, IdRange, minute_of
from pipeline.trade import TradeBatch, TradeId

MAX_RANGES = 1000  # holes remembered for each instrument; below the oldest, minutes are asked
RECENT = 512  # ids remembered where ids are not contiguous: stored with every flush, so few

Mask = NDArray[np.bool_]


class RangeSet:
    """A set of integers as sorted, disjoint, non-adjacent ranges."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Sequence[IdRange] = ()) -> None:
        self._firsts = [a for a, _ in ranges]
        self._lasts = [b for _, b in ranges]

    def add(self, first: int, last: int) -> None:
        """Adds first..last, joining what it touches."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Any:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        return len(self._firsts)


class Tracker(Protocol):
    """What the footprint asks about ids."""

    rule: IdRule

    @property
    def last_id(self) -> TradeId | None:
        """The highest id taken, or with opaque ids the last."""

    def sort(self, batch: TradeBatch) -> TradeBatch:
        """The batch in the order that open and close are told by."""

    def judge(self, batch: TradeBatch) -> tuple[Mask, Mask]:
        """For a sorted batch: which rows are fresh, and which are doubtful. The rest was seen (or stands twice in it)."""

    def add(self, batch: TradeBatch) -> set[int]:
        """Takes fresh rows in. Returns the minutes whose completeness that changes."""

    def remember(self, batch: TradeBatch) -> None:
        """Takes in rows that a stored minute was found to hold, in any order."""

    def gaps(self) -> list[Gap]:
        """The holes known now, in id order."""

    def proven(self, minute_start_ns: int) -> bool:
        """Whether ids reach back to before this time without our recording having begun later."""

    def state(self) -> dict[str, Any]:
        """All of it, as plain data."""


def tracker(rule: IdRule, state: dict[str, Any] | None = None) -> Tracker:
    """A tracker for an id rule, new or as it was stored."""
    if rule is IdRule.CONTIGUOUS:
        return ContiguousIds(state)
    return RecentIds(rule, state)


class ContiguousIds:
    """Every id is used, so that ids seen are a few ranges, and what lies between them is missing."""

    rule = IdRule.CONTIGUOUS

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        # [first id, last id, time of the first, time of the last], sorted
        self._ranges: list[list[int]] = [list(r) for r in state.get("ranges", ())]
        self._floor: int | None = state.get("floor")  # at or below: forgotten

    def sort(self, batch: TradeBatch) -> TradeBatch:
        """By id."""
        ids = batch.ids
        return batch if (ids[1:] > ids[:-1]).all() else batch.take(np.argsort(ids, kind="stable"))

    def judge(self, batch: TradeBatch) -> tuple[Mask, Mask]:
        """Exact above the floor; below it all is doubtful."""
        ids = batch.ids
        fresh = np.ones(len(ids), dtype=bool)
        fresh[1:] = ids[1:] != ids[:-1]
        if not len(ids) or not self._ranges or ids[0] > self._ranges[-1][1]:
            return fresh, np.zeros(len(ids), dtype=bool)
        for first, last, _, _ in self._ranges:
            fresh[np.searchsorted(ids, first) : np.searchsorted(ids, last, "right")] = False
        doubtful = fresh & (ids <= self._floor) if self._floor is not None else np.zeros(len(ids), dtype=bool)
        return fresh & ~doubtful, doubtful

    def add(self, batch: TradeBatch) -> set[int]:
        """Joins the ids above the floor; a hole that opens, narrows or closes touches the minutes at its old edges."""
        if self._floor is not None and len(batch) and batch.ids[0] <= self._floor:
            batch = batch.take(slice(int(np.searchsorted(batch.ids, self._floor, "right")), None))
        if not len(batch):
            return set()
        touched: set[int] = set()
        ids, ts = batch.ids, batch.ts_ns
        breaks = np.flatnonzero(ids[1:] - ids[:-1] != 1) + 1
        for start, end in zip((0, *breaks.tolist()), (*breaks.tolist(), len(ids)), strict=True):
            touched |= self._join(int(ids[start]), int(ids[end - 1]), int(ts[start]), int(ts[end - 1]))
        excess = len(self._ranges) - MAX_RANGES
        if excess > 0:
            self._floor = self._ranges[excess - 1][1]
            del self._ranges[:excess]
        return touched

    def remember(self, batch: TradeBatch) -> None:
        """Joins them as if they were fresh."""
        self.add(self.sort(batch))

    def gaps(self) -> list[Gap]:
        """Between each two ranges one."""
        return [Gap(a[1] + 1, b[0] - 1, a[3], b[2]) for a, b in zip(self._ranges, self._ranges[1:], strict=False)]

    def proven(self, minute_start_ns: int) -> bool:
        """Whether an earlier trade, or the venue's very first, was seen."""
        return bool(self._ranges) and (self._ranges[0][2] < minute_start_ns or self._ranges[0][0] <= 1)

    @property
    def last_id(self) -> TradeId | None:
        """The highest id seen."""
        return self._ranges[-1][1] if self._ranges else None

    def state(self) -> dict[str, Any]:
        """The ranges and the floor."""
        return {"ranges": self._ranges, "floor": self._floor}

    def _join(self, first: int, last: int, first_ns: int, last_ns: int) -> set[int]:
        ranges = self._ranges
        if ranges and first == ranges[-1][1] + 1:  # the usual case: the next ids
            ranges[-1][1], ranges[-1][3] = last, last_ns
            return set()
        at = bisect_left(ranges, first, key=lambda r: r[0])
        edges = {r[3] for r in ranges[max(0, at - 1) : at]} | {r[2] for r in ranges[at : at + 1]} if ranges else set()
        ranges.insert(at, [first, last, first_ns, last_ns])
        if at + 1 < len(ranges) and ranges[at + 1][0] == last + 1:
            after = ranges.pop(at + 1)
            ranges[at][1], ranges[at][3] = after[1], after[3]
        if at and ranges[at - 1][1] + 1 == first:
            joined = ranges.pop(at)
            ranges[at - 1][1], ranges[at - 1][3] = joined[1], joined[3]
        return {minute_of(ns) for ns in edges | ({first_ns, last_ns} if edges else set())}


class RecentIds:
    """Ids that prove only order, or nothing: the last ids are remembered, and everything up to a floor is in doubt.

    Monotonic ids have their place by the id itself; opaque ones by time.
    """

    def __init__(self, rule: IdRule, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        self.rule = rule
        self._recent: deque[tuple[int, int | str]] = deque((k, i) for k, i in state.get("recent", ()))
        self._known = {i for _, i in self._recent}
        self._top: int | None = state.get("top")
        self._floor: int | None = state.get("floor")

    def sort(self, batch: TradeBatch) -> TradeBatch:
        """By id, or by time where ids are opaque."""
        keys = self._keys(batch)
        return batch if (keys[1:] >= keys[:-1]).all() else batch.take(np.argsort(keys, kind="stable"))

    def judge(self, batch: TradeBatch) -> tuple[Mask, Mask]:
        """Exact above the floor; at or below it all is doubtful but what is remembered."""
        keys = self._keys(batch)
        none = np.zeros(len(batch), dtype=bool)
        if self.rule is IdRule.MONOTONIC and (self._top is None or (len(keys) and keys[0] > self._top)):
            fresh = np.ones(len(batch), dtype=bool)
            fresh[1:] = keys[1:] != keys[:-1]
            return fresh, none
        known = set(self._known)
        fresh = none.copy()
        for row, trade_id in enumerate(batch.ids.tolist()):
            if trade_id not in known:
                known.add(trade_id)
                fresh[row] = True
        doubtful = fresh & (keys <= self._floor).astype(bool) if self._floor is not None else none
        return fresh & ~doubtful, doubtful

    def add(self, batch: TradeBatch) -> set[int]:
        """Remembers the ids, forgets the oldest. No minute's completeness hangs on it."""
        keys = self._keys(batch)
        if len(keys) > RECENT:  # all but the last would be forgotten at once
            self._recent.clear()
            self._known.clear()
            cut = len(keys) - RECENT
            self._floor = max(self._floor or 0, self._top or 0, int(keys[cut - 1]))
            batch, keys = batch.take(slice(cut, None)), keys[cut:]
        for key, trade_id in zip(keys.tolist(), batch.ids.tolist(), strict=True):
            self._recent.append((key, trade_id))
            self._known.add(trade_id)
        if len(keys):
            self._top = max(self._top or 0, int(keys[-1]))
        while len(self._recent) > RECENT:
            key, trade_id = self._recent.popleft()
            self._known.discard(trade_id)
            self._floor = max(self._floor or 0, key)
        return set()

    def remember(self, batch: TradeBatch) -> None:
        """Needs nothing: asked again, the minute gives the same answer."""

    def gaps(self) -> list[Gap]:
        """None can be known."""
        return []

    def proven(self, minute_start_ns: int) -> bool:
        """Never."""
        return False

    @property
    def last_id(self) -> TradeId | None:
        """The highest id, or with opaque ids the one taken last."""
        if self.rule is IdRule.MONOTONIC:
            return self._top
        return self._recent[-1][1] if self._recent else None

    def state(self) -> dict[str, Any]:
        """The remembered ids with their places, and the floor."""
        return {"recent": [list(r) for r in self._recent], "top": self._top, "floor": self._floor}

    def _keys(self, batch: TradeBatch) -> NDArray[Any]:
        return batch.ids if self.rule is IdRule.MONOTONIC else batch.ts_ns
