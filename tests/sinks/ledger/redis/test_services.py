"""Service discovery, on a real Redis and in memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.errors import BadValue, Missing, StorageError
from pipeline.trading.service import ServiceInfo, ServiceStatus
from sinks.ledger.redis.registries import SERVICES, MemoryRegistry, RedisRegistry
from sinks.ledger.redis.services import Services
from sinks.ledger.redis.shared import Shared, open_shared
from tests.sinks.ledger.redis.servers import Server

START = datetime(2024, 10, 23, 14, 30, tzinfo=UTC)
ENGINE = ServiceInfo(
    service_id="engine-1",
    service_name="trading-engine",
    version="1.2.3",
    host="10.0.0.7",
    grpc_port=50051,
    http_port=8081,
    metadata={"region": "eu 'west'", "weight": 0.1, "big": 10**30, "tags": [1, None]},
)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(shared: Shared, clock: Clock) -> Services:
    registry = RedisRegistry(shared.redis) if shared.redis else MemoryRegistry()
    return Services(registry, clock=clock)


def test_a_service_is_found_as_it_registered(services: Services) -> None:
    known = services.register(ENGINE)
    assert known == replace(ENGINE, registered_at=START, last_seen=START)
    assert services.get_service_by_id("engine-1") == known
    assert services.get_service("trading-engine") == known
    assert services.find_by_name("trading-engine") == services.list_services() == services.list_healthy_services() == [known]
    assert services.get_service_by_id("nobody") is services.get_service("nobody") is None


def test_it_registers_anew_over_what_was_known(services: Services, clock: Clock) -> None:
    services.register(ENGINE)
    clock.pass_s(5)
    moved = services.register(replace(ENGINE, host="10.0.0.8", status=ServiceStatus.STARTING))
    assert services.list_services() == [moved]
    assert moved.registered_at == clock.now


def test_it_is_forgotten_once_it_leaves(services: Services) -> None:
    services.register(ENGINE)
    assert services.deregister("engine-1")
    assert not services.deregister("engine-1")
    assert services.list_services() == []
    assert not services.update_heartbeat("engine-1")
    with pytest.raises(Missing, match="service 'engine-1' isn't registered"):
        services.update_status("engine-1", "degraded")
    assert services.get_service_by_id("engine-1") is None


def test_a_heartbeat_tells_when_it_was_alive(services: Services, clock: Clock) -> None:
    services.register(ENGINE)
    clock.pass_s(10)
    assert services.update_heartbeat("engine-1")
    found = services.get_service_by_id("engine-1")
    assert found and (found.last_seen, found.registered_at) == (clock.now, START)


def test_the_healthy_ones_are_those_that_say_so_and_were_seen_of_late(services: Services, clock: Clock) -> None:
    for n in range(4):
        services.register(replace(ENGINE, service_id=f"engine-{n}"))
    clock.pass_s(100)
    services.update_heartbeat("engine-1")
    services.update_heartbeat("engine-2")
    services.update_status("engine-2", ServiceStatus.DEGRADED)
    assert [s.service_id for s in services.list_healthy_services(60)] == ["engine-1"]
    assert [s.service_id for s in services.list_healthy_services()] == ["engine-0", "engine-1", "engine-3"]
    assert [str(s.status) for s in services.list_services()] == ["healthy", "healthy", "degraded", "healthy"]
    assert [s.service_id for s in services.list_healthy_services(timedelta(seconds=100))] == [
        "engine-0",
        "engine-1",
        "engine-3",
    ]


def test_of_several_healthy_ones_the_one_seen_last_is_given(services: Services, clock: Clock) -> None:
    for n in range(3):
        services.register(replace(ENGINE, service_id=f"engine-{n}"))
    services.register(replace(ENGINE, service_id="other", service_name="audit"))
    clock.pass_s(1)
    services.update_heartbeat("engine-1")
    found = services.get_service("trading-engine")
    assert found and found.service_id == "engine-1"
    services.update_status("engine-1", "stopping")
    found = services.get_service("trading-engine")
    assert found and found.service_id != "engine-1"


def test_the_stale_are_dropped_and_only_they(services: Services, clock: Clock) -> None:
    for n in range(5):
        services.register(replace(ENGINE, service_id=f"engine-{n}"))
    clock.pass_s(300)
    assert services.cleanup_stale_services() == 0
    services.update_heartbeat("engine-3")
    clock.pass_s(0.000001)
    assert services.cleanup_stale_services() == 4
    assert [s.service_id for s in services.list_services()] == ["engine-3"]
    assert services.cleanup_stale_services(timedelta(days=1)) == 0


def test_a_description_has_a_bound(services: Services) -> None:
    with pytest.raises(BadValue, match="expected at most 65536"):
        services.register(replace(ENGINE, metadata={"much": "x" * 65_536}))
    assert services.list_services() == []


@pytest.mark.parametrize("threshold", [0, -1, float("nan"), float("inf"), True, "5"], ids=repr)
def test_a_threshold_that_is_none_is_refused(services: Services, threshold: Any) -> None:
    for ask in (services.cleanup_stale_services, services.list_healthy_services):
        with pytest.raises(BadValue, match="threshold"):
            ask(threshold)


def test_thousands_are_listed_and_dropped(services: Services, clock: Clock) -> None:
    for n in range(1200):
        services.register(replace(ENGINE, service_id=f"engine-{n:04}"))
    assert [s.service_id for s in services.list_services()] == [f"engine-{n:04}" for n in range(1200)]
    clock.pass_s(301)
    assert services.cleanup_stale_services() == 1200


# --- on Redis only ------------------------------------------------------------------------------------------------------


def test_the_time_is_that_of_redis(trading_redis: Server) -> None:
    with trading_redis.admin() as admin, open_shared(trading_redis.url) as shared:
        before = admin.time()
        known = shared.services.register(ENGINE)
        after = admin.time()
        told = known.last_seen
        assert told and before <= (int(told.timestamp()), told.microsecond) <= after


def test_a_service_that_beats_while_the_stale_are_dropped_stays(trading_redis: Server) -> None:
    """Just before the drop is decided, between what it saw and what it does, the service beats."""
    clock = Clock()
    with open_shared(trading_redis.url) as shared, open_shared(trading_redis.url) as other:
        assert shared.redis and other.redis
        services = Services(RedisRegistry(shared.redis), clock=clock)
        beating = Services(RedisRegistry(other.redis), clock=clock)
        services.register(ENGINE)
        services.register(replace(ENGINE, service_id="dead"))
        clock.pass_s(301)
        pipeline = shared.redis.once.pipeline
        beats: list[bool] = []

        def meddled(*args: Any, **options: Any) -> Any:
            pipe = pipeline(*args, **options)
            multi = pipe.multi

            def beat_first() -> None:
                if not beats:
                    beats.append(beating.update_heartbeat("engine-1"))
                multi()

            pipe.multi = beat_first
            return pipe

        shared.redis.once.pipeline = meddled
        assert services.cleanup_stale_services() == 1  # the dead one
        assert beats == [True]
        assert [s.service_id for s in services.list_services()] == ["engine-1"]
        services.deregister("engine-1")


def test_heartbeats_beside_the_drop_are_all_kept(trading_redis: Server) -> None:
    with open_shared(trading_redis.url, stale_after=60) as shared:
        names = [f"beating-{n}" for n in range(5)]
        for name in names:
            shared.services.register(replace(ENGINE, service_id=name))
        stop = threading.Event()
        lost: list[str] = []

        def beat(name: str) -> None:
            while not stop.is_set():
                if not shared.services.update_heartbeat(name):
                    lost.append(name)

        threads = [threading.Thread(target=beat, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        dropped = 0
        for n in range(40):
            with trading_redis.admin() as admin:  # one that was last seen long ago
                shared.services.register(replace(ENGINE, service_id=f"dead-{n}"))
                admin.set(SERVICES + f"seen:dead-{n}", 1_000_000)
            dropped += shared.services.cleanup_stale_services()
        stop.set()
        for thread in threads:
            thread.join()
        assert (dropped, lost) == (40, [])
        assert {s.service_id for s in shared.services.list_services()} >= set(names)
        with trading_redis.admin() as admin:
            assert list(admin.scan_iter(SERVICES + "*dead*")) == []
            admin.flushdb()


def test_what_another_version_or_program_stored_is_refused_by_name(trading_redis: Server) -> None:
    with trading_redis.admin() as admin, open_shared(trading_redis.url) as shared:
        shared.services.register(ENGINE)
        for told, expected in (
            ('{"format": 2}', "of format 2"),
            ("{", "can't be read"),
            ("[]", "can't be read"),
            ('{"format": 1}', "can't be read"),
        ):
            admin.set(SERVICES + "info:engine-1", told)
            with pytest.raises(StorageError, match=f"service 'engine-1': .*{expected}"):
                shared.services.list_services()
        admin.flushdb()
