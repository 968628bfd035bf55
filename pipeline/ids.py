"""Which trades were taken already. Pure; small enough to be stored with every flush.

A tracker answers for each trade `fresh`, `seen` or `doubtful`: the last for what lies below what it remembers, where only the
minute itself can tell (a trade that was taken stands in its minute's ids).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Protocol

from pipeline.contiguous import ContiguousIds
from pipeline.instrument import IdRule
from pipeline.minute import Gap, IdRange, Minute
from pipeline.recent import RecentIds
from pipeline.trade import TradeBatch, TradeId
from pipeline.unseen import Mask


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

    def holes(self) -> list[IdRange]:
        """What lies between each two ranges."""
        return [(a + 1, b - 1) for a, b in zip(self._lasts, self._firsts[1:], strict=False)]


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

    def add(self, batch: TradeBatch, offered: TradeBatch | None = None) -> set[int]:
        """Takes fresh rows in. Returns the minutes whose completeness that changes.

        `offered`: all rows of the sorted batch that these are left of. A page of history holds all between its ends.
        """

    def remember(self, batch: TradeBatch) -> None:
        """Takes in rows that a stored minute was found to hold, in any order."""

    def gaps(self) -> list[Gap]:
        """The holes known now, in id order."""

    def known(self) -> IdRange | None:
        """The first and the last id between which `gaps` tells all that is missing; None where it can't tell."""

    def proven(self, minute_start_ns: int) -> bool:
        """Whether ids prove that of the minute that starts then all was recorded, but for the gaps."""

    def lacks(self, key: int, trade_id: TradeId) -> bool:
        """Whether this trade surely was not taken, where its minute isn't asked anyway. `key`: its id, or its time."""

    def unseen(self, first: int, last: int) -> list[IdRange]:
        """What of first..last (ids; times where ids are opaque) may not have been taken, as far as it is remembered."""

    def unseen_ns(self, since_ns: int, until_ns: int) -> list[tuple[int, int]]:
        """The times between which there may be trades that were not taken; each end is the time of one that was."""

    def recall(self, minute: Minute) -> None:
        """A new tracker goes on from a minute that was kept below an emptied Redis."""

    def begin(self) -> None:
        """What comes later is meant to join what was taken, though that was history."""

    @property
    def forgotten_below(self) -> int | None:
        """Holes in the ids below are not among the `gaps` any more; None if none was forgotten."""

    @property
    def began(self) -> bool:
        """Whether anything but history fetched apart was taken: then what comes later is meant to join it."""

    def state(self) -> dict[str, Any]:
        """All of it, as plain data."""


def tracker(rule: IdRule, state: dict[str, Any] | None = None) -> Tracker:
    """A tracker for an id rule, new or as it was stored."""
    if rule is IdRule.CONTIGUOUS:
        return ContiguousIds(state)
    return RecentIds(rule, state)
