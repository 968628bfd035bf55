"""The event loop's lag: what blocks it is seen."""

from __future__ import annotations

import asyncio
import time

import pytest

from spillway import loop_lag
from spillway.loop_lag import LoopLag


async def test_what_blocks_the_loop_is_seen_and_when_it_was_woken_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "EVERY_S", 0.01)
    lag, stop = LoopLag(), asyncio.Event()
    running = asyncio.create_task(lag.run(stop))
    async with asyncio.timeout(5):
        while not lag.seconds.count:
            await asyncio.sleep(0.001)
        seen, woken = lag.seconds.sum, lag.woken
        time.sleep(0.2)  # what no coroutine may do
        while lag.woken == woken:
            await asyncio.sleep(0.001)
    assert lag.seconds.sum - seen > 0.15
    stop.set()
    await asyncio.wait_for(running, 5)
