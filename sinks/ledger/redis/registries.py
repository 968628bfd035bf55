"""Where services are noted: in Redis, or, by explicit choice, in this process's memory.

    trading:{services}:ids           set: the ids of all that are known
    trading:{services}:info:<id>     what it registered as
    trading:{services}:status:<id>   how it says that it is
    trading:{services}:seen:<id>     when it was last seen, in microseconds

All keys share a hash tag, so that a Redis Cluster keeps them together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import WatchError

from pipeline.errors import RedisUnavailable, StorageError
from pipeline.trading.names import brief
from sinks.ledger.redis.connection import PREFIX, SharedRedis
from sinks.ledger.redis.services import Entry

SERVICES = PREFIX + "{services}:"
_IDS, _INFO, _STATUS, _SEEN = (SERVICES + name for name in ("ids", "info:", "status:", "seen:"))
_SOME = 500  # services in one command
_TRIES = 100  # of a clean-up that heartbeats of those that seemed dead come into


class RedisRegistry:
    """Services in Redis. Transactions rather than scripts: so our user needs no right to run any."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis

    def now_us(self) -> int:
        """Redis's clock."""
        with self._redis.explained():
            seconds, microseconds = self._redis.again.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    def put(self, service_id: str, described: bytes, status: str, seen_us: int) -> None:
        """Stores a service, over what was there."""
        with self._redis.explained(), self._redis.again.pipeline() as pipe:
            pipe.sadd(_IDS, service_id)
            pipe.set(_INFO + service_id, described)
            pipe.set(_STATUS + service_id, status)
            pipe.set(_SEEN + service_id, seen_us)
            pipe.execute()

    def remove(self, service_id: str) -> bool:
        """Whether it was there."""
        with self._redis.explained(), self._redis.once.pipeline() as pipe:
            _drop(pipe, [service_id])
            return bool(pipe.execute()[0])

    def beat(self, service_id: str, seen_us: int) -> bool:
        """Notes when it was seen; whether it is there."""
        with self._redis.explained():
            return bool(self._redis.again.set(_SEEN + service_id, seen_us, xx=True))

    def set_status(self, service_id: str, status: str) -> bool:
        """Whether it is there, and has that status now."""
        with self._redis.explained():
            return bool(self._redis.again.set(_STATUS + service_id, status, xx=True))

    def ids(self) -> list[str]:
        """All that are there."""
        with self._redis.explained():
            return [key.decode() for key in self._redis.again.smembers(_IDS)]

    def entries(self, service_ids: Sequence[str]) -> list[Entry]:
        """Those of them that are there."""
        return [entry for some in _chunks(service_ids) for entry in self._some_entries(some)]

    def remove_older(self, before_us: int) -> list[str]:
        """Drops those last seen before that, and tells which; one that beats meanwhile stays."""
        removed = []
        for some in _chunks(self.ids()):
            with self._redis.explained():
                seen = self._redis.again.mget([_SEEN + key for key in some])
            if stale := _stale(some, seen, before_us):
                removed += self._still_stale(stale, before_us)
        return removed

    def close(self) -> None:
        """Nothing: who made the connection closes it."""

    def _still_stale(self, candidates: Sequence[str], before_us: int) -> list[str]:
        for _ in range(_TRIES):
            with self._redis.explained(), self._redis.once.pipeline() as pipe:
                try:
                    return _dropped_if_stale(pipe, candidates, before_us)
                except WatchError:
                    continue  # one of them beats after all: look again
        raise RedisUnavailable(f"Redis at {self._redis.name}: stale services came back at each of {_TRIES} tries to drop them")

    def _some_entries(self, service_ids: Sequence[str]) -> list[Entry]:
        with self._redis.explained(), self._redis.again.pipeline() as pipe:
            for prefix in (_INFO, _STATUS, _SEEN):
                pipe.mget([prefix + key for key in service_ids])
            rows = zip(service_ids, *pipe.execute(), strict=True)
        return [Entry(key, d, s.decode(), _seen_us(key, at)) for key, d, s, at in rows if None not in (d, s, at)]


class MemoryRegistry:
    """Services in memory, for tests and trials: seen by no other process."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._known: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """The clock's time."""
        return self._clock_ns() // 1000

    def put(self, service_id: str, described: bytes, status: str, seen_us: int) -> None:
        """Stores a service, over what was there."""
        with self._lock:
            self._known[service_id] = Entry(service_id, described, status, seen_us)

    def remove(self, service_id: str) -> bool:
        """Whether it was there."""
        with self._lock:
            return self._known.pop(service_id, None) is not None

    def beat(self, service_id: str, seen_us: int) -> bool:
        """Notes when it was seen; whether it is there."""
        with self._lock:
            known = self._known.get(service_id)
            if known:
                self._known[service_id] = replace(known, seen_us=seen_us)
            return known is not None

    def set_status(self, service_id: str, status: str) -> bool:
        """Whether it is there, and has that status now."""
        with self._lock:
            known = self._known.get(service_id)
            if known:
                self._known[service_id] = replace(known, status=status)
            return known is not None

    def ids(self) -> list[str]:
        """All that are there."""
        with self._lock:
            return list(self._known)

    def entries(self, service_ids: Sequence[str]) -> list[Entry]:
        """Those of them that are there."""
        with self._lock:
            return [self._known[key] for key in service_ids if key in self._known]

    def remove_older(self, before_us: int) -> list[str]:
        """Drops those last seen before that, and tells which."""
        with self._lock:
            stale = [key for key, entry in self._known.items() if entry.seen_us < before_us]
            for key in stale:
                del self._known[key]
            return stale

    def close(self) -> None:
        """All is gone."""
        self._known.clear()


def _dropped_if_stale(pipe: Any, candidates: Sequence[str], before_us: int) -> list[str]:
    """WatchError where one of the candidates beats meanwhile."""
    keys = [_SEEN + key for key in candidates]
    pipe.watch(*keys)
    stale = _stale(candidates, pipe.mget(keys), before_us)
    if stale:
        pipe.multi()
        _drop(pipe, stale)
        pipe.execute()
    return stale


def _drop(pipe: Any, service_ids: Sequence[str]) -> None:
    pipe.srem(_IDS, *service_ids)
    for prefix in (_INFO, _STATUS, _SEEN):
        pipe.unlink(*[prefix + key for key in service_ids])


def _stale(service_ids: Sequence[str], seen: Sequence[bytes | None], before_us: int) -> list[str]:
    return [key for key, at in zip(service_ids, seen, strict=True) if at is None or _seen_us(key, at) < before_us]


def _seen_us(service_id: str, at: bytes) -> int:
    if not at.isdigit():
        raise StorageError(f"service {service_id!r}: when it was last seen can't be read from {brief(at)}")
    return int(at)


def _chunks(service_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(service_ids), _SOME):
        yield service_ids[at : at + _SOME]
