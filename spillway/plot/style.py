"""Colours and what they mean, the same in still and in interactive pictures. Told apart by the colour-blind too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BUY, SELL, PAPER, INK, GREY = "#0f8a7e", "#cf3f54", "#ffffff", "#1d2430", "#8a919c"
VOLUME, CONTROL, GRID, LINE = "#3f63b5", "#e0a100", "#e6e8ec", "#3f63b5"
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
_FULL = 98  # the percentile of the sizes that has the full colour: one giant trade must not fade all others


def mixed(colour: str, strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Paper at 0, the colour at 1: an RGB row for each strength."""
    paper, ink = (np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for c in (PAPER, colour))
    mix: NDArray[np.float64] = paper + (ink - paper) * np.clip(strength, 0, 1)[:, None]
    return mix


def full_size(values: NDArray[np.float64]) -> float:
    """The size that has the full colour."""
    sizes = np.abs(values[values != 0])
    return float(np.percentile(sizes, _FULL)) if len(sizes) else 1.0


def cell_colours(values: NDArray[np.float64], by_volume: bool) -> NDArray[np.float64]:
    """Of each delta (or volume) its colour, as RGB. The root makes small ones visible."""
    strength = 0.85 * np.sqrt(np.minimum(np.abs(values) / full_size(values), 1))
    if by_volume:
        return mixed(VOLUME, strength)
    return np.where((values >= 0)[:, None], mixed(BUY, strength), mixed(SELL, strength))
