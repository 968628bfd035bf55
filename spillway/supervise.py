"""Parts that fail begin again, or end the service with a reason; and a service that is told to stop has ended by a deadline."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from pipeline.errors import SpillwayError
from spillway.collecting import pause

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
USEFUL_S = 600.0  # a part that ran so long begins again soon
LAST_WORD_S = 5.0  # for what is cancelled to clean up
EXIT_S = 10.0  # and then for all else

log = structlog.get_logger()


class GaveUp(SpillwayError):
    """The service had to end before all was done; a thread of it may hang."""


class Stoppable(Protocol):
    """A service."""

    @property
    def stop(self) -> asyncio.Event:
        """Set to have it stop."""

    async def run(self) -> None:
        """Runs until then, and drains."""

    def unfinished(self) -> Sequence[str]:
        """What hasn't ended yet."""


async def restarted(
    name: str, part: Callable[[], Awaitable[None]], stop: asyncio.Event, failed: Callable[[str], None] = lambda name: None
) -> None:
    """A part that the others can do without for a while: if it fails it begins again after a pause, longer each time.

    `failed` is told each time. Returns when the part does.
    """
    clock, pause_s = asyncio.get_running_loop().time, FIRST_PAUSE_S
    while not stop.is_set():
        began = clock()
        try:
            return await part()
        except Exception as error:  # whatever it is, it must not end the service, which collects trades
            failed(name)
            pause_s = FIRST_PAUSE_S if clock() - began > USEFUL_S else pause_s
            log.error("part failed, and begins again", part=name, error=_told(error), again_in_s=pause_s)
        await pause(stop, pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def essential(
    name: str, part: Callable[[], Awaitable[None]], stop: asyncio.Event, dismissed: asyncio.Event | None = None
) -> None:
    """A part without which the service is none: its errors end it, and so does its end before `stop`. SpillwayError.

    With `dismissed` set it may end while the others go on. Either of the two sets `stop`: all others end, too, and within the
    same time as if they had been told to.
    """
    try:
        await part()
        if not (stop.is_set() or (dismissed and dismissed.is_set())):
            raise SpillwayError(f"{name} ended by itself: the service can't go on without it")
    except Exception as error:
        if not stop.is_set():
            log.error("the service ends, since a part failed", part=name, error=_told(error))
        stop.set()
        raise


async def until_stopped(service: Stoppable, hurry: asyncio.Event, limit_s: float) -> None:
    """Runs a service; once its `stop` is set it has `limit_s` to drain, less if `hurry` is set: GaveUp, naming what was
    given up."""
    running = asyncio.create_task(service.run(), name="service")
    waits = [asyncio.create_task(event.wait(), name="signal") for event in (service.stop, hurry)]
    try:
        await asyncio.wait({running, waits[0]}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await asyncio.wait({running, waits[1]}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _give_up(service, running, "a second signal came" if hurry.is_set() else f"{limit_s:g} s were over")
        await running
    finally:
        for wait in (*waits, running):
            wait.cancel()


async def _give_up(service: Stoppable, running: asyncio.Task[None], why: str) -> None:
    what = ", ".join(service.unfinished()) or "nothing that has a name"
    running.cancel()
    await asyncio.wait({running}, timeout=LAST_WORD_S)
    if running.done() and not running.cancelled():
        running.exception()  # it is told below what matters
    done = f"stopped before all was done, since {why}: gave up {what}"
    raise GaveUp(f"{done}; trades that were not in Redis yet are fetched again at the next start")


def exit_later(message: str) -> None:
    """Ends the process, if it is still there by then: a thread that hangs would keep it for ever."""

    def leave() -> None:
        print(f"spillway: {message}", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(EXIT_S, leave)
    timer.daemon = True
    timer.start()


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SpillwayError) else repr(error)
