"""Waiting for a Redis that can't be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.errors import RedisUnavailable

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 30.0  # between two tries; after about a minute in all it is an error

T = TypeVar("T")


async def patiently(step: Callable[[], Awaitable[T]], revive: Callable[[], Awaitable[None]] | None = None) -> T:
    """Does what may be done twice, again and again until Redis answers. RedisUnavailable after about a minute.

    `revive` brings a Redis of our own back after it died.
    """
    delay_s = FIRST_PAUSE_S
    while True:
        try:
            return await step()
        except RedisUnavailable:
            if delay_s > LONGEST_PAUSE_S:
                raise
        await asyncio.sleep(delay_s)
        delay_s *= 2
        if revive:
            await revive()
