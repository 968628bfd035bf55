"""All stores of a trader's program behind one object: the ledger, and what programs share in Redis.

A store that can't be reached is an error where it is needed, and stands in `health_check`. Nothing takes its place in silence.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from pipeline.errors import NotAllowed, RedisUnavailable, SpillwayError
from pipeline.trading.names import new_id
from pipeline.trading.service import ServiceInfo
from sinks.ledger.aio import AsyncLedger, AsyncShared, ChangesFace, Face, opened_ledger, opened_shared
from sinks.ledger.redis.connection import SharedRedis
from spillway.trading_config import AdapterConfig
from spillway.trading_heartbeat import Heartbeat

log = logging.getLogger(__name__)


class TradingDataAdapter:
    """Connect it, or use it in `async with`. Its repositories are awaited: `await adapter.orders.save(order)`.

    NotAllowed for all but `connect`, `disconnect` and `health_check` while it isn't connected.
    """

    accounts: Face
    balances: Face
    cache: Face
    changes: ChangesFace
    conditions: Face
    decisions: Face
    orders: Face
    performance: Face
    positions: Face
    services: Face
    strategies: Face
    trades: Face
    transactions: Face

    def __init__(self, config: AdapterConfig | None = None) -> None:
        self.config = config or AdapterConfig()
        self.service = _service(self.config)
        self._ledger: AsyncLedger | None = None
        self._shared: AsyncShared | None = None
        self._heartbeat: Heartbeat | None = None
        self._open = AsyncExitStack()

    def __getattr__(self, name: str) -> Any:
        if name not in type(self).__annotations__:
            raise AttributeError(f"a trading adapter has no {name!r}")
        return getattr(self._connected_shared if name in ("cache", "services") else self.ledger, name)

    @property
    def ledger(self) -> AsyncLedger:
        """The whole ledger: for `run`, `transaction` and `snapshot`."""
        if self._ledger is None:
            raise NotAllowed("the trading adapter isn't connected: await its connect()")
        return self._ledger

    @property
    def redis(self) -> SharedRedis | None:
        """The Redis that it announces changes on, for `changes.follow(redis=...)`; None for one in memory."""
        return self._connected_shared.redis

    # --- there and gone -------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Opens all stores and registers the service. SpillwayError, one line, where one can't be reached: then none is open.

        With `redis_required=False` a Redis that can't be reached is warned of, and used as soon as it is there.
        """
        if self._ledger:
            raise NotAllowed("the trading adapter is connected already")
        async with AsyncExitStack() as opening:
            shared = await self._open_shared(opening)
            ledger = await self._open_ledger(opening, shared)
            heartbeat = Heartbeat(ledger, shared, self.service, self.config)
            opening.push_async_callback(heartbeat.stop)
            await heartbeat.start()
            self._shared, self._ledger, self._heartbeat = shared, ledger, heartbeat
            self._open = opening.pop_all()
        log.info("trading adapter: connected to %s and %s", ledger.where, shared.where)

    async def disconnect(self) -> None:
        """Takes leave of the other services and closes all stores. Again it does nothing."""
        self._ledger = self._shared = self._heartbeat = None
        await self._open.aclose()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.disconnect()

    # --- how it is ------------------------------------------------------------------------------------------------------

    async def health_check(self) -> dict[str, Any]:
        """Plain JSON: `status` is healthy, degraded (without a Redis that isn't required) or unhealthy; `reasons` says why.

        For each store whether it is `healthy`, `where` it is, its `latency_ms`, and the `error` of one that isn't.
        """
        if not (self._ledger and self._shared and self._heartbeat):
            return {"status": "unhealthy", "healthy": False, "reasons": ["not connected"]}
        stores = {
            "ledger": await _probed(self._ledger.where, self._ledger.changes.latest),
            "redis": await _probed(self._shared.where, self._shared.ping) | {"required": self.config.redis_required},
            "heartbeat": self._heartbeat.health(),
        }
        reasons = [f"{name}: {reason}" for name, store in stores.items() for reason in _reasons(store)]
        needed = [name for name in stores if name == "ledger" or self.config.redis_required]
        healthy = all(stores[name]["healthy"] for name in needed)
        status = "healthy" if not reasons else "degraded" if healthy else "unhealthy"
        return {"status": status, "healthy": healthy, "reasons": reasons, "service_id": self.service.service_id, **stores}

    # --- inside ---------------------------------------------------------------------------------------------------------

    @property
    def _connected_shared(self) -> AsyncShared:
        if self._shared is None:
            raise NotAllowed("the trading adapter isn't connected: await its connect()")
        return self._shared

    async def _open_shared(self, opening: AsyncExitStack) -> AsyncShared:
        config = self.config
        shared = await opened_shared(
            config.redis_url,
            pool_size=config.redis_pool_size,
            timeout_s=config.redis_timeout,
            default_ttl=config.cache_ttl_default,
            stale_after=config.stale_service_threshold,
            ping=False,
        )
        await opening.enter_async_context(shared)
        try:
            await shared.ping()
        except RedisUnavailable as error:
            if config.redis_required:
                raise
            log.warning("trading adapter: without cache and services for now: %s", error)
        return shared

    async def _open_ledger(self, opening: AsyncExitStack, shared: AsyncShared) -> AsyncLedger:
        config, redis = self.config, shared.redis
        ledger = await opened_ledger(config.ledger_url, threads=config.threads, pool_size=config.pool_size)
        await opening.enter_async_context(ledger)
        if redis:
            await ledger.run(lambda opened: opened.announce(redis))
        return ledger


async def _probed(where: str, probe: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    begun = time.perf_counter()
    try:
        await probe()
    except SpillwayError as error:
        return {"healthy": False, "where": where, "error": str(error)}
    return {"healthy": True, "where": where, "latency_ms": round((time.perf_counter() - begun) * 1000, 3)}


def _reasons(store: dict[str, Any]) -> list[str]:
    if "error" in store:
        return [store["error"]]
    return [f"{duty}: {reason}" for duty, reason in store.get("failed", {}).items()]


def _service(config: AdapterConfig) -> ServiceInfo:
    return ServiceInfo(
        service_id=config.service_id or new_id(),
        service_name=config.service_name,
        version=config.service_version,
        host=config.service_host,
        grpc_port=config.grpc_port,
        http_port=config.http_port,
    )
