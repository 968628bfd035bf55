"""One walk over a range of history, page by page, into whatever takes the pages. It ends when nothing of the range lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog

from collectors.backfill import Page, Past
from collectors.venues.history import Reach, Span
from collectors.venues.venue import Venue
from pipeline.errors import JobRunning
from pipeline.minute import minute_text
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from pipeline.writer import Counts, Writer
from spillway.app import App
from spillway.backfill_summary import BackfillSummary

SPILL_S = 30.0  # between two spills, at least ...
SPILL_MINUTES = 500  # ... unless so many minutes were sealed since: months of them don't fit into Redis

Progress = Callable[[str, int, int, str], None]  # what, done, of how many, note

log = structlog.get_logger()


class Target(Protocol):
    """What takes an instrument's history: a writer of our own, or the running service's."""

    @property
    def writer(self) -> Writer:
        """Who writes it, to be asked what lacks."""

    @property
    def counts(self) -> Counts:
        """What became of the pages so far."""

    async def take(self, page: Page) -> None:
        """Takes a page; waits while the writer is behind."""

    async def keep(self) -> None:
        """Returns once all that was taken is in Redis, or Redis turned out to have gone back (`counts.rewinds`)."""


@dataclass(slots=True)
class Walk:
    """One range of one instrument."""

    app: App
    venue: Venue
    past: Past
    target: Target
    open_end: bool  # the range ends now: live trades are meant to follow
    progress: Progress
    summary: BackfillSummary
    _from_start: bool = False  # the beginning of the range is asked for
    _done: int = 0
    _total: int = 0
    _spilling: asyncio.Task[None] | None = None
    _spill_at: float = 0.0  # loop time
    _spilled_up_to: int = 0  # minutes sealed by then

    async def run(self) -> None:
        """Fetches what lacks. If Redis goes back meanwhile, what it forgot lacks again."""
        try:
            rewinds = -1
            while rewinds != self.target.counts.rewinds:
                rewinds = self.target.counts.rewinds
                await self._once()
                if self.open_end:
                    self.target.writer.begin()
                await self.target.keep()
        finally:
            await self._spilled()

    async def finish(self, seconds: float) -> BackfillSummary:
        """Spills what came, where it is old enough, and sums up."""
        await self._spill()
        summary = self.summary
        summary.counts, summary.requests = self.target.counts, self.past.requests
        summary.gap_ids = sum(map(len, self.target.writer.gaps()))
        summary.seconds = seconds
        return summary

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _once(self) -> None:
        parts = await self._parts()
        self._done, self._total = 0, sum(size for _, size in parts)
        for span, size in parts:
            end = self._done + size
            async for page in self.past.pages(span):
                await self._take(page)
                self._report(page, end)
            self._done = end

    async def _parts(self) -> list[tuple[Span, int]]:
        """What lacks of the range, as the venue's history wants it told, and the size of each part for the progress."""
        since_ns, until_ns = self.summary.since_ns, self.summary.until_ns
        if since_ns >= until_ns:
            return []
        if self.venue.reach is Reach.NEWEST:
            self._from_start = True
            return [(Span(since_ns=since_ns, until_ns=until_ns - 1), 1)]
        if self.venue.reach is Reach.TIME:
            times = self.target.writer.unseen_ns(since_ns, until_ns - 1)
            self._from_start |= any(a == since_ns for a, _ in times)
            return [(Span(since_ns=a, until_ns=b), (b - a) // NS_PER_S) for a, b in times]
        self.progress("looking for the range", 0, 1, "")
        first, last = await self.past.ids(since_ns, until_ns)
        self.progress("looking for the range", 1, 1, "")
        parts = self.target.writer.unseen(first, last) if first <= last else []
        self._from_start |= any(a == first for a, _ in parts)
        # with the known trades at both ends: what lacks between them and what comes, the venue lacks
        return [(Span(max(first, a - 1), min(last, b + 1)), b - a + 1) for a, b in parts]

    async def _take(self, page: Page) -> None:
        await self.target.take(page)
        self.summary.fetched += len(page.trades.ts_ns)
        if page.oldest_ns is not None and self._from_start:
            self.summary.oldest_ns = min(page.oldest_ns, self.summary.oldest_ns or page.oldest_ns)
        await self._spill_now_and_then()

    def _report(self, page: Page, end: int) -> None:
        trades = page.trades
        if len(trades.ts_ns):
            keys = trades.ts_ns // NS_PER_S if self.venue.reach is Reach.TIME else np.asarray(trades.ids)
            size = 1 if self.venue.reach is Reach.NEWEST else int(keys.max()) - int(keys.min())
            self._done = min(self._done + size, end)
            at = minute_text(int(trades.ts_ns[-1]) // NS_PER_MINUTE)
            self.progress("backfill", self._done, self._total, f"{self.summary.fetched:,} trades, at {at}")

    # --- spilling meanwhile ---------------------------------------------------------------------------------------------

    async def _spill_now_and_then(self) -> None:
        """Beside the fetching; one at a time."""
        now, sealed = asyncio.get_running_loop().time(), self.target.counts.sealed - self._spilled_up_to
        due = sealed >= SPILL_MINUTES or (sealed and now >= self._spill_at)
        if not due or (self._spilling and not self._spilling.done()):
            return
        await self._spilled()
        self._spill_at, self._spilled_up_to = now + SPILL_S, self.target.counts.sealed
        self._spilling = asyncio.create_task(self._spill(), name="spill")

    async def _spilled(self) -> None:
        task, self._spilling = self._spilling, None
        if task:
            await task

    async def _spill(self) -> None:
        try:
            report = await self.app.spill(only=self.summary.instrument)
        except JobRunning as running:  # by a service beside us: it spills these minutes as well
            log.info("spill skipped", reason=str(running))
            return
        self.summary.spilled += report.written
        self.summary.failures = report.failures
