"""Fills the holes in one instrument's ids from its venue's REST history, while live trades go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from structlog.typing import FilteringBoundLogger

from collectors.connection import Delays
from collectors.venues.history import Span
from collectors.venues.parsed import Parsed, Raws
from pipeline.errors import VenueError
from pipeline.ids import RangeSet
from pipeline.minute import Gap, IdRange
from pipeline.trade import RawTrades, Reject

History: TypeAlias = Callable[[int, int], Awaitable[Parsed]]  # (from id, how many) -> a page
OnReject: TypeAlias = Callable[[str, Reject], Awaitable[None]]  # (symbol, or "" where that can't be told; what and why)

_NEWEST = 2**63 - 1
_PUT_S = 1.0  # in which live trades that waited for a repair are put


class TradeSink(Protocol):
    """Where one instrument's trades go. `put` is called from two tasks: live trades from one, repairs from the other."""

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False) -> None:
        """Takes trades; waits while the writer is behind. Those known already are dropped there."""

    def last_id(self) -> int | None:
        """The highest id put so far, or stored by a former run; None if there is none."""

    def gaps(self) -> list[Gap]:
        """Holes known now."""


@dataclass(frozen=True, slots=True)
class RepairRules:
    """How holes are filled. Times in seconds."""

    hold_pages: int = 50  # live trades wait for the repair of holes of fewer requests than this ...
    hold_s: float = 10.0  # ... but no longer than this
    check_s: float = 30.0  # how often the sink is asked for holes
    quiet_s: float = 1.0  # without a live trade on a new connection: then history is asked for the newest ones
    tries: int = 5  # how often ids are asked for before they are taken for lost: history lags behind the stream
    lag_s: float = 1.0  # before the second try; doubles with each
    delays: Callable[[], Delays] = lambda: Delays(first_s=1.0, cap_s=60.0)  # while the venue fails


@dataclass(slots=True)
class _Hole:
    tries: int = 0  # answers without these ids
    due: float = 0.0  # loop time


class Repairer:
    """Asks for what one instrument lacks: at once, then, while the venue fails or lags, ever more seldom."""

    def __init__(
        self,
        *,
        symbol: str,
        sink: TradeSink,
        history: History,
        page_size: int,
        reject: OnReject,
        log: FilteringBoundLogger,
        rules: RepairRules,
    ) -> None:
        self.repaired = 0  # trades fetched
        self.lost = RangeSet()  # ids that the venue doesn't give
        self.settled = asyncio.Event()  # waiting gains nothing: all is filled, or it failed for now
        self.settled.set()
        self._symbol = symbol
        self._sink = sink
        self._history = history
        self._page_size = page_size
        self._reject = reject
        self._log = log
        self._rules = rules
        self._delays = rules.delays()
        self._holes: dict[IdRange, _Hole] = {}
        self._looked: dict[IdRange, int] = {}
        self._news = asyncio.Event()
        self._failing_until = 0.0  # loop time
        self._look_at = 0.0  # loop time
        self._follow_at: float | None = None  # loop time when the newest trades are asked for
        self._followed: int | None = None  # the last of them

    def catch_up(self) -> None:
        """Asks, in the background, for what came after the last trade put, unless live trades come soon and show it.

        In a quiet market it may be hours until a live trade shows that some were missed while nobody listened.
        """
        self._followed = self._sink.last_id()
        self._follow_at = asyncio.get_running_loop().time() + self._rules.quiet_s
        self._news.set()

    def want(self, holes: Iterable[IdRange]) -> None:
        """Asks, in the background, for holes that live trades have shown."""
        self._follow_at = None
        self._add(holes)

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

    def _add(self, holes: Iterable[IdRange]) -> None:
        new = [part for hole in holes for part in minus(hole, [*self.lost, *self._holes])]
        self._holes |= {hole: _Hole() for hole in new}
        if new and asyncio.get_running_loop().time() >= self._failing_until:
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
        if now < max(self._look_at, self._failing_until) or not self.settled.is_set():
            return
        self._look_at = now + self._rules.check_s
        gaps = [(gap.first_id, gap.last_id) for gap in self._sink.gaps()]
        unasked = [gap for gap in gaps if minus(gap, [*self.lost, *self._holes])]
        self._looked = {gap: self._looked.get(gap, 0) + 1 for gap in unasked}
        for gap, times in self._looked.items():
            if times > self._rules.tries:
                self._lose(gap, "fetched again and again, and still missing")
        self._add(unasked)

    async def _round(self) -> None:
        """One try at each hole that is due, as long as the venue answers."""
        now = asyncio.get_running_loop().time()
        if now < self._failing_until:
            return
        for hole in [hole for hole, state in self._holes.items() if state.due <= now]:
            try:
                lacking = await self._fill(*hole)
            except VenueError as error:
                if not error.fatal:
                    self._failed(error)
                    return
                del self._holes[hole]
                self._lose(hole, str(error))
            else:
                self._answered(hole, lacking)
        if self._follow_at is not None and self._follow_at <= now:
            await self._follow()

    async def _follow(self) -> None:
        """Fetches what came after the last trade put, until there is no more, or live trades take over."""
        try:
            while self._follow_at is not None and self._followed is not None and self._sink.last_id() == self._followed:
                ids = await self._page(self._followed + 1, _NEWEST)
                if ids is None:
                    break
                self._followed = int(ids.max())
        except VenueError as error:
            if not error.fatal:
                self._failed(error)
                return
            self._log.warning("can't ask for the newest trades", error=str(error))
        self._follow_at = None

    async def _fill(self, first: int, last: int) -> list[IdRange]:
        """Fetches first..last page by page. Returns what the venue did not give."""
        lacking: list[IdRange] = []
        at = first
        while at <= last:
            ids = await self._page(at, last)
            if ids is None:
                return [*lacking, (at, last)]
            lacking += missing(at - 1, ids)
            at = int(ids.max()) + 1
        return lacking

    async def _page(self, first: int, last: int) -> NDArray[np.int64] | None:
        """Fetches a page of first..last and puts it. Returns the ids that came, or None."""
        page = await self._history(first, min(self._page_size, last - first + 1))
        self._delays.tries = 0
        for symbol, reject in page.rejects:
            await self._reject(symbol, reject)
        page = page.within(self._symbol, Span(first, last))
        trades = page.trades[self._symbol]
        ids = np.asarray(trades.ids)
        if not len(ids):
            return None
        await self._sink.put(trades, page.raws(self._symbol), repair=True)
        self.repaired += len(ids)
        return ids

    def _answered(self, hole: IdRange, lacking: list[IdRange]) -> None:
        tries = self._holes.pop(hole).tries + 1
        due = asyncio.get_running_loop().time() + self._rules.lag_s * 2.0**tries / 2
        for part in lacking:
            if tries < self._rules.tries:
                self._holes[part] = _Hole(tries, due)
            else:
                self._lose(part, "the venue doesn't have them")

    def _failed(self, error: VenueError) -> None:
        wait_s = max(self._delays.next_s(), error.retry_after_s)
        self._failing_until = asyncio.get_running_loop().time() + wait_s
        self._log.warning("repair failed", holes=len(self._holes), error=str(error), again_in_s=round(wait_s, 1))

    def _lose(self, hole: IdRange, why: str) -> None:
        self.lost.add(*hole)
        self._log.warning("trades lost", first_id=hole[0], last_id=hole[1], reason=why)

    def _idle_s(self) -> float:
        """How long there is nothing to do, unless a new hole comes."""
        dues = [state.due for state in self._holes.values()]
        if self._follow_at is not None:
            dues.append(self._follow_at)
        at = max(min([*dues, self._look_at]), self._failing_until)
        return max(at - asyncio.get_running_loop().time(), 0.0)


def missing(last_id: int | None, ids: NDArray[np.int64]) -> list[IdRange]:
    """What lacks between `last_id` and the ids above it, and between these. With None nothing lacks before the lowest."""
    before = int(ids.min()) - 1 if last_id is None else last_id
    ends = int(ids[0]), int(ids[-1])
    if ends == (before + 1, before + len(ids)) and (ids[1:] > ids[:-1]).all():
        return []
    edges = np.concatenate(([before], np.unique(ids[ids > before])))
    jumps = np.flatnonzero(np.diff(edges) > 1)
    return [(int(edges[at]) + 1, int(edges[at + 1]) - 1) for at in jumps]


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
