"""A venue's REST answers: asked politely, retried within bounds. Knows aiohttp, and translates its errors."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

import aiohttp
from yarl import URL

from collectors.connection import MiB
from collectors.delays import Delays, is_fatal, retry_after
from collectors.pace import BURST_S, Pace
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import plain
from pipeline.errors import VenueError

MAX_BODY = 16 * MiB  # a history page has less than one
_RATE_LIMITED = frozenset({418, 429})  # 418 is Binance's ban of those who went on after a 429
_AT_ONCE = 4  # requests under way at the same time


class RestClient:
    """GET requests to one venue. Use it as a context.

    A venue that asks to be left alone (429, 418) is left alone by all requests of this client, not only by the one refused.
    """

    def __init__(
        self,
        base_url: str,
        *,
        requests_per_s: float = math.inf,
        burst_s: float = BURST_S,
        timeout_s: float = 10.0,
        tries: int = 4,
        banned: Mapping[int, float] | None = None,
        patience_s: float = 60.0,
        delays: Callable[[], Delays] = lambda: Delays(first_s=0.25, cap_s=5.0),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._tries = tries
        self._banned = dict.fromkeys(_RATE_LIMITED, 0.0) | dict(banned or {})  # status -> how long, where no header says it
        self._patience_s = patience_s  # longer waits are the caller's matter
        self._delays = delays
        self._sleep = sleep
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._pace = Pace(requests_per_s, burst_s=burst_s, sleep=sleep)
        self._not_before = 0.0  # loop time
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def within(cls, limits: VenueLimits, base_url: str, requests_per_s: float | None = None) -> Self:
        """A client that keeps to a venue's limits, or to another rate."""
        rate = requests_per_s or limits.requests_per_s
        return cls(base_url, requests_per_s=rate, burst_s=limits.burst_s, banned=limits.banned)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, *, urgent: bool = True) -> bytes:
        """The body behind `path` (with its query, encoded). VenueError when the tries are used up, or one is enough to know.

        What is not `urgent` waits until nothing urgent does.
        """
        delays = self._delays()
        async with self._turns:
            for left in reversed(range(self._tries)):
                await self._wait_for_leave()
                await self._pace.turn(urgent=urgent)
                try:
                    return await self._once(path)
                except VenueError as error:
                    if error.fatal or not left:
                        raise
                await self._sleep(delays.next_s())
        raise AssertionError("unreachable: the last try returns or raises")

    async def _wait_for_leave(self) -> None:
        """Until the venue wants to hear from us again. VenueError where that is longer than `patience_s`."""
        wait_s = self._not_before - asyncio.get_running_loop().time()
        if wait_s > self._patience_s:
            raise VenueError(f"{self._base_url}: asked us to wait for {wait_s:.0f} s", retry_after_s=wait_s)
        if wait_s > 0:
            await self._sleep(wait_s)

    async def _once(self, path: str) -> bytes:
        assert self._session is not None, "use RestClient as a context"
        where = self._base_url + path.partition("?")[0]
        try:
            async with self._session.get(URL(self._base_url + path, encoded=True)) as answer:
                body = await _body(answer, where)
        except TimeoutError:
            raise VenueError(f"{where}: no answer within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise VenueError(f"{where}: {plain(str(error)) or type(error).__name__}") from None
        if answer.status == 200:
            return body
        wait_s = retry_after(answer.headers.get("Retry-After")) or self._banned.get(answer.status, 0.0)
        if answer.status in self._banned:
            self._not_before = max(self._not_before, asyncio.get_running_loop().time() + wait_s)
        told = plain(body.decode("utf-8", "replace"))
        message = f"{where}: HTTP {answer.status} {told}".rstrip()
        raise VenueError(message, fatal=is_fatal(answer.status) and answer.status not in self._banned, retry_after_s=wait_s)


async def _body(answer: aiohttp.ClientResponse, where: str) -> bytes:
    """The whole body, if it isn't a giant."""
    body = bytearray()
    async for chunk in answer.content.iter_chunked(MiB):
        body += chunk
        if len(body) > MAX_BODY:
            raise VenueError(f"{where}: an answer of more than {MAX_BODY} bytes")
    return bytes(body)
