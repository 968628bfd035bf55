"""What programs share in Redis, by URL: the cache and the services. In memory where, and only where, the URL says so."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sinks.ledger.redis.cache import Cache, Ttl
from sinks.ledger.redis.cache_keys import MemoryKeys, RedisKeys
from sinks.ledger.redis.connection import POOL_SIZE, TIMEOUT_S, SharedRedis
from sinks.ledger.redis.registries import MemoryRegistry, RedisRegistry
from sinks.ledger.redis.services import STALE_S, Seconds, Services

MEMORY = "memory://"


class Shared:
    """Close it, or use it in a `with` block. `redis` is None for one in memory, which no other process sees."""

    def __init__(self, redis: SharedRedis | None, *, default_ttl: Ttl | None, stale_after: Seconds) -> None:
        self.redis = redis
        self.where = redis.name if redis else "memory"
        self.cache = Cache(RedisKeys(redis) if redis else MemoryKeys(), default_ttl=default_ttl)
        self.services = Services(RedisRegistry(redis) if redis else MemoryRegistry(), stale_after=stale_after)

    def ping(self) -> None:
        """RedisUnavailable unless Redis answers, and lets us in."""
        if self.redis:
            self.redis.ping()

    def close(self) -> None:
        """Closes the connections."""
        self.cache.close()
        self.services.close()
        if self.redis:
            self.redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_shared(
    url: str,
    *,
    default_ttl: Ttl | None = None,
    stale_after: Seconds = STALE_S,
    pool_size: int = POOL_SIZE,
    timeout_s: float = TIMEOUT_S,
    ping: bool = True,
) -> Shared:
    """The cache and the services at a Redis URL, or in memory at `memory://`. BadValue; RedisUnavailable if it doesn't answer.

    `default_ttl`: how long to keep what is given no time; None for ever. `stale_after`: how long a service may be unseen.
    `ping=False`: whether Redis answers is not asked; it is connected to when it is first needed.
    """
    redis = None if url == MEMORY else SharedRedis(url, pool_size=pool_size, timeout_s=timeout_s)
    shared = Shared(redis, default_ttl=default_ttl, stale_after=stale_after)
    try:
        if ping:
            shared.ping()
    except BaseException:
        shared.close()
        raise
    return shared
