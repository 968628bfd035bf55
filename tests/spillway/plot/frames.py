"""Frames as the store gives them, made up."""

from __future__ import annotations

import pandas as pd

START = pd.Timestamp("2024-10-23 14:00", tz="UTC").as_unit("us")

# price, sold, bought: in the second bar the row 101 is bought 9 against 1 sold diagonally below: an imbalance of 900 %
BAR = ((100.0, 2.0, 2.0), (101.0, 2.0, 3.0), (102.0, 3.0, 2.0))
LIFTED = ((100.0, 1.0, 1.0), (101.0, 1.0, 9.0), (102.0, 4.0, 1.0))


def levels(*bars: tuple[tuple[float, float, float], ...], every: int = 1) -> pd.DataFrame:
    rows = [
        (START + pd.Timedelta(minutes=every * number), price, bought, sold, bought + sold, bought - sold, 2)
        for number, bar in enumerate(bars)
        for price, sold, bought in bar
    ]
    names = ["timestamp", "price_level", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count"]
    return pd.DataFrame(rows, columns=names)


def minutes(*statuses: str | None, open_: float = 100.0, close: float = 102.0) -> pd.DataFrame:
    """A row a minute; None: there is none."""
    rows = [
        (START + pd.Timedelta(minutes=number), open_, 102.0, 100.0, close, 7.0, 5.0, 12.0, 6, status)
        for number, status in enumerate(statuses)
        if status
    ]
    names = ["timestamp", "open", "high", "low", "close", "buy_volume", "sell_volume", "total_volume", "trade_count", "status"]
    return pd.DataFrame(rows, columns=names)
