"""Which trades were taken, where every id is used. Pure; small enough to be stored with every flush."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.instrument import IdRule
from pipeline.minute import Gap, IdRange, Minute, minute_of
from pipeline.trade import TradeBatch, TradeId
from pipeline.unseen import Mask

MAX_RANGES = 1000  # holes remembered for each instrument; below the oldest, minutes are asked


class ContiguousIds:
    """Every id is used, so that ids seen are a few ranges. What lies between them is missing, or was never asked for."""

    rule = IdRule.CONTIGUOUS

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        # [first id, last id, time of the first, time of the last], sorted
        self._ranges: list[list[int]] = [list(r) for r in state.get("ranges", ())]
        self._floor: int | None = state.get("floor")  # at or below: forgotten
        self._unrecorded: set[int] = set(state.get("unrecorded", ()))  # first ids of ranges: what lies below is no gap
        self._apart: bool = state.get("apart", False)  # nothing but history was taken
        self._loose: bool = state.get("loose", False)  # the last ids are history: their minute may go on

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

    def add(self, batch: TradeBatch, offered: TradeBatch | None = None) -> set[int]:
        """Joins the ids above the floor; a hole that opens, narrows or closes touches the minutes at its old edges."""
        apart = batch.apart
        if self._floor is not None and len(batch) and batch.ids[0] <= self._floor:
            batch = batch.take(slice(int(np.searchsorted(batch.ids, self._floor, "right")), None))
        touched: set[int] = set()
        ids, ts = batch.ids, batch.ts_ns
        breaks = (np.flatnonzero(ids[1:] - ids[:-1] != 1) + 1).tolist()
        for start, end in zip((0, *breaks), (*breaks, len(ids)), strict=True) if len(ids) else ():
            touched |= self._join([int(ids[start]), int(ids[end - 1]), int(ts[start]), int(ts[end - 1])], apart)
        if apart and self._unrecorded:
            touched |= self._recorded_within(batch if offered is None else offered)
        self._forget()
        return touched

    def remember(self, batch: TradeBatch) -> None:
        """Joins them as if they were fresh."""
        self.add(self.sort(batch))

    def known(self) -> IdRange | None:
        """From the first id remembered to the last."""
        return (self._ranges[0][0], self._ranges[-1][1]) if self._ranges else None

    def gaps(self) -> list[Gap]:
        """Between each two ranges one, unless that was never asked for."""
        return [gap for above, gap in self._holes() if above not in self._unrecorded]

    def proven(self, minute_start_ns: int) -> bool:
        """Whether an earlier trade, or the venue's very first, was seen, and none here was left out on purpose."""
        ranges, minute = self._ranges, minute_of(minute_start_ns)
        if not ranges or (ranges[0][2] >= minute_start_ns and ranges[0][0] > 1):
            return False
        if self._loose and minute >= minute_of(ranges[-1][3]):
            return False
        return not self._unrecorded or not any(minute in h.minutes for above, h in self._holes() if above in self._unrecorded)

    def lacks(self, key: int, trade_id: TradeId) -> bool:
        """Minutes say it themselves: they are asked."""
        return False

    def unseen(self, first: int, last: int) -> list[IdRange]:
        """What lies in no range."""
        found = []
        for start, end, _, _ in self._ranges:
            if first < start:
                found.append((first, min(last, start - 1)))
            first = max(first, end + 1)
            if first > last:
                break
        found += [(first, last)]
        return [(a, b) for a, b in found if a <= b]

    def unseen_ns(self, since_ns: int, until_ns: int) -> list[tuple[int, int]]:
        """Between each two ranges, before the first and after the last, as far as asked for."""
        if not self._ranges:
            return [(since_ns, until_ns)]
        holes = [sorted((hole.before_ns, hole.after_ns)) for _, hole in self._holes()]
        found = [(since_ns, self._ranges[0][2]), *holes, (self._ranges[-1][3], until_ns)]
        return [(max(a, since_ns), min(b, until_ns)) for a, b in found if since_ns <= b and a <= until_ns and a <= b]

    def recall(self, minute: Minute) -> None:
        """Its ids were taken, and what comes after them was meant to be."""
        for first, last in minute.id_ranges:
            self._join([first, last, minute.first_ns, minute.last_ns], False)

    @property
    def forgotten_below(self) -> int | None:
        """The first id remembered, where older ranges were forgotten."""
        return None if self._floor is None else self._ranges[0][0]

    def begin(self) -> None:
        """From now on what lies above the last id is a gap, until it is taken."""
        self._apart = False

    @property
    def last_id(self) -> TradeId | None:
        """The highest id seen."""
        return self._ranges[-1][1] if self._ranges else None

    @property
    def began(self) -> bool:
        """Whether anything but history was taken."""
        return bool(self._ranges) and not self._apart

    def state(self) -> dict[str, Any]:
        """The ranges and the floor, and what of the holes is no gap."""
        state: dict[str, Any] = {"ranges": self._ranges, "floor": self._floor}
        if self._unrecorded:
            state["unrecorded"] = sorted(self._unrecorded)
        return state | {name: True for name in ("apart", "loose") if getattr(self, f"_{name}")}

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _holes(self) -> Iterator[tuple[int, Gap]]:
        """What lies between each two ranges, and the first id above it."""
        for a, b in pairwise(self._ranges):
            yield b[0], Gap(a[1] + 1, b[0] - 1, a[3], b[2])

    def _join(self, new: list[int], apart: bool) -> set[int]:
        ranges, (first, last, first_ns, last_ns) = self._ranges, new
        if ranges and first == ranges[-1][1] + 1:  # the usual case: the next ids
            ends = {minute_of(ranges[-1][3])} if self._loose else set()
            ranges[-1][1], ranges[-1][3] = last, last_ns
            self._apart, self._loose = self._apart and apart, apart
            return ends
        at = bisect_left(ranges, first, key=lambda r: r[0])
        edges = {r[3] for r in ranges[max(0, at - 1) : at]} | {r[2] for r in ranges[at : at + 1]} if ranges else set()
        self._note_holes(at, first, apart)
        ranges.insert(at, new)
        if at + 1 < len(ranges) and ranges[at + 1][0] == last + 1:
            after = ranges.pop(at + 1)
            self._unrecorded.discard(after[0])
            ranges[at][1], ranges[at][3] = after[1], after[3]
        if at and ranges[at - 1][1] + 1 == first:
            joined = ranges.pop(at)
            self._unrecorded.discard(first)
            ranges[at - 1][1], ranges[at - 1][3] = joined[1], joined[3]
        return {minute_of(ns) for ns in edges | ({first_ns, last_ns} if edges else set())}

    def _note_holes(self, at: int, first: int, apart: bool) -> None:
        """Before a range is inserted: what the holes beside it are. The parts of a hole are what the whole was."""
        ranges = self._ranges
        if at == len(ranges):  # once recording began, all that comes later is meant to be there
            inherits = bool(ranges) and self._apart
            self._apart = apart and (self._apart or not ranges)
            self._loose = apart
        else:
            inherits = at > 0 and ranges[at][0] in self._unrecorded
            self._apart = self._apart and apart
            if apart and not at:
                self._unrecorded.add(ranges[0][0])
        if inherits:
            self._unrecorded.add(first)

    def _recorded_within(self, page: TradeBatch) -> set[int]:
        """A page of history was asked for as a whole: what lacks between its ends is a gap."""
        if not len(page):
            return set()
        first, last = int(page.ids[0]), int(page.ids[-1])
        asked = [(above, h) for above, h in self._holes() if above in self._unrecorded and first < h.first_id and above <= last]
        self._unrecorded -= {above for above, _ in asked}
        return {minute_of(ns) for _, hole in asked for ns in (hole.before_ns, hole.after_ns)}

    def _forget(self) -> None:
        """The oldest ranges, where there are too many."""
        excess = len(self._ranges) - MAX_RANGES
        if excess > 0:
            self._floor = self._ranges[excess - 1][1]
            self._unrecorded -= {r[0] for r in self._ranges[: excess + 1]}
            del self._ranges[:excess]
