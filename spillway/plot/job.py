"""`spillway plot`: a range of the store as a picture. It reads no more than the picture can show, however long the range."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from spillway import plot
from spillway.analysis.exact import Number
from spillway.plot.bars_view import GOOD_BARS as GOOD_PLAIN_BARS
from spillway.plot.footprint_view import GOOD_BARS, GOOD_ROWS, MOST_BARS
from spillway.plot.holes import bounds, within
from spillway.plot.picture import ENDINGS, Picture
from spillway.plot.scale import DAY, bar_length, length_text, row_height, when
from spillway.store import Store
from spillway.times import bar_minutes, duration_minutes, minute_range

FOOTPRINT, BARS, COVERAGE = WHAT = ("footprint", "bars", "coverage")
_CANDLES = ["timestamp", "open", "high", "low", "close", "price_scale"]
_HOLES = ["status", "first_trade_id", "last_trade_id", "missing", "trade_count"]
_VOLUMES = ["buy_volume", "sell_volume", "total_volume"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw, and where to. BadValue for what can't be."""

    instrument: Instrument
    output: Path
    what: str = FOOTPRINT
    start: str | None = None
    end: str | None = None
    last: str | None = None
    every: str | None = None
    tick: Decimal | None = None
    colour: str = "delta"
    percent: Number = 300
    min_volume: Number = 0
    size: tuple[int, int] | None = None
    now: int = field(default_factory=lambda: int(time.time()) // 60 + 1)  # from this minute on none is missing yet

    def __post_init__(self) -> None:
        if self.output.suffix.lower() not in ENDINGS:
            raise BadValue(f"-o {self.output}: expected a name that ends in {', '.join(ENDINGS)}")
        if self.every is not None:
            bar_minutes(self.every)

    @property
    def asked(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the store is asked for."""
        return (self.instrument.venue, self.instrument.symbol, self.start, self.end), {"last": self.last}

    def span(self, kept: tuple[int, int]) -> tuple[int, int]:
        """What is drawn: all that was asked for, so that what is missing at its ends is seen too; but only what is kept, where
        that is less than half of it, or where the range was left open."""
        first, end = minute_range(self.start, self.end)
        end = kept[1] if self.end is None else max(min(end, self.now), kept[1])
        if self.last is not None and self.end is not None:
            first = end - duration_minutes(self.last)
        elif self.start is None:
            first = kept[0]
        return (first, end) if end - first <= 2 * (kept[1] - kept[0]) else kept


def draw(store: Store, drawing: Drawing) -> Picture:
    """The picture of what the store holds. BadValue where it holds nothing in the range, or too much for one picture."""
    return {FOOTPRINT: _footprint, BARS: _bars, COVERAGE: _coverage}[drawing.what](store, drawing)


def size_of(text: str) -> tuple[int, int]:
    """A picture's size from a text such as 1600x900. BadValue for what is none."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise BadValue(f"--size {text!r}: expected width and height in pixels, such as 1600x900")
    return int(width), int(height)


def _footprint(store: Store, drawing: Drawing) -> Picture:
    asked, options = drawing.asked
    minutes, (first, end) = _minutes(store, drawing, [*_CANDLES, *_HOLES])
    every = drawing.every or _auto_every(end - first, GOOD_BARS)
    if (end - first) / bar_minutes(every) > MOST_BARS:
        raise BadValue(f"a footprint of more than {MOST_BARS} bars of {every}: take longer bars (--every) or a shorter range")
    tick = drawing.tick or _auto_tick(within(minutes, first, end))
    levels = store.bars(*asked, every=every, price_group=tick, **options)  # a day in memory at a time
    return plot.footprint(
        levels,
        minutes,
        every=every,
        tick=tick,
        colour=drawing.colour,
        imbalance_percent=drawing.percent,
        min_volume=drawing.min_volume,
        start=when(first),
        end=when(end),
        title=str(drawing.instrument),
        size=drawing.size,
    )


def _bars(store: Store, drawing: Drawing) -> Picture:
    minutes, (first, end) = _minutes(store, drawing, [*_CANDLES, *_HOLES, *_VOLUMES])
    every = drawing.every or _auto_every(end - first, GOOD_PLAIN_BARS)
    title = str(drawing.instrument)
    return plot.bars(minutes, every=every, start=when(first), end=when(end), title=title, size=drawing.size)


def _coverage(store: Store, drawing: Drawing) -> Picture:
    asked, options = drawing.asked
    hours = store.coverage(*asked, by="hour", **options)
    _check_any(hours, drawing)
    there = hours["removed"] + hours["absent"] < hours["minutes"]
    if drawing.start is None and drawing.last is None and there.any():
        hours = hours[there.cummax()]  # begin with what is there: removed days would soon be more than a calendar takes
    return plot.coverage(hours, title=str(drawing.instrument), size=drawing.size)


def _minutes(store: Store, drawing: Drawing, columns: list[str]) -> tuple[pd.DataFrame, tuple[int, int]]:
    """The minutes, and the range to draw; where that reaches beyond them, with the neighbours, whose ids may prove its ends."""
    asked, options = drawing.asked
    minutes: pd.DataFrame = store.minutes(*asked, columns=columns, **options)
    _check_any(minutes, drawing)
    kept = bounds(minutes)
    first, end = drawing.span(kept)
    if (first, end) == kept:
        return minutes, kept
    venue, symbol = drawing.instrument.venue, drawing.instrument.symbol
    before = store.minutes(venue, symbol, when(first - DAY), when(first), columns=columns).tail(1)
    after = store.minutes(venue, symbol, when(end), when(end + DAY), columns=columns).head(1)
    there = [part for part in (before, minutes, after) if len(part)]
    return pd.concat(there, ignore_index=True), (first, end)


def _check_any(frame: pd.DataFrame, drawing: Drawing) -> None:
    if frame.empty:
        span = f"the last {drawing.last}" if drawing.last else f"{drawing.start or 'the beginning'} to {drawing.end or 'now'}"
        raise BadValue(f"{drawing.instrument}: nothing is kept from {span}, so there is nothing to draw")


def _auto_every(span: int, most: int) -> str:
    return length_text(bar_length(span, most))


def _auto_tick(minutes: pd.DataFrame) -> Decimal:
    """Rows that fill the chart with room for the numbers, by the prices of the range; never finer than the prices are."""
    low, high = (Decimal(repr(float(price))) for price in (minutes["low"].min(), minutes["high"].max()))
    return row_height(high - low, GOOD_ROWS, Decimal(1).scaleb(-int(minutes["price_scale"].max())))
