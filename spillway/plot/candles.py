"""Candles out of minutes: only open, high, low and close, which need no sums."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spillway.analysis.columns import Frame, minutes_of, numbers, require


def candles_of(minutes: Frame, first: int, every: int) -> pd.DataFrame:
    """A row per bar that traded: x (its number from `first` on), open, high, low, close."""
    require(minutes, ("timestamp", "open", "high", "low", "close"))
    times = minutes_of(minutes)
    order = np.argsort(times, kind="stable")
    number = (times[order] - first) // every
    starts = np.flatnonzero(np.r_[True, number[1:] != number[:-1]]) if len(number) else number
    ends = np.r_[starts[1:], len(number)][: len(starts)] - 1
    opens, highs, lows, closes = (numbers(minutes, name)[order] for name in ("open", "high", "low", "close"))
    return pd.DataFrame(
        {
            "x": number[starts],
            "open": opens[starts],
            "high": np.maximum.reduceat(highs, starts) if len(starts) else highs,
            "low": np.minimum.reduceat(lows, starts) if len(starts) else lows,
            "close": closes[ends],
        }
    )
