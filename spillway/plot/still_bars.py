"""Bars with volume and cumulative delta as a still picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from spillway.plot.bars_view import BarsView
from spillway.plot.still import DPI, hole_handles, legend, price_axis, shade, sheet, tidy, time_axis, volume_axis
from spillway.plot.style import BUY, GREY, LINE, SELL

SIZE = (1600, 1000)


def draw(view: BarsView, size: tuple[int, int] = SIZE) -> Figure:
    """The chart: candles, below them volume by side, below that the cumulative delta."""
    figure = sheet(view.title, size)
    below = legend(figure, _handles(view))
    grid = figure.add_gridspec(
        3, 1, height_ratios=(5, 2, 2.4), left=130 / size[0], right=1 - 28 / size[0], top=below, bottom=82 / size[1], hspace=0.08
    )
    top = figure.add_subplot(grid[0])
    parts = [top, *(figure.add_subplot(grid[n], sharex=top) for n in (1, 2))]
    for axes, paint in zip(parts, (_candles, _volume, _cumulative), strict=True):
        tidy(axes)
        shade(axes, view.holes, view.first, view.every)
        paint(axes, view)
    time_axis(parts[-1], view.first, view.every, view.bars)
    for axes in parts[:-1]:
        axes.tick_params(labelbottom=False)
    return figure


def _candles(axes: Axes, view: BarsView) -> None:
    rows = view.rows
    x = rows["x"].to_numpy() + 0.5
    colours = np.where(rows["close"] >= rows["open"], BUY, SELL).tolist()
    width = axes.get_window_extent().width / view.bars * 72 / DPI  # of a bar, in points
    for low, high, wide, name in (
        (rows["low"], rows["high"], min(1.0, width * 0.3), "wicks"),
        (*_body(view), width * 0.66, "bodies"),
    ):
        lines = np.stack([np.stack([x, low], 1), np.stack([x, high], 1)], axis=1)
        axes.add_collection(
            LineCollection(list(lines), colors=colours, linewidths=max(0.4, wide), capstyle="butt", zorder=3, gid=name)
        )
    margin = _span(view) * (0.06 if view.rows["high"].max() > view.rows["low"].min() else 1)
    axes.set_ylim(view.rows["low"].min() - margin, view.rows["high"].max() + margin)
    price_axis(axes, 9)


def _body(view: BarsView) -> tuple[Any, Any]:
    """From open to close; a bar that closed where it opened has a hair's height, so that it's seen."""
    body = view.rows[["open", "close"]]
    hair = _span(view) / 120
    low, high = body.min(axis=1), body.max(axis=1)
    return low - hair / 2 * (low == high), high + hair / 2 * (low == high)


def _span(view: BarsView) -> float:
    """From the lowest to the highest price; of one price only, a thousandth of it."""
    low, high = float(view.rows["low"].min()), float(view.rows["high"].max())
    return high - low or abs(high) / 1000 or 1.0


def _volume(axes: Axes, view: BarsView) -> None:
    rows = view.rows
    x, other = rows["x"] + 0.5, rows["total"] - rows["buy"] - rows["sell"]
    axes.bar(x, rows["sell"], 0.8, color=SELL, zorder=2, gid="sell")
    axes.bar(x, rows["buy"], 0.8, bottom=rows["sell"], color=BUY, zorder=2, gid="buy")
    axes.bar(x, other, 0.8, bottom=rows["sell"] + rows["buy"], color=GREY, zorder=2)
    axes.set_ylabel("volume")
    volume_axis(axes, 0.0, float(rows["total"].max()), 4)


def _cumulative(axes: Axes, view: BarsView) -> None:
    rows = view.rows
    x, y = rows["x"].to_numpy() + 0.5, rows["cumulative"].to_numpy()
    axes.plot(x, y, color=LINE, linewidth=1.4, zorder=3, gid="cumulative", marker="o" if len(rows) < 3 else None)
    axes.fill_between(x, y, 0, where=list(y >= 0), interpolate=True, color=BUY, alpha=0.18, linewidth=0)
    axes.fill_between(x, y, 0, where=list(y < 0), interpolate=True, color=SELL, alpha=0.18, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_ylabel("cumulative delta")
    volume_axis(axes, min(0.0, float(y.min())), max(0.0, float(y.max())), 5)


def _handles(view: BarsView) -> list[Any]:
    return [
        Patch(color=BUY, label="up; bought"),
        Patch(color=SELL, label="down; sold"),
        Line2D([], [], color=LINE, label="cumulative delta since the first bar"),
        *hole_handles(view.holes),
    ]
