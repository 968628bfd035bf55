"""Live trades of any exchange that ccxt pro knows. Ids prove nothing here, so its minutes never are more than `unknown`.

What ccxt hides stays hidden: frames are not recorded, a silent connection is noticed only by ccxt's own pings, and whether
`side` is the taker's is ccxt's word. What it drops is told, as far as it shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from collectors.asking import GapLog, NoLog, OnReject, RepairRules, TradeSink
from collectors.ccxt_exchange import MOST_NEW, PREFIX, CcxtExchange, Rows, columns, has_ids, make, raws
from collectors.delays import Delays
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades, Reject

MOST_WAITING = 50_000  # trades: ccxt reads on however slow we are, so beyond these the connection is given up


@dataclass(frozen=True, slots=True)
class _Batch:
    """Trades of one symbol on their way to its sink."""

    symbol: str
    rows: Rows
    repair: bool = False


class CcxtCollector:
    """Puts the trades of its symbols into their sinks; after each connect it fetches what happened while nobody listened."""

    ids = IdRule.OPAQUE
    stream = "trade"

    def __init__(
        self,
        *,
        exchange_id: str,
        symbols: Sequence[str],
        sinks: Mapping[str, TradeSink],
        reject: OnReject,
        settings: Mapping[str, Any] | None = None,
        gap_log: GapLog | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        log: FilteringBoundLogger | None = None,
        delays: Delays | None = None,
        rules: RepairRules | None = None,
        make: Callable[[str, Mapping[str, Any]], Any] = make,
    ) -> None:
        """`settings` are given to ccxt as they are (addresses, proxies). BadValue where ccxt or the exchange isn't there."""
        if not symbols:
            raise BadValue(f"{PREFIX + exchange_id}: no symbols; expected at least 1")
        self.venue = PREFIX + exchange_id
        self.connected = False
        self.connections = 0  # opened so far
        self.last_frame_ns = 0
        self.trades = 0  # live ones; see `repaired`
        self.repaired = 0
        self._symbols = list(symbols)
        self._sinks = {symbol: sinks[symbol] for symbol in symbols}
        self._reject = reject  # of messages; bad trades go to their sinks, with their reasons
        self._make_one, self._exchange_id, self._settings = make, exchange_id, dict(settings or {})
        self._gap_log = gap_log or NoLog()
        self._clock_ns = clock_ns
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(venue=self.venue)
        self._delays = delays or Delays()
        self._rules = rules or RepairRules()
        self._resuming: set[str] = set()  # symbols of which no live trade came on this connection
        self._ids_seen = False
        self._waiting = 0  # trades and unread messages in the queue
        self._first: dict[str, asyncio.Future[RawTrades]] = {}  # the first live trades of each symbol on this connection
        self._queue: asyncio.Queue[_Batch | Reject | None] = asyncio.Queue()  # bounded by `_waiting`
        self._made: CcxtExchange | None = self._make()  # so that what is wrong shows at once

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return max(0, self.connections - 1)

    async def run(self, stop: asyncio.Event) -> None:
        """Collects until `stop` is set, puts what has arrived, and closes. Raises fatal VenueErrors and what sinks raise."""
        halt = asyncio.create_task(stop.wait(), name=f"halt {self.venue}")
        try:
            while not stop.is_set():
                wait_s = await self._one_connection(halt)
                if not stop.is_set():
                    await asyncio.wait({halt}, timeout=max(wait_s, self._delays.next_s()))
        finally:
            halt.cancel()

    def _make(self) -> CcxtExchange:
        exchange = CcxtExchange(self.venue, self._make_one(self._exchange_id, self._settings))
        exchange.tell(opened=self._opened, unread=self._unread)
        return exchange

    # --- connections ----------------------------------------------------------------------------------------------------

    async def _one_connection(self, halt: asyncio.Task[bool]) -> float:
        """A connection from its opening to its end. How long the exchange then wants to be left alone, in seconds."""
        exchange, self._made = self._made or self._make(), None
        loop = asyncio.get_running_loop()
        opened, trades = loop.time(), self.trades
        self._queue = asyncio.Queue()
        taking = asyncio.create_task(self._take_all(exchange), name=f"take {self.venue}")
        putting = asyncio.create_task(self._put_all(), name=f"put {self.venue}")
        try:
            await asyncio.wait({taking, putting, halt}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            putting.cancel()  # whoever cancels doesn't want to wait for sinks
            raise
        finally:
            self.connected = False
            taking.cancel()
            self._queue.put_nowait(None)
            await asyncio.gather(taking, putting, return_exceptions=True)
            await self._close(exchange)
            self._delays.ended(self.trades - trades, loop.time() - opened)
        putting.result()
        return self._why_ended(taking)

    async def _close(self, exchange: CcxtExchange) -> None:
        try:
            await exchange.close()
        except VenueError as error:
            self._log.warning("not closed", error=str(error))

    def _why_ended(self, taking: asyncio.Task[None]) -> float:
        error = None if taking.cancelled() else taking.exception()
        if isinstance(error, BaseExceptionGroup):  # one cut ends the watching of all symbols
            errors = list(error.exceptions)
            error = next((e for e in errors if not isinstance(e, VenueError) or e.fatal), errors[0])
        if error is None:
            return 0.0
        if not isinstance(error, VenueError) or error.fatal:
            raise error
        self._log.warning("disconnected", error=str(error))
        return error.retry_after_s

    async def _take_all(self, exchange: CcxtExchange) -> None:
        loop = asyncio.get_running_loop()
        self._first = {symbol: loop.create_future() for symbol in self._symbols}
        self._resuming, self._waiting = set(self._symbols), 0
        await exchange.load(self._symbols)
        async with asyncio.TaskGroup() as group:
            for symbol in self._symbols:
                group.create_task(self._watch(exchange, symbol), name=f"watch {self.venue} {symbol}")
                group.create_task(self._catch_up(exchange, symbol), name=f"fetch {self.venue} {symbol}")

    def _opened(self) -> None:
        """A websocket is open; some exchanges use several for one collector."""
        if not self.connected:
            self.connected = True
            self.connections += 1
            self._log.info("connected", connections=self.connections)

    def _unread(self, raw: str, reason: str) -> None:
        reject = Reject(raw, f"{self.venue} websocket", f"ccxt can't read it: {reason}")
        self._waiting += 1
        if self._waiting > MOST_WAITING:
            self._log.error("a message is lost", reason=reject.reason, raw=reject.raw[:200])
        else:
            self._queue.put_nowait(reject)

    # --- live trades ----------------------------------------------------------------------------------------------------

    async def _watch(self, exchange: CcxtExchange, symbol: str) -> None:
        """Takes trades without waiting for anything else: what comes while nobody asks would be told only with the next."""
        while True:
            rows = await exchange.watch(symbol)
            self.last_frame_ns = self._clock_ns()
            self._ids_seen = self._ids_seen or has_ids(rows)
            if rows and not self._ids_seen:
                raise VenueError(f"{self.venue}: {symbol}: its trades have no ids, so none could be counted once", fatal=True)
            if len(rows) >= MOST_NEW:  # put without those that are gone, they would hide the hole
                raise VenueError(f"{self.venue}: {symbol}: ccxt had to drop trades")
            if rows and not self._first[symbol].done():
                self._first[symbol].set_result(columns(rows))
            self._waiting += len(rows)
            self._queue.put_nowait(_Batch(symbol, rows))
            if self._waiting > MOST_WAITING:
                raise VenueError(f"{self.venue}: {symbol}: trades come faster than they can be put")

    async def _put_all(self) -> None:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Reject):
                self._waiting -= 1
                await self._reject("", item)
            elif item.rows:
                await self._put(item)

    async def _put(self, batch: _Batch) -> None:
        where = f"{self.venue} {'history' if batch.repair else 'websocket'}"
        sink, trades = self._sinks[batch.symbol], columns(batch.rows)
        if batch.repair:
            self.repaired += len(batch.rows)
            await sink.put(trades, raws(batch.rows, where), repair=True)
            return
        self._waiting -= len(batch.rows)
        self.trades += len(batch.rows)
        await sink.put(trades, raws(batch.rows, where), resumed=batch.symbol in self._resuming)
        self._resuming.discard(batch.symbol)

    # --- what happened while nobody listened ----------------------------------------------------------------------------

    async def _catch_up(self, exchange: CcxtExchange, symbol: str) -> None:
        """Fetches the newest trades, and writes down whether they join what was known before and the first live ones."""
        before_ns, first = self._sinks[symbol].last_ns(), self._first[symbol]
        if before_ns is None:
            return
        await asyncio.wait({first}, timeout=self._rules.quiet_s)
        if not first.done() and exchange.can_fetch:  # a quiet market; whether the stream runs, only a live trade shows
            await self._fetch(exchange, symbol, before_ns)
        after_ns = int((await asyncio.shield(first)).ts_ns.min())
        fetched, how = False, "ccxt has no fetchTrades for it"
        for again in range(self._rules.tries if exchange.can_fetch else 0):
            await asyncio.sleep(self._rules.lag_s * 2.0**again / 2 if again else 0.0)
            fetched, how = await self._fetch(exchange, symbol, before_ns)
            if fetched:
                break
        await self._gap_log.outage(symbol, before_ns, after_ns, fetched=fetched, how=how)

    async def _fetch(self, exchange: CcxtExchange, symbol: str, before_ns: int) -> tuple[bool, str]:
        """Puts one answer of the history. Whether it is all that was missed, and how that is known."""
        try:
            rows = await exchange.fetch(symbol)
        except VenueError as error:
            return False, str(error)
        self._queue.put_nowait(_Batch(symbol, rows, repair=True))
        page, first = columns(rows), self._first[symbol]
        if not (page.ts_ns[page.ts_ns > 0] <= before_ns).any():
            return False, "fetchTrades doesn't reach back so far"
        if not first.done() or not {*page.ids} & {*first.result().ids}:
            return False, "fetchTrades lags behind the stream"
        return True, "overlap fetched"
