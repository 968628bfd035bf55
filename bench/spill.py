"""Spilling a day, every file fsynced, read back and compared, against writing the same bytes and nothing else."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.context import Context
from bench.day import INSTRUMENT, Day, day, load
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError, RedisServer, redis_server
from pipeline.spill import WRITERS
from sinks.minute_files import MinuteFiles
from spillway.app import opened
from spillway.settings import Redis, Settings


@dataclass(frozen=True, slots=True)
class Spilling:
    """One day, one Redis, one disk."""

    context: Context
    day: Day
    sealed: Mapping[int, bytes]
    redis: RedisServer

    def ours(self) -> float:
        """Seconds for the spill job to move the whole day out of Redis."""
        self.redis.clear()
        return uvloop.run(self._spill(Settings(data_dir=self.context.folder("spill"), redis=Redis(url=self.redis.url))))

    def raw(self, threads: int) -> float:
        """Seconds to write, fsync and rename the same bytes under the same names, with so many threads."""
        folder = self.context.folder("raw")
        names = {MinuteFiles(folder).path(INSTRUMENT, minute).name: data for minute, data in self.day.files.items()}
        os.sync()
        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda name: _write(folder, name, names[name]), names))
        _sync_folder(folder)
        return time.perf_counter() - began

    async def _spill(self, settings: Settings) -> float:
        async with opened(settings) as app:
            await load(app.window, self.sealed)
            await asyncio.to_thread(os.sync)  # what others left to be written is not ours to wait for
            began = time.perf_counter()
            report = await app.spill(everything=True)
            seconds = time.perf_counter() - began
            if report.failures or report.bytes != self.day.size or await app.window.sealed_minutes(INSTRUMENT):
                raise BenchError(f"the spill went wrong: {report.written} written, {report.failures[:1]}")
        return seconds


def rows(context: Context) -> list[Row]:
    """The row `spill`, against one thread and against as many as ours has."""
    today = day(context)
    ours, one = Samples("ours", Unit.SECONDS), Samples("raw, one by one", Unit.SECONDS)
    many = Samples(f"raw, {WRITERS} threads", Unit.SECONDS)
    with redis_server(context.folder("redis")) as server:
        job = Spilling(context, today, today.compressed(), server)
        take_turns(context.runs, (ours, job.ours), (one, lambda: job.raw(1)), (many, lambda: job.raw(WRITERS)))
    rate = today.size / one.middle / 1e6
    note = f"{today}; raw is write + fsync + rename of the same bytes on the same disk, {rate:.0f} MB/s one by one"
    return [
        Row("spilling a day, fsynced", ours, one, Target(0.5), note),
        Row("the same, against as many threads as ours has", ours, many, None),
    ]


def _write(folder: Path, name: str, data: bytes) -> None:
    temporary = folder / f".{name}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.rename(folder / name)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
