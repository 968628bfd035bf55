"""The ledger from asyncio: the same repositories, awaited. The work is done in a bounded pool of threads, off the event loop.

Coroutines that write at the same time share commits, as threads do. There is no `async with ledger.transaction()`: whatever it
awaited in between, all writers of all processes would wait for it. What belongs together is a function, which runs in one
thread, in one transaction: `await ledger.transaction(work)`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial, wraps
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from pipeline.errors import BadValue
from sinks.ledger.changes import KINDS, Change, Changes, checked_kinds
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.postgresql import POOL_SIZE
from sinks.ledger.redis.connection import POOL_SIZE as REDIS_POOL_SIZE
from sinks.ledger.redis.connection import SharedRedis
from sinks.ledger.redis.shared import Shared, open_shared
from sinks.ledger.threads import Threads

T = TypeVar("T")
THREADS = 32  # so many coroutines write into one commit; they cost nothing while they wait
Call = Callable[..., Coroutine[Any, Any, Any]]


class Face:
    """An object whose public methods are awaited: with the same names, arguments, answers and errors."""

    def __init__(self, behind: object, threads: Threads) -> None:
        self._threads = threads
        for name, method in inspect.getmembers(behind, _is_asked):
            if not name.startswith("_") and name != "close" and not hasattr(type(self), name):
                setattr(self, name, self._awaited(method))

    def __getattr__(self, name: str) -> Call:  # for type checkers; what there is was set
        raise AttributeError(f"there is no {name!r} to be awaited here")

    def _awaited(self, method: Callable[..., Any]) -> Call:
        @wraps(method)
        async def call(*args: Any, **options: Any) -> Any:
            return await self._threads.run(partial(method, *args, **options))

        return call


class ChangesFace(Face):
    """The changes, followed by `async for`."""

    def __init__(self, behind: Changes, threads: Threads) -> None:
        super().__init__(behind, threads)
        self._changes = behind

    def follow(
        self, after: int | None = None, *, kinds: Collection[str] = KINDS, redis: SharedRedis | None = None
    ) -> AsyncGenerator[Change, None]:
        """As `Changes.follow`; without `after` from about now on. It ends with its task, or by `aclosing`."""
        wanted = checked_kinds(kinds)
        first = self._threads.begin(self._changes.latest if after is None else lambda: after)
        return self._following(first, wanted, redis)

    async def _following(
        self, first: Future[int], kinds: Collection[str], redis: SharedRedis | None
    ) -> AsyncGenerator[Change, None]:
        batches = self._changes.follow_batches(await asyncio.wrap_future(first), stop := threading.Event(), redis)
        follower = Threads(1, "ledger follower")  # its own: it waits nearly always
        try:
            while batch := await follower.run(partial(next, batches, None), when_cancelled=stop.set):
                for change in batch:
                    if change.entity in kinds:
                        yield change
        finally:
            stop.set()
            await follower.aclose(batches.close)


class AsyncLedger:
    """A ledger whose repositories are awaited: `await ledger.orders.save(order)`. Close it, or use it in `async with`."""

    accounts: Face
    balances: Face
    changes: ChangesFace
    conditions: Face
    decisions: Face
    gaps: Face
    klines: Face
    orders: Face
    performance: Face
    positions: Face
    strategies: Face
    trades: Face
    transactions: Face

    def __init__(self, ledger: Ledger, threads: Threads) -> None:
        self._ledger = ledger
        self._threads = threads
        self.where = ledger.where
        for name, repository in vars(ledger).items():
            if not name.startswith("_") and name != "where":
                face = ChangesFace if isinstance(repository, Changes) else Face
                setattr(self, name, face(repository, threads))

    async def run(self, work: Callable[[Ledger], T]) -> T:
        """What a function gives that is called with the ledger itself, in one of the threads. Fully typed, too."""
        return await self._threads.run(partial(_plain, work, self._ledger))

    async def transaction(self, work: Callable[[Ledger], T]) -> T:
        """The same in one transaction: all that it writes is written together, or, where it raises, nothing of it."""

        def whole(ledger: Ledger) -> T:
            with ledger.transaction():
                return _plain(work, ledger)

        return await self.run(whole)

    async def snapshot(self, work: Callable[[Ledger], T]) -> T:
        """The same where all that it reads is of one moment."""

        def whole(ledger: Ledger) -> T:
            with ledger.snapshot():
                return _plain(work, ledger)

        return await self.run(whole)

    async def aclose(self) -> None:
        """Waits for what was begun, and closes the database. No thread is left."""
        await self._threads.aclose(self._ledger.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.aclose()


class AsyncShared:
    """What programs share in Redis, awaited. Close it, or use it in `async with`."""

    def __init__(self, shared: Shared, threads: Threads) -> None:
        self._shared = shared
        self._threads = threads
        self.where = shared.where
        self.redis = shared.redis
        self.cache = Face(shared.cache, threads)
        self.services = Face(shared.services, threads)

    async def ping(self) -> None:
        """RedisUnavailable unless Redis answers, and lets us in."""
        await self._threads.run(self._shared.ping)

    async def aclose(self) -> None:
        """Waits for what was begun, and closes the connections. No thread is left."""
        await self._threads.aclose(self._shared.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.aclose()


async def opened_ledger(url: str, *, threads: int = THREADS, pool_size: int = POOL_SIZE) -> AsyncLedger:
    """An open ledger: see `open_ledger`. `threads`: at most so many of its operations go on at once."""
    return await _opened(partial(open_ledger, url, pool_size=pool_size), AsyncLedger, Threads(threads, "ledger"))


async def opened_shared(url: str, *, pool_size: int = REDIS_POOL_SIZE, **options: Any) -> AsyncShared:
    """What is shared at a Redis URL: see `open_shared`."""
    return await _opened(partial(open_shared, url, pool_size=pool_size, **options), AsyncShared, Threads(pool_size, "redis"))


@asynccontextmanager
async def aopen_ledger(url: str, *, threads: int = THREADS, pool_size: int = POOL_SIZE) -> AsyncIterator[AsyncLedger]:
    """`async with aopen_ledger(url) as ledger`: see `opened_ledger`."""
    async with await opened_ledger(url, threads=threads, pool_size=pool_size) as ledger:
        yield ledger


@asynccontextmanager
async def aopen_shared(url: str, *, pool_size: int = REDIS_POOL_SIZE, **options: Any) -> AsyncIterator[AsyncShared]:
    """`async with aopen_shared(url) as shared`: see `opened_shared`."""
    async with await opened_shared(url, pool_size=pool_size, **options) as shared:
        yield shared


class _Closes(Protocol):
    def close(self) -> None: ...


S = TypeVar("S", bound=_Closes)


async def _opened(opening: Callable[[], S], face: Callable[[S, Threads], T], threads: Threads) -> T:
    made: list[S] = []
    try:
        await threads.run(lambda: made.append(opening()))
    except BaseException:  # also one who was cancelled while it was being opened
        await threads.aclose(partial(_close, made))
        raise
    return face(made[0], threads)


def _close(opened: Sequence[_Closes]) -> None:
    for each in opened:
        each.close()


def _is_asked(member: object) -> bool:
    return inspect.ismethod(member) and not inspect.isgeneratorfunction(inspect.unwrap(member))


def _plain(work: Callable[[Ledger], T], ledger: Ledger) -> T:
    given = work(ledger)
    if inspect.iscoroutine(given):
        given.close()
        raise BadValue("expected a plain function: within one thread and transaction nothing can be awaited")
    return given
