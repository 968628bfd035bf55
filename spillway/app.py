"""The one place where the parts are wired together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from pipeline.errors import WriterHeld
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Minute, minute_of
from pipeline.ports import Keeper
from pipeline.spill import Spiller, SpillReport
from pipeline.trade import NS_PER_S, Reject
from pipeline.window import RedisWindow
from pipeline.writer import Writer, WriterOptions
from sinks.archive import Archive
from sinks.durable import job_lock
from sinks.minute_files import MinuteFiles
from spillway.owner import is_dead, owner_name, people_name
from spillway.redis_server import RunningRedis, ensure_embedded
from spillway.settings import Settings

MINUTES_PER_HOUR = 60


@dataclass(frozen=True, slots=True)
class Kept:
    """Minute files and archive as one: of a minute that both hold, the higher revision."""

    files: MinuteFiles
    archive: Archive

    def load(self, instrument: Instrument, minute: int) -> Minute | None:
        """The minute with its highest revision, or None."""
        found = [m for m in (self.files.load(instrument, minute), self.archive.load(instrument, minute)) if m]
        return max(found, key=lambda m: m.revision, default=None)

    def newest(self, instrument: Instrument) -> int | None:
        """The latest minute kept."""
        known = [m for m in (self.files.newest(instrument), self.archive.newest(instrument)) if m is not None]
        return max(known, default=None)


@dataclass(slots=True)
class App:
    """All parts of one data folder, ready for use."""

    settings: Settings
    window: RedisWindow
    files: MinuteFiles
    archive: Archive
    server: RunningRedis | None

    @property
    def keeper(self) -> Keeper:
        """All that is kept below the window."""
        return Kept(self.files, self.archive)

    async def writer(
        self,
        instrument: Instrument,
        rule: IdRule,
        reject: Callable[[list[Reject]], Awaitable[None]],
        *,
        clock: str = "wall",
        stream: str = "",
        price_group: Decimal | None = None,
    ) -> Writer:
        """A writer of an instrument, started. WriterHeld, naming the holder, where another live process writes it."""
        holder = await self.window.holder(instrument) or ""
        schedule = self.settings.schedule
        options = WriterOptions(
            owner=owner_name(),
            dead_owner=holder if holder and is_dead(holder) else "",
            grace_ns=int(schedule.seal_grace_s * NS_PER_S),
            quiet_ns=int(schedule.seal_quiet_s * NS_PER_S),
            clock=clock,
            stream=stream,
            price_group=price_group,
        )
        writer = Writer(instrument, rule, self.window, self.keeper, options, time.time_ns, reject, revive=self.revive)
        try:
            await writer.start()
        except WriterHeld:
            name = people_name(await self.window.holder(instrument) or holder)
            raise WriterHeld(f"{instrument} is being written by {name}: stop it first, or wait until it is done") from None
        return writer

    async def revive(self) -> None:
        """Starts the embedded Redis again if it died."""
        if self.server:
            await asyncio.to_thread(self.server.restart_if_dead)

    async def spill(
        self,
        *,
        everything: bool = False,
        now_ns: int | None = None,
        only: Instrument | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> SpillReport:
        """Spills sealed minutes older than the window. `now_ns`: the clock; without it each instrument's own.

        JobRunning where another process spills these folders.
        """
        instruments = [only] if only else await self.window.instruments()
        before = {i: None if everything else await self.cutoff(i, now_ns) for i in instruments}
        spiller = Spiller(self.window, self.files, progress)
        with job_lock(self.settings.storage_dir, "spill"):
            self.files.clean()
            early = await spiller.relieve(instruments)
            report = await spiller.spill(before)
        report.early = early.early
        report.bytes += early.bytes
        report.failures = early.failures + report.failures
        return report

    async def cutoff(self, instrument: Instrument, now_ns: int | None = None) -> int:
        """The minute up to which (without it) an instrument's minutes are older than the window."""
        now = now_ns if now_ns is not None else await self.now_ns(instrument)
        return minute_of(now) - int(self.settings.redis.window_hours * MINUTES_PER_HOUR)

    async def now_ns(self, instrument: Instrument) -> int:
        """An instrument's clock: the wall's, or for a replayed one the latest time of its tape."""
        cursor = await self.window.cursor(instrument)
        return cursor.state.watermark_ns if cursor and cursor.state.clock == "tape" else time.time_ns()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[App]:
    """The parts of a data folder, with Redis checked; closed again at the end. RedisUnavailable, StorageError."""
    server = None
    url = settings.redis.connection_url
    if settings.redis.embedded:
        server = await asyncio.to_thread(ensure_embedded, settings.redis_dir)
        url = server.url
    window = RedisWindow.connect(url)
    try:
        await window.check()
        yield App(settings, window, MinuteFiles(settings.storage_dir), Archive(settings.archive_dir), server)
    finally:
        await window.close()
        if server:
            await asyncio.to_thread(server.release)
