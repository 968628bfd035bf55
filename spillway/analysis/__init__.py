"""Footprint analysis: `from spillway import analysis`, then `analysis.value_area(store.levels(...), tick=0.1, every="1h")`.

Pure functions of frames (pandas or Arrow) of levels or minutes, wherever they came from; docs/analysis.md has formulas and
sources. Prices and sizes are compared and summed as the exact decimals that they are, never as floats.
"""

from spillway.analysis.auction import unfinished_auctions, zero_prints
from spillway.analysis.delta import cumulative_delta, delta
from spillway.analysis.footprint import How, When, regroup, tick_size
from spillway.analysis.imbalance import imbalances, stacked_imbalances
from spillway.analysis.naked import naked_points_of_control
from spillway.analysis.profile import point_of_control, value_area, volume_profile
from spillway.analysis.sessions import Session
from spillway.analysis.value_area import Method
from spillway.analysis.vwap import vwap, vwap_of_bars

__all__ = [
    "How",
    "Method",
    "Session",
    "When",
    "cumulative_delta",
    "delta",
    "imbalances",
    "naked_points_of_control",
    "point_of_control",
    "regroup",
    "stacked_imbalances",
    "tick_size",
    "unfinished_auctions",
    "value_area",
    "volume_profile",
    "vwap",
    "vwap_of_bars",
    "zero_prints",
]
