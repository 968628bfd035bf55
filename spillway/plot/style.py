"""Colours and what they mean, the same in still and in interactive pictures. Told apart by the colour-blind too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BUY, SELL, PAPER, INK, GREY = "#1668b0", "#d64a2b", "#ffffff", "#1d2430", "#8a919c"
VOLUME, CONTROL, GRID, LINE = "#6a51a3", "#e0a100", "#e6e8ec", "#4a5263"
CROSS = "#5b6372"  # the x between two numbers: it must be read on a strong cell too
STATE_COLOURS = {
    "complete": "#3b8f6b",
    "repaired": "#7cc4a0",
    "empty": "#d3e8dc",
    "degraded": "#f08a24",
    "unknown": "#f3dc7a",
    "absent": "#7d8491",
    "removed": "#c3c8d2",
}
STATE_MEANING = {
    "complete": "complete",
    "repaired": "repaired",
    "empty": "empty (proven: nothing traded)",
    "degraded": "degraded (ids are missing)",
    "unknown": "unknown (nothing proves it)",
    "absent": "absent (not recorded)",
    "removed": "removed (by retention)",
}
HATCHES = {"degraded": "//", "absent": "xx", "unknown": ""}
FAINTEST, STRONGEST = 0.1, 0.7  # what traded at all is never as white as paper, and numbers are read on the strongest
_FULL = 98  # the percentile of the sizes that has the full colour: one giant trade must not fade all others
_LEGIBLE = 4.5  # the least contrast of a text and its ground, by WCAG 2


def mixed(colour: str, strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Paper at 0, the colour at 1: an RGB row for each strength."""
    paper, ink = (np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for c in (PAPER, colour))
    mix: NDArray[np.float64] = paper + (ink - paper) * np.clip(strength, 0, 1)[:, None]
    return mix


def full_size(values: NDArray[np.float64]) -> float:
    """The size that has the full colour."""
    sizes = np.abs(values[values != 0])
    return float(np.percentile(sizes, _FULL)) if len(sizes) else 1.0


def strengths(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each delta (or volume) how strong its colour is. The root makes small ones visible."""
    root = np.sqrt(np.minimum(np.abs(values) / full_size(values), 1))
    strong: NDArray[np.float64] = FAINTEST + (STRONGEST - FAINTEST) * root
    return strong


def cell_colours(values: NDArray[np.float64], by_volume: bool) -> NDArray[np.float64]:
    """Of each delta (or volume) its colour, as RGB; grey where neither side bought more."""
    strong = strengths(values)
    if by_volume:
        return mixed(VOLUME, strong)
    sided = np.where((values > 0)[:, None], mixed(BUY, strong), mixed(SELL, strong))
    return np.where((values == 0)[:, None], mixed(GREY, np.full(len(values), 1.5 * FAINTEST)), sided)


def legible(colour: str, grounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """On which of the grounds (RGB rows) a text of this colour is read."""
    ink, paper = _luminance(mixed(colour, np.ones(1))), _luminance(grounds)
    contrast = (np.maximum(ink, paper) + 0.05) / (np.minimum(ink, paper) + 0.05)
    enough: NDArray[np.bool_] = contrast >= _LEGIBLE
    return enough


def _luminance(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    weighed: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return weighed
