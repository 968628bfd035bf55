"""What an installation holds itself, for `spillway plan`: how large its own minutes are. Nothing is started or changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipeline import codec
from pipeline.errors import BadValue, RedisUnavailable, SpillwayError
from pipeline.instrument import Instrument
from pipeline.window import RedisWindow
from pipeline.window_facts import fill_of
from sinks.archive import Archive
from sinks.manifest import KINDS, Manifest
from sinks.minute_files import MinuteFiles
from spillway.plan import ARCHIVE, FILE, LEVELS_A_TRADE, REDIS, Correction, Load, Size, levels_of
from spillway.redis_server import running_server
from spillway.settings import Settings

_DAYS = 7  # the newest of the archive
_SAMPLE = 60  # the newest minutes of each instrument, of files and window
_ANSWER_S = 3.0
_WINDOW_S = 20.0
_FAR_AHEAD = 1 << 40  # minutes


@dataclass(frozen=True, slots=True)
class Seen:
    """Minutes that were looked at in one place."""

    instruments: int = 0
    minutes: int = 0
    levels: int = 0
    trades: int = 0
    bytes: float = 0.0

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.instruments + other.instruments,
            self.minutes + other.minutes,
            self.levels + other.levels,
            self.trades + other.trades,
            self.bytes + other.bytes,
        )

    def against(self, size: Size) -> float:
        """Their bytes as a share of what the line says; 1 where there are none."""
        return self.bytes / (size.minute * self.minutes + size.level * self.levels) if self.minutes else 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen in window, minute files and archive."""

    window: Seen
    files: Seen
    archive: Seen

    @property
    def most(self) -> Seen:
        """Where most minutes were seen: what tells how many trades and levels a minute has."""
        return max(self.archive, self.files, self.window, key=lambda seen: seen.minutes)

    @property
    def correction(self) -> Correction:
        """The installation's own sizes."""
        return Correction(self.window.against(REDIS), self.files.against(FILE), self.archive.against(ARCHIVE))

    def lines(self) -> list[str]:
        """For people."""
        places = (("archive", self.archive, ARCHIVE), ("minute files", self.files, FILE), ("window", self.window, REDIS))
        return [
            f"measured here: {name}, {seen.minutes:,} minutes of {seen.levels / seen.minutes:,.0f} levels and "
            f"{seen.bytes / seen.minutes:,.0f} bytes, {seen.against(size):.2f} x the benchmark"
            for name, seen, size in places
            if seen.minutes
        ]


def measure(settings: Settings) -> Measured:
    """Looks at the newest minutes of every instrument. StorageError for a folder that can't be listed.

    A window that can't be asked, or that doesn't run, is left out; so is what is damaged: `doctor` and `verify` tell of it.
    """
    files, archive = MinuteFiles(settings.storage_dir), Archive(settings.archive_dir)
    return Measured(
        window=_window(settings),
        files=_sum(files.instruments(), lambda i: _of_files(files, i)),
        archive=_sum(archive.instruments(), lambda i: _of_archive(archive, i)),
    )


def load_of(
    settings: Settings,
    measured: Measured | None,
    symbols: int | None,
    trades_per_s: float | None,
    levels_per_minute: float | None,
    window_hours: float | None,
) -> Load:
    """What is wanted; what is not said is as it was measured, and without that as in the benchmarks. BadValue."""
    most = measured.most if measured else Seen()
    if not most.minutes and (symbols is None or trades_per_s is None):
        raise BadValue(f"{settings.data_dir}: no minutes are kept there: expected --symbols and --trades-per-second")
    trades = trades_per_s if trades_per_s is not None else most.trades / most.minutes / 60
    ratio = most.levels / most.trades if most.trades else LEVELS_A_TRADE
    return Load(
        symbols=most.instruments if symbols is None else symbols,
        trades_per_s=trades,
        levels_per_minute=levels_of(trades, ratio) if levels_per_minute is None else levels_per_minute,
        window_hours=settings.redis.window_hours if window_hours is None else window_hours,
        file_days=1 + settings.schedule.compact_delay_hours / 24 + settings.archive.keep_json_days,
    )


def _sum(instruments: Iterable[Instrument], look: Callable[[Instrument], Seen]) -> Seen:
    total = Seen()
    for instrument in instruments:
        with suppress(SpillwayError):
            total += look(instrument)
    return total


def _of_archive(archive: Archive, instrument: Instrument) -> Seen:
    days = archive.days(instrument)[-_DAYS:]
    found = list(archive.catalog.between(instrument, days[0], days[-1]).values()) if days else []
    return sum((_of_day(day) for day in found), Seen(instruments=bool(found)))


def _of_day(day: Manifest) -> Seen:
    content, parts = day.content, [day.part(kind) for kind in KINDS]
    # A merged month's files hold other days too: by rows, the share of this one.
    shares = [part.bytes * part.rows / max(1, sum(group.rows for group in part.groups)) for part in parts]
    return Seen(0, content.minutes, day.levels.rows, int(content.totals["trade_count"]), sum(shares))


def _of_files(files: MinuteFiles, instrument: Instrument) -> Seen:
    minutes = files.between(instrument, 0, _FAR_AHEAD)[-_SAMPLE:]
    tables = files.tables(instrument, minutes)
    trades = sum(tables.minutes["trade_count"].to_pylist())
    return Seen(bool(minutes), len(minutes), len(tables.levels), trades, files.size(instrument, minutes))


def _window(settings: Settings) -> Seen:
    url = running_server(settings.redis_dir) if settings.redis.embedded else settings.redis.connection_url
    return asyncio.run(_asked(url)) if url else Seen()


async def _asked(url: str) -> Seen:
    window, total = RedisWindow.connect(url, timeout_s=_ANSWER_S), Seen()
    try:
        with suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(_WINDOW_S):
                for instrument in await window.instruments():
                    total += await _of_window(window, instrument)
    finally:
        await window.close()
    return total


async def _of_window(window: RedisWindow, instrument: Instrument) -> Seen:
    fill, minutes = await fill_of(window, instrument), await window.sealed_minutes(instrument)
    values: Sequence[bytes] = list((await window.sealed(instrument, minutes[-_SAMPLE:])).values())
    if not values:
        return Seen()
    found = [codec.decode(codec.decompress(value, str(instrument)), str(instrument)) for value in values]
    levels, trades = sum(len(minute.levels) for minute in found), sum(minute.totals[3] for minute in found)
    return Seen(1, len(found), levels, trades, fill.bytes / fill.minutes * len(found))
