"""`spillway run` as its own process against a loopback Binance that cuts the connection every few thousand trades."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from collectors.simulator import Faults, SimTrade, Simulator, synthetic_trades
from pipeline.instrument import Instrument
from pipeline.window import RedisWindow
from sinks.ledger.backup_file import opened
from sinks.ledger.backups import verify
from sinks.ledger.ledger import open_ledger
from spillway.redis_server import ensure_embedded
from tests import judge
from tests.processes import kill_redis

BTC = Instrument("binance", "BTCUSDT")
TRADES, CUT_EVERY, RATE = 40_000, 3_000, 8_000.0
DEADLINE_S = 90.0


def trades() -> list[SimTrade]:
    start_ns = (time.time_ns() // 60_000_000_000 - 60) * 60_000_000_000
    return list(synthetic_trades(3, start_ns, TRADES, "BTCUSDT", trades_per_minute=1500))


def expected(told: list[SimTrade]) -> judge.Levels:
    return judge.expected(
        {
            "id": str(t.trade_id),
            "time": str(t.ts_ns // 10**6),
            "price": t.price,
            "size": t.size,
            "side": "buy" if t.buy else "sell",
        }
        for t in told
    )


def settings(folder: Path, exchange: Simulator, symbols: str = "BTCUSDT") -> Path:
    path = folder / "spillway.yaml"
    path.write_text(
        f"data_dir: {folder / 'data'}\n"
        "http: {port: 0}\n"
        "collect:\n"
        f"  - {{venue: binance, symbols: [{symbols}], ws_url: '{exchange.ws_url}', rest_url: '{exchange.rest_url}'}}\n"
    )
    return path


@asynccontextmanager
async def running(config: Path, log: Path, *options: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-m", "spillway", "run", "-c", str(config), *options], stderr=file)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)


async def taken(data: Path, count: int) -> None:
    """Returns once the window's cursor says that `count` trades were taken."""
    with ensure_embedded(data / "redis") as server:
        window = RedisWindow.connect(server.url)
        async with asyncio.timeout(DEADLINE_S):
            while (cursor := await window.cursor(BTC)) is None or cursor.state.trades < count:
                await asyncio.sleep(0.02)
        await window.close()


async def drained(data: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "spillway", "spill", "--all", "--data", str(data))
    assert await process.wait() == 0


async def test_sigterm_in_full_flow_loses_nothing(tmp_path: Path) -> None:
    told, data, log = trades(), tmp_path / "data", tmp_path / "log"
    async with Simulator(told, cut_every=CUT_EVERY, rate=RATE) as exchange:
        config = settings(tmp_path, exchange)
        async with running(config, log) as process:
            await taken(data, TRADES // 4)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, log.read_text()
        async with running(config, log) as process:
            await taken(data, TRADES)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, log.read_text()
        assert exchange.connections >= 3  # cut, and cut again
    await drained(data)
    assert judge.differences(expected(told), judge.stored(data)) == []
    (backup,) = (data / "backups").glob("ledger-*.db")  # the first run made it, and for the second none was due
    verify(opened(backup))


@pytest.mark.parametrize("with_redis", [False, True], ids=["the service", "the service and its Redis"])
async def test_kill_9_in_full_flow_loses_nothing(tmp_path: Path, with_redis: bool) -> None:
    told, data, log = trades(), tmp_path / "data", tmp_path / "log"
    async with Simulator(told, cut_every=CUT_EVERY, rate=RATE) as exchange:
        config = settings(tmp_path, exchange)
        for share in (8, 4, 2):
            async with running(config, log) as process:
                await taken(data, TRADES // share)
                process.kill()
                if with_redis:
                    kill_redis(data)
        before = log.stat().st_size
        async with running(config, log) as process:
            await taken(data, TRADES)
            while b"serving metrics" not in log.read_bytes()[before:]:  # all may have been taken before it had begun
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, log.read_text()
    await drained(data)
    assert judge.differences(expected(told), judge.stored(data)) == []


async def test_a_second_service_stands_by_and_takes_over_when_the_first_is_killed(tmp_path: Path) -> None:
    told, data = trades(), tmp_path / "data"
    async with Simulator(told, cut_every=CUT_EVERY, rate=RATE) as exchange:
        config = settings(tmp_path, exchange)
        async with running(config, tmp_path / "first") as first:
            await taken(data, TRADES // 8)
            async with running(config, tmp_path / "second") as second:
                async with asyncio.timeout(DEADLINE_S):
                    while "standing by" not in (tmp_path / "second").read_text():
                        await asyncio.sleep(0.02)
                first.kill()
                await taken(data, TRADES)
                second.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(second.wait, 30) == 0, (tmp_path / "second").read_text()
    await drained(data)
    assert judge.differences(expected(told), judge.stored(data)) == []


async def test_ten_kills_at_random_moments_under_faults_lose_nothing_and_every_minute_is_proven_whole(tmp_path: Path) -> None:
    told, data, log, dice = trades(), tmp_path / "data", tmp_path / "log", random.Random(7)
    # Silence would be waited out for 30 s each time.
    faults = replace(Faults.all(7), silence=0, giant_after=0, refuse=0.02, slam=0.02)
    async with Simulator(told, faults=faults, rate=1_500.0) as exchange:
        config = settings(tmp_path, exchange)
        for kill in range(10):
            async with running(config, log) as process:
                await taken(data, min(TRADES * 3 // 4, await taken_now(data) + dice.randrange(200, 3_000)))
                await asyncio.sleep(dice.random() / 10)  # anywhere within a flush, a seal, a repair
                process.kill()
                if kill % 2:
                    kill_redis(data)
        async with running(config, tmp_path / "last") as process:
            await until_logged(tmp_path / "last", "writing")  # all may be taken already: it must have begun
            await taken(data, TRADES)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, (tmp_path / "last").read_text()
        assert {"cut", "again", "hole"} <= exchange.befell.keys()
    await drained(data)
    assert judge.differences(expected(told), judge.stored(data)) == []
    statuses = [json.loads(path.read_text())["status"] for path in sorted(data.rglob("trades_*.json"))]
    assert set(statuses[:-1]) <= {"complete", "repaired"}, statuses
    with open_ledger(f"sqlite:///{data / 'ledger.db'}") as ledger:
        sums = ledger.gaps.sums()[BTC]
    assert (sums.open, sums.lost) == (0, 0)
    assert sums.repaired > 0


async def taken_now(data: Path) -> int:
    with ensure_embedded(data / "redis") as server:
        window = RedisWindow.connect(server.url)
        cursor = await window.cursor(BTC)
        await window.close()
    return cursor.state.trades if cursor else 0


# --- leases and refusals --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def window_of(data: Path) -> AsyncIterator[RedisWindow]:
    with ensure_embedded(data / "redis") as server:
        window = RedisWindow.connect(server.url)
        try:
            yield window
        finally:
            await window.close()


async def until_logged(log: Path, text: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not log.exists() or text not in log.read_text():
            await asyncio.sleep(0.02)


async def test_sigterm_while_standing_by_ends_at_once_and_takes_no_lease(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with Simulator(trades()[:100]) as exchange, window_of(tmp_path / "data") as window:
        lease = await window.acquire(BTC, "another", 600_000)
        async with running(settings(tmp_path, exchange), log) as process:
            await until_logged(log, "standing by")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 3) == 0, log.read_text()
        assert await window.holder(BTC) == "another"
        await window.renew(lease)  # Fenced, had another writer begun
        assert exchange.connections == 0
    assert "Traceback" not in log.read_text()


async def test_a_venue_that_refuses_for_good_ends_the_service_with_one_line_that_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with Simulator(trades()[:100]) as exchange:
        exchange.upgrade_answers.append((403, {}))
        async with running(settings(tmp_path, exchange), log) as process:
            assert await asyncio.to_thread(process.wait, 30) == 1
    told = log.read_text()
    assert told.splitlines()[-1].startswith("spillway: ws://127.0.0.1:")
    assert "refused with HTTP 403" in told.splitlines()[-1]
    assert "Traceback" not in told


async def test_who_was_superseded_while_it_slept_ends_with_one_line_that_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with Simulator(trades()[:100]) as exchange, window_of(tmp_path / "data") as window:
        async with running(settings(tmp_path, exchange), log) as process:
            await until_logged(log, "connected")
            process.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(DEADLINE_S):
                while await window.holder(BTC):
                    await asyncio.sleep(0.02)
            await window.acquire(BTC, "another", 600_000)
            process.send_signal(signal.SIGCONT)
            assert await asyncio.to_thread(process.wait, 30) == 1
        assert await window.holder(BTC) == "another"
    assert "spillway: stopped: binance BTCUSDT: writer 1 was superseded by writer 2" in log.read_text()
    assert "Traceback" not in log.read_text()


async def test_processes_with_few_places_share_the_symbols_and_the_one_left_takes_over_what_it_has_places_for(
    tmp_path: Path,
) -> None:
    symbols = ("AUSDT", "BUSDT", "CUSDT")
    start_ns = time.time_ns() - 10**9
    tape = [trade for n, s in enumerate(symbols) for trade in synthetic_trades(n, start_ns, 10, s)]
    async with Simulator(tape) as exchange, window_of(tmp_path / "data") as window:
        config = settings(tmp_path, exchange, ", ".join(symbols))

        async def held(process: subprocess.Popen[bytes]) -> int:
            owners = [await window.holder(Instrument("binance", symbol)) or "" for symbol in symbols]
            return sum(f"/{process.pid}/" in owner for owner in owners)

        async def hold(**wanted: int) -> None:
            async with asyncio.timeout(DEADLINE_S):
                while {name: await held(services[name]) for name in wanted} != wanted:
                    await asyncio.sleep(0.02)

        few = ("--max-instruments", "2")
        async with running(config, tmp_path / "first", *few) as first:
            services = {"first": first}
            await hold(first=2)
            async with running(config, tmp_path / "second", *few) as second:
                services["second"] = second
                await hold(first=2, second=1)
                first.kill()
                async with asyncio.timeout(5):
                    await hold(second=2)
                second.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(second.wait, 30) == 0, (tmp_path / "second").read_text()
