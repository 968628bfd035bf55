"""Made-up trades, the same for the same seed. Pure; for the demo, tests and benchmarks."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

_NS_PER_MS = 1_000_000
_MS_PER_MINUTE = 60_000
_CENT = 100  # prices move in 1/100, sizes in 1/100,000
_LOTS = 100_000
_STEPS = (-25, -3, -1, 0, 0, 0, 1, 3, 25)
_BLOCK = 4096


class SimTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade as a simulated venue has it: price and size as it would write them, time in ns since 1970.

    A venue tells the time as exactly as it does in truth: most of them in ms.
    """

    symbol: str
    trade_id: int
    ts_ns: int
    price: str
    size: str
    buy: bool  # the taker bought
    count: int = 1


def synthetic_trades(
    seed: int,
    start_ns: int,
    count: int,
    symbol: str = "BTCUSDT",
    trades_per_minute: float = 1200.0,
    *,
    step_ns: int = _NS_PER_MS,
) -> Iterator[SimTrade]:
    """`count` trades with ids from 1: a random walk of the price by cents, sizes mostly small, and exponential pauses.

    Their times are whole multiples of `step_ns`.
    """
    rng = np.random.default_rng(seed)
    price, at_ms = 6_000_000.0, start_ns / _NS_PER_MS
    for first in range(1, count + 1, _BLOCK):
        steps = rng.choice(_STEPS, _BLOCK).cumsum() + price
        cents = np.maximum(steps, _CENT).astype(np.int64).tolist()
        lots = (rng.lognormal(6.0, 1.8, _BLOCK).astype(np.int64) + 1).tolist()
        times = rng.exponential(_MS_PER_MINUTE / trades_per_minute, _BLOCK).cumsum() + at_ms
        ticks = (times * (_NS_PER_MS / step_ns)).astype(np.int64).tolist()
        buys = (rng.random(_BLOCK) < 0.5).tolist()
        rows = zip(range(first, count + 1), ticks, cents, lots, buys, strict=False)
        for trade_id, tick, c, lot, buy in rows:
            texts = f"{c // _CENT}.{c % _CENT:02d}000000", f"{lot // _LOTS}.{lot % _LOTS:05d}000"
            yield SimTrade(symbol, trade_id, tick * step_ns, *texts, buy)
        price, at_ms = max(float(steps[-1]), _CENT), float(times[-1])


def merged(*tapes: Iterable[SimTrade]) -> list[SimTrade]:
    """Several symbols' tapes as one, in order of time."""
    return list(heapq.merge(*tapes, key=lambda trade: trade.ts_ns))


def with_shared_ids(*tapes: Iterable[SimTrade], first_id: int = 1) -> list[SimTrade]:
    """Several symbols' tapes as one, their ids from one sequence, as Bitstamp, bitFlyer and Bybit's spot market count."""
    return [msgspec.structs.replace(trade, trade_id=number) for number, trade in enumerate(merged(*tapes), first_id)]
