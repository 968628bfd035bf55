"""What the ends of a bar say of the auction: unfinished where both sides still traded; and prices that one side left out."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from pipeline.errors import BadValue
from spillway.analysis import exact
from spillway.analysis.columns import Frame
from spillway.analysis.exact import Number
from spillway.analysis.footprint import How, footprint_of


def unfinished_auctions(levels: Frame, *, min_volume: Number = 0, **how: Unpack[How]) -> pd.DataFrame:
    """Whether both sides traded at the highest and at the lowest row of each bar.

    unfinished_high: sell(high) > 0 and buy(high) > min_volume. unfinished_low: buy(low) > 0 and sell(low) > min_volume.
    A finished auction ends with nobody selling into the high, or nobody buying at the low.

    Returns a row a bar: timestamp, high, high_buy, high_sell, unfinished_high, low, low_buy, low_sell, unfinished_low; and
    `whole`.
    BadValue: columns are missing, several instruments, a number of more than 15 digits, a negative min_volume.
    Source: ATAS, Unfinished Auction (its Ask filter at the high and Bid filter at the low are `min_volume`; 20 unless set
    there, 0 here). TradingView describes incomplete auctions in words only.
    """
    least = exact.decimal_of(min_volume, "min_volume")
    if least < 0:
        raise BadValue(f"min_volume {min_volume!r}: expected 0 or more")
    found = footprint_of(levels, **how)
    filtered = min(int(least.scaleb(found.size_scale) // 1), exact.ROOM)
    columns: dict[str, object] = {}
    for end, at, own, other in (
        ("high", found.lasts, found.buy, found.sell),
        ("low", found.firsts, found.sell, found.buy),
    ):
        columns[end] = found.prices(found.row[at])
        columns[f"{end}_buy"] = found.volumes(found.buy[at])
        columns[f"{end}_sell"] = found.volumes(found.sell[at])
        columns[f"unfinished_{end}"] = (other[at] > 0) & (own[at] > filtered)
    return found.table(columns)


def zero_prints(levels: Frame, **how: Unpack[How]) -> pd.DataFrame:
    """Rows at which one side did not trade at all while the other did.

    buy(p) == 0 < sell(p) or sell(p) == 0 < buy(p). Rows with neither (an auction's trades, which have no aggressor) and
    prices at which nothing traded are none.

    Returns a row per bar and such price: timestamp, price_level, zero_side ("buy" or "sell": who is absent), volume (of the
    other side), at_extreme (whether it is the bar's lowest or highest row, where a finished auction has one); and `whole`.
    BadValue: columns are missing, several instruments, a number of more than 15 digits.
    Source: usage among footprint platforms (a cell with 0 in one column). TradingView and ATAS have no such study.
    """
    found = footprint_of(levels, **how)
    at = np.flatnonzero((found.buy == 0) != (found.sell == 0))
    extreme = np.isin(at, np.concatenate([found.firsts, found.lasts]))
    absent = np.where(found.buy[at] == 0, "buy", "sell")
    columns: dict[str, object] = {
        "price_level": found.prices(found.row[at]),
        "zero_side": pd.Series(absent.astype(object), dtype="str"),
        "volume": found.volumes(found.buy[at] + found.sell[at]),
        "at_extreme": extreme,
    }
    return found.table(columns, found.bar[at])
