"""Parts that raise and parts that hang: the service goes on, or ends with a reason, and never stays half-dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pipeline.errors import SpillwayError, StorageError
from spillway import supervise
from spillway.supervise import GaveUp, essential, restarted, until_stopped


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(supervise, "LAST_WORD_S", 0.05)


@dataclass
class Part:
    """Fails so many times, then runs until `stop`."""

    stop: asyncio.Event
    fails: int
    began: int = 0

    async def run(self) -> None:
        self.began += 1
        if self.began <= self.fails:
            raise ValueError("boom")
        await self.stop.wait()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_part_that_others_can_do_without_begins_again_after_each_failure_which_is_counted() -> None:
    stop, failed = asyncio.Event(), list[str]()
    part = Part(stop, fails=3)
    running = asyncio.create_task(restarted("klines", part.run, stop, failed.append))
    await until(lambda: part.began == 4)
    assert failed == ["klines"] * 3
    stop.set()
    await running


async def test_it_does_not_begin_again_once_the_service_stops() -> None:
    stop = asyncio.Event()
    part = Part(stop, fails=10**6)
    running = asyncio.create_task(restarted("klines", part.run, stop))
    await until(lambda: part.began > 1)
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_a_part_that_has_to_run_ends_the_service_where_it_fails_or_ends() -> None:
    stop = asyncio.Event()
    with pytest.raises(ValueError, match="boom"):
        await essential("collect", Part(stop, fails=1).run, stop)
    assert stop.is_set(), "the others are told"
    stop = asyncio.Event()
    with pytest.raises(SpillwayError, match="collect ended by itself"):
        await essential("collect", lambda: asyncio.sleep(0), stop)
    assert stop.is_set()
    await essential("collect", lambda: asyncio.sleep(0), stop)


async def test_a_part_that_was_dismissed_ends_alone_but_not_with_an_error() -> None:
    stop, dismissed = asyncio.Event(), asyncio.Event()
    with pytest.raises(SpillwayError, match="collect ended by itself"):
        await essential("collect", lambda: asyncio.sleep(0), asyncio.Event(), dismissed)
    dismissed.set()
    await essential("collect", lambda: asyncio.sleep(0), stop, dismissed)
    assert not stop.is_set(), "the others go on"
    with pytest.raises(ValueError, match="boom"):
        await essential("collect", Part(dismissed, fails=1).run, stop, dismissed)
    assert stop.is_set(), "a half-written end is no end"


@dataclass
class Serving:
    """A service whose draining takes until `drained` is set; where it is `deaf`, being cancelled doesn't end it."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    deaf: bool = False
    error: Exception | None = None

    async def run(self) -> None:
        await self.stop.wait()
        while not self.drained.is_set():
            try:
                await self.drained.wait()
            except asyncio.CancelledError:
                if not self.deaf:
                    raise
        if self.error:
            raise self.error

    def unfinished(self) -> list[str]:
        return ["collect binance", "job compact"]


async def test_a_service_that_drains_in_time_ends_well() -> None:
    service = Serving()
    running = asyncio.create_task(until_stopped(service, asyncio.Event(), 60))
    service.stop.set()
    service.drained.set()
    await asyncio.wait_for(running, 5)


async def test_its_own_error_is_what_it_ends_with() -> None:
    service = Serving(error=StorageError("no room"))
    service.stop.set()
    service.drained.set()
    with pytest.raises(StorageError, match="no room"):
        await until_stopped(service, asyncio.Event(), 60)


@pytest.mark.parametrize("deaf", [False, True])
async def test_after_the_deadline_it_says_what_was_given_up(deaf: bool) -> None:
    service = Serving(deaf=deaf)
    service.stop.set()
    with pytest.raises(GaveUp, match=r"since 0.02 s were over: gave up collect binance, job compact; trades"):
        await asyncio.wait_for(until_stopped(service, asyncio.Event(), 0.02), 5)
    service.drained.set()


async def test_a_second_signal_ends_it_at_once() -> None:
    service, hurry = Serving(), asyncio.Event()
    running = asyncio.create_task(until_stopped(service, hurry, 600))
    service.stop.set()
    await asyncio.sleep(0)
    assert not running.done()
    hurry.set()
    with pytest.raises(GaveUp, match="since a second signal came"):
        await asyncio.wait_for(running, 5)
