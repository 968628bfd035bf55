"""How late the event loop is: what blocks it delays trades, answers and the lease alike."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pipeline.histogram import Histogram
from spillway.collecting import pause

EVERY_S = 0.25


@dataclass(slots=True)
class LoopLag:
    """Asks to be woken, and looks how late it was."""

    seconds: Histogram = field(default_factory=Histogram)
    woken: float = 0.0  # the loop's time

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + EVERY_S
            self.woken = loop.time()
            await pause(stop, EVERY_S)
            if not stop.is_set():
                self.seconds.observe(max(0.0, loop.time() - due))
