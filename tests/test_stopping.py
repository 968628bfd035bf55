"""`spillway run` as its own process where a part of it raises or hangs: it ends with a reason, in time, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collectors.simulator import Simulator
from tests import judge
from tests.test_service import drained, expected, settings, taken, trades

# A compaction that hangs in a thread, as on a dead network disk; and a collection that breaks in a way nobody thought of.
HANGS = """
import spillway.jobs as jobs, spillway.supervise as supervise, asyncio, time
jobs.compact_finished = lambda *a: asyncio.to_thread(time.sleep, 3600)
supervise.EXIT_S = 1.0
"""
BREAKS = """
import spillway.collecting as collecting, asyncio, time
async def breaks(self, stop):
    await asyncio.sleep(1)
    raise ZeroDivisionError("nobody thought of it")
collecting.Collection.run = breaks
"""
DESK_BREAKS = """
import spillway.backfill_desk as desk
async def breaks(self):
    raise ZeroDivisionError("nobody thought of it")
desk.Desk._look = breaks
"""
TRADES = 2_000


@asynccontextmanager
async def running(folder: Path, exchange: Simulator, prelude: str, **environ: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", f"{prelude}\nfrom spillway.cli import main\nmain()", "run"]
    command += ["-c", str(settings(folder, exchange))]
    with (folder / "log").open("ab") as file:
        process = subprocess.Popen(command, stderr=file, env=os.environ | environ)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)


def last_line(folder: Path) -> str:
    return (folder / "log").read_text().splitlines()[-1]


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, 40)


@pytest.mark.parametrize("second_signal", [False, True])
async def test_a_job_that_hangs_is_given_up_by_name_at_the_deadline_or_at_a_second_signal(
    tmp_path: Path, second_signal: bool
) -> None:
    told, limit = trades()[:TRADES], "600" if second_signal else "0.5"
    async with Simulator(told) as exchange, running(tmp_path, exchange, HANGS, SPILLWAY_SCHEDULE__STOP_S=limit) as process:
        await taken(tmp_path / "data", TRADES)
        process.send_signal(signal.SIGTERM)
        if second_signal:
            while "disconnected" not in (tmp_path / "log").read_text():  # the first was heard
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
        assert await ended(process) == 1
    why = "a second signal came" if second_signal else "0.5 s were over"
    said = last_line(tmp_path)
    assert said.startswith(f"spillway: stopped before all was done, since {why}: gave up ") and "job compact" in said
    await drained(tmp_path / "data")
    assert judge.differences(expected(told), judge.stored(tmp_path / "data")) == []


async def test_a_part_that_breaks_ends_the_service_with_its_name_and_reason(tmp_path: Path) -> None:
    async with Simulator(trades()[:10]) as exchange, running(tmp_path, exchange, BREAKS) as process:
        assert await ended(process) == 1
    log = (tmp_path / "log").read_text()
    assert '"part": "collect binance"' in log and "nobody thought of it" in log


async def test_a_part_that_others_can_do_without_breaks_and_all_is_collected_all_the_same(tmp_path: Path) -> None:
    async with Simulator(trades()[:TRADES]) as exchange, running(tmp_path, exchange, DESK_BREAKS) as process:
        await taken(tmp_path / "data", TRADES)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    failed = [each for each in told if each["event"] == "part failed, and begins again"]
    assert {each["part"] for each in failed} == {"backfills"}


@pytest.mark.parametrize("abstract", [False, True], ids=["in the file system", "abstract"])
async def test_systemd_is_told_that_it_is_ready_alive_reloading_and_stopping(abstract: bool, tmp_path: Path) -> None:
    name = f"spillway-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}" if abstract else name)
        heard.settimeout(30)
        environ = {"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "300000"}
        async with Simulator(trades()[:10]) as exchange, running(tmp_path, exchange, "", **environ) as process:
            said = [await asyncio.to_thread(heard.recv, 1000) for _ in range(4)]
            assert said == [b"READY=1", *[b"WATCHDOG=1"] * 3]

            async def next_one() -> bytes:
                while (word := await asyncio.to_thread(heard.recv, 1000)) == b"WATCHDOG=1":
                    pass
                return word

            before = time.monotonic_ns() // 1000
            process.send_signal(signal.SIGHUP)
            reloading, since = (await next_one()).split(b"\nMONOTONIC_USEC=")
            assert reloading == b"RELOADING=1"
            assert before <= int(since) <= time.monotonic_ns() // 1000
            assert await next_one() == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert await next_one() == b"STOPPING=1"
            assert await ended(process) == 0
