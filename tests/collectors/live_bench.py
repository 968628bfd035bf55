"""A live collector beside its simulated exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from collectors.delays import Delays
from collectors.live import LiveCollector, RepairRules
from collectors.pace import Pace
from collectors.rest import RestClient
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from collectors.venues.venue import VENUES
from pipeline.trade import Reject
from tests.collectors.list_sink import ListSink, Row

START_NS = 1_723_161_255 * 10**9


def trades(count: int, symbol: str = "BTCUSDT", first_id: int = 1) -> list[SimTrade]:
    made = synthetic_trades(5, START_NS, count, symbol)
    return [SimTrade(t.symbol, t.trade_id + first_id - 1, t.ts_ns, t.price, t.size, t.buy) for t in made]


def expected(tape: Iterable[SimTrade]) -> list[Row]:
    return sorted((t.ts_ns, t.price, t.size, 1 if t.buy else -1) for t in tape)


def quick() -> Delays:
    return Delays(first_s=0.002, cap_s=0.01)


RULES = RepairRules(check_s=0.05, tries=3, lag_s=0.01, delays=quick)


class Bench:
    """An exchange, a collector of its trades, and what became of them."""

    def __init__(self, exchange: Simulator, sinks: dict[str, ListSink], name: str, rules: RepairRules, **options: Any) -> None:
        self.exchange, self.sinks = exchange, sinks
        self.sink = next(iter(sinks.values()))
        self.rejects: list[tuple[str, Reject]] = []
        self.stop = asyncio.Event()
        rest = options.pop("rest", None) or RestClient(exchange.rest_url, tries=1, timeout_s=5)
        usual = {"ws_url": exchange.ws_url, "rest": rest, "delays": quick(), "rules": rules, "connects": Pace()}
        self.collector = LiveCollector(
            symbols=list(sinks), sinks=sinks, reject=self._reject, **{"venue": VENUES[name], **usual, **options}
        )
        self.run = asyncio.create_task(self._run(rest))

    async def _run(self, rest: RestClient) -> None:
        async with rest:
            await self.collector.run(self.stop)

    async def _reject(self, symbol: str, reject: Reject) -> None:
        self.rejects.append((symbol, reject))

    async def until(self, true: Callable[[], bool]) -> None:
        """Until something has come about, unless the collector ends with an error first."""
        async with asyncio.timeout(20):
            while not true():
                if self.run.done() and not self.run.cancelled():
                    await self.run
                await asyncio.sleep(0.001)

    @property
    def received(self) -> int:
        """Frames that the collector has, put or not."""
        connection = self.collector._current
        return self.collector.frames + (connection.buffered if connection else 0)

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(5):
            await self.run


@asynccontextmanager
async def bench(
    tape: list[SimTrade],
    *,
    venue: str = "binance",
    sinks: dict[str, ListSink] | None = None,
    rules: RepairRules = RULES,
    options: dict[str, Any] | None = None,
    **faults: Any,
) -> AsyncIterator[Bench]:
    async with Simulator(tape, venue=venue, **faults) as exchange:
        it = Bench(exchange, sinks or {"BTCUSDT": ListSink()}, venue, rules, **(options or {}))
        try:
            yield it
        finally:
            it.run.cancel()
            await asyncio.gather(it.run, return_exceptions=True)
