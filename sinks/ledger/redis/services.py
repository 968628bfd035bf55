"""Which programs run, where they answer, and when each was last seen alive.

What is checked and decided stands here; where it lies is behind `Registry`: Redis, or this process's memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

from pipeline.errors import BadValue, Missing, StorageError
from pipeline.trading.names import brief, checked_id, checked_name
from pipeline.trading.service import ServiceInfo, ServiceStatus

STALE_S = 300.0
MAX_BYTES = 64 << 10  # of one service's description
FORMAT = 1
_DESCRIBED = ("service_name", "version", "host", "grpc_port", "http_port", "metadata")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)

Seconds: TypeAlias = float | timedelta


@dataclass(frozen=True, slots=True)
class Entry:
    """A service as it is stored. Times in microseconds since 1970."""

    service_id: str
    described: bytes
    status: str
    seen_us: int


class Registry(Protocol):
    """What service discovery needs of its store. Each step is atomic."""

    def now_us(self) -> int:
        """The time that all its users go by."""

    def put(self, service_id: str, described: bytes, status: str, seen_us: int) -> None:
        """Stores a service, over what was there."""

    def remove(self, service_id: str) -> bool:
        """Whether it was there."""

    def beat(self, service_id: str, seen_us: int) -> bool:
        """Notes when it was seen; whether it is there."""

    def set_status(self, service_id: str, status: str) -> bool:
        """Whether it is there, and has that status now."""

    def ids(self) -> list[str]:
        """All that are there."""

    def entries(self, service_ids: Sequence[str]) -> list[Entry]:
        """Those of them that are there."""

    def remove_older(self, before_us: int) -> list[str]:
        """Drops those last seen before that, and tells which; one that beats meanwhile stays."""

    def close(self) -> None:
        """Lets go of the store."""


class Services:
    """Service discovery: seed 002's 10 operations. Blocking and thread-safe.

    The time is the store's own (Redis's `TIME`), so that programs on machines with different clocks agree; or `clock`'s.
    RedisUnavailable where Redis can't be reached, BadValue for what can't be a service.
    """

    def __init__(
        self, registry: Registry, *, clock: Callable[[], datetime] | None = None, stale_after: Seconds = STALE_S
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._stale_us = _microseconds(stale_after)

    # --- a service tells of itself --------------------------------------------------------------------------------------

    def register(self, service: ServiceInfo) -> ServiceInfo:
        """Makes a service known, over what was known by its id; as it is then."""
        now = self._now_us()
        known = replace(service, registered_at=_moment(now), last_seen=_moment(now))
        self._registry.put(known.service_id, _described(known), str(known.status), now)
        return known

    def deregister(self, service_id: str) -> bool:
        """Forgets a service; whether it was known."""
        return self._registry.remove(checked_id(service_id, "service_id"))

    def update_heartbeat(self, service_id: str) -> bool:
        """Notes that it is alive. False where it isn't known, or no more: it must register."""
        return self._registry.beat(checked_id(service_id, "service_id"), self._now_us())

    def update_status(self, service_id: str, status: ServiceStatus | str) -> None:
        """Notes how it is. Missing where it isn't known."""
        if not self._registry.set_status(checked_id(service_id, "service_id"), str(ServiceStatus(status))):
            raise Missing(f"service {service_id!r} isn't registered")

    # --- others look for it ---------------------------------------------------------------------------------------------

    def get_service(self, service_name: str) -> ServiceInfo | None:
        """Of the healthy services of a name the one that was seen last; None where there is none."""
        found = [service for service in self.list_healthy_services() if service.service_name == service_name]
        return max(found, key=_seen, default=None)

    def get_service_by_id(self, service_id: str) -> ServiceInfo | None:
        """A service, however it is; None where it isn't known."""
        return next(iter(self._found([checked_id(service_id, "service_id")])), None)

    def find_by_name(self, service_name: str) -> list[ServiceInfo]:
        """All services of a name, however they are, by id."""
        checked_name(service_name, "service_name")
        return [service for service in self.list_services() if service.service_name == service_name]

    def list_services(self) -> list[ServiceInfo]:
        """All that are known, however they are, by id."""
        return self._found(sorted(self._registry.ids()))

    def list_healthy_services(self, threshold: Seconds | None = None) -> list[ServiceInfo]:
        """Those that say they are healthy, and were seen within `threshold` (by default what counts as stale), by id."""
        oldest = _moment(self._now_us() - (self._stale_us if threshold is None else _microseconds(threshold)))
        return [s for s in self.list_services() if s.status is ServiceStatus.HEALTHY and _seen(s) >= oldest]

    def cleanup_stale_services(self, threshold: Seconds | None = None) -> int:
        """Forgets those not seen for longer than `threshold`; how many. One that beats meanwhile stays."""
        longest = self._stale_us if threshold is None else _microseconds(threshold)
        return len(self._registry.remove_older(self._now_us() - longest))

    def close(self) -> None:
        """Lets go of the store."""
        self._registry.close()

    def _now_us(self) -> int:
        return self._registry.now_us() if self._clock is None else (self._clock() - _EPOCH) // _US

    def _found(self, service_ids: Iterable[str]) -> list[ServiceInfo]:
        return [_service(entry) for entry in self._registry.entries(list(service_ids))]


def _described(service: ServiceInfo) -> bytes:
    """What of a service stays as it registered."""
    told = {
        "format": FORMAT,
        **{name: getattr(service, name) for name in _DESCRIBED},
        "registered_us": (_seen(service) - _EPOCH) // _US,
    }
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES:
        raise BadValue(f"service {service.service_id!r}: described by {len(data)} bytes: expected at most {MAX_BYTES}")
    return data


def _service(entry: Entry) -> ServiceInfo:
    try:
        told = json.loads(entry.described)
        if told["format"] != FORMAT:
            raise StorageError(f"service {entry.service_id!r}: of format {told['format']}, and this Spillway knows {FORMAT}")
        return ServiceInfo(
            service_id=entry.service_id,
            status=ServiceStatus(entry.status),
            last_seen=_moment(entry.seen_us),
            registered_at=_moment(told["registered_us"]),
            **{name: told[name] for name in _DESCRIBED},
        )
    except (ValueError, TypeError, LookupError, BadValue) as error:
        raise StorageError(f"service {entry.service_id!r}: what is stored can't be read: {error}") from None


def _seen(service: ServiceInfo) -> datetime:
    return service.last_seen or _EPOCH


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _microseconds(threshold: Seconds) -> int:
    span = threshold if isinstance(threshold, timedelta) else None
    seconds = span.total_seconds() if span is not None else threshold
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        raise BadValue(f"threshold {brief(threshold)}: expected seconds, more than 0")
    return round(seconds * 1_000_000)
