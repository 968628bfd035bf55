"""Bars out of minutes, and out of price levels. Sums are taken over scaled integers, so that they end on the same decimals as
exact ones. What is known of the bars' minutes is in their coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.minute import Status
from sinks.tables import TIME, US_PER_MINUTE, codes_of, stamps
from spillway.coverage import NEEDED as COVERAGE
from spillway.coverage import Coverage

COLUMNS = ("open", "high", "low", "close", "vwap", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count")
LEVEL_COLUMNS = ("timestamp", "price_level", "buy_volume", "sell_volume", "total_volume", "trade_count")
_DERIVED = ("vwap", "delta")
NEEDED = tuple(dict.fromkeys([*COVERAGE, *(name for name in COLUMNS if name not in _DERIVED), "notional", "size_scale"]))
_SUMMED = ("buy_volume", "sell_volume", "total_volume")
_WORST_FIRST = tuple(map(str, (Status.DEGRADED, Status.UNKNOWN, Status.REPAIRED, Status.COMPLETE)))
_EXACT, _LARGEST = 2**53, 2**63  # floats hold all integers up to the first, integers to the second


def bars_of(minutes: pa.Table, length: int, known: Coverage) -> pa.Table:
    """Bars of `length` minutes: timestamp (the bar's start), COLUMNS, minutes (those with trades), status (the worst), whole,
    missing_ids. `minutes` has the columns NEEDED."""
    start = stamps(minutes) // US_PER_MINUTE // length * length
    starts = np.flatnonzero(np.r_[True, start[1:] != start[:-1]]) if len(start) else np.zeros(0, np.int64)
    ends = np.r_[starts[1:], len(start)][: len(starts)] - 1
    taken = {name: minutes[name].to_numpy() for name in (*COLUMNS[:4], *_SUMMED, "trade_count", "notional")}
    scale = pc.max(minutes["size_scale"]).as_py() or 0
    volume = _volumes({name: taken[name] for name in _SUMMED}, starts, scale)
    columns = {
        "timestamp": pa.array(start[starts] * US_PER_MINUTE).cast(TIME),
        "open": taken["open"][starts],
        "high": _reduced(np.maximum, taken["high"], starts),
        "low": _reduced(np.minimum, taken["low"], starts),
        "close": taken["close"][ends],
        "vwap": _reduced(np.add, taken["notional"], starts) / volume["total_volume"],
        **volume,
        "trade_count": _reduced(np.add, taken["trade_count"], starts),
        "minutes": ends - starts + 1,
        "status": _worst(minutes["status"], starts),
        "whole": known.whole_in(start[starts], length),
        "missing_ids": known.missing_in(start[starts], start[starts] + length),
    }
    return pa.table(columns)


def level_bars_of(levels: pa.Table, length: int, scales: tuple[int, int], group: int) -> pa.Table:
    """The footprint of each bar of `length` minutes: a row for each bar and price, by both. timestamp (the bar's start),
    price_level, volumes, delta, trade_count.

    `scales`: the decimals that hold all prices (and the group), and all sizes. `group`: prices are floored to multiples of
    it; it is an integer at the price scale. `levels` has LEVEL_COLUMNS.
    """
    price_scale, size_scale = scales
    start = stamps(levels) // US_PER_MINUTE // length * length
    price = np.rint(levels["price_level"].to_numpy() * 10.0**price_scale).astype(np.int64) // group * group
    order = np.lexsort((price, start))
    start, price = start[order], price[order]
    changed = (start[1:] != start[:-1]) | (price[1:] != price[:-1])
    starts = np.flatnonzero(np.r_[True, changed]) if len(start) else np.zeros(0, np.int64)
    volume = _volumes({name: levels[name].to_numpy()[order] for name in _SUMMED}, starts, size_scale)
    columns = {
        "timestamp": pa.array(start[starts] * US_PER_MINUTE).cast(TIME),
        "price_level": price[starts] / 10.0**price_scale,
        **volume,
        "trade_count": _reduced(np.add, levels["trade_count"].to_numpy()[order], starts),
    }
    return pa.table(columns)


def _reduced(how: np.ufunc, values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    found: NDArray[Any] = how.reduceat(values, starts) if len(starts) else values[:0]
    return found


def _volumes(values: Mapping[str, NDArray[Any]], starts: NDArray[np.int64], scale: int) -> dict[str, NDArray[np.float64]]:
    """The sums of _SUMMED, and delta."""
    factor = 10.0**scale
    if all(np.abs(v).max(initial=0) * factor < _EXACT and np.abs(v).sum() * factor < _LARGEST for v in values.values()):
        values = {name: np.rint(v * factor).astype(np.int64) for name, v in values.items()}
    else:
        factor = 1.0  # beyond what integers hold: the last digit may be off
    sums = {name: _reduced(np.add, v, starts) for name, v in values.items()}
    return {name: v / factor for name, v in (sums | {"delta": sums["buy_volume"] - sums["sell_volume"]}).items()}


def _worst(status: pa.ChunkedArray, starts: NDArray[np.int64]) -> pa.Array:
    ranks = codes_of(status, _WORST_FIRST)
    return pa.DictionaryArray.from_arrays(pa.array(_reduced(np.minimum, ranks, starts), pa.int32()), pa.array(_WORST_FIRST))
