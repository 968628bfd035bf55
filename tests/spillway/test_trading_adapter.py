"""The trading adapter on real stores: what it opens, what it says of them, what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import NotAllowed, RedisUnavailable, StorageError
from pipeline.trading.condition import Condition
from pipeline.trading.order import Order
from pipeline.trading.service import ServiceInfo
from sinks.ledger.redis.registries import SERVICES
from spillway.trading_adapter import TradingDataAdapter
from spillway.trading_config import AdapterConfig
from tests.sinks.ledger.redis.servers import SECRET, Server, running, start, user_url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("adapter")) as opened:
        yield opened


@pytest.fixture
def config(server: Server, tmp_path: Path) -> Callable[..., AdapterConfig]:
    def make(**given: Any) -> AdapterConfig:
        defaults = {"database_url": f"sqlite:///{tmp_path}/ledger.db", "redis_url": server.url, "service_id": "engine-1"}
        return AdapterConfig(environ={}, **(defaults | given))

    return make


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith(("ledger", "redis_"))] == []


async def until(is_so: Callable[[], Any]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db"


async def test_it_opens_all_stores_and_is_known_to_others(config: Callable[..., AdapterConfig], database_url: str) -> None:
    async with TradingDataAdapter(config(database_url=database_url, http_port=8080)) as adapter:
        order = Order(order_id="o1", symbol="BTCUSDT", side="buy", order_type="market", quantity=1)  # type: ignore[arg-type]
        await adapter.orders.save(order)
        await adapter.conditions.save(Condition(condition_id="c1", symbol="BTCUSDT"))
        assert await adapter.orders.find_by_id("o1") == order
        assert [c.entity_id for c in await adapter.changes.since()] == ["o1", "c1"]
        for empty in ("strategies", "trades", "positions", "decisions", "accounts", "transactions", "performance"):
            assert await getattr(adapter, empty).count() == 0
        await adapter.cache.set_json("price", {"last": 1})
        assert 299 < await adapter.cache.ttl("price") <= 300
        known = await adapter.services.get_service_by_id("engine-1")
        assert known and (known.service_name, known.http_port) == ("trading-data-adapter", 8080)
        assert await adapter.ledger.transaction(lambda ledger: ledger.orders.count()) == 1
    async with TradingDataAdapter(config(service_id="engine-2")) as other:
        assert [s.service_id for s in await other.services.list_services()] == ["engine-2"]


async def test_its_health_says_of_each_store_how_it_is(config: Callable[..., AdapterConfig]) -> None:
    async with TradingDataAdapter(config()) as adapter:
        await until(lambda: adapter._heartbeat and adapter._heartbeat.health()["healthy"])
        health = await adapter.health_check()
    assert (health["status"], health["healthy"], health["reasons"]) == ("healthy", True, [])
    for store in ("ledger", "redis"):
        assert health[store]["healthy"]
        assert 0 < health[store]["latency_ms"] < 60_000
    assert health["ledger"]["where"].endswith("ledger.db")
    assert "trading-adapter:***@" in health["redis"]["where"]
    assert SECRET not in str(health)
    assert (health["redis"]["required"], health["service_id"]) == (True, "engine-1")
    assert await adapter.health_check() == {"status": "unhealthy", "healthy": False, "reasons": ["not connected"]}


async def test_unconnected_it_gives_nothing(config: Callable[..., AdapterConfig]) -> None:
    adapter = TradingDataAdapter(config())
    for name in ("orders", "cache", "services", "changes", "ledger", "redis"):
        with pytest.raises(NotAllowed, match="isn't connected"):
            getattr(adapter, name)
    with pytest.raises(AttributeError, match="has no 'bookings'"):
        adapter.bookings  # noqa: B018
    await adapter.disconnect()
    for _ in range(2):
        await adapter.connect()
        with pytest.raises(NotAllowed, match="connected already"):
            await adapter.connect()
        assert await adapter.orders.count() == 0
        await adapter.disconnect()
        await adapter.disconnect()
    with pytest.raises(NotAllowed):
        adapter.orders  # noqa: B018


async def test_a_redis_that_is_needed_and_not_there_is_told_and_nothing_is_left_open(
    config: Callable[..., AdapterConfig], tmp_path: Path
) -> None:
    adapter = TradingDataAdapter(config(redis_url=user_url(tmp_path / "gone.sock")))
    with pytest.raises(RedisUnavailable, match="can't be reached") as caught:
        await adapter.connect()
    assert SECRET not in str(caught.value)
    with pytest.raises(NotAllowed):
        adapter.cache  # noqa: B018


async def test_a_user_with_too_few_rights_is_told_when_it_connects(
    config: Callable[..., AdapterConfig], server: Server
) -> None:
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "reader", "on", ">x", "~trading:*", "-@all", "+ping", "+time")
    with pytest.raises(RedisUnavailable, match=r"config/redis/users\.acl"):
        await TradingDataAdapter(config(redis_url=f"unix://reader:x@{server.socket}")).connect()


@pytest.mark.parametrize("url", ["sqlite:////proc/no/such/ledger.db", "postgresql://nobody:hunter2@127.0.0.1:1/db"])
async def test_a_ledger_that_is_not_there_is_told_and_nothing_is_left_open(
    config: Callable[..., AdapterConfig], server: Server, url: str
) -> None:
    with pytest.raises(StorageError) as caught:
        await TradingDataAdapter(config(database_url=url)).connect()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with server.admin() as admin:
        assert not admin.sismember(SERVICES + "ids", "engine-1")


async def test_without_a_redis_that_is_not_required_it_says_so_and_uses_it_once_it_is_there(
    config: Callable[..., AdapterConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "redis").mkdir()
    with running(tmp_path / "redis") as server:
        server.process.kill()
        server.process.wait()
        settings = config(redis_url=server.url, redis_required=False, heartbeat_interval=0.02)
        async with TradingDataAdapter(settings) as adapter:
            assert any("without cache and services for now" in message for message in caplog.messages)
            with pytest.raises(RedisUnavailable, match="can't be reached"):
                await adapter.cache.increment("n")
            health = await adapter.health_check()
            assert (health["status"], health["healthy"]) == ("degraded", True)
            assert any(reason.startswith("redis: Redis at unix://") for reason in health["reasons"])
            await adapter.conditions.save(Condition(condition_id="c1", symbol="X"))  # the ledger goes on
            server.process = start(tmp_path / "redis")
            while (await adapter.health_check())["status"] != "healthy":
                await asyncio.sleep(0.001)
            assert await adapter.cache.increment("n") == 1
            assert [s.service_id for s in await adapter.services.list_services()] == ["engine-1"]


async def test_a_redis_that_is_required_and_goes_is_shown(config: Callable[..., AdapterConfig], tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with running(tmp_path / "redis") as server:
        async with TradingDataAdapter(config(redis_url=server.url)) as adapter:
            server.process.kill()
            server.process.wait()
            health = await adapter.health_check()
            assert (health["status"], health["healthy"], health["redis"]["healthy"]) == ("unhealthy", False, False)
            assert "can't be reached" in health["redis"]["error"]
            assert health["ledger"]["healthy"]


async def test_it_beats_registers_again_when_it_was_dropped_and_drops_the_dead(
    config: Callable[..., AdapterConfig], server: Server
) -> None:
    settings = config(heartbeat_interval=0.01, stale_service_threshold=60)
    async with TradingDataAdapter(settings) as adapter:
        first = await adapter.services.get_service_by_id("engine-1")
        while (await adapter.services.get_service_by_id("engine-1")).last_seen == first.last_seen:
            await asyncio.sleep(0)
        await adapter.services.deregister("engine-1")
        while await adapter.services.get_service_by_id("engine-1") is None:
            await asyncio.sleep(0)
        await adapter.services.register(ServiceInfo(service_id="dead", service_name="x"))
        with server.admin() as admin:
            admin.set(SERVICES + "seen:dead", 1)
        while await adapter.services.get_service_by_id("dead"):
            await asyncio.sleep(0)
        assert [task.get_name() for task in asyncio.all_tasks()].count("trading adapter heartbeat") == 1
    assert [task.get_name() for task in asyncio.all_tasks()].count("trading adapter heartbeat") == 0


async def test_changes_that_are_too_old_are_forgotten(config: Callable[..., AdapterConfig]) -> None:
    async with TradingDataAdapter(config()) as adapter:
        await adapter.conditions.save(Condition(condition_id="c1", symbol="X"))
        await adapter.conditions.pause("c1")
    async with TradingDataAdapter(config(change_retention_days=1e-9)) as adapter:
        while len(await adapter.changes.since()) > 1:
            await asyncio.sleep(0)
        assert [c.change for c in await adapter.changes.since()] == ["updated"]


async def test_another_adapters_changes_are_announced(config: Callable[..., AdapterConfig], server: Server) -> None:
    seen: list[str] = []
    async with TradingDataAdapter(config()) as writing, TradingDataAdapter(config(service_id="engine-2")) as following:

        async def follow() -> None:
            async for change in following.changes.follow(0, redis=following.redis):
                seen.append(change.entity_id)

        task = asyncio.create_task(follow())
        await writing.conditions.save(Condition(condition_id="c1", symbol="X"))
        await until(lambda: seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen == ["c1"]


async def test_in_memory_it_is_by_explicit_choice_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with TradingDataAdapter(AdapterConfig(environ={}, database_url="memory://", redis_url="memory://")) as adapter:
            await adapter.cache.set("a", "1")
            assert (await adapter.health_check())["ledger"]["where"] == "memory"
    assert "trading adapter: connected to memory and memory" in caplog.messages
