"""Trades to measure with: real Binance ones where the recorded frames are at hand, else made-up ones much like them.

The same on every machine and in every run. Prices are whole cents, sizes whole 1/100,000: exact, and quick to write as text.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

CENTS, LOTS = 2, 5  # decimals of prices and sizes
MS_PER_MINUTE = 60_000
PER_MINUTE = 2000  # trades; with the steps below they touch some 600 prices
RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"

FIRST_CENTS = 6_000_000
_SWEEPS = 0.095  # of all orders
_SWEEP_TRADES, _TAKE_TRADES = 9, 2  # trades that such an order makes, on the average
_STEP_CENTS = 30.0  # from one price of a sweep to the next
_USUAL_LOTS = (9, 10, 40, 2000, 17, 13, 21, 6, 20, 10_000)
_USUAL_WEIGHTS = (17, 5, 2, 2, 1.6, 1.5, 1.3, 1.2, 1, 1)


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades of one instrument in time order, as columns."""

    time_ms: NDArray[np.int64]
    cents: NDArray[np.int64]
    lots: NDArray[np.int64]
    sold: NDArray[np.bool_]  # the taker sold

    def __len__(self) -> int:
        return len(self.time_ms)


def synthetic(
    minutes: int, *, start_ms: int, per_minute: int = PER_MINUTE, seed: int = 1, first_cents: int = FIRST_CENTS
) -> Trades:
    """So many minutes of market orders: most take what stands at the best price, some sweep many prices one way.

    Trades a level, levels of one side, sizes, and how well it all compresses are about those of the recorded minutes.
    """
    rng = np.random.default_rng(seed)
    count = minutes * per_minute
    orders = count // 2
    sweeping = rng.random(orders) < _SWEEPS
    lengths = np.where(sweeping, rng.geometric(1 / _SWEEP_TRADES, orders), rng.geometric(1 / _TAKE_TRADES, orders))
    order = np.repeat(np.arange(orders), lengths)[:count]
    sold = (np.cumsum(rng.random(orders) < 0.4) & 1).astype(bool)[order]
    steps = np.where(sweeping[order], np.round(rng.exponential(_STEP_CENTS, count)), 0) * np.where(sold, -1, 1)
    best = np.maximum(first_cents + np.cumsum(steps).astype(np.int64), 2)
    pauses = np.cumsum(rng.exponential(1.0, orders))[order]
    time_ms = start_ms + (pauses / (pauses[-1] + 1e-9) * (minutes * MS_PER_MINUTE - 1)).astype(np.int64)
    return Trades(time_ms, best - sold, _lots(rng, count), sold)


def _lots(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Sizes: few are asked for again and again, the others are spread over five decades."""
    usual = rng.choice(_USUAL_LOTS, count, p=np.array(_USUAL_WEIGHTS) / sum(_USUAL_WEIGHTS))
    return np.where(rng.random(count) < 0.45, usual, np.exp(rng.normal(6.0, 2.2, count)).astype(np.int64) + 1)


def laps(trades: Trades, count: int, *, end_ms: int) -> Trades:
    """`count` trades: the given ones again and again, their own time apart, the last one at `end_ms`."""
    lap, place = np.divmod(np.arange(count), len(trades))
    span = int(trades.time_ms[-1] - trades.time_ms[0]) + 1
    time_ms = trades.time_ms[place] + lap * span
    return Trades(time_ms + (end_ms - time_ms[-1]), trades.cents[place], trades.lots[place], trades.sold[place])


class _Trade(msgspec.Struct):
    e: str = ""
    p: str = ""
    q: str = ""
    T: int = 0
    m: bool = False


class _Frame(msgspec.Struct):
    data: _Trade


def recorded() -> Trades | None:
    """Five recorded minutes of Binance BTCUSDT, or None where the recording isn't here."""
    paths = sorted((RECORDED / "frames").glob("binance_spot_btcusdt_*.gz"))
    if not paths:
        return None
    decode = msgspec.json.Decoder(_Frame).decode
    with gzip.open(paths[0]) as lines:
        found = [decode(line.split(b" ", 1)[1]).data for line in lines if b'"e":"trade"' in line]
    return Trades(
        np.array([t.T for t in found]),
        np.array([_whole(t.p, CENTS) for t in found]),
        np.array([_whole(t.q, LOTS) for t in found]),
        np.array([t.m for t in found]),
    )


def _whole(text: str, decimals: int) -> int:
    """A text of eight decimals as a whole number of the last one that is used."""
    unit: int = 10 ** (8 - decimals)
    value, rest = divmod(int(text.replace(".", "")), unit)
    if rest:
        raise ValueError(f"{text} has more than {decimals} decimals")
    return value
