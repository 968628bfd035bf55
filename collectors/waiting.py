"""Waiting for a task that something else may make pointless."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def result_or_cancel(task: asyncio.Task[T]) -> T | None:
    """What a task has given; one that isn't done is cancelled."""
    task.cancel()
    await asyncio.wait({task})
    return None if task.cancelled() else task.result()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T | None:
    """What `work` gives; or None, with `work` cancelled, where `stop` or the time comes first."""
    tasks = asyncio.create_task(work, name="work"), asyncio.create_task(stop.wait(), name="work's stop")
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
