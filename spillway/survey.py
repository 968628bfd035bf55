"""What lies where, and how Redis, disks and backups fare: looked at now and then, so that a scrape waits for none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from pipeline.errors import RedisUnavailable, StorageError, WindowError
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_S
from pipeline.window_facts import Fill, RedisFacts, fill_of, redis_facts
from sinks.archive import Archive
from sinks.disk_guard import Disk, disk_of
from sinks.ledger.backups import newest_made
from sinks.manifest import KINDS
from spillway.app import App
from spillway.settings import Settings

FAR_AHEAD = 1 << 40  # minutes
ANSWER_S = 10.0  # the client itself goes on for minutes with a Redis that hangs
SLOW_NS = 60 * NS_PER_S  # between two looks into folders that may hold years

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an instrument below the window."""

    minute_files: int
    archive_days: int
    archive_bytes: int


@dataclass(slots=True)
class Survey:
    """The last look. What could not be looked at keeps what was seen before, and `seen_ns` its time."""

    app: App
    fills: dict[Instrument, Fill] = field(default_factory=dict)
    kept: dict[Instrument, Kept] = field(default_factory=dict)
    redis: RedisFacts | None = None
    redis_up: bool = False
    redis_problem: str = "not looked at yet"
    disks: dict[str, Disk] = field(default_factory=dict)
    backup_ns: int = 0  # when the newest backup of the ledger was made
    seen_ns: int = 0
    _kept_ns: int = 0

    async def look(self, now_ns: int) -> None:
        """Looks at all of it. StorageError where a folder can't be read."""
        await self._look_at_redis()
        self.disks = await asyncio.to_thread(_disks, self.app.settings)
        if now_ns - self._kept_ns >= SLOW_NS:
            self.kept = await asyncio.to_thread(_kept, self.app)
            self.backup_ns = await asyncio.to_thread(newest_made, self.app.settings.backup_dir)
            self._kept_ns = now_ns
        self.seen_ns = now_ns

    async def _look_at_redis(self) -> None:
        window = self.app.window
        try:
            async with asyncio.timeout(ANSWER_S):
                self.redis = await redis_facts(window)
            self.fills = {i: await fill_of(window, i) for i in await window.instruments()}
        except TimeoutError:
            self.redis_up, self.redis_problem = False, f"no answer within {ANSWER_S:g} s"
        except (RedisUnavailable, WindowError) as error:
            self.redis_up, self.redis_problem = False, str(error)
        else:
            self.redis_up, self.redis_problem = True, ""


def folders_of(settings: Settings) -> Mapping[str, Path]:
    """The folders whose disks may fill up, by the names that metrics give them."""
    own = {"data": settings.data_dir, "storage": settings.storage_dir, "archive": settings.archive_dir}
    return own | {"backups": settings.backup_dir} | ({"redis": settings.redis_dir} if settings.redis.embedded else {})


def _disks(settings: Settings) -> dict[str, Disk]:
    return {name: disk_of(path) for name, path in folders_of(settings).items()}


def _kept(app: App) -> dict[Instrument, Kept]:
    found = {}
    for instrument in sorted({*app.files.instruments(), *app.archive.instruments()}):
        with suppress(StorageError):  # what is damaged is told by `verify`, and by the audit
            days, size = _archived(app.archive, instrument)
            found[instrument] = Kept(len(app.files.between(instrument, 0, FAR_AHEAD)), days, size)
    return found


def _archived(archive: Archive, instrument: Instrument) -> tuple[int, int]:
    """The days that count, and the bytes of their files: a merged month's days share theirs."""
    named = archive.days(instrument)
    days = archive.catalog.between(instrument, named[0], named[-1]) if named else {}
    sizes = {archive.part(kind, instrument, day): day.part(kind).bytes for day in days.values() for kind in KINDS}
    return len(days), sum(sizes.values())
