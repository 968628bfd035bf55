"""A Redis that isn't there, is full, or would evict: one line says so, nothing is half-written, and no secret shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipeline import codec
from pipeline.errors import BadValue, RedisUnavailable
from pipeline.open_minute import Change
from pipeline.spill import Spiller
from pipeline.window import Flush, RedisWindow, Sealed, masked
from tests.pipeline.builders import BTC, START, minute
from tests.pipeline.conftest import ALL_KINDS
from tests.pipeline.memory_files import MemoryFiles
from tests.pipeline.redis_contents import contents

REAL = ALL_KINDS[1:]
USUAL = {"maxmemory": "0", "maxmemory-policy": "noeviction", "min-replicas-to-write": "0", "requirepass": ""}
SECRET = "hunter2"


# --- no server ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def nowhere(tmp_path: Path) -> AsyncIterator[RedisWindow]:
    window = RedisWindow.connect(f"unix://{tmp_path}/no.sock")
    yield window
    await window.close()


async def test_where_there_is_no_server_every_command_says_so_in_one_line(nowhere: RedisWindow) -> None:
    commands: list[Any] = [
        nowhere.check(),
        nowhere.acquire(BTC, "me", 1000),
        nowhere.cursor(BTC),
        nowhere.instruments(),
        nowhere.sealed(BTC, [1]),
        nowhere.memory(),
        nowhere.seals(BTC),
    ]
    for error in await asyncio.gather(*commands, return_exceptions=True):
        assert isinstance(error, RedisUnavailable)
        assert str(error).startswith(f"Redis at {nowhere.name} can't be reached: ")
        assert "\n" not in str(error)


async def test_a_server_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        window = RedisWindow.connect(f"redis://127.0.0.1:{port}", timeout_s=0.05)
        with pytest.raises(RedisUnavailable, match="can't be reached"):
            await window.check()
        await window.close()


# --- secrets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:hunter2@h:1/0", "redis://:***@h:1/0"),
        ("rediss://user:hunter2@h/1", "rediss://user:***@h/1"),
        ("redis://user@h/1", "redis://user@h/1"),
        ("redis://u:hun@hunter2@h/1", "redis://u:***@h/1"),
        ("redis://h:1/0?password=hunter2&db=3", "redis://h:1/0?password=***&db=3"),
        ("unix:///run/redis.sock?db=1&password=hunter2", "unix:///run/redis.sock?db=1&password=***"),
        ("unix://:hunter2@/run/redis.sock", "unix://:***@/run/redis.sock"),
    ],
)
async def test_a_password_shows_neither_in_the_name_nor_in_repr(url: str, shown: str) -> None:
    assert masked(url) == shown
    window = RedisWindow.connect(url)
    assert window.name == shown
    assert SECRET not in repr(window)
    await window.close()


@pytest.mark.parametrize(
    "url", ["http://:hunter2@h", "redis://u:hunter2/x@h:1", "redis://:hunter2@h:99999999", "h:hunter2@x", ""]
)
def test_a_url_that_can_not_be_one_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(BadValue, match=r"redis url .*expected redis://") as refused:
        RedisWindow.connect(url)
    assert SECRET not in str(refused.value)


# --- a server that must not be used -------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def settings(window: RedisWindow) -> AsyncIterator[Any]:
    """The server's settings, to be changed for a test."""
    yield window.client.config_set
    for name, value in USUAL.items():
        await window.client.config_set(name, value)
    await window.client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("window", REAL, indirect=True)
async def test_a_server_that_is_fit_passes(window: RedisWindow) -> None:
    await window.check()
    used, limit = await window.memory()
    assert used > 0
    assert limit == 0


@pytest.mark.parametrize("window", REAL, indirect=True)
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_server_that_would_evict_minutes_is_refused_with_what_to_do(
    window: RedisWindow, settings: Any, policy: str
) -> None:
    await settings("maxmemory-policy", policy)
    with pytest.raises(RedisUnavailable, match=f"{policy}.*expected noeviction .*CONFIG SET"):
        await window.check()


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "2.8"])
async def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    class OldRedis:
        async def info(self, section: str) -> dict[str, str]:
            return {"redis_version": version}

    with pytest.raises(RedisUnavailable, match=f"is {version}: expected 6.2 or later"):
        await RedisWindow(OldRedis(), "old").check()


@pytest.mark.parametrize("window", REAL, indirect=True)
async def test_a_wrong_password_is_said_in_one_line_that_does_not_hold_it(window: RedisWindow, settings: Any) -> None:
    await settings("requirepass", "right")
    path = window.client.connection_pool.connection_kwargs["path"]
    stranger = RedisWindow.connect(f"unix://default:{SECRET}@{path}")
    with pytest.raises(RedisUnavailable, match="invalid username-password pair") as refused:
        await stranger.check()
    assert SECRET not in str(refused.value)
    await stranger.close()


# --- a server that can't write now --------------------------------------------------------------------------------------


def sealed(start: int) -> Sealed:
    bucket = minute(start=start)
    return Sealed(start, codec.compress(codec.encode(bucket)), 1, "complete", 17)


@pytest.mark.parametrize("window", REAL, indirect=True)
async def test_a_full_redis_refuses_a_flush_whole_and_spilling_makes_room_again(window: RedisWindow, settings: Any) -> None:
    lease = await window.acquire(BTC, "me", 60_000)
    await window.flush(lease, Flush("", "t1", b"{}", [], [], [sealed(START + n) for n in range(50)]))
    before = await contents(window.client)
    await settings("maxmemory", "100kb")
    flush = Flush("t1", "t2", b"{}", [], [], [sealed(START + 60)])
    with pytest.raises(RedisUnavailable, match=r"refuses writes: .*maxmemory"):
        await window.flush(lease, flush)
    assert await contents(window.client) == before
    files = MemoryFiles()
    report = await Spiller(window, files).relieve([BTC])
    assert (report.early, report.failures) == (26, [])
    assert len(files) == 26
    assert await window.sealed_minutes(BTC) == [START + n for n in range(26, 50)]
    await settings("maxmemory", "0")
    await window.flush(lease, flush)
    assert (await window.sealed_minutes(BTC))[-1] == START + 60


@pytest.mark.parametrize("window", REAL, indirect=True)
async def test_a_flush_that_begins_with_a_delete_goes_through_whole_even_when_redis_is_full(
    window: RedisWindow, settings: Any
) -> None:
    lease = await window.acquire(BTC, "me", 60_000)
    await window.flush(lease, Flush("", "t1", b"{}", [Change(START, False, ["a", "1"]), Change(START + 1, False, ["a", "1"])]))
    await settings("maxmemory", "100kb")
    rewritten = Change(START + 1, True, ["b", "2"])
    await window.flush(lease, Flush("t1", "t2", b"{}", [rewritten], [START], [sealed(START + 60)]))
    stored = await contents(window.client)
    assert stored[f"trades_window:{{binance:BTCUSDT}}:open:{START + 1}".encode()] == {b"b": b"2"}
    assert stored[b"trades_window:{binance:BTCUSDT}:cursor"][b"token"] == b"t2"
    assert await window.sealed_minutes(BTC) == [START + 60]


@pytest.mark.parametrize("window", REAL, indirect=True)
async def test_a_redis_that_waits_for_its_replicas_refuses_a_flush_whole(window: RedisWindow, settings: Any) -> None:
    lease = await window.acquire(BTC, "me", 60_000)
    before = await contents(window.client)
    await settings("min-replicas-to-write", "1")
    with pytest.raises(RedisUnavailable, match="refuses writes"):
        await window.flush(lease, Flush("", "t1", b"{}", [], [], [sealed(START)]))
    assert await contents(window.client) == before


@pytest.mark.parametrize("window", REAL, indirect=True)
async def test_a_redis_that_became_a_replica_refuses_a_flush_whole(window: RedisWindow, settings: Any) -> None:
    lease = await window.acquire(BTC, "me", 60_000)
    before = await contents(window.client)
    await window.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(RedisUnavailable, match="refuses writes"):
        await window.flush(lease, Flush("", "t1", b"{}", [], [], [sealed(START)]))
    assert await contents(window.client) == before
