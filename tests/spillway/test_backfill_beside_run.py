"""`spillway backfill` beside `spillway run`, each a process of its own, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from collectors.simulator import Faults, SimTrade, Simulator
from collectors.venues.venue import VENUES, Venue
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.trade import NS_PER_MINUTE
from pipeline.window import RedisWindow
from spillway.app import App, opened
from spillway.backfill_requests import Request, Requests, Told
from spillway.settings import Settings
from spillway.spill import spill_now
from tests import judge
from tests.processes import finish, spillway
from tests.spillway.running_service import DEADLINE_S, PAST, exchange_with_a_past, expected, tape

SLOW = Faults(7, broken=0.5)  # each request is asked again and again: it takes its time


@dataclass
class Beside:
    """A data folder, an exchange, and what runs on them."""

    app: App
    exchange: Simulator
    trades: list[SimTrade]
    venue: Venue
    config: Path
    folder: Path

    @property
    def instrument(self) -> Instrument:
        return Instrument(self.venue.name, self.trades[0].symbol)

    @property
    def window(self) -> RedisWindow:
        return self.app.window

    @asynccontextmanager
    async def service(self, name: str) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Returns once it writes live trades."""
        with (self.folder / name).open("wb") as log:
            command = [sys.executable, "-m", "spillway", "run", "-c", str(self.config)]
            process = subprocess.Popen(command, stderr=log)
        try:
            before = await self.taken()
            await self.until_taken(before + 1)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            await asyncio.to_thread(process.wait)

    def command(self, *options: str) -> subprocess.Popen[str]:
        instrument = ("--venue", self.venue.name, "--symbol", self.instrument.symbol)
        first = minute_text(self.trades[0].ts_ns // NS_PER_MINUTE)
        return spillway("backfill", *instrument, "--from", first, "-c", self.config, *options)

    async def taken(self) -> int:
        cursor = await self.window.cursor(self.instrument)
        return cursor.state.trades if cursor else 0

    async def until_taken(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.taken() < count:
                await asyncio.sleep(0.02)

    async def under_way(self) -> Told:
        """Returns once some of the range was fetched."""
        requests = Requests(self.window)
        request = Request(self.trades[0].ts_ns // NS_PER_MINUTE * NS_PER_MINUTE, None, None, 0)
        async with asyncio.timeout(DEADLINE_S):
            while not (told := await requests.told(self.instrument, request)).done:
                await asyncio.sleep(0.02)
        return told

    async def stopped(self, service: subprocess.Popen[bytes]) -> None:
        await self.until_taken(len(self.trades))
        service.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.wait, 30) == 0

    async def differences(self) -> list[str]:
        report = await spill_now(self.app, True, lambda done, total: None)
        assert not report.failures
        return judge.differences(expected(self.trades), judge.stored(self.app.settings.data_dir))


@asynccontextmanager
async def beside(folder: Path, venue: str) -> AsyncIterator[Beside]:
    trades, config = tape(VENUES[venue]), folder / "spillway.yaml"
    async with exchange_with_a_past(VENUES[venue], trades) as exchange:
        urls = f"ws_url: '{exchange.ws_url}', rest_url: '{exchange.rest_url}'"
        config.write_text(
            f"data_dir: {folder / 'data'}\nhttp: {{port: 0}}\n"
            f"collect: [{{venue: {venue}, symbols: ['{trades[0].symbol}'], {urls}}}]\n"
        )
        async with opened(Settings(data_dir=folder / "data")) as app:
            yield Beside(app, exchange, trades, VENUES[venue], config, folder)


async def test_a_backfill_through_the_running_service_is_exact(tmp_path: Path) -> None:
    async with beside(tmp_path, "binance") as it, it.service("first") as service:
        code, output = await asyncio.to_thread(finish, it.command("--json"))
        assert code == 0, output
        summary = json.loads(output[output.index("{") : output.rindex("}") + 1])
        assert summary["taken"] >= PAST
        assert (summary["failed"], summary["missing_ids"]) == (0, 0)
        await it.stopped(service)
        assert await it.differences() == []


@pytest.mark.long
@pytest.mark.parametrize("venue", ["binance", "bitflyer"])
async def test_a_service_killed_in_the_midst_and_started_again_finishes_it(tmp_path: Path, venue: str) -> None:
    async with beside(tmp_path, venue) as it:
        if venue == "binance":  # bitFlyer's limits are slow enough
            it.exchange.faults = SLOW
        async with it.service("first") as first:
            command = it.command("--json")
            await it.under_way()
            first.kill()
        async with it.service("second") as second:
            code, output = await asyncio.to_thread(finish, command)
            assert code == 0, output
            assert "going on here" not in output
            await it.stopped(second)
        assert await it.differences() == []


@pytest.mark.long
async def test_a_command_that_is_interrupted_says_that_the_service_goes_on_and_again_it_sees_it_finish(tmp_path: Path) -> None:
    async with beside(tmp_path, "binance") as it, it.service("first") as service:
        it.exchange.faults = SLOW
        command = it.command()
        await it.under_way()
        command.send_signal(signal.SIGINT)
        code, output = await asyncio.to_thread(finish, command)
        assert code == 130
        assert "the service goes on with it; run this again to see it finish" in output
        code, output = await asyncio.to_thread(finish, it.command())
        assert code == 0, output
        assert "trades taken" in output
        await it.stopped(service)
        assert await it.differences() == []


@pytest.mark.long
async def test_where_the_service_ends_for_good_the_command_goes_on_where_it_was(tmp_path: Path) -> None:
    async with beside(tmp_path, "binance") as it:
        it.exchange.faults = SLOW
        async with it.service("first") as service:
            command = it.command()
            await it.under_way()
            service.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait, 30) == 0
        it.exchange.faults = Faults()
        code, output = await asyncio.to_thread(finish, command)
        assert code == 0, output
        assert "nobody writes binance BTCUSDT any more: going on here" in output
        assert await Requests(it.window).of(it.instrument) == []
        it.trades = list(it.exchange.happened)
        assert await it.differences() == []
