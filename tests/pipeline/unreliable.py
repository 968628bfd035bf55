"""A Redis client whose connection fails as a test asks: before a command, after it (the reply is lost), or it hangs."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import ConnectionError


class Unreliable:
    """Passes all on to a client. Only commands sent by `execute_command` (our scripts), and HMGET, can fail."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.lose_requests = 0  # so many of the next commands never arrive
        self.lose_replies = 0  # so many of the next are executed, and nobody hears of it
        self.gate = asyncio.Event()  # while it is clear, scripts wait before they are sent
        self.gate.set()
        self.waiting = asyncio.Event()  # set while one waits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def execute_command(self, *args: Any) -> Any:
        if not self.gate.is_set():
            self.waiting.set()
            await self.gate.wait()
            self.waiting.clear()
        self._request()
        reply = await self._client.execute_command(*args)
        if self.lose_replies:
            self.lose_replies -= 1
            raise ConnectionError("the reply was lost")
        return reply

    async def hmget(self, *args: Any) -> Any:
        self._request()
        return await self._client.hmget(*args)

    def _request(self) -> None:
        if self.lose_requests:
            self.lose_requests -= 1
            raise ConnectionError("the request was lost")
