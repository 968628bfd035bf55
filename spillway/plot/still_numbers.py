"""The numbers in the cells of a still footprint chart: as large as all of them have room for, or none at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spillway.plot.footprint_view import FootprintView
from spillway.plot.scale import short_texts
from spillway.plot.still import DPI
from spillway.plot.style import BUY, CROSS, INK, SELL, cell_colours, legible

_LEAST, _LARGEST = 4.2, 9.0  # points
_COMFORTABLE = 6.5  # below it, thousands are rounded to four characters, if that makes the numbers larger
_BESIDE = 0.34  # from a cell's middle to a number, by the font's size: half of an x, and a hair
_EDGE = 0.6  # points that stay free at a cell's side
_ADVANCE = {".": 0.38, "k": 0.67, "M": 1.0, "G": 0.83, "T": 0.69, "~": 0.84}  # of the bold font, by its size
_DIGIT = 0.7


def write(axes: Axes, view: FootprintView, inside: tuple[float, float]) -> None:
    """Sold x bought in each cell, the side that is imbalanced bold. `inside`: from where to where in a bar its cells go."""
    texts, font = _fitting(axes, view, inside)
    if not font:
        return
    grounds = cell_colours(view.cells["total" if view.by_volume else "delta"].to_numpy(dtype=np.float64), view.by_volume)
    bar = axes.get_window_extent().width / view.bars * 72 / DPI
    middle = view.cells["x"].to_numpy(dtype=np.float64) + sum(inside) / 2
    height = view.cells["price"].to_numpy(dtype=np.float64) + view.tick / 2
    for side, away, anchor, colour in (("sell", -1, "right", SELL), ("buy", 1, "left", BUY)):
        marked = view.cells[f"{side}_imbalance"].to_numpy(dtype=bool)
        dark = _dark(colour)
        told = legible(dark, grounds)
        x = middle + away * _BESIDE * font / bar
        for at, y, text, bold, readable in zip(x, height, texts[side], marked, told, strict=True):
            style: dict[str, Any] = {"fontweight": "bold"} if bold else {}
            style["color"] = dark if bold and readable else INK
            axes.text(at, y, text, ha=anchor, va="center_baseline", fontsize=font, zorder=5, gid=side, **style)
    for at, y in zip(middle, height, strict=True):
        axes.text(at, y, "x", ha="center", va="center_baseline", fontsize=font * 0.75, color=CROSS, zorder=5)


def _fitting(axes: Axes, view: FootprintView, inside: tuple[float, float]) -> tuple[dict[str, list[str]], float]:
    """The texts by side, and the size of their font: 0 where they don't fit."""
    long, short = (_texts(view, compact) for compact in (False, True))
    sizes = [_font(axes, view, inside, texts) for texts in (long, short)]
    texts, size = (long, sizes[0]) if sizes[0] >= min(_COMFORTABLE, sizes[1]) else (short, sizes[1])
    return texts, size if size >= _LEAST else 0.0


def _font(axes: Axes, view: FootprintView, inside: tuple[float, float], texts: dict[str, list[str]]) -> float:
    """The largest size at which every number stays in its half of a cell, and in its row."""
    box = axes.get_window_extent()
    bar, (low, high) = box.width / view.bars * 72 / DPI, view.edges
    row = box.height * view.tick / (high - low) * 72 / DPI
    widest = max(_width(text) for side in texts.values() for text in side)
    half = bar * (inside[1] - inside[0]) / 2 - _EDGE
    return min(_LARGEST, row * 0.74, half / (_BESIDE + widest))


def _texts(view: FootprintView, compact: bool) -> dict[str, list[str]]:
    texts = short_texts([*view.cells["sell"], *view.cells["buy"]], compact=compact)
    return {"sell": texts[: len(view.cells)], "buy": texts[len(view.cells) :]}


def _width(text: str) -> float:
    """How wide a bold number is, by the font's size."""
    return sum(_ADVANCE.get(letter, _DIGIT) for letter in text)


def _dark(colour: str) -> str:
    """The colour, darker: on a pale cell of the same colour it must be read."""
    channels: NDArray[np.float64] = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) * 0.55
    return "#" + "".join(f"{int(channel):02x}" for channel in channels)
