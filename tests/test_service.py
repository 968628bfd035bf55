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


def settings(folder: Path, exchange: Simulator) -> Path:
    path = folder / "spillway.yaml"
    path.write_text(
        f"data_dir: {folder / 'data'}\n"
        "collect:\n"
        f"  - {{venue: binance, symbols: [BTCUSDT], ws_url: '{exchange.ws_url}', rest_url: '{exchange.rest_url}'}}\n"
    )
    return path


@asynccontextmanager
async def running(config: Path, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-m", "spillway", "run", "-c", str(config)], stderr=file)
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
        async with running(config, log) as process:
            await taken(data, TRADES)
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
        async with running(config, log) as process:
            await taken(data, TRADES)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, log.read_text()
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
