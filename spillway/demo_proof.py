"""The demo's proof of P1: per minute and price, what is stored against what the exchange itself remembers. Whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from collectors.simulator import SimTrade
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_MINUTE
from spillway.store import Store

_CENTS, _UNITS = 100, 100_000  # the simulated prices and sizes in whole numbers

Sums = dict[tuple[int, int], tuple[int, int, int, int]]  # (minute, price) -> buy, sell, total, trades


@dataclass(frozen=True, slots=True)
class Proof:
    """How an instrument's minutes compare."""

    instrument: Instrument
    levels: int
    differing: int
    statuses: dict[str, int]  # of its minutes


def prove(store: Store, instrument: Instrument, trades: Sequence[SimTrade]) -> Proof:
    """Reads all that is stored of the instrument, and compares it with its trades."""
    want, have = _sums(trades), _read(store.levels(instrument.venue, instrument.symbol))
    differing = sum(want.get(key) != have.get(key) for key in want.keys() | have.keys())
    minutes = store.minutes(instrument.venue, instrument.symbol)
    statuses = {str(k): int(v) for k, v in minutes["status"].astype(str).value_counts().items()}
    return Proof(instrument, len(have), differing, statuses)


def _sums(trades: Sequence[SimTrade]) -> Sums:
    sums: dict[tuple[int, int], list[int]] = {}
    for t in trades:
        row = sums.setdefault((t.ts_ns // NS_PER_MINUTE, _whole(t.price, _CENTS)), [0, 0, 0, 0])
        size = _whole(t.size, _UNITS)
        row[0 if t.buy else 1] += size
        row[2] += size
        row[3] += 1
    return {key: (row[0], row[1], row[2], row[3]) for key, row in sums.items()}


def _whole(text: str, unit: int) -> int:
    whole, _, decimals = text.partition(".")
    digits = len(str(unit)) - 1
    return int(whole) * unit + int(decimals[:digits].ljust(digits, "0"))


def _read(frame: pd.DataFrame) -> Sums:
    minutes = (frame["timestamp"].astype("int64") // 60_000_000).tolist()
    columns = [(frame["price_level"] * _CENTS).round().astype("int64").tolist()]
    volumes = ("buy_volume", "sell_volume", "total_volume")
    columns += [(frame[name] * _UNITS).round().astype("int64").tolist() for name in volumes]
    rows = zip(minutes, *columns, frame["trade_count"].tolist(), strict=True)
    return {(minute, price): (buy, sell, total, count) for minute, price, buy, sell, total, count in rows}
