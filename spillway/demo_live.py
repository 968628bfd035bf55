"""The demo's live part: two exchanges on loopback where all sorts of things go wrong, collected as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from collectors.connection import Limits
from collectors.delays import Delays
from collectors.simulator import Faults, SimTrade, Simulator, synthetic_trades
from pipeline.instrument import Instrument
from spillway.app import App
from spillway.collecting import Collection
from spillway.settings import Collect
from spillway.sources import Tuning

INSTRUMENTS = (Instrument("binance", "ETHUSDT"), Instrument("coinbase", "BTC-USD"))
RATE = 3_000  # trades a second on each
SECONDS = 10
PATIENCE_S = 35  # for the last repair, after which the proof says what lacks
_TICK_S = 0.25

FAULTS = Faults(
    seed=11,
    cut=5_000,
    close=12_000,
    silence=12_000,
    again=2_000,
    disorder=1_500,
    hole=2_500,
    malformed=1_500,
    huge=12_000,
    refuse=0.1,
    slam=0.1,
    busy=0.05,
    broken=0.05,
    garbled=0.05,
)
# A demo needn't be polite to itself, and has no half minute to wait for a silent exchange.
TUNING = Tuning(
    limits=Limits(silence_s=1.0),
    delays=lambda: Delays(first_s=0.05, cap_s=0.1),
    requests_per_s=50.0,
    connects_per_s=50.0,
)


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What became of one exchange's trades."""

    instrument: Instrument
    trades: Sequence[SimTrade]
    faults: dict[str, int]  # how often each happened
    reconnects: int
    repaired: int  # trades that came by REST
    dead_letters: int


async def collect_live(app: App) -> list[LiveResult]:
    """Collects from all exchanges at once until the last trade of each is in."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_collect(app, each), name=f"live {each}") for each in INSTRUMENTS]
    return [task.result() for task in running]


async def _collect(app: App, instrument: Instrument) -> LiveResult:
    symbol = instrument.symbol
    trades = list(synthetic_trades(FAULTS.seed, time.time_ns(), RATE * SECONDS, symbol, RATE * 60))
    async with Simulator(trades, venue=instrument.venue, rate=RATE, faults=FAULTS) as exchange:
        entry = Collect(venue=instrument.venue, symbols=(symbol,), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        collection, stop = Collection(app, entry, None, tuning=TUNING), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collection.run(stop), name=f"collect {instrument}")
            await _until_all(collection, symbol, len(trades))
            stop.set()
        return LiveResult(
            instrument,
            trades,
            {fault: times for fault, times in exchange.befell.items() if times},
            collection.total("reconnects"),
            collection.total("repaired"),
            collection.dead_letters,
        )


async def _until_all(collection: Collection, symbol: str, count: int) -> None:
    """Until all trades are in, or it's too late; with the tick that seals minutes and keeps the lease."""
    clock = asyncio.get_running_loop().time
    latest = clock() + SECONDS + PATIENCE_S
    while clock() < latest:
        feed = collection.feeds.get(symbol)
        if feed is not None:
            if feed.writer.taken_in >= count:
                return
            feed.tick()
        await asyncio.sleep(_TICK_S)
