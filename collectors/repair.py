"""Fills the holes in one instrument's contiguous ids from its venue's history, while live trades go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.asking import Asking, Market, RepairRules
from collectors.venues.history import Span
from pipeline.errors import VenueError
from pipeline.ids import RangeSet
from pipeline.minute import Gap, IdRange
from pipeline.trade import NS_PER_S, RawTrades

_PUT_S = 1.0  # in which live trades that waited for a repair are put
_MARGIN_NS = 2 * NS_PER_S  # exchange times need not rise with the ids


@dataclass(slots=True)
class _Hole:
    """A hole that is being asked for. Times of the trades on both sides, in ns; `due` in loop time."""

    before_ns: int
    after_ns: int
    tries: int = 0  # answers without these ids
    due: float = 0.0
    came: RangeSet = field(default_factory=RangeSet)
    told: bool = False  # it is written down

    def span(self, part: IdRange) -> Span:
        """What to ask for."""
        early, late = sorted((self.before_ns, self.after_ns))
        return Span(*part, early - _MARGIN_NS, late + _MARGIN_NS)


class Repairer:
    """Asks for what one instrument lacks: at once, then, while the venue fails or lags, ever more seldom."""

    def __init__(self, of: Market, *, page_size: int, rules: RepairRules) -> None:
        self.lost = RangeSet()  # ids that the venue doesn't give
        self.settled = asyncio.Event()  # waiting gains nothing: all is filled, or it failed for now
        self.settled.set()
        self._of = of
        self._page_size = page_size
        self._rules = rules
        self._asking = Asking(of, rules)
        self._holes: dict[IdRange, _Hole] = {}
        self._looked: dict[IdRange, int] = {}
        self._news = asyncio.Event()
        self._look_at = 0.0  # loop time
        self._follow_at: float | None = None  # loop time when the newest trades are asked for

    @property
    def repaired(self) -> int:
        """Trades fetched."""
        return self._asking.repaired

    def connected(self) -> None:
        """On a new connection: asks for what came after the last trade put, unless live trades come soon and show it.

        In a quiet market it may be hours until a live trade shows that some were missed while nobody listened.
        """
        if self._of.sink.last_id() is not None:
            self._follow_at = asyncio.get_running_loop().time() + self._rules.quiet_s
            self._news.set()

    def saw(self, trades: RawTrades) -> bool:
        """Live trades are about to be put: asks for what lacks before and among them. Whether they should wait for that."""
        self._follow_at = None
        holes = missing(self._of.sink.last_id(), self._of.sink.last_ns(), trades)
        self._add(holes)
        return bool(holes) and self.pages < self._rules.hold_pages

    @property
    def resuming(self) -> bool:
        """Never of interest: contiguous ids show what lacks."""
        return False

    @property
    def pages(self) -> int:
        """How many requests it takes to fill all holes known now."""
        return sum((last - first) // self._page_size + 1 for first, last in self._holes)

    async def run(self) -> None:
        """Fills holes until it is cancelled."""
        while True:
            self._look()
            self._news.clear()
            await self._round()
            if not self._news.is_set():
                self._settle()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._idle_s())

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _add(self, gaps: Iterable[Gap]) -> None:
        taken = [*self.lost, *self._holes]
        new = {part: _Hole(gap.before_ns, gap.after_ns) for gap in gaps for part in minus((gap.first_id, gap.last_id), taken)}
        self._holes |= new
        if new and asyncio.get_running_loop().time() >= self._asking.failing_until:
            self.settled.clear()
            self._news.set()

    def _settle(self) -> None:
        if not self.settled.is_set():
            self.settled.set()
            # The live trades that waited are not put yet: between two repairs they would look like a hole.
            soon = asyncio.get_running_loop().time() + min(self._rules.check_s, _PUT_S)
            self._look_at = max(self._look_at, soon)

    def _look(self) -> None:
        """Now and then takes up what the sink lacks: holes of a former run, and what got lost or was refused further on."""
        now = asyncio.get_running_loop().time()
        if now < max(self._look_at, self._asking.failing_until) or not self.settled.is_set():
            return
        self._look_at = now + self._rules.check_s
        gaps = {(gap.first_id, gap.last_id): gap for gap in self._of.sink.gaps()}
        unasked = {ids: gap for ids, gap in gaps.items() if minus(ids, [*self.lost, *self._holes])}
        self._looked = {ids: self._looked.get(ids, 0) + 1 for ids in unasked}
        self._add([gap for ids, gap in unasked.items() if self._looked[ids] <= self._rules.tries])
        for ids in [ids for ids, times in self._looked.items() if times > self._rules.tries]:
            self._holes[ids] = _Hole(0, 0, tries=self._rules.tries, told=True)  # given up in the next round

    async def _round(self) -> None:
        """One try at each hole that is due, as long as the venue answers."""
        now = asyncio.get_running_loop().time()
        if now < self._asking.failing_until:
            return
        due = {ids: hole for ids, hole in self._holes.items() if hole.due <= now}
        await self._tell(due)
        try:
            for ids, hole in due.items():
                await self._try(ids, hole)
            if self._follow_at is not None and self._follow_at <= now:
                await self._follow()
        except VenueError as error:
            self._asking.failed(error, len(self._holes))

    async def _tell(self, holes: Mapping[IdRange, _Hole]) -> None:
        """Writes down what was found, before anything of it is put: no kill can make a repaired hole one that never was."""
        untold = {ids: hole for ids, hole in holes.items() if not hole.told}
        if untold:
            await self._of.gap_log.found(self._of.symbol, [Gap(*ids, h.before_ns, h.after_ns) for ids, h in untold.items()])
        for hole in untold.values():
            hole.told = True

    async def _try(self, ids: IdRange, hole: _Hole) -> None:
        if hole.tries >= self._rules.tries:
            await self._lose(ids, "fetched again and again, and still missing")
            return
        try:
            for part in minus(ids, hole.came):
                await self._fill(part, hole)
        except VenueError as error:
            if not error.fatal:
                raise
            await self._lose(ids, str(error))
            return
        await self._answered(ids, hole)

    async def _fill(self, part: IdRange, hole: _Hole) -> None:
        """Walks through history over a part of a hole; what comes is noted at once, so that no failure makes it come again."""
        span, page = hole.span(part), None
        while (answer := await self._asking.ask(span, page)) is not None:
            page = answer.trades[self._of.symbol]
            for first, last in runs((await self._asking.put(answer, Span(*part))).ids):
                hole.came.add(first, last)

    async def _follow(self) -> None:
        """Fetches what came after the last trade put, until there is no more, or live trades show what lacks."""
        last_id, last_ns = self._of.sink.last_id(), self._of.sink.last_ns()
        if last_id is None or last_ns is None:
            return
        span, page = Span(last_id + 1, None, last_ns - _MARGIN_NS), None
        try:
            while self._follow_at is not None and (answer := await self._asking.ask(span, page)) is not None:
                page = answer.trades[self._of.symbol]
                await self._asking.put(answer, Span(span.first_id))
        except VenueError as error:
            if not error.fatal:
                raise
            self._of.log.warning("can't ask for the newest trades", error=str(error))
        self._follow_at = None

    async def _answered(self, ids: IdRange, hole: _Hole) -> None:
        """The walk over a hole is done: what did not come is asked for again later, or taken for lost."""
        del self._holes[ids]
        tries = hole.tries + 1
        due = asyncio.get_running_loop().time() + self._rules.lag_s * 2.0**tries / 2
        for part in minus(ids, hole.came):
            if tries < self._rules.tries:
                self._holes[part] = _Hole(hole.before_ns, hole.after_ns, tries, due, told=True)
            else:
                await self._lose(part, "the venue doesn't have them")

    async def _lose(self, ids: IdRange, why: str) -> None:
        self._holes.pop(ids, None)
        self.lost.add(*ids)
        self._of.log.warning("trades lost", first_id=ids[0], last_id=ids[1], reason=why)
        await self._of.gap_log.lost(self._of.symbol, ids, why)

    def _idle_s(self) -> float:
        """How long there is nothing to do, unless a new hole comes."""
        dues = [hole.due for hole in self._holes.values()]
        if self._follow_at is not None:
            dues.append(self._follow_at)
        at = max(min([*dues, self._look_at]), self._asking.failing_until)
        return max(at - asyncio.get_running_loop().time(), 0.0)


def missing(last_id: int | None, last_ns: int | None, trades: RawTrades) -> list[Gap]:
    """What lacks between `last_id` and the ids above it, and between these. With None nothing lacks before the lowest."""
    ids = np.asarray(trades.ids)
    if not len(ids):
        return []
    before = int(ids.min()) - 1 if last_id is None else last_id
    if (int(ids[0]), int(ids[-1])) == (before + 1, before + len(ids)) and (ids[1:] > ids[:-1]).all():
        return []
    above, rows = np.unique(ids[ids > before], return_index=True)
    if not len(above):
        return []
    times = trades.ts_ns[ids > before][rows]
    edges = np.concatenate(([before], above))
    stamps = np.concatenate(([times[0] if last_ns is None else last_ns], times))
    jumps = np.flatnonzero(np.diff(edges) > 1).tolist()
    return [Gap(int(edges[j]) + 1, int(edges[j + 1]) - 1, int(stamps[j]), int(stamps[j + 1])) for j in jumps]


def runs(ids: Sequence[object] | NDArray[Any]) -> list[IdRange]:
    """Integer ids as ranges without a hole."""
    found = np.unique(np.asarray(ids))
    if not len(found):
        return []
    breaks = np.flatnonzero(np.diff(found) != 1) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(found, breaks)]


def minus(hole: IdRange, taken: Iterable[IdRange]) -> list[IdRange]:
    """The parts of a range that no other range covers."""
    first, last = hole
    parts: list[IdRange] = []
    for start, end in sorted(taken):
        if start > last or first > last:
            break
        if start > first:
            parts.append((first, start - 1))
        first = max(first, end + 1)
    return [*parts, (first, last)] if first <= last else parts
