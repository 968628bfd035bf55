"""Room on the disks: for how many days at the present rate, and for how many files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.minute import MINUTES_PER_DAY, day_of, minute_of
from sinks import durable
from sinks.archive import Archive
from sinks.disk_guard import Disk, Rate, disk_of, rate_of
from sinks.minute_files import MinuteFiles
from spillway.doctor.finding import Finding, ok, warning, wrong
from spillway.settings import Settings
from spillway.survey import folders_of

LIMIT_S = 30.0
_FULL = 64 << 20  # bytes: less is as good as nothing
_FEW_FILES = 0.05  # of all that the disk may hold
_HOURS_A_DAY = 24


@dataclass(frozen=True, slots=True)
class Shared:
    """A disk, and which of our folders lie on it."""

    disk: Disk
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"disk of {', '.join(self.names)}"


def look(settings: Settings, now_ns: int) -> Iterator[Finding]:
    """Each disk once. StorageError."""
    rate = rate_of(MinuteFiles(settings.storage_dir), Archive(settings.archive_dir), day_of(minute_of(now_ns)))
    for shared in shared_disks(settings):
        yield of_room(shared, rate if {"storage", "archive"} & {*shared.names} else Rate(), settings)
        yield of_inodes(shared, *_inodes(shared.disk.path), files_to_come(settings) if "storage" in shared.names else 0)


def shared_disks(settings: Settings) -> list[Shared]:
    """The disks, each with the folders that share it."""
    found: dict[int, Shared] = {}
    for name, path in folders_of(settings).items():
        disk = disk_of(path)
        known = found.get(disk.id)
        found[disk.id] = Shared(known.disk, (*known.names, name)) if known else Shared(disk, (name,))
    return list(found.values())


def files_to_come(settings: Settings) -> int:
    """How many minute files lie there until they are compacted."""
    symbols = sum(len(entry.symbols) for entry in settings.collect)
    days = 1 + settings.schedule.compact_delay_hours / _HOURS_A_DAY + settings.archive.keep_json_days
    return int(symbols * MINUTES_PER_DAY * days)


def of_room(shared: Shared, rate: Rate, settings: Settings) -> Finding:
    """The finding about a disk's bytes."""
    disk, least, ahead = shared.disk, settings.archive.warn_free_bytes, settings.archive.warn_days
    what, told = str(shared), f"{_gb(shared.disk.free)} of {_gb(shared.disk.total)} are free"
    todo = f"make room on the disk of {disk.path}, or let go of old days: archive.keep_days, archive.max_bytes"
    if disk.free < _FULL:
        return wrong(what, f"{told}: it is full", todo)
    days = days_left(disk, rate)
    if days is not None:
        told += f": {days:,.0f} days at the present {_gb(rate.archive_bytes)} a day"
        if rate.file_bytes:
            told += f" (and {_gb(rate.file_bytes)} of minute files a day until they are compacted)"
    if disk.free < least:
        return warning(what, f"{told}; archive.warn_free_bytes asks for {_gb(least)}", todo)
    if days is not None and days < ahead:
        return warning(what, f"{told}; archive.warn_days asks for {ahead:g}", todo)
    return ok(what, told if days is not None else f"{told}; nothing was archived in the last days: no rate is known")


def days_left(disk: Disk, rate: Rate) -> float | None:
    """For how many days the archive can grow, beside a day of minute files; None where it doesn't grow."""
    return max(0.0, disk.free - rate.file_bytes) / rate.archive_bytes if rate.archive_bytes else None


def of_inodes(shared: Shared, free: int, total: int, wanted: int) -> Finding:
    """The finding about how many files a disk has room for."""
    what = f"files on the {shared}"
    if not total:
        return ok(what, "this file system sets no limit")
    told = f"{free:,} of {total:,} are free"
    todo = f"remove small files from the disk of {shared.disk.path}, or make its file system anew with more inodes"
    if free == 0:
        return wrong(what, f"{told}: no file can be made", todo)
    if free < max(total * _FEW_FILES, wanted):
        need = f"; until compaction there may be {wanted:,} minute files" if wanted else ""
        return warning(what, told + need, todo)
    return ok(what, told)


def _inodes(path: Path) -> tuple[int, int]:
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    with durable.explained(path, "asked for its free inodes"):
        system = os.statvfs(there)
    return system.f_favail, system.f_files


def _gb(size: float) -> str:
    return f"{size / 1e9:,.2f} GB"
