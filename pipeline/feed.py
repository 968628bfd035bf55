"""The bounded queue between a collector and a writer: when it is full, the collector waits, and so does its exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from pipeline.minute import Gap
from pipeline.trade import RawTrades
from pipeline.writer import Raws, Writer

BATCHES = 16


@dataclass(slots=True)
class Feed:
    """Feeds one writer. Collectors `put`; `run` takes, flushes every `flush_s`, and seals when `tick` says so."""

    writer: Writer
    clock_ns: Callable[[], int]
    flush_s: float = 0.1
    _queue: asyncio.Queue[tuple[RawTrades, Raws, bool] | None] = field(default_factory=lambda: asyncio.Queue(BATCHES))
    _last_id: int | None = None
    _closing: bool = False
    _ticked: bool = False

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False) -> None:
        """Hands trades over; waits while the writer is behind."""
        await self._queue.put((trades, raws, repair))
        newest = _highest(trades)
        if newest is not None:
            self._last_id = newest if self._last_id is None else max(self._last_id, newest)

    def last_id(self) -> int | None:
        """The highest id handed over, or stored before; None at the very start."""
        known = [i for i in (self._last_id, self.writer.last_id) if isinstance(i, int)]
        return max(known, default=None)

    def gaps(self) -> list[Gap]:
        """Holes in the ids that the writer knows of."""
        return self.writer.gaps()

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
        while not (self._closing and self._queue.empty()):
            item = await self._next(None if due is None else due - now())
            if item:
                await self.writer.take(item[0], item[1], repair=item[2])
                due = due or now() + self.flush_s
            if self._ticked:
                self._ticked = False
                await self.writer.renew()
            if item is None or now() >= (due or 0):
                await self.writer.flush(self.clock_ns())
                due = None
        await self.writer.stop()

    async def _next(self, wait_s: float | None) -> tuple[RawTrades, Raws, bool] | None:
        """The next trades of the queue, or None when none came in time, or there is something else to do."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                return await self._queue.get()
        return None


def _highest(trades: RawTrades) -> int | None:
    if isinstance(trades.ids, np.ndarray):
        return int(trades.ids.max()) if len(trades.ids) and trades.ids.dtype != object else None
    return max((i for i in trades.ids if isinstance(i, int)), default=None)
