"""What a chart of bars shows: candles, volume by side, cumulative delta. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis.columns import Frame, minutes_of, require
from spillway.plot.candles import candles_of
from spillway.plot.holes import Holes, bounds, holes_of, within
from spillway.plot.scale import bar_length, length_text, span_text
from spillway.times import TimeLike, bar_minutes

MOST_BARS, GOOD_BARS = 2000, 240


@dataclass(frozen=True, slots=True)
class BarsView:
    """Bars from the minute `first` on, each `every` minutes long.

    rows: x (the bar's number), open, high, low, close, buy, sell, total, delta, cumulative (delta since the first bar).
    """

    title: str
    first: int
    every: int
    bars: int
    rows: pd.DataFrame
    holes: Holes


def bars_view(minutes: Frame, *, every: str | None, title: str, asked: tuple[TimeLike, TimeLike] = (None, None)) -> BarsView:
    """The view of a frame of minutes. BadValue for what can't be drawn."""
    require(minutes, ("timestamp", "open", "high", "low", "close", "buy_volume", "sell_volume", "total_volume", "trade_count"))
    nothing = f"{title or 'bars'}: there is nothing to draw in this range"
    if not len(minutes):
        raise BadValue(nothing)
    first, end = bounds(minutes, asked)
    drawn = within(minutes, first, end)
    if not len(drawn):
        raise BadValue(nothing)
    length = bar_minutes(every) if every else bar_length(end - first, GOOD_BARS)
    start = first // length * length
    bars = -(-(end - start) // length)
    if bars > MOST_BARS:
        raise BadValue(f"{bars:,} bars of {length_text(length)}: expected at most {MOST_BARS:,}; take longer bars")
    shown = f"{length_text(length)} bars"
    return BarsView(
        title=" · ".join(part for part in (title, "volume and cumulative delta", span_text(first, end), shown) if part),
        first=start,
        every=length,
        bars=bars,
        rows=_rows(drawn, start, length),
        holes=holes_of(minutes, first, end),
    )


def _rows(minutes: Frame, first: int, every: int) -> pd.DataFrame:
    delta = analysis.delta(minutes, every=f"{every}m")
    running = analysis.cumulative_delta(minutes, every=f"{every}m", session=None)
    rows = candles_of(minutes, first, every)
    assert np.array_equal(rows["x"], (minutes_of(delta) - first) // every)  # the same bars, by two ways
    columns = {"buy_volume": "buy", "sell_volume": "sell", "total_volume": "total"}
    for name, short in columns.items():
        rows[short] = delta[name].to_numpy()
    return rows.assign(delta=delta["delta"].to_numpy(), cumulative=running["close"].to_numpy())
