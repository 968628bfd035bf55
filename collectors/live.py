"""Live trades of one venue, for the symbols of one connection: reconnects, and repairs what a reconnect missed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from collectors.asking import GapLog, History, Market, NoLog, OnReject, RepairRules, TradeSink
from collectors.connection import Connection, Limits, connect
from collectors.delays import Delays
from collectors.overlap import Overlapper
from collectors.pace import Pace
from collectors.repair import Repairer
from collectors.rest import RestClient
from collectors.venues.history import Span
from collectors.venues.parsed import Parsed, Refusal
from collectors.venues.venue import Venue
from collectors.waiting import result_or_cancel, unless
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades

__all__ = ["LiveCollector", "OnReject", "RepairRules", "TradeSink"]

T = TypeVar("T")
Record = Callable[[Sequence[bytes], Sequence[int]], Awaitable[None]]  # frames, and when each was received, in ns

_EARLY = 0.95, 0.99  # of a connection's allowed life: between them the next one is opened
_GATHER_S, _MOST_GATHER_S = 0.01, 0.1
_QUIET_S = 10.0  # how long a new connection may be without a frame before the old one is given up all the same
_REPLACED = "replaced"


class LiveCollector:
    """Puts every trade of its symbols into their sinks, from the first one seen (or the last one stored) on.

    Ids that the stream skipped are asked for by REST and put with `repair=True`: before the live trades that follow them where
    that is quick, else beside them. What the venue can't give stays a gap, which the sink knows. Where ids prove nothing, the
    trades since the last one known are fetched after each reconnect.
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
        connects: Pace | None = None,
        record: Record | None = None,
        gap_log: GapLog | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        log: FilteringBoundLogger | None = None,
        limits: Limits | None = None,
        delays: Delays | None = None,
        rules: RepairRules | None = None,
    ) -> None:
        """`rest` and `connects` may be shared by several collectors of a venue; a `rest` that is given must be open already."""
        if not 0 < len(symbols) <= venue.limits.symbols_per_connection:
            raise BadValue(f"{venue.name}: {len(symbols)} symbols; expected 1 to {venue.limits.symbols_per_connection}")
        self.connected = False
        self.connections = 0  # opened so far, but those that replaced one in time
        self.replaced = 0
        self.last_frame_ns = 0
        self.lag_ns = 0  # of the newest trade of the last frames: from the exchange's time to ours
        self.frames = 0
        self.other = 0  # frames that are neither trades nor refused
        self.rejected = 0
        self.trades = 0  # live ones; see `repaired`
        self.refused: dict[str, str] = {}  # symbol -> why the venue refuses it
        self._venue = venue
        self._symbols = list(symbols)
        self._base_url = ws_url or venue.ws_url
        self._own_rest = rest is None
        self._rest = rest or RestClient.within(venue.limits, rest_url or venue.rest_url)
        self._connects = connects or Pace(venue.limits.connects_per_s)
        self._parse = venue.parser(symbols)
        self._sinks = {symbol: sinks[symbol] for symbol in symbols}
        self._reject = reject
        self._record = record
        self._gap_log = gap_log or NoLog()
        self._clock_ns = clock_ns
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(venue=venue.name)
        self._limits = limits or Limits(gather_s=gather_s(len(symbols)))
        self._delays = delays or Delays()
        self._rules = rules or RepairRules()
        self._alive: set[Connection] = set()  # those that are not left yet
        self._current: Connection | None = None
        self._trades_before = 0  # the current connection
        self._renew = asyncio.Event()  # the connection should be replaced
        self._repairers = {symbol: self._repairer(symbol) for symbol in symbols}

    @property
    def reconnects(self) -> int:
        """Connections after the first that none had been ready to replace."""
        return max(0, self.connections - 1)

    @property
    def repaired(self) -> int:
        """Trades fetched by REST."""
        return sum(repairer.repaired for repairer in self._repairers.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Collects until `stop` is set, puts what has arrived, and closes. Raises fatal VenueErrors and what sinks raise."""
        try:
            async with AsyncExitStack() as stack:
                if self._own_rest:
                    await stack.enter_async_context(self._rest)
                stack.push_async_callback(self._leave_all)
                group = await stack.enter_async_context(asyncio.TaskGroup())
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
        """One connection after the other; one that is replaced in time by the next needs no repair."""
        ready: Connection | None = None
        in_time = False
        while not stop.is_set():
            wait_s = 0.0
            try:
                if connection := ready or await unless(stop, self._open()):
                    ready = await self._use(connection, stop, fresh=not in_time)
                    in_time = ready is not None and connection.reason == _REPLACED  # it may have been cut before
            except VenueError as error:
                if error.fatal:
                    raise
                ready, in_time, wait_s = None, False, error.retry_after_s
                self._log.warning("not connected", error=str(error))
            if ready is None and not stop.is_set():
                await unless(stop, asyncio.sleep(max(wait_s, self._delays.next_s())))

    async def _open(self) -> Connection:
        """A new connection, subscribed. VenueError."""
        await self._connects.turn()
        symbols = [symbol for symbol in self._symbols if symbol not in self.refused]
        stamps = self._clock_ns if self._record else None
        connection = await connect(self._base_url + self._venue.ws_path(symbols), self._limits, stamps)
        self._alive.add(connection)
        try:
            await self._subscribe(connection, symbols)
        except BaseException:
            await self._leave(connection)
            raise
        return connection

    async def _leave(self, connection: Connection) -> None:
        await connection.leave()
        self._alive.discard(connection)

    async def _leave_all(self) -> None:
        """Leaves what nobody took: a connection may be opened in the very moment in which all ends."""
        for connection in list(self._alive):
            await self._leave(connection)

    async def _subscribe(self, connection: Connection, symbols: Sequence[str]) -> None:
        limits = self._venue.limits
        connection.keep_alive(limits.keepalive, limits.keepalive_s)
        for number, message in enumerate(self._venue.subscriptions(symbols)):
            if number >= limits.messages_per_s:
                await asyncio.sleep(1 / limits.messages_per_s)
            connection.send(message)

    async def _use(self, connection: Connection, stop: asyncio.Event, *, fresh: bool) -> Connection | None:
        """Takes a connection's frames until it ends. The one that is ready to take over, if it was replaced in time."""
        loop = asyncio.get_running_loop()
        opened, trades = loop.time(), self.trades
        self._current, self.connected, self._trades_before = connection, True, trades
        self._renew.clear()
        if stop.is_set():  # it may have come before there was a connection to close
            connection.close("stopped")
        if fresh:
            self._begin()
        else:
            self.replaced += 1
        next_one = asyncio.create_task(self._successor(connection), name=f"successor {self._venue.name}")
        try:
            try:
                await self._drain(connection, stop)
            finally:
                await self._leave(connection)
        except BaseException:
            if successor := await result_or_cancel(next_one):
                await self._leave(successor)
            raise
        finally:
            self._current, self.connected = None, False
            self._delays.ended(self.trades - trades, loop.time() - opened)
            self._log.info("disconnected", reason=connection.reason, trades=self.trades - trades)
        return await result_or_cancel(next_one)

    def _begin(self) -> None:
        self.connections += 1
        self._log.info("connected", connections=self.connections)
        for repairer in self._repairers.values():
            repairer.connected()

    async def _successor(self, current: Connection) -> Connection:
        """Opens the next connection before this one is cut, and ends this one when the next tells all that this one does.

        What both tell comes twice, and the sinks drop it; the next one's frames wait until all of this one's are taken.
        """
        early_s = self._venue.limits.lifetime_s * (_EARLY[0] + (_EARLY[1] - _EARLY[0]) * self._delays.random())
        try:
            async with asyncio.timeout(early_s if early_s < math.inf else None):
                await self._renew.wait()
                await asyncio.sleep(self._delays.next_s())  # all clients were told so at once, and maybe not for the first time
        except TimeoutError:
            pass
        delays = replace(self._delays)
        while True:
            try:
                successor = await self._ready_one()
                break
            except VenueError as error:
                self._log.warning("no replacement yet", error=str(error))
                await asyncio.sleep(max(error.retry_after_s, delays.next_s()))
        current.close("replaced while behind" if current.behind else _REPLACED)
        return successor

    async def _ready_one(self) -> Connection:
        """A connection that could take over: it is heard, and what was sent before that has come by the current one."""
        successor = await self._open()
        try:
            await successor.heard(_QUIET_S)
            await asyncio.sleep(self._limits.overlap_s)
            if successor.reason:
                raise VenueError(f"{self._venue.name}: {successor.reason}")
        except BaseException:
            await self._leave(successor)
            raise
        return successor

    async def _halt(self, stop: asyncio.Event) -> None:
        await stop.wait()
        if self._current is not None:
            self._current.close("stopped")

    # --- frames ---------------------------------------------------------------------------------------------------------

    async def _drain(self, connection: Connection, stop: asyncio.Event) -> None:
        while frames := await connection.frames():
            self.last_frame_ns = self._clock_ns()
            self.frames += len(frames)
            if self._record:
                await self._record(frames, connection.stamps)
            await self._deliver(self._parse(frames), stop)

    async def _deliver(self, parsed: Parsed, stop: asyncio.Event) -> None:
        self.other += parsed.other
        self.rejected += len(parsed.rejects)
        for symbol, reject in parsed.rejects:
            await self._reject(symbol, reject)
        if parsed.reconnect:
            self._renew.set()
        resuming = {symbol for symbol in parsed.trades if self._repairers[symbol].resuming}
        await self._repair_first(parsed, stop)
        for symbol, trades in parsed.trades.items():
            await self._put(symbol, trades, parsed, symbol in resuming)
        for refusal in parsed.refusals:
            self._refuse(refusal)

    async def _put(self, symbol: str, trades: RawTrades, parsed: Parsed, resumed: bool) -> None:
        if not len(trades.ts_ns):
            return
        self.trades += len(trades.ts_ns)
        self.lag_ns = self.last_frame_ns - int(trades.ts_ns.max())
        await self._sinks[symbol].put(trades, parsed.raws(symbol), resumed=resumed)

    async def _repair_first(self, parsed: Parsed, stop: asyncio.Event) -> None:
        """Has what lacks before and in these trades asked for; returns when that is done, or too slow to wait for."""
        worth = [self._repairers[symbol] for symbol, trades in parsed.trades.items() if self._repairers[symbol].saw(trades)]
        if worth:
            await unless(stop, _all_settled(worth), self._rules.hold_s)

    def _refuse(self, refusal: Refusal) -> None:
        """Goes on with what isn't refused; VenueError where nothing is left."""
        self._log.error("the venue refuses a subscription", symbol=refusal.symbol, reason=refusal.reason)
        where = f"{self._venue.name}: subscription refused"
        if not refusal.symbol:
            if self.trades == self._trades_before:
                raise VenueError(f"{where}: {refusal.reason}")
            return
        self.refused[refusal.symbol] = refusal.reason
        if len(self.refused) == len(self._symbols):
            told = "; ".join(f"{symbol}: {reason}" for symbol, reason in sorted(self.refused.items()))
            raise VenueError(f"{where}: {told}", fatal=True)

    # --- repair ---------------------------------------------------------------------------------------------------------

    def _repairer(self, symbol: str) -> Repairer | Overlapper:
        log = self._log.bind(symbol=symbol)
        market = Market(symbol, self._sinks[symbol], self._history(symbol), self._reject, self._gap_log, log)
        if self._venue.ids is IdRule.CONTIGUOUS:
            return Repairer(market, page_size=self._venue.limits.page_size, rules=self._rules)
        return Overlapper(market, rules=self._rules)

    def _history(self, symbol: str) -> History:
        asked: str | None = None

        async def answer(span: Span, page: RawTrades | None) -> Parsed | None:
            nonlocal asked
            path = self._venue.history_path(symbol, span, page)
            if path is None or (page is not None and path == asked):  # a venue that gives the same page for ever
                return None
            answer = self._venue.parse_history(symbol, await self._rest.get(path))
            asked = path
            return answer

        return answer


def gather_s(symbols: int) -> float:
    """How long frames should gather: with many symbols a short while gives each of them next to nothing, and costs as much."""
    return min(_GATHER_S * max(1.0, symbols / 10), _MOST_GATHER_S)


async def _all_settled(repairers: Sequence[Repairer | Overlapper]) -> None:
    for repairer in repairers:
        await repairer.settled.wait()
