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
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from spillway.plot.footprint_view import FootprintView
from spillway.plot.scale import short_texts
from spillway.plot.still import DPI, hole_handles, legend, shade, sheet, tidy, time_axis
from spillway.plot.style import BUY, CONTROL, GREY, INK, PAPER, SELL, VOLUME, cell_colours

SIZE = (1920, 1080)
_LEFT, _RIGHT = 0.13, 0.97  # of a bar's width, where its cells begin and end
_LEAST_FONT, _LARGEST_FONT = 4.2, 9.0
_CANDLE, _BODY = 0.065, 0.04  # where in it its candle stands, and half of how wide that is
_GLYPH = 0.62  # the width of a digit by the font's size
_SIDES = (("sell", SELL), ("buy", BUY))
_RASTER = 3000  # so many cells are pixels in an svg: shapes would make it huge


def draw(view: FootprintView, size: tuple[int, int] = SIZE) -> Figure:
    """The chart: cells and candles, the profile beside them, delta and volume below."""
    figure = sheet(view.title, size)
    top = legend(figure, _handles(view))
    grid = figure.add_gridspec(
        2,
        2,
        width_ratios=(9, 1),
        height_ratios=(7, 1),
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
    axes.yaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_price))
    axes.set_ylabel("price")
    shade(axes, view.holes, view.first, view.every)
    font = _font(axes, view)
    _cells(axes, view)
    if not view.crowded:
        _marks(axes, view)
        _candles(axes, view)
    if font:
        _numbers(axes, view, font)
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
    for side, x, colour in (("sell", _LEFT, SELL), ("buy", _RIGHT, BUY)):
        marked = view.cells[view.cells[f"{side}_imbalance"]]
        at = marked["x"].to_numpy() + x
        low = marked["price"].to_numpy()
        strokes = _lines(at, low + 0.06 * view.tick, at, low + 0.94 * view.tick)
        width = max(1.0, 3.2 * fine)
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


def _numbers(axes: Axes, view: FootprintView, font: float) -> None:
    sells, buys = _texts(view)
    middle = view.cells["x"].to_numpy(dtype=np.float64) + (_LEFT + _RIGHT) / 2
    height = view.cells["price"].to_numpy(dtype=np.float64) + view.tick / 2
    for texts, dx, side, colour in ((sells, -0.05, "right", SELL), (buys, 0.05, "left", BUY)):
        name = "sell" if colour == SELL else "buy"
        for x, y, text, marked in zip(middle, height, texts, view.cells[f"{name}_imbalance"], strict=True):
            style: dict[str, Any] = {"fontweight": "bold", "color": _dark(colour)} if marked else {"color": INK}
            axes.text(x + dx, y, text, ha=side, va="center_baseline", fontsize=font, zorder=5, gid=name, **style)
    for x, y in zip(middle, height, strict=True):
        axes.text(x, y, "x", ha="center", va="center_baseline", fontsize=font * 0.75, color=GREY, zorder=5)


def _font(axes: Axes, view: FootprintView) -> float:
    """The size at which numbers fit into cells; 0 where they don't."""
    box = axes.get_window_extent()
    bar = box.width / view.bars * 72 / DPI
    low, high = view.edges
    height = box.height * view.tick / (high - low) * 72 / DPI
    lengths = sorted(len(text) for texts in _texts(view) for text in texts)
    longest = lengths[int(len(lengths) * 0.98) - 1]  # a few giants may reach beyond their half
    size = min(_LARGEST_FONT, height * 0.74, bar * ((_RIGHT - _LEFT) / 2 - 0.08) / (longest * _GLYPH))
    return size if size >= _LEAST_FONT else 0.0


def _texts(view: FootprintView) -> tuple[list[str], list[str]]:
    texts = short_texts([*view.cells["sell"], *view.cells["buy"]])
    return texts[: len(view.cells)], texts[len(view.cells) :]


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
        f"POC {_price(view.control, None)}",
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
    axes.yaxis.set_major_locator(MaxNLocator(4))
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


def _dark(colour: str) -> str:
    """The colour, darker: on a cell of the same colour it must be read."""
    return "#" + "".join(f"{int(int(colour[i : i + 2], 16) * 0.55):02x}" for i in (1, 3, 5))


def _price(value: float, _: object) -> str:
    return f"{value:,.10f}".rstrip("0").rstrip(".")
