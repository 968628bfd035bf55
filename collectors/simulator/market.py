"""A made-up market, the same for the same seed, for pictures and lessons. Pure.

What a reader of footprints looks for is in it because it was put in: hours differ in activity, buyers or sellers get the upper
hand for a while, and the price follows them, bouncing between bid and ask. Nothing else is to be learned from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectors.simulator.synthetic import SimTrade

MS_PER_MINUTE = 60_000
NS_PER_MS = 1_000_000
BUSIEST_HOUR = 14.5  # UTC
_DAY = 0.8  # the logarithm of how much busier the busiest hour is than the middle of the day
_FLOW = 0.14  # how far the share of buys goes from a half, when buyers have the upper hand
_LOTS = 100_000  # sizes are in 1/100,000
_SIZES = (6.5, 1.5)  # of lots: the mean and the deviation of their logarithm


@dataclass(frozen=True, slots=True)
class Market:
    """Trades of one instrument as columns, in time order."""

    time_ms: NDArray[np.int64]
    trade_id: NDArray[np.int64]
    price: NDArray[np.int64]  # in ticks
    lots: NDArray[np.int64]
    buy: NDArray[np.bool_]  # the taker bought
    decimals: int  # of a price; a tick is the last one

    def __len__(self) -> int:
        return len(self.time_ms)

    def where(self, chosen: NDArray[np.bool_]) -> Market:
        """Only these trades, with the ids that they have."""
        columns = ("time_ms", "trade_id", "price", "lots", "buy")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})

    def during(self, *spans: tuple[int, int]) -> NDArray[np.bool_]:
        """Which trades lie in one of these spans of time (ms since 1970, the end left out)."""
        found = np.zeros(len(self), np.bool_)
        for start, end in spans:
            found |= (self.time_ms >= start) & (self.time_ms < end)
        return found

    def numbered(self) -> Market:
        """The same trades with ids from 1, none left out."""
        return replace(self, trade_id=np.arange(1, len(self) + 1))

    def csv(self) -> Iterator[str]:
        """A tape, line by line."""
        yield "id,time,price,size,side\n"
        for trade_id, time_ms, price, size, buy in self._rows():
            yield f"{trade_id},{time_ms},{price},{size},{'buy' if buy else 'sell'}\n"

    def sim_trades(self, symbol: str) -> Iterator[SimTrade]:
        """The trades as an exchange simulator takes them."""
        for trade_id, time_ms, price, size, buy in self._rows():
            yield SimTrade(symbol, trade_id, time_ms * NS_PER_MS, price, size, buy)

    def _rows(self) -> Iterator[tuple[int, int, str, str, bool]]:
        unit, decimals = 10**self.decimals, self.decimals
        columns = (self.trade_id, self.time_ms, self.price, self.lots, self.buy)
        for trade_id, time_ms, ticks, lots, buy in zip(*(column.tolist() for column in columns), strict=True):
            price = f"{ticks // unit}.{ticks % unit:0{decimals}}" if decimals else str(ticks)
            yield trade_id, time_ms, price, f"{lots // _LOTS}.{lots % _LOTS:05}", buy


def market(
    seed: int,
    first_ms: int,
    minutes: int,
    *,
    price: float,
    decimals: int,
    per_minute: float,
    move_bp: float,
    traded: float = 1.0,
) -> Market:
    """So many minutes of trades, with ids from 1. It ends near the price at which it began.

    price, decimals: the first price, and how many decimals a tick is. per_minute: trades, on the average of the minutes that
    have any; traded: the share of those. move_bp: how far a trade moves the price, on the average, in basis points.
    """
    rng = np.random.default_rng(seed)
    counts = _counts(rng, first_ms, minutes, per_minute, traded)
    minute = np.repeat(np.arange(minutes), counts)
    count = len(minute)
    wave = _wave(rng, minutes, memory=0.96)
    flow = np.tanh(wave - np.average(wave, weights=counts))[minute]  # over all of it neither side wins
    buy = rng.random(count) < 0.5 + _FLOW * flow
    sign = np.where(buy, 1, -1)
    moves = sign * rng.exponential(move_bp, count) + rng.normal(0, 2 * move_bp, count)
    middle = price * 10**decimals * np.exp(np.cumsum(moves - moves.mean()) / 10_000)
    ticks = np.maximum(np.floor(middle).astype(np.int64) + buy, 1)  # the ask is a tick above the bid
    lots = np.exp(rng.normal(*_SIZES, count) + _FLOW * flow * sign).astype(np.int64) + 1
    time_ms = first_ms + np.sort(((minute + rng.random(count)) * MS_PER_MINUTE).astype(np.int64))
    return Market(time_ms, np.arange(1, count + 1), ticks, lots, buy, decimals)


def elsewhere(trades: Market, seed: int, share: float, off_bp: float) -> Market:
    """The same market at another venue: a share of its trades, at prices in whole units that are some basis points off."""
    rng = np.random.default_rng(seed)
    found = trades.where(rng.random(len(trades)) < share)
    off = _wave(rng, len(found), memory=0.98) * off_bp / 10_000
    price = (found.price / 10**found.decimals * (1 + off)).astype(np.int64)
    return replace(found, price=price, lots=rng.permutation(found.lots), decimals=0)


def _counts(rng: np.random.Generator, first_ms: int, minutes: int, per_minute: float, traded: float) -> NDArray[np.int64]:
    """Trades of each minute: a curve over the day, hours that are busier than others, and chance."""
    hours = (first_ms / MS_PER_MINUTE + np.arange(minutes)) / 60 % 24
    curve = np.exp(_DAY * np.cos((hours - BUSIEST_HOUR) * np.pi / 12))
    curve /= curve.mean()
    some = rng.random(minutes) < traded * (curve if traded < 1 else 1.0)
    expected = per_minute * (1.0 if traded < 1 else curve) * np.exp(_wave(rng, minutes, memory=0.9) * 0.5)
    return np.where(some, np.maximum(rng.poisson(expected), traded < 1), 0)


def _wave(rng: np.random.Generator, count: int, *, memory: float) -> NDArray[np.float64]:
    """Values around 0 with a deviation of about 1, each much like the one before."""
    pushes = rng.normal(0, np.sqrt(1 - memory**2), count)
    reach = int(5 / (1 - memory))
    return np.convolve(pushes, memory ** np.arange(reach))[:count]
