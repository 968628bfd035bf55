"""How long the disk will do, and who may still write when it is short.

Spilling comes first: it frees Redis, and what can't spill stops collection in the end. It takes whatever fits. Compaction comes
next, for it frees a multiple of what it writes: it leaves a little for the spill. Merging months frees next to nothing, so it
leaves as much free as the guard wants to see. Retention writes a small record and then only deletes: it always may.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from sinks import durable
from sinks.archive import Archive
from sinks.manifest import KINDS, Manifest
from sinks.minute_files import MinuteFiles

SPILL_RESERVE = 16 << 20  # what compaction leaves: a few minutes' files of many symbols
_LOOK_BACK = 7  # days whose size tells the rate


@dataclass(frozen=True, slots=True)
class Rate:
    """What a day adds."""

    archive_bytes: float = 0  # Parquet, for good
    file_bytes: float = 0  # minute files, until they are compacted


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system as a user who isn't root sees it."""

    path: Path
    id: int  # two folders with the same one share it
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """When to warn."""

    least_free: int  # bytes
    days_ahead: float


def disk_of(path: Path) -> Disk:
    """The file system that holds `path`, or will: a folder that isn't there yet is made in the nearest one that is."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    with durable.explained(path, "asked for its free space"):
        system, device = os.statvfs(there), os.stat(there).st_dev
    return Disk(path, device, system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize)


def rate_of(files: MinuteFiles, archive: Archive, today: int) -> Rate:
    """What the last days added, a day. `today`: the day that it is, which is not over yet, counted from 1970."""
    rates = [Rate()]
    for instrument in sorted({*archive.instruments(), *files.instruments()}):
        with suppress(StorageError):  # of what is damaged, or goes just now, the rate can't be told
            rates.append(_rate_of(files, archive, instrument, today))
    return Rate(sum(r.archive_bytes for r in rates), sum(r.file_bytes for r in rates))


def warnings(disk: Disk, rate: Rate, bounds: Bounds) -> list[str]:
    """What is to be told of a disk, a line each."""
    lines = []
    if disk.free < bounds.least_free:
        lines.append(f"{disk.path}: {_mb(disk.free)} are free: less than the {_mb(bounds.least_free)} that should be")
    needed = rate.archive_bytes * bounds.days_ahead + rate.file_bytes
    if disk.free < needed:
        ahead = f"{bounds.days_ahead:g} days at the present rate take {_mb(needed)}"
        lines.append(f"{disk.path}: {_mb(disk.free)} are free, and {ahead}")
    return lines


def _rate_of(files: MinuteFiles, archive: Archive, instrument: Instrument, today: int) -> Rate:
    days = [d for d in archive.days(instrument) if today - _LOOK_BACK <= d < today]
    found = [m for day in days if (m := archive.manifest(instrument, day))]
    parts = {archive.part(kind, instrument, m): m.part(kind).bytes for m in found for kind in KINDS}
    levels, rows = sum(m.levels.rows for m in found), sum(_rows_of_files(found))
    share = levels / rows if rows else 1  # of a merged month's file, what is of these days
    latest = max((d for d in files.days(instrument) if d < today), default=None)
    size = files.size(instrument, files.of_day(instrument, latest)) if latest is not None else 0
    return Rate(sum(parts.values()) * share / len(found) if found else 0, size)


def _rows_of_files(found: Sequence[Manifest]) -> list[int]:
    files = {m.levels.sha256: sum(g.rows for g in m.levels.groups) for m in found}
    return list(files.values())


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"
