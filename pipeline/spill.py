"""Expired sealed minutes leave Redis for minute files. Copy, make durable, read back, compare, and only then delete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pipeline import codec, crash
from pipeline.errors import SpillwayError, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.ports import MinuteWriter
from pipeline.window import RedisWindow

AT_ONCE = 96  # minutes of a portion: one folder fsync and one delete for all of them
PORTIONS = 2  # held in memory at once
WRITERS = 8  # threads: fsyncs that wait together are committed together
NEAR_LIMIT = 0.8  # of Redis's memory: from here on the oldest minutes spill early


@dataclass(frozen=True, slots=True)
class Failure:
    """A minute that could not be spilled; it stays in Redis."""

    instrument: Instrument
    minute: int
    error: SpillwayError


@dataclass(slots=True)
class SpillReport:
    """What a spill did."""

    written: int = 0
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)
    early: int = 0  # spilled before their time, since Redis was nearly full


@dataclass(slots=True)
class Spiller:
    """Spills sealed minutes of a window into files."""

    window: RedisWindow
    files: MinuteWriter
    progress: Callable[[int, int], None] | None = None  # minutes done, minutes in all

    async def spill(self, before: dict[Instrument, int | None]) -> SpillReport:
        """Spills, of each instrument, the sealed minutes that start before the given minute (None: all of them)."""
        report = SpillReport()
        due = {instrument: await self._due(instrument, cutoff) for instrument, cutoff in before.items()}
        total = sum(map(len, due.values()))
        portions = [(i, minutes[at : at + AT_ONCE]) for i, minutes in due.items() for at in range(0, len(minutes), AT_ONCE)]
        waiting = iter(portions)
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="spill") as threads:

            async def some() -> None:
                for instrument, minutes in waiting:
                    await self._some(instrument, minutes, threads, report)
                    if self.progress:
                        self.progress(report.written + len(report.failures), total)

            try:
                async with asyncio.TaskGroup() as tasks:  # while one portion is read back, the next is written
                    for n in range(PORTIONS):
                        tasks.create_task(some(), name=f"spill {n}")
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
        return report

    async def relieve(self, instruments: Iterable[Instrument]) -> SpillReport:
        """Spills the oldest half of what is sealed while Redis nears its memory limit: nothing is ever trimmed unspilled."""
        report = SpillReport()
        used, limit = await self.window.memory()
        if not limit or used < NEAR_LIMIT * limit:
            return report
        for instrument in instruments:
            minutes = await self.window.sealed_minutes(instrument)
            if minutes:
                part = await self.spill({instrument: minutes[len(minutes) // 2] + 1})
                report.early += part.written
                report.bytes += part.bytes
                report.failures += part.failures
        return report

    async def _due(self, instrument: Instrument, before: int | None) -> list[int]:
        minutes = await self.window.sealed_minutes(instrument)
        return [m for m in minutes if before is None or m < before]

    async def _some(self, instrument: Instrument, minutes: list[int], threads: ThreadPoolExecutor, report: SpillReport) -> None:
        values = await self.window.sealed(instrument, minutes)
        loop = asyncio.get_running_loop()

        async def each(step: Callable[[Instrument, int, bytes], bytes], given: dict[int, bytes]) -> dict[int, bytes]:
            """Runs a step for each minute in the threads; a minute that fails is reported and left out."""
            tasks = {m: loop.run_in_executor(threads, step, instrument, m, data) for m, data in given.items()}
            results = dict(zip(tasks, await asyncio.gather(*tasks.values(), return_exceptions=True), strict=True))
            return {m: r for m, r in results.items() if not _failed(instrument, m, r, report) and isinstance(r, bytes)}

        meant = await each(self._write, values)
        try:
            await loop.run_in_executor(threads, self.files.settle, [instrument])
        except SpillwayError as error:
            report.failures += [Failure(instrument, m, error) for m in meant]
            return
        equal = await each(self._compare, meant)
        crash.point("spill.verified")
        gone = await self.window.forget(instrument, {m: values[m] for m in equal})
        crash.point("spill.deleted")
        report.written += len(gone)
        report.bytes += sum(len(meant[m]) for m in gone)

    def _write(self, instrument: Instrument, minute: int, value: bytes) -> bytes:
        """Writes a minute's file. Returns the bytes that it must hold."""
        where = f"{instrument} {minute_text(minute)} in Redis"
        data = codec.decompress(value, where)
        codec.split(data, where)  # nothing damaged leaves Redis
        self.files.write(instrument, minute, data)
        return data

    def _compare(self, instrument: Instrument, minute: int, meant: bytes) -> bytes:
        """Reads a minute's file back. StorageError unless it holds what was meant."""
        where = f"{instrument} {minute_text(minute)}"
        stored = self.files.read(instrument, minute)
        if stored is None or not _holds(stored, meant, where):
            raise StorageError(f"{where}: the minute file read back is not what was written; the minute stays in Redis")
        return stored


def _holds(stored: bytes, meant: bytes, where: str) -> bool:
    """Whether a file holds what was meant, or a later revision that was there already."""
    if stored == meant:
        return True
    return codec.split(stored, where).head.revision > codec.split(meant, where).head.revision


def _failed(instrument: Instrument, minute: int, result: object, report: SpillReport) -> bool:
    if isinstance(result, SpillwayError):
        report.failures.append(Failure(instrument, minute, result))
        return True
    if isinstance(result, BaseException):
        raise result
    return False
