"""The bounded queue between a collector and a writer: when it is full, the collector waits, and so does its exchange."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np

from pipeline.minute import Gap, IdRange
from pipeline.trade import RawTrades
from pipeline.writer import Counts, Raws, Writer

BATCHES = 16
JOINED = 4_000  # trades taken at once, if more wait

Item = tuple[RawTrades, Raws, dict[str, bool]]


@dataclass(slots=True)
class Feed:
    """Feeds one writer. Collectors `put`; `run` takes, flushes every `flush_s`, and seals when `tick` says so."""

    writer: Writer
    clock_ns: Callable[[], int]
    flush_s: float = 0.1
    _queue: asyncio.Queue[Item | None] = field(default_factory=lambda: asyncio.Queue(BATCHES))
    _last_id: int | None = None
    _last_ns: int | None = None
    _held: list[Item | None] = field(default_factory=list)  # taken from the queue, and next to be looked at
    _closing: bool = False
    _ticked: bool = False
    _page: RawTrades | None = None  # of history: put, or being taken
    _before: tuple[Counts, int] | None = None  # what was counted when it came to be taken
    _told: asyncio.Future[Counts] | None = None
    _kept: asyncio.Future[None] | None = None

    async def put(
        self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False, apart: bool = False
    ) -> None:
        """Hands trades over; waits while the writer is behind.

        `repair`: a page of history, with all trades between its ends. `resumed`: the first live trades since a pause or the
        start, before which some may have been missed. `apart`: a page of history that need not join what is recorded.
        """
        await self._queue.put((trades, raws, {"repair": repair, "resumed": resumed, "apart": apart}))
        if apart:
            return  # live trades don't go on from there
        newest, newest_ns = _highest(trades), int(trades.ts_ns.max()) if len(trades.ts_ns) else 0
        if newest is not None:
            self._last_id = newest if self._last_id is None else max(self._last_id, newest)
        if 0 < newest_ns <= self.clock_ns() + self.writer.options.future_ns:  # what lies beyond is no trade
            self._last_ns = max(newest_ns, self._last_ns or 0)

    async def take(self, trades: RawTrades, raws: Raws) -> Counts:
        """Takes a page of history apart; what became of its trades (`taken` are summed, and soon in Redis).

        One page at a time, so that live trades never wait for more than one. Where the feed ends, nothing is told any more:
        cancel what waits.
        """
        self._page, self._told = trades, asyncio.get_running_loop().create_future()
        await self.put(trades, raws, apart=True)
        return await self._told

    async def keep(self) -> None:
        """Returns once all that was taken is in Redis, or Redis turned out to have gone back. Cancel it where the feed ends."""
        self._kept = asyncio.get_running_loop().create_future()
        self.tick()
        await self._kept

    def last_id(self) -> int | None:
        """The highest id handed over, or stored before; None at the very start, also where only older history is stored."""
        stored = self.writer.last_id if self.writer.began else None
        known = [i for i in (self._last_id, stored) if isinstance(i, int)]
        return max(known, default=None)

    def last_ns(self) -> int | None:
        """The latest exchange time handed over, or stored before; None at the very start, as `last_id`."""
        stored = self.writer.last_ns if self.writer.began else 0
        return max(self._last_ns or 0, stored) or None

    def gaps(self) -> list[Gap]:
        """Holes in the ids that the writer knows of."""
        return self.writer.gaps()

    def known_ids(self) -> IdRange | None:
        """The first and the last id between which `gaps` tells all that is missing; None where it can't tell."""
        return self.writer.known_ids()

    def tick(self) -> None:
        """Asks for a flush that seals by the clock and keeps the lease. Never waits: where trades queue up, it comes next."""
        self._ticked = True
        if self._queue.empty():
            self._queue.put_nowait(None)

    async def close(self) -> None:
        """No more will come: `run` ends when all is flushed."""
        self._closing = True
        await self._queue.put(None)

    async def run(self) -> None:
        """Takes and flushes until `close`; then all that was handed over is in Redis, and the lease is given up."""
        now = asyncio.get_running_loop().time
        due: float | None = None  # when what was taken must be flushed
        while not (self._closing and self._queue.empty() and not self._held):
            await self._tell()
            item = await self._next(None if due is None else due - now())
            if item:
                if item[0] is self._page:
                    self._before = replace(self.writer.counts), self.writer.taken_in
                item = self._with_more_of_its_kind(item)
                await self.writer.take(item[0], item[1], **item[2])
                due = due or now() + self.flush_s
            if self._ticked:
                self._ticked = False
                await self.writer.renew()
            if item is None or now() >= (due or 0):
                await self.writer.flush(self.clock_ns())
                due = None
        await self.writer.stop()

    async def _next(self, wait_s: float | None) -> Item | None:
        """The next trades of the queue, or None when none came in time, or there is something else to do."""
        if self._held:
            return self._held.pop()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                return await self._queue.get()
        return None

    async def _tell(self) -> None:
        """Between two items the writer does nothing else: here what became of a page can be told, and all be kept."""
        self._tell_of_page()
        kept, self._kept = self._kept, None
        if kept is not None:
            await self.writer.flush(self.clock_ns(), check=True)
            await self.writer.settle()
            if not kept.done():
                kept.set_result(None)

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

    def _with_more_of_its_kind(self, item: Item) -> Item:
        """An item joined with those that wait behind it: many small ones cost far more than one that is as large as all.

        Live ones only: a page of history holds all between its ends, which two pages together don't, and between two that
        are `resumed` some may lack.
        """
        parts, trades = [item], len(item[0].ts_ns)
        while not any(item[2].values()) and trades < JOINED and not self._queue.empty():
            other = self._queue.get_nowait()
            if other is None or other[2] != item[2] or not other[0].joins(item[0]):
                self._held.append(other)
                break
            parts.append(other)
            trades += len(other[0].ts_ns)
        return (RawTrades.joined([part[0] for part in parts]), _raws_of(parts), item[2]) if len(parts) > 1 else item


def _raws_of(parts: Sequence[Item]) -> Raws:
    """Row of the joined trades -> its raw text and where it stood."""
    firsts = [0, *accumulate(len(part[0].ts_ns) for part in parts)]

    def raw(row: int) -> tuple[str, str]:
        part = bisect_right(firsts, row) - 1
        return parts[part][1](row - firsts[part])

    return raw


def _highest(trades: RawTrades) -> int | None:
    if isinstance(trades.ids, np.ndarray):
        return int(trades.ids.max()) if len(trades.ids) and trades.ids.dtype != object else None
    return max((i for i in trades.ids if isinstance(i, int)), default=None)
