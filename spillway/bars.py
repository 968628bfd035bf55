"""Bars out of minutes. Sums are taken over scaled integers, so that they end on the same decimals as exact ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.minute import Status
from sinks.tables import US_PER_MINUTE

COLUMNS = ("open", "high", "low", "close", "vwap", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count")
_WORST_FIRST = (Status.DEGRADED, Status.UNKNOWN, Status.REPAIRED, Status.COMPLETE)
_EXACT = 2**53  # floats hold all integers up to here


def bars_of(minutes: pa.Table, length: int) -> pd.DataFrame:
    """Bars of `length` minutes: timestamp (the bar's start), COLUMNS, minutes (those with trades), status (the worst)."""
    frame = minutes.to_pandas()
    if frame.empty:
        return pd.DataFrame(columns=["timestamp", *COLUMNS, "minutes", "status"])
    start = minutes["timestamp"].cast(pa.int64()).to_numpy() // US_PER_MINUTE // length * length
    starts = np.flatnonzero(np.r_[True, start[1:] != start[:-1]])
    ends = np.r_[starts[1:], len(start)] - 1
    scale = int(frame["size_scale"].max())
    volume = {name: _sums(frame[name].to_numpy(), starts, scale) for name in ("buy_volume", "sell_volume", "total_volume")}
    delta = _sums(frame["delta"].to_numpy(), starts, scale)
    notional = np.add.reduceat(frame["notional"].to_numpy(), starts)
    columns = {
        "timestamp": pd.to_datetime(start[starts] * 60, unit="s", utc=True).as_unit("us"),
        "open": frame["open"].to_numpy()[starts],
        "high": np.maximum.reduceat(frame["high"].to_numpy(), starts),
        "low": np.minimum.reduceat(frame["low"].to_numpy(), starts),
        "close": frame["close"].to_numpy()[ends],
        "vwap": notional / volume["total_volume"],
        **volume,
        "delta": delta,
        "trade_count": np.add.reduceat(frame["trade_count"].to_numpy(), starts),
        "minutes": ends - starts + 1,
        "status": _worst(frame["status"].astype(str).to_numpy(), starts),
    }
    return pd.DataFrame(columns)


def _sums(values: NDArray[np.float64], starts: NDArray[np.intp], scale: int) -> NDArray[np.float64]:
    factor = 10.0**scale
    if len(values) and np.abs(values).sum() * factor >= _EXACT:
        return np.add.reduceat(values, starts)  # beyond what integers in floats hold: the last digit may be off
    return np.add.reduceat(np.rint(values * factor).astype(np.int64), starts) / factor


def _worst(status: NDArray[np.object_], starts: NDArray[np.intp]) -> list[str]:
    rank = {str(s): n for n, s in enumerate(_WORST_FIRST)}
    ranks = np.array([rank[s] for s in status])
    return [str(_WORST_FIRST[n]) for n in np.minimum.reduceat(ranks, starts)]
