"""A feed that takes pages of history beside live trades, and tells what became of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from pipeline.feed import Feed, Item
from pipeline.trade import RawTrades
from pipeline.writer import Counts, Raws


@dataclass(slots=True)
class HistoryFeed(Feed):
    """One page at a time waits in the queue, so that live trades never wait for more than one. Where the feed ends, nothing
    more is told: cancel what waits."""

    _page: RawTrades | None = None  # put, or being taken
    _before: tuple[Counts, int] | None = None  # what was counted when it came to be taken
    _told: asyncio.Future[Counts] | None = None
    _kept: asyncio.Future[None] | None = None

    async def take(self, trades: RawTrades, raws: Raws) -> Counts:
        """Takes a page of history apart; what became of its trades (`taken` are summed, and soon in Redis)."""
        self._page, self._told = trades, asyncio.get_running_loop().create_future()
        await self.put(trades, raws, apart=True)
        return await self._told

    async def keep(self) -> None:
        """Returns once all that was taken is in Redis, or Redis turned out to have gone back."""
        self._kept = asyncio.get_running_loop().create_future()
        self.tick()
        await self._kept

    async def _next(self, wait_s: float | None) -> Item | None:
        """Between two items the writer does nothing else: here it can be asked."""
        self._tell_of_page()
        kept, self._kept = self._kept, None
        if kept is not None:
            await self.writer.flush(self.clock_ns(), check=True)
            await self.writer.settle()
            if not kept.done():
                kept.set_result(None)
        item = await Feed._next(self, wait_s)
        if item is not None and item[0] is self._page:
            self._before = replace(self.writer.counts), self.writer.taken_in
        return item

    def _tell_of_page(self) -> None:
        before, self._before = self._before, None
        if before is None or self._told is None or self._told.done():
            return
        counts, taken_in = before
        now = self.writer.counts
        rewound = now.rewinds != counts.rewinds  # then all is counted anew
        self._told.set_result(
            Counts(
                taken=0 if rewound else self.writer.taken_in - taken_in,
                duplicates=now.duplicates - counts.duplicates,
                late=now.late - counts.late,
                rejected=now.rejected - counts.rejected,
            )
        )
