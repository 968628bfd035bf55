"""Sums a batch of trades per minute and price: the inner loop, twice.

`_by_arrays` is for many trades at once, `_by_rows` for few, and for numbers that 64 bits don't hold. A test holds them equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.fixed import Integers
from pipeline.ids import RangeSet
from pipeline.minute import IdRange
from pipeline.trade import NS_PER_MINUTE, TradeBatch, TradeId

FEW = 48  # below this many trades the arrays' set-up costs more than the rows' loop
_ROOM = 2**62  # sums stay below it, with a bit to spare

Row = tuple[int, int, int, int, int]


@dataclass(slots=True)
class MinuteSum:
    """What a batch holds for one minute. `levels`: (price, buy, sell, total, trade count), prices as traded."""

    minute: int
    open: int
    high: int
    low: int
    close: int
    first_id: TradeId
    last_id: TradeId
    first_ns: int
    last_ns: int
    seen: int
    levels: list[Row] = field(default_factory=list)
    id_ranges: list[IdRange] = field(default_factory=list)


def sums(batch: TradeBatch, *, with_ranges: bool) -> Iterator[MinuteSum]:
    """A sorted batch as sums, minute by minute in time order. `with_ranges`: ids are integers whose ranges matter."""
    if len(batch) >= FEW and _fits(batch):
        return _by_arrays(batch, with_ranges)
    return _by_rows(batch, with_ranges)


def _fits(batch: TradeBatch) -> bool:
    if object in (batch.price.dtype, batch.size.dtype):
        return False
    return int(batch.size.max()) < _ROOM // len(batch) and int(batch.count.max()) < _ROOM // len(batch)


def _by_rows(batch: TradeBatch, with_ranges: bool) -> Iterator[MinuteSum]:
    found: dict[int, MinuteSum] = {}
    levels: dict[int, dict[int, list[int]]] = {}
    ranges: dict[int, RangeSet] = {}
    columns = (c.tolist() for c in (batch.ids, batch.ts_ns, batch.price, batch.size, batch.side, batch.count))
    for trade_id, ts_ns, price, size, side, count in zip(*columns, strict=True):
        minute = ts_ns // NS_PER_MINUTE
        bar = found.get(minute)
        if bar is None:
            bar = MinuteSum(minute, price, price, price, price, trade_id, trade_id, ts_ns, ts_ns, 0)
            found[minute], levels[minute], ranges[minute] = bar, {}, RangeSet()
        bar.high, bar.low = max(bar.high, price), min(bar.low, price)
        bar.close, bar.last_id, bar.last_ns = price, trade_id, ts_ns
        bar.seen += 1
        row = levels[minute].setdefault(price, [0, 0, 0, 0])
        row[0] += size if side > 0 else 0
        row[1] += size if side < 0 else 0
        row[2] += size
        row[3] += count
        if with_ranges:
            ranges[minute].add(trade_id, trade_id)
    for minute in sorted(found):
        found[minute].levels = [(p, *levels[minute][p]) for p in sorted(levels[minute])]  # type: ignore[misc]
        found[minute].id_ranges = list(ranges[minute])
        yield found[minute]


def _by_arrays(batch: TradeBatch, with_ranges: bool) -> Iterator[MinuteSum]:
    minute = batch.ts_ns // NS_PER_MINUTE
    if not (minute[1:] >= minute[:-1]).all():  # times step back across a minute: keep each minute's own order
        order = np.argsort(minute, kind="stable")
        batch, minute = batch.take(order), minute[order]
    starts = np.flatnonzero(np.r_[True, minute[1:] != minute[:-1]])
    ends = np.r_[starts[1:], len(minute)]
    levels = _level_rows(batch, minute)
    highs, lows = np.maximum.reduceat(batch.price, starts).tolist(), np.minimum.reduceat(batch.price, starts).tolist()
    for start, end, high, low in zip(starts.tolist(), ends.tolist(), highs, lows, strict=True):
        first, last = start, end - 1
        yield MinuteSum(
            int(minute[start]),
            int(batch.price[first]),
            high,
            low,
            int(batch.price[last]),
            batch.ids.item(first),
            batch.ids.item(last),
            int(batch.ts_ns[first]),
            int(batch.ts_ns[last]),
            end - start,
            next(levels),
            _id_ranges(batch.ids[start:end]) if with_ranges else [],
        )


def _level_rows(batch: TradeBatch, minute: NDArray[np.int64]) -> Iterator[list[Row]]:
    """For each minute in turn, its level rows in price order."""
    order = np.lexsort((batch.price, minute)) if minute[0] != minute[-1] else np.argsort(batch.price)
    price, size, side, of = batch.price[order], batch.size[order], batch.side[order], minute[order]
    new_minute = np.r_[True, of[1:] != of[:-1]]
    starts = np.flatnonzero(new_minute | np.r_[True, price[1:] != price[:-1]])
    rows = zip(
        price[starts].tolist(),
        np.add.reduceat(np.where(side > 0, size, 0), starts).tolist(),
        np.add.reduceat(np.where(side < 0, size, 0), starts).tolist(),
        np.add.reduceat(size, starts).tolist(),
        np.add.reduceat(batch.count[order], starts).tolist(),
        strict=True,
    )
    sizes = np.diff(np.r_[np.flatnonzero(new_minute[starts]), len(starts)]).tolist()
    for size_of_minute in sizes:
        yield [next(rows) for _ in range(size_of_minute)]


def _id_ranges(ids: Integers) -> list[IdRange]:
    if int(ids[-1]) - int(ids[0]) == len(ids) - 1:
        return [(int(ids[0]), int(ids[-1]))]
    breaks = np.flatnonzero(ids[1:] - ids[:-1] != 1)
    return list(zip(ids[np.r_[0, breaks + 1]].tolist(), ids[np.r_[breaks, len(ids) - 1]].tolist(), strict=True))
