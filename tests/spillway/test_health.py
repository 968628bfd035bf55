"""Health and readiness: each thing that may be wrong is told with its reason, and nothing that hangs holds the answer up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import minute_of
from pipeline.window import RedisWindow
from pipeline.window_facts import Fill, redis_facts
from sinks.disk_guard import disk_of
from spillway import health as health_module
from spillway.app import App, opened
from spillway.collecting import Collection
from spillway.health import Check, Health, Report, checked
from spillway.http import Pages, served
from spillway.loop_lag import LoopLag
from spillway.settings import Collect, Settings
from spillway.survey import Survey
from spillway.tally import Tally
from tests.spillway.test_metrics import free_port

BTC = Instrument("binance", "BTCUSDT")
ENTRY = Collect(venue="binance", symbols=("BTCUSDT",))
HOUR_NS = 3_600 * 10**9


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with opened(Settings(data_dir=tmp_path / "data", collect=(ENTRY,))) as parts:
        yield parts


def health_of(app: App) -> Health:
    survey = Survey(app)
    survey.seen_ns = time.time_ns()
    return Health(app, [Collection(app, ENTRY, None)], survey, Tally(), LoopLag(), {})


def wrong(report: Report) -> dict[str, str]:
    return {check.name: check.reason for check in report.checks if not check.ok}


async def test_a_check_that_hangs_or_fails_is_not_ok_and_holds_up_no_other() -> None:
    async def hang() -> str:
        await asyncio.sleep(3600)
        return ""

    async def fail() -> str:
        raise StorageError("no such disk")

    async def break_down() -> str:
        raise ZeroDivisionError("oops")

    async def be_fine() -> str:
        return ""

    report = await asyncio.wait_for(checked({"a": hang, "b": fail, "c": break_down, "d": be_fine}, 0.01), 5)
    assert not report.ok
    assert report.checks == [
        Check("a", False, "no answer within 0.01 s"),
        Check("b", False, "no such disk"),
        Check("c", False, "ZeroDivisionError: oops"),
        Check("d", True),
    ]
    assert report.as_dict()["checks"][0] == {"name": "a", "ok": False, "reason": "no answer within 0.01 s"}


async def test_it_is_alive_while_its_parts_run_its_loop_wakes_and_no_job_hangs(app: App) -> None:
    over = asyncio.Event()
    part = asyncio.create_task(over.wait())
    health = replace(health_of(app), parts={"collect binance": part})  # type: ignore[dict-item]
    health.lag.woken = asyncio.get_running_loop().time()
    assert wrong(await health.alive()) == {}
    health.lag.woken -= 60
    assert "was not woken for 60 s" in wrong(await health.alive())["event loop"]
    health.lag.woken += 60
    job = health.tally.job("compact")
    job.every_s = 60
    job.begin(time.monotonic() - 3_500)
    assert wrong(await health.alive()) == {}
    job.begin(time.monotonic() - 3_700)
    assert "compact has been running for 3700 s" in wrong(await health.alive())["jobs"]
    job.end(time.monotonic())
    over.set()
    await part
    assert wrong(await health.alive()) == {"parts": "collect binance has ended"}
    assert wrong(await health_of(app).alive()) == {"parts": "not started yet"}


async def test_it_is_not_ready_while_it_stands_by_or_a_venue_refuses(app: App) -> None:
    health = health_of(app)
    assert wrong(await health.ready()) == {"lease": "binance: standing by for BTCUSDT"}
    health.collections[0].refused["BTCUSDT"] = "HTTP 403"
    assert wrong(await health.ready()) == {"collecting": "binance: BTCUSDT is refused: HTTP 403"}


async def test_a_redis_that_refuses_writes_hangs_or_would_lose_minutes_is_not_ready(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    health, client = health_of(app), app.window.client
    assert "redis" not in wrong(await health.ready())
    await client.config_set("maxmemory", 1)
    assert "refuses writes" in wrong(await health.ready())["redis"]
    await client.config_set("maxmemory", 0)
    monkeypatch.setattr(health_module, "LIMIT_S", 0.05)
    monkeypatch.setattr(health_module.checked, "__defaults__", (0.05,))
    paused = RedisWindow.connect(app.server.url)  # type: ignore[union-attr]
    await client.execute_command("CLIENT", "PAUSE", "400", "ALL")
    assert wrong(await health.ready())["redis"] == "no answer within 0.05 s"
    await paused.client.ping()  # the pause is over
    await paused.close()
    monkeypatch.undo()
    for setting, reason in (("maxmemory-policy allkeys-lru", "evicts keys"), ("appendonly no", "a restart would lose it")):
        await client.config_set(*setting.split())
        health.survey.redis = await redis_facts(app.window)
        assert reason in wrong(await health.ready())["redis"]
        await client.config_set("maxmemory-policy", "noeviction")


async def test_a_window_that_is_not_spilled_and_a_disk_that_is_nearly_full_are_not_ready(app: App, tmp_path: Path) -> None:
    now_ns = time.time_ns() // (60 * 10**9) * 60 * 10**9
    health = replace(health_of(app), clock_ns=lambda: now_ns)
    health.survey.fills = {BTC: Fill(2880, 1, minute_of(now_ns - 48 * HOUR_NS) - 9)}
    assert "spill" not in wrong(await health.ready())
    health.survey.fills = {BTC: Fill(2880, 1, minute_of(now_ns - 48 * HOUR_NS) - 30)}
    assert "should have left the window 30 minutes ago" in wrong(await health.ready())["spill"]
    disk = disk_of(tmp_path)
    health.survey.disks = {"data": replace(disk, free=1), "archive": replace(disk, free=1)}
    assert wrong(await health.ready())["disk"].count("1 bytes are free, less than the 2,000,000,000") == 1, (
        "one disk, told once"
    )
    health.survey.seen_ns -= HOUR_NS
    assert "could not be looked at lately" in wrong(await health.ready())["spill"]


# --- who may know ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def pages(token: str) -> AsyncIterator[str]:
    async def alive() -> Report:
        return Report([Check("parts", True)])

    async def ready() -> Report:
        return Report([Check("redis", False, "gone")])

    port = free_port()
    async with served("127.0.0.1", port, Pages(lambda: b"spillway_up 1\n", alive, ready, token)):
        async with asyncio.timeout(5):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", "Basic s3cret", "s3cret", "Bearer s3crét"])
async def test_with_a_token_nothing_but_whether_all_is_well_is_told_to_others(header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    async with pages("s3cret") as url, aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{url}/metrics") as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "spillway_up" not in await answer.text()
        async with session.get(f"{url}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ok": True})
        async with session.get(f"{url}/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"ok": False})


@pytest.mark.parametrize("token", ["", "s3cret"])
async def test_who_has_the_token_or_needs_none_is_told_all(token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with pages(token) as url, aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{url}/metrics") as answer:
            assert (answer.status, await answer.text()) == (200, "spillway_up 1\n")
        async with session.get(f"{url}/readyz") as answer:
            assert answer.status == 503
            assert await answer.json() == {"ok": False, "checks": [{"name": "redis", "ok": False, "reason": "gone"}]}
