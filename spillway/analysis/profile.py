"""Volume profiles, and the point of control: the price at which most was traded."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from spillway.analysis.columns import Frame
from spillway.analysis.exact import Integers, Number, ratio
from spillway.analysis.footprint import Footprint, How, When, footprint_of
from spillway.analysis.value_area import Method, area_of


def point_of_control(levels: Frame, **how: Unpack[How]) -> pd.DataFrame:
    """The row of each bar with the highest total volume.

    poc = argmax over rows of total_volume. Of equal rows, the one nearest to the middle between the bar's lowest and highest
    row; of two equally near, the lower one.

    Returns a row a bar: timestamp, poc (the row's lower edge), poc_volume, poc_delta, total_volume; and `whole`.
    BadValue: columns are missing, several instruments, a number of more than 15 digits, a tick that is none.
    Source: TradingView, footprint.poc(); its documentation leaves ties open, its charts break them as said, as Market
    Profile does (the tie nearest to the centre).
    """
    found = footprint_of(levels, **how)
    at = control_rows(found)
    return found.table(
        {
            "poc": found.prices(found.row[at]),
            "poc_volume": found.volumes(found.total[at]),
            "poc_delta": found.volumes(found.buy[at] - found.sell[at]),
            "total_volume": found.volumes(found.per_bar(found.total)),
        }
    )


def value_area(
    levels: Frame, *, tick: Number, percent: Number = 70, method: Method | str = Method.TRADINGVIEW, **when: Unpack[When]
) -> pd.DataFrame:
    """The prices around the point of control at which `percent` of a bar's volume was traded.

    method="tradingview": from the point of control, the next row above or below, whichever has the larger total volume, is
    added, one at a time; of equal ones the one nearer to the point of control, then the upper. The row that would carry the
    area beyond percent / 100 * total_volume ends it and is left out: the area holds *at most* that share (the point of
    control always belongs). Rows without trades between the bar's lowest and highest count as rows of 0.
    method="two_rows": two rows at a time, the larger pair, ties as above, until the area holds *at least* that share: Market
    Profile's way (CBOT), which most other platforms use.

    Returns a row a bar: timestamp, poc, val, vah (lower edges of those rows: TradingView draws VAH at vah + tick),
    poc_volume, value_area_volume, value_area_share (0 to 1), total_volume; and `whole`.
    BadValue: as with `point_of_control`; percent outside 1 to 100.
    Source: TradingView, Volume profile indicators: basic concepts, "Calculating value area", to which its footprint charts
    refer; Dalton, Mind over Markets, appendix 1, for two rows.
    """
    found = footprint_of(levels, tick=tick, **when)
    at = control_rows(found)
    area = area_of(found, at, percent, Method.of(method))
    total = found.per_bar(found.total)
    return found.table(
        {
            "poc": found.prices(found.row[at]),
            "val": found.prices(area.low),
            "vah": found.prices(area.high),
            "poc_volume": found.volumes(found.total[at]),
            "value_area_volume": found.volumes(area.volume),
            "value_area_share": ratio(area.volume, total),
            "total_volume": found.volumes(total),
        }
    )


def volume_profile(
    levels: Frame, *, tick: Number, percent: Number = 70, method: Method | str = Method.TRADINGVIEW, **when: Unpack[When]
) -> pd.DataFrame:
    """Volume and delta at each price, of each bar, session, day (every="1d") or of all (every="all").

    share = total_volume / the bar's total_volume; delta = buy_volume - sell_volume at that price.

    Returns a row per bar and price that traded: timestamp, price_level, buy_volume, sell_volume, total_volume, delta,
    trade_count, share (0 to 1), poc, value_area (booleans: whether the row is, or lies in it); and `whole`.
    BadValue: as with `value_area`.
    Source: TradingView, Volume profile indicators: basic concepts. Its profiles tell up from down by the bars' direction;
    ours tell the aggressor of each trade, as its footprints mean to.
    """
    found = footprint_of(levels, tick=tick, **when)
    at = control_rows(found)
    area = area_of(found, at, percent, Method.of(method))
    inside = (found.row >= found.spread(area.low)) & (found.row <= found.spread(area.high))
    return found.table(
        {
            "price_level": found.prices(found.row),
            "buy_volume": found.volumes(found.buy),
            "sell_volume": found.volumes(found.sell),
            "total_volume": found.volumes(found.total),
            "delta": found.volumes(found.buy - found.sell),
            "trade_count": found.count,
            "share": ratio(found.total, found.spread(found.per_bar(found.total))),
            "poc": np.isin(np.arange(len(found.row)), at),
            "value_area": inside,
        },
        found.bar,
    )


def control_rows(found: Footprint) -> Integers:
    """Of each bar, where its point of control stands among the rows."""
    if not len(found.firsts):
        return found.firsts
    most = found.total == found.spread(np.maximum.reduceat(found.total, found.firsts))
    off_centre = np.abs(2 * found.row - found.spread(found.row[found.firsts] + found.row[found.lasts]))
    far = np.where(most, off_centre, np.iinfo(np.int64).max)
    nearest = np.flatnonzero(most & (far == found.spread(np.minimum.reduceat(far, found.firsts))))
    _, first = np.unique(found.bar[nearest], return_index=True)
    return nearest[first]
