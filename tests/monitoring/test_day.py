"""A bad day in two minutes: each trouble makes its alert fire in a real Prometheus, which clears when it is mended."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from collectors.connection import Limits
from collectors.simulator import Simulator, synthetic_trades
from pipeline.instrument import Instrument
from sinks.disk_guard import Disk
from sinks.ledger.ledger import open_ledger
from spillway.app import App, opened
from spillway.collecting import Collection
from spillway.service import Service
from spillway.settings import Collect, Http, Schedule, Settings
from spillway.spill import spill_now
from tests import judge
from tests.monitoring.prometheus import Prometheus, binary, hurried, running
from tests.spillway.test_metrics import free_port
from tests.test_collecting import HURRIED
from tests.test_service import expected

BTC = Instrument("binance", "BTCUSDT")
DEADLINE_S = 60.0
PATIENT = replace(HURRIED, limits=Limits(silence_s=30.0, handshake_s=2.0))


def rules_of_the_day(text: str) -> str:
    """A minute is a second, also in how long a feed may be silent."""
    return hurried(text).replace("venue:spillway_silence_seconds:max > 60", "venue:spillway_silence_seconds:max > 1")


async def until(prometheus: Prometheus, alert: str, *, fires: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (alert in await asyncio.to_thread(prometheus.firing)) != fires:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[Service]:
    with open_ledger(app.settings.ledger_url) as ledger:
        service = Service(app, ledger)
        run = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            service.stop.set()
            await run


@asynccontextmanager
async def trouble(prometheus: Prometheus, alert: str) -> AsyncIterator[None]:
    """Quiet before; within it the alert comes to fire, and after it clears."""
    await until(prometheus, alert, fires=False)
    yield
    await until(prometheus, alert, fires=False)


@pytest.mark.long
async def test_each_trouble_of_a_day_makes_its_alert_fire_and_clear_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary("prometheus")
    monkeypatch.setattr("spillway.service.Collection", partial(Collection, tuning=PATIENT))
    monkeypatch.setattr("spillway.jobs.SURVEY_S", 0.2)
    monkeypatch.setattr("spillway.survey.ANSWER_S", 1.0)
    start_ns = (time.time_ns() // 60_000_000_000 - 120) * 60_000_000_000
    trades = list(synthetic_trades(3, start_ns, 32_000, "BTCUSDT", trades_per_minute=600))
    async with Simulator(trades, rate=400.0) as exchange:
        entry = Collect(venue="binance", symbols=("BTCUSDT",), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        schedule = Schedule(seal_every_s=0.1, flush_ms=50)
        settings = Settings(data_dir=tmp_path / "data", collect=(entry,), http=Http(port=free_port()), schedule=schedule)
        async with opened(settings) as app:
            with running(tmp_path, f"127.0.0.1:{settings.http.port}", rules_of_the_day) as prometheus:
                await asyncio.to_thread(prometheus.wait_until_ready, DEADLINE_S)
                async with serving(app):
                    await of_the_feed(prometheus, exchange)
                    await of_redis(prometheus, app)
                    await of_the_disk(prometheus, monkeypatch)
                await until(prometheus, "ServiceDown", fires=True)
                await of_the_lease(prometheus, app)
                async with serving(app) as service:
                    async with asyncio.timeout(DEADLINE_S * 3):
                        while not exchange.done.is_set() or not all_is_taken(service, trades[-1].ts_ns):
                            await asyncio.sleep(0.05)
            report = await spill_now(app, True, lambda done, total: None)
            assert not report.failures
    assert judge.differences(expected(trades), judge.stored(settings.data_dir)) == []


def all_is_taken(service: Service, last_ns: int) -> bool:
    feeds = service.collections[0].feeds.values() if service.collections else []
    return any(feed.writer.watermark_ns >= last_ns and not feed.gaps() for feed in feeds)


async def of_the_feed(prometheus: Prometheus, exchange: Simulator) -> None:
    async with trouble(prometheus, "ServiceDown"):
        while not (await asyncio.to_thread(prometheus.ask, "spillway_trades_total > 0")).is_data:
            await asyncio.sleep(0.1)
    async with trouble(prometheus, "DeadLetters"):
        exchange.say(b"no JSON")
        await until(prometheus, "DeadLetters", fires=True)
    async with trouble(prometheus, "FeedSilent"):
        exchange.silence()
        await until(prometheus, "FeedSilent", fires=True)
        exchange.cut()


async def of_redis(prometheus: Prometheus, app: App) -> None:
    client = app.window.client
    async with trouble(prometheus, "RedisEvictionPolicy"):
        await client.config_set("maxmemory-policy", "allkeys-lru")
        await until(prometheus, "RedisEvictionPolicy", fires=True)
        await client.config_set("maxmemory-policy", "noeviction")
    async with trouble(prometheus, "RedisNearLimit"):
        await client.config_set("maxmemory", int((await client.info("memory"))["used_memory"] * 1.28))
        await until(prometheus, "RedisNearLimit", fires=True)
        await client.config_set("maxmemory", 0)
    async with trouble(prometheus, "RedisNotPersisting"):
        await client.config_set("appendonly", "no")
        await until(prometheus, "RedisNotPersisting", fires=True)
        await client.config_set("appendonly", "yes")
    assert app.server
    async with trouble(prometheus, "RedisDown"):
        os.kill(app.server.pid, signal.SIGSTOP)
        try:
            await until(prometheus, "RedisDown", fires=True)
        finally:
            os.kill(app.server.pid, signal.SIGCONT)


async def of_the_disk(prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trouble(prometheus, "DiskNearlyFull"):
        with monkeypatch.context() as patch:
            patch.setattr("spillway.survey.disk_of", lambda path: Disk(path, 1, total=10**12, free=10**9))
            await until(prometheus, "DiskNearlyFull", fires=True)


async def of_the_lease(prometheus: Prometheus, app: App) -> None:
    lease = await app.window.acquire(BTC, "somebody else", 600_000)
    async with serving(app), trouble(prometheus, "LeaseLost"):
        await until(prometheus, "LeaseLost", fires=True)
        await until(prometheus, "ServiceDown", fires=False)
        await app.window.release(lease)
