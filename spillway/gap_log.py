"""What collectors find missing, and what becomes of it, into the ledger: off the event loop, and durable before they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from pipeline.errors import StorageError
from pipeline.feed import Feed
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Gap, IdRange
from sinks.ledger.gap import GapState, GapSums
from sinks.ledger.gaps import GapBook

log = structlog.get_logger()


@dataclass(slots=True)
class LedgerGapLog:
    """The gaps of one venue. A ledger that can't be written is told and counted; the trades matter more, and go on.

    What it didn't take then, `reconcile` makes up for, as long as it is missing.
    """

    book: GapBook
    venue: str
    clock_ns: Callable[[], int]
    failed: int = 0
    sums: dict[Instrument, GapSums] = field(default_factory=dict)  # as of the last `refresh`

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        """Ids that were never seen; they will be asked for."""
        await self._write(self.book.found, Instrument(self.venue, symbol), list(gaps), self.clock_ns())

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        """Ids that the venue can't give."""
        await self._write(self.book.lost, Instrument(self.venue, symbol), *ids, why, self.clock_ns())

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        """Nobody listened between the trades of these times, and ids prove nothing."""
        state = GapState.REPAIRED if fetched else GapState.LOST
        write = partial(self.book.outage, state=state, how=how)
        times = sorted((before_ns, after_ns))
        await self._write(write, Instrument(self.venue, symbol), *times, self.clock_ns())

    async def reconcile(self, symbol: str, feed: Feed) -> None:
        """Holds the ledger against what the writer knows to be missing, which is the truth: what came since is repaired."""
        if feed.writer.rule is IdRule.CONTIGUOUS:
            write = partial(self.book.reconcile, known=feed.known_ids())
            await self._write(write, Instrument(self.venue, symbol), feed.gaps(), self.clock_ns())

    async def refresh(self) -> None:
        """Brings `sums` up to date."""
        try:
            self.sums = await asyncio.to_thread(partial(self.book.sums, venue=self.venue))
        except StorageError as error:
            log.error("the ledger can't be read", venue=self.venue, error=str(error))

    async def _write(self, write: Callable[..., Any], *arguments: Any) -> None:
        try:
            await asyncio.to_thread(write, *arguments)
        except StorageError as error:
            self.failed += 1
            log.error("a gap could not be written down", venue=self.venue, error=str(error))
