"""An exchange that others have listened to for a while, trading at a steady rate, and our service beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from collectors.asking import RepairRules
from collectors.connection import Limits
from collectors.delays import Delays
from collectors.live import LiveCollector
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from collectors.venues.venue import VENUES, Venue
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Gap
from pipeline.trade import NS_PER_MINUTE, RawTrades, Reject
from pipeline.writer import Raws
from spillway.app import App
from spillway.backfill_desk import Desk
from spillway.backfill_requests import Request, Requests, Told
from spillway.collecting import Collection
from spillway.settings import Collect
from spillway.sources import Tuning
from spillway.spill import spill_now
from tests import judge

SYMBOLS = {"coinbase": "BTC-USD", "kraken": "BTC/USD", "bitflyer": "BTC_JPY"}
PAST, COUNT, PER_MINUTE, RATE = 8_000, 20_000, 600, 2_500.0
DEADLINE_S = 90.0


def tuning(requests_per_s: float) -> Tuning:
    return Tuning(
        limits=Limits(silence_s=5.0, handshake_s=5.0),
        rules=RepairRules(check_s=0.2, quiet_s=0.1, lag_s=0.05, delays=lambda: Delays(first_s=0.02, cap_s=0.1)),
        delays=lambda: Delays(first_s=0.005, cap_s=0.05, floor_s=0.001),
        requests_per_s=requests_per_s,
        connects_per_s=1e6,
    )


def tape(venue: Venue, count: int = COUNT) -> list[SimTrade]:
    """The last hours' trades, as the exchange tells them faster than they were."""
    start_ns = (time.time_ns() // NS_PER_MINUTE - count // PER_MINUTE - 30) * NS_PER_MINUTE
    step = 1 if venue.ids is IdRule.CONTIGUOUS else 7
    made = synthetic_trades(5, start_ns, count, SYMBOLS.get(venue.name, "BTCUSDT"), PER_MINUTE)
    return [msgspec.structs.replace(t, trade_id=1000 + t.trade_id * step) for t in made]


def expected(trades: Iterable[SimTrade]) -> judge.Levels:
    return judge.expected(
        {
            "time": str(t.ts_ns // 1_000_000),
            "id": str(t.trade_id),
            "price": t.price,
            "size": t.size,
            "side": "buy" if t.buy else "sell",
        }
        for t in trades
    )


class Nobody:
    """Takes trades, and forgets them."""

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
        pass

    def last_id(self) -> int | None:
        return None

    def last_ns(self) -> int | None:
        return None

    def gaps(self) -> list[Gap]:
        return []


@asynccontextmanager
async def exchange_with_a_past(venue: Venue, trades: Sequence[SimTrade], past: int = PAST) -> AsyncIterator[Simulator]:
    """Others heard `past` trades before us; then it waits for us, and goes on at its rate while we listen."""

    async def reject(symbol: str, *rejects: Reject) -> None:
        raise AssertionError(rejects)

    symbol, stop = trades[0].symbol, asyncio.Event()
    async with Simulator(trades, venue=venue.name, rate=RATE, lossy=False) as exchange:
        others = LiveCollector(
            venue=venue,
            symbols=[symbol],
            sinks={symbol: Nobody()},
            reject=reject,
            ws_url=exchange.ws_url,
            rest_url=exchange.rest_url,
        )
        listening = asyncio.create_task(others.run(stop))
        try:
            await until(lambda: len(exchange.happened) >= past)
        finally:
            stop.set()
            await listening
        yield exchange


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


@dataclass
class Running:
    """A collection with its desk in this process."""

    app: App
    venue: Venue
    exchange: Simulator
    trades: Sequence[SimTrade]
    collection: Collection

    @property
    def instrument(self) -> Instrument:
        return Instrument(self.venue.name, self.trades[0].symbol)

    @property
    def requests(self) -> Requests:
        return Requests(self.app.window)

    def request(self, first: int = 0, end: int | None = None, *, price_group: str | None = None) -> Request:
        """Minutes counted from the tape's first."""
        start = self.trades[0].ts_ns // NS_PER_MINUTE
        until_ns = None if end is None else (start + end) * NS_PER_MINUTE
        return Request((start + first) * NS_PER_MINUTE, until_ns, price_group, time.time_ns())

    async def put(self, request: Request) -> Request:
        await self.requests.put(self.instrument, request, new=True)
        return request

    async def until_told(self, request: Request, holds: Callable[[Told], object]) -> Told:
        async with asyncio.timeout(DEADLINE_S):
            while not holds(told := await self.requests.told(self.instrument, request)):
                await asyncio.sleep(0.01)
        return told

    async def over(self, request: Request) -> Told:
        return await self.until_told(request, lambda told: told.over)

    async def all_told(self) -> None:
        """Returns once the last trade of the tape was taken, and nothing lacks."""
        await until(self.exchange.done.is_set)
        feed = self.collection.feeds[self.instrument.symbol]
        await until(lambda: feed.writer.watermark_ns >= self.trades[-1].ts_ns and not feed.gaps())

    async def differences(self, trades: Iterable[SimTrade]) -> list[str]:
        report = await spill_now(self.app, True, lambda done, total: None)
        assert not report.failures
        return judge.differences(expected(trades), judge.stored(self.app.settings.data_dir))


@asynccontextmanager
async def running(
    app: App, venue: str, exchange: Simulator, trades: Sequence[SimTrade], *, requests_per_s: float = 50.0
) -> AsyncIterator[Running]:
    """Writes live trades from the first one on; stops as a service does."""
    symbol, stop = trades[0].symbol, asyncio.Event()
    entry = Collect(venue=venue, symbols=(symbol,), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    collection = Collection(app, entry, None, tuning=tuning(requests_per_s))
    tasks = [asyncio.create_task(collection.run(stop)), asyncio.create_task(Desk(app, [collection]).run(stop))]
    try:
        await until(lambda: symbol in collection.feeds and collection.feeds[symbol].writer.watermark_ns)
        yield Running(app, VENUES[venue], exchange, trades, collection)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
