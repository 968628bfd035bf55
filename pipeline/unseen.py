"""Where trades may have been missed: stretches of keys (ids, or times) of which it is known what little was taken. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.minute import IdRange
from pipeline.trade import TradeId

MAX_STRETCHES = 64  # stored with every flush, so few; the narrowest are forgotten first
MAX_SEEN = 1024  # ids remembered in all of them together

Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Stretch:
    """Keys `first`..`last`, both ends included: of the trades there, just `seen` (id -> key) were taken."""

    first: int
    last: int
    seen: dict[TradeId, int] = field(default_factory=dict)

    def part(self, first: int, last: int) -> Stretch:
        """A part of it."""
        return Stretch(first, last, {i: key for i, key in self.seen.items() if first <= key <= last})


class Unseen:
    """Sorted, disjoint stretches. Inside them each trade can be told exactly, however old; what is forgotten lies outside."""

    __slots__ = ("_stretches",)

    def __init__(self, state: Sequence[Sequence[Any]] = ()) -> None:
        self._stretches = [Stretch(first, last, {i: key for key, i in seen}) for first, last, seen in state]

    def __len__(self) -> int:
        return len(self._stretches)

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self._stretches)

    def judge(self, keys: NDArray[Any], ids: NDArray[Any], fresh: Mask, doubtful: Mask) -> None:
        """Of sorted trades that stand here once (`fresh`), those inside become certain: fresh, or seen."""
        for stretch, start, end in self._inside(keys):
            doubtful[start:end] = False
            for row in range(start, end):
                fresh[row] &= ids.item(row) not in stretch.seen

    def holds(self, key: int, trade_id: TradeId) -> bool:
        """Whether this trade is known not to have been taken."""
        return any(s.first <= key <= s.last and trade_id not in s.seen for s in self._stretches)

    def rows(self, keys: NDArray[Any]) -> int:
        """How many of these sorted keys lie inside."""
        return sum(end - start for _, start, end in self._inside(keys))

    def open(self, first: int, last: int, seen: Iterable[tuple[int, TradeId]]) -> None:
        """A new stretch above all others; where it meets one they become one. `seen`: all that was taken of it, with keys."""
        new = Stretch(first, last, {i: key for key, i in seen if first <= key <= last})
        while self._stretches and self._stretches[-1].last >= new.first - 1:
            met = self._stretches.pop()
            new = Stretch(min(met.first, new.first), max(met.last, new.last), met.seen | new.seen)
        self._stretches.append(new)
        self._forget()

    def note(self, keys: NDArray[Any], ids: NDArray[Any]) -> None:
        """These sorted trades were taken."""
        found = self._inside(keys)
        for stretch, start, end in found:
            stretch.seen.update(zip(ids[start:end].tolist(), keys[start:end].tolist(), strict=True))
        if found:
            self._forget()

    def cover(self, first: int, last: int) -> None:
        """All trades with keys first..last were taken: that part is unseen no more."""
        if first > last or not self._stretches or first > self._stretches[-1].last:
            return
        parts: list[Stretch] = []
        for stretch in self._stretches:
            if stretch.last < first or stretch.first > last:
                parts.append(stretch)
                continue
            if stretch.first < first:
                parts.append(stretch.part(stretch.first, first - 1))
            if stretch.last > last:
                parts.append(stretch.part(last + 1, stretch.last))
        self._stretches = parts
        self._forget()

    def within(self, first: int, last: int) -> list[IdRange]:
        """What of first..last is unseen."""
        found = [(max(s.first, first), min(s.last, last)) for s in self._stretches]
        return [(a, b) for a, b in found if a <= b]

    def state(self) -> list[list[Any]]:
        """All of it, as plain data."""
        return [[s.first, s.last, [[key, i] for i, key in s.seen.items()]] for s in self._stretches]

    def _inside(self, keys: NDArray[Any]) -> list[tuple[Stretch, int, int]]:
        """The stretches that sorted keys touch, each with its rows."""
        if not len(keys) or not self._stretches or keys[0] > self._stretches[-1].last:
            return []
        bounds = [(s, np.searchsorted(keys, s.first), np.searchsorted(keys, s.last, "right")) for s in self._stretches]
        return [(stretch, int(start), int(end)) for stretch, start, end in bounds if start < end]

    def _forget(self) -> None:
        """The narrowest stretches, which can lack the least, and those that cost the most to remember."""
        while len(self._stretches) > MAX_STRETCHES:
            self._stretches.remove(min(self._stretches, key=lambda s: s.last - s.first))
        while sum(len(s.seen) for s in self._stretches) > MAX_SEEN:
            self._stretches.remove(max(self._stretches, key=lambda s: len(s.seen)))
