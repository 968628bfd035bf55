"""A real Redis looked at: as ours, by URL, as a user with few rights, paused, and not running at all."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from pipeline import codec
from pipeline.footprint import Footprint
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import minute_of
from pipeline.window import Flush, RedisWindow, Sealed
from spillway.app import opened
from spillway.doctor import redis_look
from spillway.doctor.finding import Finding, Level
from spillway.doctor.looking import Look, look_at
from spillway.owner import owner_name
from spillway.redis_server import RunningRedis, ensure_embedded, running_server
from spillway.settings import Collect, Redis, Settings
from tests import processes
from tests.conftest import gone_with_us
from tests.sinks.days import random_minute
from tests.spillway.doctor.found import only
from tests.spillway.kept import BTC
from tests.spillway.test_cli import spillway

ACL = Path(__file__).parents[3] / "config" / "redis" / "users.acl"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", collect=(Collect(venue=BTC[0], symbols=(BTC[1],)),))


@contextmanager
def running(settings: Settings) -> Iterator[tuple[RunningRedis, redis.Redis]]:
    with (
        ensure_embedded(settings.redis_dir) as server,
        gone_with_us(server.pid),
        redis.Redis(unix_socket_path=str(server.socket_path)) as client,
    ):
        yield server, client


def test_a_redis_of_ours_that_does_not_run_is_told_of_and_not_started(settings: Settings) -> None:
    found = redis_look.look(settings)
    assert only(found, "Redis").level is Level.NOTE
    assert only(found, "redis-server program").level is Level.OK
    assert not settings.data_dir.exists()
    with running(settings):
        pass  # it leaves its folder and locks behind
    before = sorted((path, path.stat().st_mtime_ns) for path in settings.redis_dir.rglob("*"))
    assert only(redis_look.look(settings), "Redis").level is Level.NOTE
    assert sorted((path, path.stat().st_mtime_ns) for path in settings.redis_dir.rglob("*")) == before
    assert running_server(settings.redis_dir) is None


def test_a_redis_of_ours_is_as_it_should_be(settings: Settings) -> None:
    with running(settings) as (server, _):
        found = redis_look.look(settings)
        assert running_server(settings.redis_dir) == server.url
    assert [f for f in found if f.level not in (Level.OK, Level.NOTE)] == []
    looked_at = {f.what for f in found}
    assert looked_at >= {"redis-server program", "Redis", "Redis version", "Redis persistence"}
    assert looked_at >= {"Redis eviction", "Redis memory", "clock of Redis", "leases"}


def test_what_was_configured_away_from_safety_is_found(settings: Settings) -> None:
    with running(settings) as (_, client):
        client.config_set("appendonly", "no")
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        found = redis_look.look(settings)
    assert "appendonly yes" in only(found, "Redis persistence").todo
    assert "allkeys-lru" in only(found, "Redis eviction", Level.WRONG).found


def test_keys_that_were_evicted_are_counted(settings: Settings) -> None:
    with running(settings) as (_, client):
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "3mb")
        for number in range(400):
            client.set(f"filling:{number}", b"x" * 10_000)
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
        found = redis_look.look(settings)
    assert "keys were thrown away" in only(found, "Redis eviction", Level.WRONG).found


async def test_head_room_comes_of_what_the_window_takes_a_minute(settings: Settings) -> None:
    now = minute_of(time.time_ns())
    async with opened(settings) as app:
        with gone_with_us(app.server.pid if app.server else 0):
            await _fill(app.window, range(now - 120, now))
            size = await app.window.client.memory_usage("trades_window:{binance:BTCUSDT}:sealed", samples=0)
            used, _ = await app.window.memory()
            await app.window.client.config_set("maxmemory", str(used * 2))
            found = only(await looked(settings), "Redis memory")
    assert f"{size / 120 * 60 / 1e6:,.1f} MB an hour" in found.found
    assert ("46 h are lacking" in found.found) == (found.level is Level.OK)


async def test_minutes_of_long_ago_fill_nothing_at_present(settings: Settings) -> None:
    async with opened(settings) as app:
        with gone_with_us(app.server.pid if app.server else 0):
            await _fill(app.window, range(28_000_000, 28_000_010))
            assert "nothing fills it at present" in only(await looked(settings), "Redis memory").found


async def test_who_writes_what_is_told_and_what_nobody_writes_while_others_are_written(settings: Settings) -> None:
    idle = settings.model_copy(update={"collect": (*settings.collect, Collect(venue="kraken", symbols=("BTC/USD",)))})
    async with opened(settings) as app:
        with gone_with_us(app.server.pid if app.server else 0):
            assert only(await looked(settings), "leases").level is Level.NOTE  # nothing is being collected
            lease = await app.window.acquire(Instrument(*BTC), owner_name(), 60_000)
            held, partly = only(await looked(settings), "leases"), only(await looked(idle), "leases")
            await app.window.release(lease)
    assert held.level is Level.OK and f"1 by process {os.getpid()}" in held.found
    assert partly.level is Level.WARNING and "kraken BTC/USD" in partly.found


def test_a_user_with_the_services_rights_sees_all_that_it_may(settings: Settings) -> None:
    user, name, *rights = next(line for line in ACL.read_text().splitlines() if line.startswith("user spillway")).split()
    assert (user, name) == ("user", "spillway")
    with running(settings) as (server, client):
        client.execute_command("ACL", "SETUSER", name, *rights, ">hunter2")  # type: ignore[no-untyped-call]
        by_url = settings.model_copy(update={"redis": Redis(url=f"{server.url}?username=spillway&password=hunter2")})
        found = redis_look.look(by_url)
    assert [f for f in found if f.level in (Level.WRONG, Level.WARNING)] == []
    assert "no right to CONFIG GET" in only(found, "Redis persistence").found
    assert "hunter2" not in "".join(map(str, found))


def test_a_redis_that_hangs_is_told_in_its_time(settings: Settings) -> None:
    with running(settings) as (server, _), _paused(server.pid):
        report = look_at([Look("Redis", lambda: redis_look.look(settings), 0.5)])
    assert report.late and only(report.findings).found == "no answer within 0.5 s"


@pytest.mark.long
def test_the_command_ends_beside_a_redis_that_hangs_and_tells_all_the_rest(settings: Settings) -> None:
    with running(settings) as (server, _), _paused(server.pid):
        began = time.monotonic()
        code, told = processes.finish(processes.spillway("doctor", "--offline", "--data", settings.data_dir))
        assert time.monotonic() - began < redis_look.LIMIT_S + 10
    assert code == 1
    assert "wrong    Redis: no answer within" in told and "ok       dead letters: none" in told


def test_a_redis_that_is_not_there_is_wrong(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"redis": Redis(url="redis://user:hunter2@127.0.0.1:1/0")})
    done = spillway("doctor", "--offline", "--data", settings.data_dir, SPILLWAY_REDIS__URL=elsewhere.redis.url)
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.stdout and "hunter2" not in done.stdout + done.stderr


async def looked(settings: Settings) -> list[Finding]:
    return await asyncio.to_thread(redis_look.look, settings)


# --- inside -------------------------------------------------------------------------------------------------------------


async def _fill(window: RedisWindow, minutes: range) -> None:
    instrument = Instrument(*BTC)
    lease = await window.acquire(instrument, owner_name(), 60_000)
    values = [codec.compress(codec.encode(random_minute(m, instrument=instrument))) for m in minutes]
    sealed = [Sealed(m, value, 1, "complete", 1) for m, value in zip(minutes, values, strict=True)]
    await window.flush(lease, Flush("", "1", Footprint(instrument, IdRule.CONTIGUOUS).state(), sealed=sealed))
    await window.release(lease)


@contextmanager
def _paused(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
