"""The task of a trading adapter that tells others that it lives, and clears away what is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.errors import SpillwayError
from pipeline.trading.service import ServiceInfo
from sinks.ledger.aio import AsyncLedger, AsyncShared
from spillway.trading_config import AdapterConfig

log = logging.getLogger(__name__)
CLEAN_S = 3600.0  # between two times that old changes are forgotten


class Heartbeat:
    """Registers a service, beats for it, and takes it off the list again."""

    def __init__(self, ledger: AsyncLedger, shared: AsyncShared, service: ServiceInfo, config: AdapterConfig) -> None:
        self._ledger = ledger
        self._shared = shared
        self._service = service
        self._config = config
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._cleaned = -CLEAN_S
        self._failed: dict[str, str] = {}  # what the last try of each duty ran into
        self._last_beat: datetime | None = None

    async def start(self) -> None:
        """Registers, and beats from now on. RedisUnavailable where it is required and can't be reached."""
        if self._config.redis_required:
            await self._tell()
        self._task = asyncio.create_task(self._beat(), name="trading adapter heartbeat")

    async def stop(self) -> None:
        """Ends, and takes the service off the list, if Redis is there."""
        self._leaving.set()
        if self._task:
            await self._task
        await self._try("leave", self._shared.services.deregister(self._service.service_id))

    def health(self) -> dict[str, Any]:
        """How it goes: when it last beat, and what failed of late."""
        failed = dict(self._failed)
        if self._task is None or self._task.done():
            failed["task"] = "it has ended"
        if self._last_beat is None:
            failed.setdefault("heartbeat", "not registered yet")
        return {"healthy": not failed, "last_beat": self._last_beat and self._last_beat.isoformat(), "failed": failed}

    async def _beat(self) -> None:
        while not self._leaving.is_set():
            await self._once()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.heartbeat_interval):
                    await self._leaving.wait()

    async def _once(self) -> None:
        await self._try("heartbeat", self._tell())
        await self._try("clean up of services", self._shared.services.cleanup_stale_services())
        if time.monotonic() - self._cleaned >= CLEAN_S:
            self._cleaned = time.monotonic()
            oldest = datetime.now(UTC) - timedelta(days=self._config.change_retention_days)
            await self._try("clean up of changes", self._ledger.changes.prune(oldest))

    async def _tell(self) -> None:
        services = self._shared.services
        if not await services.update_heartbeat(self._service.service_id):  # never registered, or dropped meanwhile
            await services.register(self._service)
        self._last_beat = datetime.now(UTC)

    async def _try(self, duty: str, work: Awaitable[Any]) -> None:
        try:
            await work
            self._failed.pop(duty, None)
        except SpillwayError as error:
            if duty not in self._failed:
                log.warning("trading adapter: %s: %s", duty, error)
            self._failed[duty] = str(error)
