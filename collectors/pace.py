"""So many turns a second and no more, shared by all who ask: a venue counts requests and connections by our address."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

BURST_S = 2.0


class Pace:
    """Turns at a bounded rate. Those who are urgent come before those who are not."""

    def __init__(
        self, per_s: float = math.inf, *, burst_s: float = BURST_S, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """`burst_s`: after a pause so many seconds' turns may be taken at once."""
        self._each_s = 1 / per_s
        self._ahead_s = max(burst_s, self._each_s) - self._each_s
        self._sleep = sleep
        self._free_at = -math.inf  # loop time from which on the next turn is free
        self._urgent = 0  # who waits
        self._quiet = asyncio.Event()  # nobody urgent waits
        self._quiet.set()

    async def turn(self, *, urgent: bool = True) -> None:
        """Returns when it is the caller's turn."""
        if urgent:
            self._urgent += 1
            self._quiet.clear()
        try:
            await self._wait(urgent)
        finally:
            self._urgent -= urgent
            if not self._urgent:
                self._quiet.set()

    async def _wait(self, urgent: bool) -> None:
        if not urgent:
            await self._quiet.wait()
        now = asyncio.get_running_loop().time()
        at = max(self._free_at, now - self._ahead_s)
        self._free_at = at + self._each_s
        if at > now:
            await self._sleep(at - now)
