"""Fetches what happened while nobody listened, where ids prove nothing: the overlap with what is known, merged by id."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from collectors.asking import Asking, Market, RepairRules
from collectors.venues.history import Span
from pipeline.errors import VenueError
from pipeline.trade import NS_PER_S, RawTrades

MARGIN_NS = 2 * NS_PER_S  # what came last may not have been in order, and some of it not have come
MOST_OUTAGES = 100  # that wait for a venue that fails; the oldest two then become one


@dataclass(slots=True)
class _Outage:
    """A stretch in which trades may have been missed: from the last trade known to the first live one after it."""

    since_id: int | None
    since_ns: int
    until_id: int | None = None
    until_ns: int | None = None  # None: no live trade came yet
    due: float = 0.0  # loop time
    tries: int = 0
    page: RawTrades | None = None  # the last answer of a walk that is under way: a failure doesn't begin it anew
    reached: bool = False  # one of the answers went back to what is known

    @property
    def span(self) -> Span:
        """What to ask for: with both edges, which tell whether history reaches that far."""
        return Span(None, self.until_id, self.since_ns - MARGIN_NS, self.until_ns)

    @property
    def inside(self) -> Span:
        """What is put of it: what is known already is dropped there. Of opaque ids the edges' own times belong to it too."""
        last_id = None if self.until_id is None else self.until_id - 1
        return Span(None, last_id, self.since_ns - MARGIN_NS, self.until_ns)

    def ends_with(self, trades: RawTrades) -> bool:
        """Whether one of these live trades is newer than what was known; some venues begin by telling old ones again."""
        ids = np.asarray(trades.ids)
        newer = ids > self.since_id if self.since_id is not None else trades.ts_ns > self.since_ns
        if not newer.any():
            return False
        self.until_id = int(ids[newer].min()) if self.since_id is not None else None
        self.until_ns = int(trades.ts_ns[newer].min())
        self.due = 0.0
        return True

    def reached_by(self, page: RawTrades) -> bool:
        """Whether an answer goes back to what is known."""
        if not len(page.ts_ns):
            return False
        known = self.since_id is not None and int(np.asarray(page.ids).min()) <= self.since_id
        return known or int(page.ts_ns.min()) <= self.since_ns

    def caught_up_with(self, page: RawTrades) -> bool:
        """Whether an answer holds the trade after the stretch: until then history lags behind the stream."""
        if self.until_ns is None:
            return True
        if not len(page.ts_ns):
            return False
        if self.until_id is not None:
            return int(np.asarray(page.ids).max()) >= self.until_id
        return int(page.ts_ns.max()) >= self.until_ns


class Overlapper:
    """After each reconnect asks for the trades since the last one known: at once, later again while the venue fails or lags."""

    def __init__(self, of: Market, *, rules: RepairRules) -> None:
        self.settled = asyncio.Event()  # live trades need never wait: what is fetched is merged wherever it belongs
        self.settled.set()
        self._of = of
        self._rules = rules
        self._asking = Asking(of, rules)
        self._open: _Outage | None = None  # since the last connect, while no live trade has come
        self._outages: list[_Outage] = []
        self._news = asyncio.Event()

    @property
    def repaired(self) -> int:
        """Trades fetched; some were known."""
        return self._asking.repaired

    def connected(self) -> None:
        """On a new connection: what came after the last trade put will be asked for."""
        since_ns = self._of.sink.last_ns()
        if since_ns is not None:
            due = asyncio.get_running_loop().time() + self._rules.quiet_s
            self._open = _Outage(self._of.sink.last_id(), since_ns, due=due)
            self._news.set()

    def saw(self, trades: RawTrades) -> bool:
        """Live trades are about to be put: they need not wait."""
        if self._open is not None and self._open.ends_with(trades):
            self._outages.append(self._open)
            self._open = None
            if len(self._outages) > MOST_OUTAGES:
                first, second = self._outages[:2]
                first.until_id, first.until_ns = second.until_id, second.until_ns
                del self._outages[1]
            self._news.set()
        return False

    @property
    def resuming(self) -> bool:
        """Whether no live trade came since the last connect that is newer than what was known."""
        return self._open is not None

    @property
    def pending(self) -> int:
        """Stretches that are still to be asked for."""
        return len(self._outages) + (self._open is not None and self._open.due < math.inf)

    async def run(self) -> None:
        """Fetches overlaps until it is cancelled."""
        while True:
            self._news.clear()
            await self._round()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._idle_s())

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._asking.failing_until:
            return
        try:
            for outage in [outage for outage in self._outages if outage.due <= now]:
                await self._try(outage)
            if self._open is not None and self._open.due <= now:
                await self._follow(self._open)
        except VenueError as error:
            self._asking.failed(error, len(self._outages))

    async def _try(self, outage: _Outage) -> None:
        try:
            reached = await self._fetch(outage)
        except VenueError as error:
            if not error.fatal:
                raise
            await self._end(outage, False, str(error))
            return
        if reached is not None:
            await self._end(outage, reached, "overlap fetched" if reached else "the venue's history doesn't reach back so far")

    async def _follow(self, outage: _Outage) -> None:
        """In a quiet market: what there is now; the next live trade asks for the rest."""
        outage.due = asyncio.get_running_loop().time() + self._rules.check_s
        try:
            reached = await self._fetch(outage)
        except VenueError as error:
            if not error.fatal:
                raise
            self._of.log.warning("can't ask for the newest trades", error=str(error))
            return
        if reached and self._open is outage:
            outage.due = math.inf  # whatever comes from now on is heard
            outage.since_ns = max(outage.since_ns, self._of.sink.last_ns() or 0)
            outage.since_id = self._of.sink.last_id() if outage.since_id is not None else None

    async def _fetch(self, outage: _Outage) -> bool | None:
        """Walks back over an outage. Whether history reached what is known; None if it lags behind the stream, for now."""
        while (answer := await self._asking.ask(outage.span, outage.page)) is not None:
            page = answer.trades[self._of.symbol]
            if outage.page is None and not outage.caught_up_with(page) and self._lags(outage):
                return None
            await self._asking.put(answer, outage.inside)
            outage.reached = outage.reached or outage.reached_by(page)
            outage.page = page
        outage.page = None
        return outage.reached

    def _lags(self, outage: _Outage) -> bool:
        outage.tries += 1
        outage.due = asyncio.get_running_loop().time() + self._rules.lag_s * 2.0**outage.tries / 2
        return outage.tries < self._rules.tries

    async def _end(self, outage: _Outage, fetched: bool, how: str) -> None:
        self._outages.remove(outage)
        until_ns = outage.until_ns or outage.since_ns
        if not fetched:
            self._of.log.warning("trades may be lost", since_ns=outage.since_ns, until_ns=until_ns, reason=how)
        await self._of.gap_log.outage(self._of.symbol, outage.since_ns, until_ns, fetched=fetched, how=how)

    def _idle_s(self) -> float | None:
        """How long there is nothing to do, unless a live trade comes; None: for ever."""
        dues = [outage.due for outage in [*self._outages, *([self._open] if self._open else [])] if outage.due < math.inf]
        if not dues:
            return None
        at = max(min(dues), self._asking.failing_until)
        return max(at - asyncio.get_running_loop().time(), 0.0)
