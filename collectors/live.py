"""Live trades of one venue, for several symbols on one connection: reconnects, and repairs what a reconnect missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import structlog
from structlog.typing import FilteringBoundLogger

from collectors.connection import Connection, Delays, Limits, connect
from collectors.repair import History, OnReject, Repairer, RepairRules, TradeSink, missing
from collectors.rest import RestClient
from collectors.venues.history import Span
from collectors.venues.parsed import Parsed
from collectors.venues.venue import Venue
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule

__all__ = ["LiveCollector", "OnReject", "RepairRules", "TradeSink"]

T = TypeVar("T")


class LiveCollector:
    """Puts every trade of its symbols into their sinks, from the first one seen (or the last one stored) on.

    Ids that the stream skipped are asked for by REST and put with `repair=True`: before the live trades that follow them where
    that is quick, else beside them. What the venue can't give stays a gap, which the sink knows.
    """

    def __init__(
        self,
        *,
        venue: Venue,
        symbols: Sequence[str],
        sinks: Mapping[str, TradeSink],
        reject: OnReject,
        ws_url: str | None = None,
        rest_url: str | None = None,
        rest: RestClient | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        log: FilteringBoundLogger | None = None,
        limits: Limits | None = None,
        delays: Delays | None = None,
        rules: RepairRules | None = None,
    ) -> None:
        if not 0 < len(symbols) <= venue.limits.symbols_per_connection:
            raise BadValue(f"{venue.name}: {len(symbols)} symbols; expected 1 to {venue.limits.symbols_per_connection}")
        self.connected = False
        self.connections = 0  # opened so far: all but the first are reconnects
        self.last_frame_ns = 0
        self.frames = 0
        self.other = 0  # frames that are neither trades nor refused
        self.trades = 0  # live ones; see `repaired`
        self._venue = venue
        self._url = (ws_url or venue.ws_url) + venue.ws_path(symbols)
        self._rest = rest or RestClient(rest_url or venue.rest_url)
        self._parse = venue.parser(symbols)
        self._sinks = {symbol: sinks[symbol] for symbol in symbols}
        self._reject = reject
        self._clock_ns = clock_ns
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(venue=venue.name)
        self._limits = limits or Limits()
        self._delays = delays or Delays()
        self._rules = rules or RepairRules()
        self._connection: Connection | None = None
        self._repairers = {symbol: self._repairer(symbol) for symbol in symbols}

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return max(0, self.connections - 1)

    @property
    def repaired(self) -> int:
        """Trades fetched by REST."""
        return sum(repairer.repaired for repairer in self._repairers.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Collects until `stop` is set, puts what has arrived, and closes. Raises fatal VenueErrors and what sinks raise."""
        try:
            async with self._rest, asyncio.TaskGroup() as group:
                name = self._venue.name
                helpers = [group.create_task(self._halt(stop), name=f"halt {name}")]
                helpers += [group.create_task(r.run(), name=f"repair {name} {s}") for s, r in self._repairers.items()]
                await self._collect(stop)
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as several:
            if len(several.exceptions) == 1:
                raise several.exceptions[0] from None
            raise

    # --- connections ----------------------------------------------------------------------------------------------------

    async def _collect(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wait_s = 0.0
            try:
                await self._one_connection(stop)
            except VenueError as error:
                if error.fatal:
                    raise
                wait_s = error.retry_after_s
                self._log.warning("not connected", error=str(error))
            if not stop.is_set():
                await _unless(stop, asyncio.sleep(max(wait_s, self._delays.next_s())))

    async def _one_connection(self, stop: asyncio.Event) -> None:
        """A connection from its upgrade to its end."""
        connection = await _unless(stop, connect(self._url, self._limits))
        if connection is None:
            return
        opened, trades = asyncio.get_running_loop().time(), self.trades
        self._connection, self.connected = connection, True
        self.connections += 1
        self._log.info("connected", connections=self.connections)
        if self._venue.ids is IdRule.CONTIGUOUS:
            for repairer in self._repairers.values():
                repairer.catch_up()
        try:
            async with connection:
                await self._drain(connection, stop)
        finally:
            self._connection, self.connected = None, False
            self._delays.ended(self.trades - trades, asyncio.get_running_loop().time() - opened)
            self._log.info("disconnected", reason=connection.reason, trades=self.trades - trades)

    async def _halt(self, stop: asyncio.Event) -> None:
        await stop.wait()
        if self._connection is not None:
            self._connection.close("stopped")

    # --- frames ---------------------------------------------------------------------------------------------------------

    async def _drain(self, connection: Connection, stop: asyncio.Event) -> None:
        while frames := await connection.frames():
            self.last_frame_ns = self._clock_ns()
            self.frames += len(frames)
            await self._deliver(self._parse(frames), stop)

    async def _deliver(self, parsed: Parsed, stop: asyncio.Event) -> None:
        self.other += parsed.other
        for symbol, reject in parsed.rejects:
            await self._reject(symbol, reject)
        if self._venue.ids is IdRule.CONTIGUOUS:
            await self._repair_first(parsed, stop)
        for symbol, trades in parsed.trades.items():
            self.trades += len(trades.ts_ns)
            await self._sinks[symbol].put(trades, parsed.raws(symbol))

    async def _repair_first(self, parsed: Parsed, stop: asyncio.Event) -> None:
        """Has holes before and in these trades filled; returns when that is done, or too slow to wait for."""
        repairers = []
        for symbol, trades in parsed.trades.items():
            if holes := missing(self._sinks[symbol].last_id(), np.asarray(trades.ids)):
                repairers.append(self._repairers[symbol])
                repairers[-1].want(holes)
        if repairers and sum(repairer.pages for repairer in repairers) < self._rules.hold_pages:
            await _unless(stop, _all_settled(repairers), self._rules.hold_s)

    def _repairer(self, symbol: str) -> Repairer:
        return Repairer(
            symbol=symbol,
            sink=self._sinks[symbol],
            history=self._history(symbol),
            page_size=self._venue.limits.page_size,
            reject=self._reject,
            log=self._log.bind(symbol=symbol),
            rules=self._rules,
        )

    def _history(self, symbol: str) -> History:
        async def page(from_id: int, limit: int) -> Parsed:
            path = self._venue.history_path(symbol, Span(from_id, from_id + limit - 1), None)
            assert path is not None, "a walk has a first page"
            body = await self._rest.get(path)
            return self._venue.parse_history(symbol, body)

        return page


async def _all_settled(repairers: Sequence[Repairer]) -> None:
    for repairer in repairers:
        await repairer.settled.wait()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T | None:
    """What `work` gives; or None, with `work` cancelled, where `stop` or the time comes first."""
    tasks = asyncio.create_task(work, name="work"), asyncio.create_task(stop.wait(), name="work's stop")
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
