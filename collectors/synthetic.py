"""Made-up trades, the same for the same seed, and how Binance would tell them. Pure; for the demo, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

_NS_PER_MS = 1_000_000
_MS_PER_MINUTE = 60_000
_CENT = 100  # prices move in 1/100, sizes in 1/100,000
_LOTS = 100_000
_STEPS = (-25, -3, -1, 0, 0, 0, 1, 3, 25)
_BLOCK = 4096


class SimTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade as a simulated venue has it: price and size as it would write them, time in ns since 1970 (told in ms)."""

    symbol: str
    trade_id: int
    ts_ns: int
    price: str
    size: str
    buy: bool  # the taker bought
    count: int = 1


def synthetic_trades(
    seed: int, start_ns: int, count: int, symbol: str = "BTCUSDT", trades_per_minute: float = 1200.0
) -> Iterator[SimTrade]:
    """`count` trades with ids from 1: a random walk of the price by cents, sizes mostly small, and exponential pauses."""
    rng = np.random.default_rng(seed)
    price, at_ms = 6_000_000.0, start_ns / _NS_PER_MS
    for first in range(1, count + 1, _BLOCK):
        steps = rng.choice(_STEPS, _BLOCK).cumsum() + price
        cents = np.maximum(steps, _CENT).astype(np.int64).tolist()
        lots = (rng.lognormal(6.0, 1.8, _BLOCK).astype(np.int64) + 1).tolist()
        times = rng.exponential(_MS_PER_MINUTE / trades_per_minute, _BLOCK).cumsum() + at_ms
        buys = (rng.random(_BLOCK) < 0.5).tolist()
        rows = zip(range(first, count + 1), times.astype(np.int64).tolist(), cents, lots, buys, strict=False)
        for trade_id, ms, c, lot, buy in rows:
            texts = f"{c // _CENT}.{c % _CENT:02d}000000", f"{lot // _LOTS}.{lot % _LOTS:05d}000"
            yield SimTrade(symbol, trade_id, ms * _NS_PER_MS, *texts, buy)
        price, at_ms = max(float(steps[-1]), _CENT), float(times[-1])


@dataclass(frozen=True, slots=True)
class Wire:
    """How a venue tells trades: as the events of a stream, and as the rows of its history."""

    stream: str
    history: str
    event: Callable[[SimTrade], str]
    row: Callable[[SimTrade], str]

    def combined(self, trade: SimTrade) -> bytes:
        """The event as combined streams wrap it."""
        return f'{{"stream":"{trade.symbol.lower()}@{self.stream}","data":{self.event(trade)}}}'.encode()


def _spot_event(trade: SimTrade) -> str:
    at, maker = trade.ts_ns // _NS_PER_MS, "false" if trade.buy else "true"
    return (
        f'{{"e":"trade","E":{at},"s":"{trade.symbol}","t":{trade.trade_id},"p":"{trade.price}","q":"{trade.size}",'
        f'"T":{at},"m":{maker},"M":true}}'
    )


def _spot_row(trade: SimTrade) -> str:
    at, maker = trade.ts_ns // _NS_PER_MS, "false" if trade.buy else "true"
    return (
        f'{{"id":{trade.trade_id},"price":"{trade.price}","qty":"{trade.size}","quoteQty":"0","time":{at},'
        f'"isBuyerMaker":{maker},"isBestMatch":true}}'
    )


def _usdm_event(trade: SimTrade) -> str:
    return f'{{"e":"aggTrade","E":{trade.ts_ns // _NS_PER_MS},"s":"{trade.symbol}",{_usdm_row(trade)[1:]}'


def _usdm_row(trade: SimTrade) -> str:
    at, maker = trade.ts_ns // _NS_PER_MS, "false" if trade.buy else "true"
    first = trade.trade_id * 1000  # fills have ids of their own, and holes between aggregates
    return (
        f'{{"a":{trade.trade_id},"p":"{trade.price}","q":"{trade.size}","f":{first},"l":{first + trade.count - 1},'
        f'"T":{at},"m":{maker}}}'
    )


WIRES = {
    "binance": Wire("trade", "/api/v3/historicalTrades", _spot_event, _spot_row),
    "binance-usdm": Wire("aggTrade", "/fapi/v1/aggTrades", _usdm_event, _usdm_row),
}
