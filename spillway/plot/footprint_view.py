"""What a footprint chart shows, worked out from frames; how it is drawn is another's matter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis import exact
from spillway.analysis.columns import Frame, minutes_of, numbers, require
from spillway.analysis.exact import Number
from spillway.plot.candles import candles_of
from spillway.plot.holes import Holes, bounds, holes_of, within
from spillway.plot.scale import bar_length, length_text, plain, row_height, span_text
from spillway.times import TimeLike, bar_minutes

MOST_BARS, MOST_ROWS, MOST_CELLS = 400, 1500, 120_000
GOOD_BARS, GOOD_ROWS = 24, 56  # with so many there is room for the numbers
FEW_ROWS = 12
CROWDED = 120  # above so many bars candles and marks would hide the cells
COLOURS = ("delta", "volume")


@dataclass(frozen=True, slots=True)
class FootprintView:
    """A footprint chart: bars from the minute `first` on, each `every` minutes long; rows of height `tick`.

    cells: x (the bar's number), price (the row's lower edge), buy, sell, total, delta, buy_imbalance, sell_imbalance, poc.
    profile: price, buy, sell, total, poc, value_area. candles: x, open, high, low, close, or empty.
    """

    title: str
    first: int
    every: int
    bars: int
    tick: float
    cells: pd.DataFrame
    profile: pd.DataFrame
    candles: pd.DataFrame
    holes: Holes
    by_volume: bool
    percent: str

    @property
    def low(self) -> float:
        """The lower edge of the lowest row."""
        return float(self.profile["price"].min())

    @property
    def high(self) -> float:
        """The upper edge of the highest row."""
        return float(self.profile["price"].max()) + self.tick

    @property
    def rows(self) -> int:
        """How many rows there are from the lowest to the highest."""
        return round((self.high - self.low) / self.tick)

    @property
    def crowded(self) -> bool:
        """Whether there is room for the cells only."""
        return self.bars > CROWDED

    @property
    def edges(self) -> tuple[float, float]:
        """From where to where the price axis goes: of a few rows only, each would be as high as a house."""
        margin = self.tick * max(0.6, (FEW_ROWS - self.rows) / 2)
        return self.low - margin, self.high + margin

    @property
    def control(self) -> float:
        """The lower edge of the row at which most was traded."""
        return float(self.profile.loc[self.profile["poc"], "price"].iloc[0])

    def boxes(self) -> pd.DataFrame:
        """The candles as rows: x, up, bottom and top of the body, low and high of the wick, all at the edges of rows."""

        def edge(prices: exact.Floats) -> exact.Floats:
            rows: exact.Floats = np.floor((prices - self.low) / self.tick + 1e-9)
            return self.low + rows * self.tick

        c = {name: self.candles[name].to_numpy(dtype=np.float64) for name in ("open", "high", "low", "close")}
        return pd.DataFrame(
            {
                "x": self.candles["x"],
                "up": c["close"] >= c["open"],
                "bottom": edge(np.minimum(c["open"], c["close"])),
                "top": edge(np.maximum(c["open"], c["close"])) + self.tick,
                "low": edge(c["low"]),
                "high": edge(c["high"]) + self.tick,
            }
        )


def footprint_view(
    levels: Frame,
    minutes: Frame | None,
    *,
    every: str | None,
    tick: Number | None,
    title: str,
    colour: str,
    percent: Number,
    min_volume: Number,
    asked: tuple[TimeLike, TimeLike] = (None, None),
) -> FootprintView:
    """The view. BadValue for what can't be drawn: nothing there, or more bars and rows than a picture can show."""
    require(levels, ("timestamp", "price_level", "buy_volume", "sell_volume", "total_volume", "trade_count"))
    if colour not in COLOURS:
        raise BadValue(f"colour {colour!r}: expected one of {', '.join(COLOURS)}")
    nothing = f"{title or 'footprint'}: there is nothing to draw in this range"
    if not len(levels):
        raise BadValue(nothing)
    first, end = bounds(levels if minutes is None or not len(minutes) else minutes, asked)
    length = bar_minutes(every) if every else bar_length(end - first, GOOD_BARS, _native_minutes(levels, minutes))
    start = first // length * length
    levels = within(levels, start, end)
    if not len(levels):
        raise BadValue(nothing)
    bars = -(-(end - start) // length)
    height = exact.decimal_of(tick, "tick") if tick is not None else auto_tick(levels)
    _check_size(bars, numbers(levels, "price_level"), height, length)
    cells = _cells(levels, height, length, start, percent, min_volume)
    if len(cells) > MOST_CELLS:
        raise BadValue(f"a footprint of {len(cells):,} cells: expected at most {MOST_CELLS:,}; longer bars or higher rows")
    shown = f"{length_text(length)} bars, rows of {plain(height)}"
    return FootprintView(
        title=" · ".join(part for part in (title, "footprint", span_text(first, max(end, first + 1)), shown) if part),
        first=start,
        every=length,
        bars=bars,
        tick=float(height),
        cells=cells,
        profile=_profile(levels, height),
        candles=pd.DataFrame({n: [] for n in ("x", "open", "high", "low", "close")})
        if minutes is None
        else candles_of(within(minutes, first, end), start, length),
        holes=holes_of(minutes, first, end),
        by_volume=colour == "volume",
        percent=plain(exact.decimal_of(percent, "percent")),
    )


def auto_tick(levels: Frame) -> Decimal:
    """A row's height at which the levels' range is legible: the data's own step, or a round multiple of it."""
    prices = numbers(levels, "price_level")
    low, high = (Decimal(repr(float(edge))) for edge in (prices.min(), prices.max()))
    native = analysis.tick_size(levels) if high > low else Decimal(1).scaleb(-exact.scale_of(prices, "price_level"))
    return row_height(high - low, GOOD_ROWS, native)


def _check_size(bars: int, prices: exact.Floats, height: Decimal, length: int) -> None:
    if bars > MOST_BARS:
        raise BadValue(f"a footprint of {bars:,} bars of {length_text(length)}: expected at most {MOST_BARS}; take longer bars")
    if height <= 0:
        raise BadValue(f"tick {height}: expected a number above 0")
    rows = int((float(prices.max()) - float(prices.min())) / float(height)) + 1
    if rows > MOST_ROWS:
        raise BadValue(f"a footprint of {rows:,} rows of {plain(height)}: expected at most {MOST_ROWS}; take higher rows")


def _native_minutes(levels: Frame, minutes: Frame | None) -> int:
    """How long the bars are that the levels are grouped by already: of the store's own, a minute."""
    times = np.unique(minutes_of(levels))
    if minutes is not None and np.isin(minutes_of(minutes), times).all():
        return 1
    return max(1, int(np.gcd.reduce(np.diff(times)))) if len(times) > 1 else 1


def _cells(levels: Frame, tick: Decimal, every: int, first: int, percent: Number, min_volume: Number) -> pd.DataFrame:
    length = f"{every}m"
    found = analysis.imbalances(levels, percent=percent, min_volume=min_volume, tick=tick, every=length)
    sums = analysis.regroup(levels, tick=tick, every=length)  # the same rows in the same order
    control = analysis.point_of_control(levels, tick=tick, every=length)
    x = (minutes_of(found) - first) // every
    at_control = control["poc"].to_numpy()[np.searchsorted(minutes_of(control), minutes_of(found))]
    return pd.DataFrame(
        {
            "x": x,
            "price": found["price_level"],
            "buy": found["buy_volume"],
            "sell": found["sell_volume"],
            "total": sums["total_volume"],
            "delta": sums["delta"],
            "buy_imbalance": found["buy_imbalance"],
            "sell_imbalance": found["sell_imbalance"],
            "poc": found["price_level"].to_numpy() == at_control,
        }
    )


def _profile(levels: Frame, tick: Decimal) -> pd.DataFrame:
    found = analysis.volume_profile(levels, tick=tick, every="all")
    names = {"price_level": "price", "buy_volume": "buy", "sell_volume": "sell", "total_volume": "total"}
    return found.rename(columns=names)[["price", "buy", "sell", "total", "poc", "value_area"]]
