"""Small charts in plain text, for a terminal; no library is needed for them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR = "█"
ROWS = 6


def price_chart(bars: pd.DataFrame) -> Iterator[str]:
    """Closes over time as columns of blocks, with the highest and lowest price at the side."""
    closes = bars["close"].tolist()
    low, high = min(closes), max(closes)
    heights = [round((c - low) / ((high - low) or 1) * (ROWS * 8 - 1)) + 1 for c in closes]
    for row in range(ROWS - 1, -1, -1):
        label = f"{high:>12,.2f} " if row == ROWS - 1 else f"{low:>12,.2f} " if row == 0 else " " * 13
        yield label + "".join(_BLOCKS[max(0, min(8, height - row * 8))] for height in heights)
    first, last = bars["timestamp"].iloc[0], bars["timestamp"].iloc[-1]
    yield " " * 13 + f"{first:%Y-%m-%d %H:%M}".ljust(max(0, len(closes) - 16)) + f"{last:%Y-%m-%d %H:%M}"


def footprint_chart(levels: pd.DataFrame, width: int = 24, most: int = 14) -> Iterator[str]:
    """A minute's footprint: what was sold and bought at each price, the highest price first; the busiest levels only."""
    shown = levels.nlargest(most, "total_volume").sort_values("price_level", ascending=False)
    top = max([*shown["buy_volume"], *shown["sell_volume"], 1e-12])
    yield f"{'sold':>{width + 12}}   {'price':^12}   bought"
    columns = (shown[name].tolist() for name in ("price_level", "sell_volume", "buy_volume"))
    for price, sell, buy in zip(*columns, strict=True):
        sold, bought = (_BAR * round(volume / top * width) for volume in (sell, buy))
        yield f"{sell:>10.5f} {sold:>{width}}   {price:>12,.2f}   {bought:<{width}} {buy:.5f}"
