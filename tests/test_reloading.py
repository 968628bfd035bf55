"""`spillway run` as its own process whose settings change in full flow: instruments come, go and come back; nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from collectors.simulator import SimTrade, Simulator, synthetic_trades
from pipeline.instrument import Instrument
from pipeline.window import RedisWindow
from tests import judge
from tests.test_service import drained, expected, settings, taken, trades, window_of
from tests.test_stopping import ended

A, B, C, D = SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
EACH, RATE = 6_000, 2_500.0  # trades of a symbol; of all, a second
SOME = 200  # trades that come between two changes
DEADLINE_S = 60.0
# Looks at the file are rare here: only the signal tells of a change.
SELDOM = "import spillway.reload as reload; reload.LOOK_S = 600.0"
OF_THE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"


def tape() -> list[SimTrade]:
    start_ns = (time.time_ns() // 60_000_000_000 - 60) * 60_000_000_000
    made = [list(synthetic_trades(n, start_ns, EACH, symbol, trades_per_minute=1500)) for n, symbol in enumerate(SYMBOLS)]
    return [trade for several in zip(*made, strict=True) for trade in several]


@dataclass
class World:
    """The process, and what it reads and writes."""

    folder: Path
    exchange: Simulator
    window: RedisWindow
    process: subprocess.Popen[bytes]

    @property
    def told(self) -> list[dict[str, object]]:
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def reloads(self) -> list[dict[str, object]]:
        return [each for each in self.told if str(each["event"]).startswith(("settings reloaded", "settings not reloaded"))]

    async def reloaded(self, count: int) -> dict[str, object]:
        """Sends the signal; what was told of it, the `count`th time."""
        self.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(DEADLINE_S):
            while len(self.reloads()) < count:
                await asyncio.sleep(0.01)
        return self.reloads()[-1]

    async def trades(self, symbol: str) -> int:
        cursor = await self.window.cursor(Instrument("binance", symbol))
        return cursor.state.trades if cursor else 0

    async def more(self, *symbols: str) -> None:
        """Returns once some more trades of each were taken."""
        for symbol in symbols:
            await self.until_taken(symbol, min(EACH, await self.trades(symbol) + SOME))

    async def until_taken(self, symbol: str, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.trades(symbol) < count and not self.exchange.done.is_set():
                await asyncio.sleep(0.02)

    async def whole(self, symbol: str) -> int:
        """The first id taken, once all up to the tape's last one were."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                cursor = await self.window.cursor(Instrument("binance", symbol))
                if cursor and [last for _, last, *_ in cursor.state.ids["ranges"]] == [EACH]:
                    return int(cursor.state.ids["ranges"][0][0])
                await asyncio.sleep(0.02)

    async def holder(self, symbol: str) -> str | None:
        return await self.window.holder(Instrument("binance", symbol))


def write(folder: Path, exchange: Simulator, *entries: Sequence[str]) -> Path:
    told = [{"venue": "binance", "symbols": [*e], "ws_url": exchange.ws_url, "rest_url": exchange.rest_url} for e in entries]
    path, new = folder / "s.yaml", folder / "s.yaml.new"
    new.write_text(json.dumps({"data_dir": str(folder / "data"), "http": {"port": 0}, "collect": told}))
    new.rename(path)
    return path


@asynccontextmanager
async def world(folder: Path, exchange: Simulator, *entries: Sequence[str]) -> AsyncIterator[World]:
    command = [sys.executable, "-c", f"{SELDOM}\nfrom spillway.cli import main\nmain()", "run"]
    command += ["-c", str(write(folder, exchange, *entries))]
    async with window_of(folder / "data") as window:
        with (folder / "log").open("ab") as file:
            process = subprocess.Popen(command, stderr=file)
        try:
            yield World(folder, exchange, window, process)
        finally:
            if process.poll() is None:
                process.kill()
            await asyncio.to_thread(process.wait)


def of(told: Sequence[SimTrade], symbol: str) -> list[SimTrade]:
    return [trade for trade in told if trade.symbol == symbol]


async def test_instruments_come_go_and_come_back_while_others_flow_and_every_trade_is_there(tmp_path: Path) -> None:
    told, data = tape(), tmp_path / "data"
    async with Simulator(told, rate=RATE) as exchange, world(tmp_path, exchange, [A], [B, C]) as one:
        await one.more(A, B, C)
        write(tmp_path, exchange, [A], [B, C], [D])
        assert (await one.reloaded(1))["begun"] == ["binance DUSDT"]
        await one.more(A, B, C, D)
        write(tmp_path, exchange, [A], [B], [D])
        assert (await one.reloaded(2))["ended"] == ["binance BUSDT", "binance CUSDT"]
        assert await one.holder(C) is None
        left_at = await one.trades(C)
        await one.more(A, B, D)
        assert await one.trades(C) == left_at
        (tmp_path / "s.yaml").write_text("collect: [{venue: binance, symbols: [")
        assert (await one.reloaded(3))["event"] == "settings not reloaded, all goes on as before"
        await one.more(A, B, D)
        write(tmp_path, exchange, [A], [C, B], [D])
        assert (await one.reloaded(4))["begun"] == ["binance CUSDT", "binance BUSDT"]
        firsts = [await one.whole(symbol) for symbol in SYMBOLS]
        assert exchange.connections == 5, "A's and D's were not touched; B's began three times"
        one.process.send_signal(signal.SIGTERM)
        assert await ended(one.process) == 0, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert firsts[0] == 1 and firsts[3] > SOME, "D began in full flow"
    await drained(data)
    for symbol, first in zip(SYMBOLS, firsts, strict=True):
        have = judge.stored(data / "storage" / "binance" / symbol)
        assert judge.differences(expected(of(told, symbol)[first - 1 :]), have) == [], symbol


async def test_a_closed_terminal_ends_the_service_as_sigterm_does(tmp_path: Path) -> None:
    told, data = trades()[:2_000], tmp_path / "data"
    async with Simulator(told) as exchange:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", f"{OF_THE_TERMINAL}\nfrom spillway.cli import main\nmain()", "run"]
        command += ["-c", str(settings(tmp_path, exchange))]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        reading = asyncio.create_task(asyncio.to_thread(read_until, ours, b"connected"))
        try:
            await asyncio.wait_for(reading, DEADLINE_S)
            await taken(data, len(told))
            os.close(ours)
            assert await ended(process) == 0
        finally:
            if process.poll() is None:
                process.kill()
            await asyncio.to_thread(process.wait)
    await drained(data)
    assert judge.differences(expected(told), judge.stored(data)) == []


def read_until(terminal: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 4096)
