"""How many prices a minute may hold. Pure.

A venue that is broken or hostile may tell a new price with every trade. Redis takes 2**20 arguments a command, two a price, and
a flush may carry several minutes: beyond `MAX_LEVELS` they would no longer fit, and the instrument would stand still.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import fixed
from pipeline.footprint import Footprint
from pipeline.trade import NS_PER_MINUTE, TradeBatch

MAX_LEVELS = 100_000  # of a minute; a busy one has some thousands


def crowded(footprint: Footprint, batch: TradeBatch) -> NDArray[np.bool_]:
    """Which trades would be at one price too many in their minute; those at prices that it holds already never are."""
    refused = np.zeros(len(batch), dtype=bool)
    most = max((len(bucket.levels) for bucket in footprint.open.values()), default=0)
    if most + len(batch) <= MAX_LEVELS:
        return refused
    scale = max(footprint.price_scale, batch.price_scale)
    prices = fixed.widen(batch.price, batch.price_scale, scale)
    if footprint.price_group:
        prices = prices - prices % fixed.at_scale(footprint.price_group, scale)
    minutes = batch.ts_ns // NS_PER_MINUTE
    for minute in np.unique(minutes).tolist():
        rows = np.flatnonzero(minutes == minute)
        refused[rows] = _beyond(_held(footprint, minute, scale), prices[rows].tolist())
    return refused


def _held(footprint: Footprint, minute: int, scale: int) -> set[int]:
    bucket = footprint.open.get(minute)
    return {price * 10 ** (scale - footprint.price_scale) for price in bucket.levels} if bucket else set()


def _beyond(held: set[int], prices: list[int]) -> list[bool]:
    if len(held | set(prices)) <= MAX_LEVELS:
        return [False] * len(prices)
    found = []
    for price in prices:
        if price not in held and len(held) < MAX_LEVELS:
            held.add(price)
        found.append(price not in held)
    return found
