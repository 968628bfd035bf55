"""The footprint chart as a still picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from spillway.plot.footprint_view import FootprintView
from spillway.plot.scale import plain
from spillway.plot.still import DPI, Numbers, hole_handles, legend, price_axis, shade, sheet, tidy, time_axis, volume_axis
from spillway.plot.still_numbers import write
from spillway.plot.style import BUY, CONTROL, GREY, INK, PAPER, SELL, VOLUME, cell_colours

SIZE = (1920, 1080)
_LEFT, _RIGHT = 0.15, 0.95  # of a bar's width, where its cells begin and end
_CANDLE, _BODY = 0.06, 0.04  # where in it its candle stands, and half of how wide that is
_STROKE = 0.045  # how wide an imbalance's stroke is, beside the cell
_SIDES = (("sell", SELL), ("buy", BUY))
_FOOT = 90  # pixels that the panel below has at least
_RASTER = 3000  # so many cells are pixels in an svg: shapes would make it huge


def draw(view: FootprintView, size: tuple[int, int] = SIZE) -> Figure:
    """The chart: cells and candles, the profile beside them, delta and volume below."""
    figure = sheet(view.title, size)
    top = legend(figure, _handles(view))
    foot_height = max(0.11, _FOOT / size[1])
    grid = figure.add_gridspec(
        2,
        2,
        width_ratios=(9, 1),
        height_ratios=(max(top - 82 / size[1] - foot_height, foot_height), foot_height),
        left=130 / size[0],
        right=1 - 28 / size[0],
        top=top,
        bottom=82 / size[1],
        wspace=0.015,
        hspace=0.04,
    )
    main = figure.add_subplot(grid[0, 0])
    profile = figure.add_subplot(grid[0, 1], sharey=main)
    foot = figure.add_subplot(grid[1, 0], sharex=main)
    _main(main, view)
    _profile(profile, view)
    _foot(foot, view)
    main.tick_params(labelbottom=False)
    return figure


def _main(axes: Axes, view: FootprintView) -> None:
    tidy(axes)
    axes.set_ylim(*view.edges)
    price_axis(axes, 12)
    shade(axes, view.holes, view.first, view.every)
    _cells(axes, view)
    if not view.crowded:
        _marks(axes, view)
        _candles(axes, view)
        write(axes, view, (_LEFT, _RIGHT))
    axes.axhline(view.control + view.tick / 2, color=CONTROL, linewidth=1, linestyle=(0, (6, 4)), zorder=1.5, gid="control")


def _cells(axes: Axes, view: FootprintView) -> None:
    values = view.cells["total" if view.by_volume else "delta"].to_numpy(dtype=np.float64)
    colours = cell_colours(values, view.by_volume)
    edge = "none" if view.bars > 80 or view.rows > 120 else "#d5d9df"
    cells = PolyCollection(
        list(_boxes(view.cells, view)), facecolors=colours, edgecolors=edge, linewidths=0.3, zorder=2, gid="cells"
    )
    cells.set_rasterized(len(view.cells) > _RASTER)
    axes.add_collection(cells, autolim=False)


def _marks(axes: Axes, view: FootprintView) -> None:
    """Imbalances as strokes at the side that outweighs, and each bar's point of control framed."""
    fine = min(1.0, 40 / view.bars)
    bar = axes.get_window_extent().width / view.bars * 72 / DPI  # in points
    width = max(1.0, _STROKE * bar)
    for side, x, colour in (("sell", _LEFT - width / bar / 2, SELL), ("buy", _RIGHT + width / bar / 2, BUY)):
        marked = view.cells[view.cells[f"{side}_imbalance"]]
        at = marked["x"].to_numpy() + x
        low = marked["price"].to_numpy()
        strokes = _lines(at, low + 0.06 * view.tick, at, low + 0.94 * view.tick)
        axes.add_collection(
            LineCollection(strokes, colors=colour, linewidths=width, zorder=4, gid=f"{side}-imbalance"), autolim=False
        )
    frames = list(_boxes(view.cells[view.cells["poc"]], view))
    control = PolyCollection(frames, facecolors="none", edgecolors=CONTROL, linewidths=0.5 + fine, zorder=3.5, gid="poc")
    axes.add_collection(control, autolim=False)


def _candles(axes: Axes, view: FootprintView) -> None:
    """Slim candles beside the cells: hollow where the bar closed above its open."""
    boxes = view.boxes()
    x = boxes["x"].to_numpy() + _CANDLE
    wicks = _lines(x, boxes["low"], x, boxes["high"])
    axes.add_collection(LineCollection(wicks, colors=INK, linewidths=0.7, zorder=3, gid="wicks"), autolim=False)
    bodies = list(_rectangles(x - _BODY, x + _BODY, boxes["bottom"].to_numpy(), boxes["top"].to_numpy()))
    fill = np.where(boxes["up"], PAPER, INK).tolist()
    axes.add_collection(
        PolyCollection(bodies, facecolors=fill, edgecolors=INK, linewidths=0.7, zorder=3.2, gid="bodies"), autolim=False
    )


def _profile(axes: Axes, view: FootprintView) -> None:
    tidy(axes)
    rows = view.profile
    for inside, strength in ((True, 0.95), (False, 0.38)):
        part = rows[rows["value_area"] == inside]
        y, height = part["price"] + view.tick / 2, view.tick * 0.92
        axes.barh(y, part["sell"], height, color=SELL, alpha=strength, gid=f"profile-sell-{inside}")
        axes.barh(y, part["total"] - part["sell"] - part["buy"], height, left=part["sell"], color=GREY, alpha=strength)
        axes.barh(
            y, part["buy"], height, left=part["total"] - part["buy"], color=BUY, alpha=strength, gid=f"profile-buy-{inside}"
        )
    axes.axhline(view.control + view.tick / 2, color=CONTROL, linewidth=1, linestyle=(0, (6, 4)))
    axes.annotate(
        f"POC {plain(view.control)}",
        (1, view.control + view.tick),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=8.5,
        fontweight="bold",
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
    )
    axes.tick_params(labelleft=False)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(Numbers(short=True))
    axes.set_xlabel("volume")


def _foot(axes: Axes, view: FootprintView) -> None:
    tidy(axes)
    shade(axes, view.holes, view.first, view.every)
    sums = view.cells.groupby("x")[["total", "delta"]].sum()
    x = sums.index.to_numpy() + 0.5
    axes.bar(x, sums["total"], 0.86, color="#cfd4dc", zorder=2, gid="volume")
    axes.bar(x, sums["delta"], 0.5, color=np.where(sums["delta"] >= 0, BUY, SELL).tolist(), zorder=3, gid="delta")
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=3)
    axes.set_ylabel("volume,\ndelta")
    volume_axis(axes, min(0.0, float(sums["delta"].min())), float(sums["total"].max()), 4)
    time_axis(axes, view.first, view.every, view.bars)


def _handles(view: FootprintView) -> list[Any]:
    main = (
        [Patch(color=VOLUME, label="more volume")]
        if view.by_volume
        else [Patch(color=BUY, label="more bought"), Patch(color=SELL, label="more sold")]
    )
    control = Line2D([], [], color=CONTROL, linestyle=(0, (4, 2)), label="point of control")
    area = Patch(color=GREY, label="value area: strong colour")
    return [*main, *_mark_handles(view), control, area, *hole_handles(view.holes)]


def _mark_handles(view: FootprintView) -> list[Any]:
    if view.crowded:
        return []
    candle = Patch(facecolor=PAPER, edgecolor=INK, linewidth=0.7, label="candle: hollow if it rose")
    return [
        *(Line2D([], [], color=c, linewidth=3, label=f"{side} imbalance {view.percent} %") for side, c in _SIDES),
        *([] if view.candles.empty else [candle]),
    ]


def _boxes(cells: pd.DataFrame, view: FootprintView) -> NDArray[np.float64]:
    x, y = cells["x"].to_numpy(dtype=np.float64), cells["price"].to_numpy(dtype=np.float64)
    left, right = (0.0, 1.0) if view.crowded else (_LEFT, _RIGHT)
    return _rectangles(x + left, x + right, y, y + view.tick)


def _rectangles(left: Any, right: Any, low: Any, high: Any) -> NDArray[np.float64]:
    corners = ((left, low), (right, low), (right, high), (left, high))
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def _lines(x0: Any, y0: Any, x1: Any, y1: Any) -> list[NDArray[np.float64]]:
    ends = np.stack([np.stack([x0, y0], 1), np.stack([x1, y1], 1)], axis=1).astype(np.float64)
    return list(ends)
