"""Footprints: what was bought and sold at each price in each bar, in integers. All analyses of levels begin here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypedDict, Unpack

import numpy as np
import pandas as pd

from pipeline.errors import BadValue
from spillway.analysis import exact
from spillway.analysis.columns import Frame, counts, minutes_of, names_of, numbers, require, timestamps
from spillway.analysis.exact import Flags, Floats, Integers, Number
from spillway.analysis.sessions import Bars, Session, bars_of, changes
from spillway.analysis.wholeness import Wholeness

VOLUMES = ("buy_volume", "sell_volume", "total_volume")
LEVELS = ("timestamp", "price_level", *VOLUMES, "trade_count")


class When(TypedDict, total=False):
    """What bars an analysis is of, and what it does about holes.

    every: "5m", "1h", ... from 1970 or from the session's start; "session"; "all" for one bar, where there is no session;
        None: the frame's own.
    session: where days begin and end. Without one, and with every="session", the UTC day.
    minutes: the minutes' frame (timestamp, status, and the trade ids). The answer then has a column `whole`: False where a
        bar holds a minute that is degraded, unknown or absent.
    only_whole: leaves out the bars that are not whole. BadValue where nothing says which are.
    """

    every: str | None
    session: Session | None
    minutes: Frame | None
    only_whole: bool


class How(When, total=False):
    """The same for levels, and `tick`: the height of a row, in the unit of the price. A price belongs to the row that begins
    at the largest multiple of the tick not above it, as with the window's price_group. None: the levels' own prices."""

    tick: Number | None


@dataclass(frozen=True, slots=True)
class Footprint:
    """Rows in order of bar, then price; all numbers whole. A row is `row * tick` multiples of 10**-price_scale high up."""

    bars: Bars
    firsts: Integers  # of each bar, its first row
    row: Integers
    buy: Integers
    sell: Integers
    total: Integers
    count: Integers
    tick: int
    price_scale: int
    size_scale: int
    whole: Flags | None = None

    @property
    def sizes(self) -> Integers:
        """How many rows each bar has."""
        return np.diff(np.append(self.firsts, len(self.row)))

    @property
    def lasts(self) -> Integers:
        """Of each bar, its last row."""
        return self.firsts + self.sizes - 1

    def spread(self, of_bars: Integers) -> Integers:
        """What is said of each bar, said of each of its rows."""
        return np.repeat(of_bars, self.sizes)

    @property
    def bar(self) -> Integers:
        """Of each row, the number of its bar."""
        return self.spread(np.arange(len(self.firsts)))

    def per_bar(self, values: Integers) -> Integers:
        """Sums over each bar's rows."""
        return np.add.reduceat(values, self.firsts) if len(self.firsts) else values[:0]

    def prices(self, rows: Integers) -> Floats:
        """Rows as prices: their lower edges."""
        return exact.floats(rows * self.tick, self.price_scale)

    def volumes(self, values: Integers) -> Floats:
        """Whole sizes as volumes."""
        return exact.floats(values, self.size_scale)

    def chosen(self, keep: Flags) -> Footprint:
        """Some of its bars, with their rows."""
        rows = np.repeat(keep, self.sizes)
        sizes = self.sizes[keep]
        columns = {name: getattr(self, name)[rows] for name in ("row", "buy", "sell", "total", "count")}
        whole = None if self.whole is None else self.whole[keep]
        return replace(self, bars=self.bars.chosen(keep), firsts=np.cumsum(sizes) - sizes, whole=whole, **columns)

    def table(self, columns: dict[str, object], bar: Integers | None = None) -> pd.DataFrame:
        """An answer: a row a bar, or a row for each number in `bar`. With `whole` where it is known."""
        at = np.arange(len(self.bars)) if bar is None else bar
        flags = {} if self.whole is None else {"whole": self.whole[at]}
        return pd.DataFrame({"timestamp": timestamps(self.bars.starts[at]), **columns, **flags})


def regroup(levels: Frame, **how: Unpack[How]) -> pd.DataFrame:
    """Levels summed into coarser rows and longer bars: a footprint of any tick and timeframe.

    row = floor(price / tick) * tick, on integers; volumes and counts are added exactly; delta = buy - sell.

    Returns a row per bar and price that traded, by time and price, with the columns of levels: timestamp (the bar's start,
    UTC), price_level (the row's lower edge), buy_volume, sell_volume, total_volume, delta, trade_count; and `whole`.
    BadValue: columns are missing, several instruments, a number of more than 15 digits, a tick that is none.
    Source: TradingView, request.footprint(ticks_per_row): rows of that many ticks on a grid through price 0.
    """
    found = footprint_of(levels, **how)
    return found.table(
        {
            "price_level": found.prices(found.row),
            "buy_volume": found.volumes(found.buy),
            "sell_volume": found.volumes(found.sell),
            "total_volume": found.volumes(found.total),
            "delta": found.volumes(found.buy - found.sell),
            "trade_count": found.count,
        },
        found.bar,
    )


def tick_size(levels: Frame) -> Decimal:
    """The largest step on whose multiples all prices of the frame lie: of a day of a liquid market, its tick.

    Of a few levels it may be a multiple of the tick. BadValue where there are no levels.
    """
    require(levels, ("price_level",))
    prices = numbers(levels, "price_level")
    scale = exact.scale_of(prices, "price_level")
    step = int(np.gcd.reduce(exact.integers(prices, scale, "price_level"))) if len(prices) else 0
    if not step:
        raise BadValue("tick size: no price other than 0 to tell it from")
    return Decimal(step).scaleb(-scale).normalize() + 0


def footprint_of(levels: Frame, **how: Unpack[How]) -> Footprint:
    """Levels as a footprint, regrouped as asked; with `whole`, and without what is not, if so asked."""
    known = wholeness_for(levels, how, carries=True)
    found = summed(levels, **how)
    if known is None:
        return found
    whole = known.between(found.bars.starts, found.bars.ends)
    judged = replace(found, whole=whole)
    return judged.chosen(whole) if how.get("only_whole") else judged


def summed(levels: Frame, **how: Unpack[How]) -> Footprint:
    """Levels as a footprint, regrouped as asked, whether whole or not."""
    require(levels, LEVELS)
    rows, tick, price_scale = _rows(numbers(levels, "price_level"), how.get("tick"))
    volumes = [numbers(levels, name) for name in VOLUMES]
    size_scale = max(exact.scale_of(values, name) for values, name in zip(volumes, VOLUMES, strict=True))
    sums = [exact.integers(values, size_scale, name) for values, name in zip(volumes, VOLUMES, strict=True)]
    if any((values < 0).any() for values in sums):
        raise BadValue("a volume is below 0")
    sums.append(counts(levels, "trade_count"))
    bars, number = _bars(minutes_of(levels), how)
    firsts, row, (buy, sell, total, count) = _grouped(number, rows, sums)
    return Footprint(bars, firsts, row, buy, sell, total, count, tick, price_scale, size_scale)


def wholeness_for(frame: Frame, how: When, *, carries: bool = False) -> Wholeness | None:
    """What says which minutes are whole: the frame of minutes given, or the analysed frame where it has a status itself.

    `carries`: or where it is a footprint that says so of its bars, and these stay as they are.
    """
    minutes, names = how.get("minutes"), names_of(frame)
    if minutes is not None or "status" in names:
        return Wholeness.of(frame if minutes is None else minutes)
    if "whole" in names and carries and how.get("every") is None:
        return Wholeness.carried(frame)
    if "whole" in names:
        raise BadValue("whole: a footprint doesn't show which bars are absent; expected minutes=, the frame of minutes")
    if how.get("only_whole"):
        raise BadValue("only_whole: nothing says which minutes are whole; expected minutes=, the frame of minutes")
    return None


def _rows(prices: Floats, tick: Number | None) -> tuple[Integers, int, int]:
    """Row numbers; the height of a row, as a multiple of 10**-scale; and that scale."""
    scale = exact.scale_of(prices, "price_level")
    if tick is None:
        return exact.integers(prices, scale, "price_level"), 1, scale
    height = exact.decimal_of(tick, "tick")
    if height <= 0:
        raise BadValue(f"tick {tick!r}: expected a number above 0")
    scale = max(scale, exact.decimals_of(height))
    step = int(height.scaleb(scale))
    return exact.integers(prices, scale, "price_level") // step, step, scale


def _bars(times: Integers, how: When) -> tuple[Bars, Integers]:
    """The bars, and of each row the number of its own, or -1."""
    every, session = how.get("every"), how.get("session")
    new = changes(times)
    distinct = times[new]
    if not (distinct[1:] > distinct[:-1]).all():
        distinct, at = np.unique(times, return_inverse=True)
        bars, number = bars_of(distinct, every, session)
        return bars, number[at]
    bars, number = bars_of(distinct, every, session)
    return bars, np.repeat(number, np.diff(np.append(np.flatnonzero(new), len(times))))


def _grouped(bar: Integers, row: Integers, columns: list[Integers]) -> tuple[Integers, Integers, list[Integers]]:
    """Of each bar its first row; then the rows, and each column's sums over equal rows of a bar."""
    if (bar < 0).any():
        inside = bar >= 0
        bar, row, columns = bar[inside], row[inside], [values[inside] for values in columns]
    if not len(row):
        return row, row, columns
    height = exact.fitting(row - row.min(), int(bar[-1]) + 2)
    key = bar * (int(height.max()) + 1) + height
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(changes(key[order]))
        columns = [np.add.reduceat(values[order], starts) for values in columns]
        bar, row = bar[order][starts], row[order][starts]
    return np.flatnonzero(changes(bar)), row, columns
