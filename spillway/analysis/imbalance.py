"""Imbalances: where buyers lifted one price far harder than sellers hit the price below it, or the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Unpack

import numpy as np
import pandas as pd

from pipeline.errors import BadValue
from spillway.analysis import exact
from spillway.analysis.columns import Frame
from spillway.analysis.exact import Flags, Integers, Number, Share
from spillway.analysis.footprint import Footprint, When, footprint_of

_LEAST, _MOST = 100, 100_000


def imbalances(
    levels: Frame,
    *,
    tick: Number,
    percent: Number = 300,
    min_volume: Number = 0,
    ignore_zero: bool = False,
    **when: Unpack[When],
) -> pd.DataFrame:
    """Rows whose one side outweighs the other side of the row diagonally across.

    buy_imbalance at p: buy(p) > 0 and buy(p) >= percent / 100 * sell(p - tick) and buy(p) >= min_volume.
    sell_imbalance at p: sell(p) > 0 and sell(p) >= percent / 100 * buy(p + tick) and sell(p) >= min_volume.
    Zero on the other side: any volume outweighs it. So does a row between the bar's lowest and highest that nobody traded
    at: it counts as 0. ignore_zero=True passes such pairs over. The lowest row of a bar has no row below it, so it is no buy
    imbalance; the highest is no sell imbalance.

    Returns a row per bar and price that traded: timestamp, price_level, buy_volume, sell_volume, buy_imbalance,
    sell_imbalance (booleans); and `whole`.
    BadValue: columns are missing, several instruments, a number of more than 15 digits, a tick that is none, percent
    outside 100 to 100000, a negative min_volume.
    Source: TradingView, request.footprint(imbalance_percent) and Volume footprint charts, "Imbalance detection": 300 means
    three times the other side, and as much is enough. ATAS, Stacked Imbalances, differs: > instead of >=, its volume filter
    too, and it passes over prices that nobody traded at.
    """
    found = footprint_of(levels, tick=tick, **when)
    sides = _Sides.of(found, percent, min_volume, ignore_zero)
    return found.table(
        {
            "price_level": found.prices(found.row),
            "buy_volume": found.volumes(found.buy),
            "sell_volume": found.volumes(found.sell),
            "buy_imbalance": sides.buy,
            "sell_imbalance": sides.sell,
        },
        found.bar,
    )


def stacked_imbalances(
    levels: Frame,
    *,
    tick: Number,
    run: int = 3,
    percent: Number = 300,
    min_volume: Number = 0,
    ignore_zero: bool = False,
    **when: Unpack[When],
) -> pd.DataFrame:
    """Runs of at least `run` imbalances of one side at prices one tick apart, each run once, as long as it goes.

    Returns a row a run, by time and lowest price, buy before sell: timestamp, side ("buy" or "sell"), low, high (price_level
    of its lowest and highest row), length (rows), volume (of the side, in those rows); and `whole`.
    BadValue: as with `imbalances`; a run below 1.
    Source: TradingView, Volume footprint charts, "Stacked levels": consecutive levels with an imbalance on the same side;
    ATAS, Stacked Imbalance (Imbalance Range, 3 unless set).
    """
    if run < 1:
        raise BadValue(f"run {run!r}: expected 1 or more")
    found = footprint_of(levels, tick=tick, **when)
    sides = _Sides.of(found, percent, min_volume, ignore_zero)
    parts = [_runs(found, side, flags, volume, run) for side, flags, volume in sides.each(found)]
    names = np.concatenate([np.full(len(firsts), side, dtype=object) for side, firsts, _, _ in parts])
    firsts, lasts, volumes = (np.concatenate([part[n] for part in parts]) for n in (1, 2, 3))
    order = np.argsort(firsts, kind="stable")
    firsts, lasts = firsts[order], lasts[order]
    columns: dict[str, object] = {
        "side": pd.Series(names[order], dtype="str"),
        "low": found.prices(found.row[firsts]),
        "high": found.prices(found.row[lasts]),
        "length": lasts - firsts + 1,
        "volume": found.volumes(volumes[order]),
    }
    return found.table(columns, found.bar[firsts])


@dataclass(frozen=True, slots=True)
class _Sides:
    """Of each row, whether it is an imbalance, of buyers and of sellers."""

    buy: Flags
    sell: Flags

    @classmethod
    def of(cls, found: Footprint, percent: Number, min_volume: Number, ignore_zero: bool) -> _Sides:
        share = Share.of_percent(percent, least=_LEAST, most=_MOST).inverse()
        least = _least(min_volume, found.size_scale)
        next_to = _touching(found)
        below = np.where(next_to, np.roll(found.sell, 1), 0)
        above = np.where(np.roll(next_to, -1), np.roll(found.buy, -1), 0)
        buy = _outweighs(found.buy, below, share, least, ignore_zero)
        sell = _outweighs(found.sell, above, share, least, ignore_zero)
        buy[found.firsts] = False
        sell[found.lasts] = False
        return cls(buy, sell)

    def each(self, found: Footprint) -> list[tuple[str, Flags, Integers]]:
        return [("buy", self.buy, found.buy), ("sell", self.sell, found.sell)]


def _least(min_volume: Number, scale: int) -> int:
    """The least volume as a whole number of the footprint's, rounded up."""
    number = exact.decimal_of(min_volume, "min_volume")
    if number < 0:
        raise BadValue(f"min_volume {min_volume!r}: expected 0 or more")
    return min(int(number.scaleb(scale).to_integral_value(ROUND_CEILING)), exact.ROOM)


def _touching(found: Footprint) -> Flags:
    """Whether the row before is the one directly below, in the same bar."""
    touching = np.zeros(len(found.row), dtype=bool)
    touching[1:] = np.diff(found.row) == 1
    touching[found.firsts] = False
    return touching


def _outweighs(mine: Integers, theirs: Integers, share: Share, least: int, ignore_zero: bool) -> Flags:
    """mine >= percent / 100 * theirs, turned round so that nothing overflows: theirs <= mine / (percent / 100)."""
    flags: Flags = (mine > 0) & (theirs <= share.floor(mine)) & (mine >= least)
    return flags & (theirs > 0) if ignore_zero else flags


def _runs(found: Footprint, side: str, flags: Flags, volume: Integers, run: int) -> tuple[str, Integers, Integers, Integers]:
    """Of each run that is long enough: its first and last row, and the volume in it."""
    joined = flags & np.roll(flags, 1) & _touching(found)
    firsts = np.flatnonzero(flags & ~joined)
    lasts = np.flatnonzero(flags & ~np.roll(joined, -1))
    held = np.concatenate([[0], np.cumsum(volume)])
    long = lasts - firsts + 1 >= run
    firsts, lasts = firsts[long], lasts[long]
    return side, firsts, lasts, held[lasts + 1] - held[firsts]
