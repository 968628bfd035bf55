"""Blocking work that coroutines await: what becomes of it when they are cancelled, and of the threads at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from pipeline.errors import StorageError
from sinks.ledger.threads import Threads

NAME = "threads of the test"


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(NAME)]


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    opened = Threads(2, NAME)
    yield opened
    await opened.aclose(lambda: None)
    assert names() == []


async def until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0)


async def test_work_is_done_off_the_loop(threads: Threads) -> None:
    assert await threads.run(threading.get_ident) != threading.get_ident()


async def test_what_it_raises_is_raised(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_the_loop_goes_on_meanwhile(threads: Threads) -> None:
    go = threading.Event()
    waiting = asyncio.create_task(threads.run(go.wait))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    assert await waiting


async def test_who_is_cancelled_waits_for_what_was_begun(threads: Threads) -> None:
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()
        done.set()

    task = asyncio.create_task(threads.run(work))
    await until(begun)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_a_time_limit_holds_once_the_work_is_over(threads: Threads) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await threads.run(work, when_cancelled=go.set)
    assert go.is_set() is begun.is_set()


async def test_what_had_not_begun_never_does(threads: Threads) -> None:
    begun, go, ran = [threading.Event(), threading.Event()], threading.Event(), threading.Event()

    def hold(event: threading.Event) -> None:
        event.set()
        go.wait()

    holding = [asyncio.create_task(threads.run(partial(hold, event))) for event in begun]
    for event in begun:
        await until(event)
    task = asyncio.create_task(threads.run(ran.set))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.gather(*holding)
    await threads.run(lambda: None)
    assert not ran.is_set()


async def test_work_whose_caller_was_cancelled_may_fail(threads: Threads) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()
        raise ZeroDivisionError

    task = asyncio.create_task(threads.run(work, when_cancelled=go.set))
    await until(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_waits_for_all_that_was_begun_and_then_for_the_last() -> None:
    threads, order = Threads(2, NAME), []
    go = threading.Event()

    def work() -> None:
        go.wait()
        order.append("work")

    working = [asyncio.create_task(threads.run(work)) for _ in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(threads.aclose(lambda: order.append("last")))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.sleep(0)
    assert order == []
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert order == ["work"] * 5 + ["last"]
    assert names() == []
    await asyncio.gather(*working)
    with pytest.raises(StorageError, match="was closed"):
        await threads.run(lambda: None)
    await threads.aclose(lambda: order.append("again"))
    assert order[-1] == "last"


async def test_an_error_at_the_end_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    threads = Threads(1, NAME)
    with pytest.raises(ZeroDivisionError):
        await threads.aclose(fail)
    assert names() == []
