"""Blocking work for who awaits it: in a bounded pool of threads, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from pipeline.errors import StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)


class Threads:
    """The threads. Each piece of work is done by one of them from its beginning to its end."""

    def __init__(self, size: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._name = name
        self._begun: set[Future[Any]] = set()
        self._closed = False

    async def run(self, work: Callable[[], T], *, when_cancelled: Callable[[], None] | None = None) -> T:
        """What `work` gives, or raises.

        Who is cancelled while waiting gets that only once the work is over: either it never began, or it was done to its end,
        and nothing goes on behind the caller's back. `when_cancelled` may shorten that.
        """
        future = self.begin(work)
        inner = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            if not future.cancel():
                if when_cancelled:
                    when_cancelled()
                await _over(inner)
            raise

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """Has work done soon. StorageError once this is closed."""
        if self._closed:
            raise StorageError(f"{self._name}: was closed")
        future = self._pool.submit(work)
        self._begun.add(future)
        future.add_done_callback(self._begun.discard)
        return future

    async def aclose(self, last: Callable[[], None]) -> None:
        """Waits for all that was begun, then for `last`, even where it is cancelled. No thread is left."""
        if self._closed:
            return
        self._closed = True
        cancelled = False
        while begun := [asyncio.wrap_future(future) for future in list(self._begun)]:
            cancelled |= await _over(*begun)
        ending = asyncio.wrap_future(self._pool.submit(last))
        cancelled |= await _over(ending)
        self._pool.shutdown()
        ending.result()
        if cancelled:
            raise asyncio.CancelledError


async def _over(*futures: asyncio.Future[Any]) -> bool:
    """Waits until all are done, whatever they give or raise; whether it was cancelled meanwhile."""
    cancelled = False
    while waiting := [future for future in futures if not future.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            cancelled = True
    for future in futures:
        if not future.cancelled() and (error := future.exception()):
            log.debug("work failed whose caller may have been cancelled: %s", error)
    return cancelled
