"""What is older or more than the settings keep goes, and how long the disk will do is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.minute import day_of, day_text, minute_of
from pipeline.trade import NS_PER_S
from sinks.disk_guard import Bounds, disk_of, rate_of, warnings
from sinks.retention import Expiry, Limits, Retention, expired
from spillway.app import App


@dataclass(frozen=True, slots=True)
class Swept:
    """What retention removed, or would remove, the oldest first; what stays for its minute files has `stays` set."""

    found: list[Expiry]
    problems: list[str]  # instruments that were passed over, a line each


async def remove_expired(app: App, now_ns: int | None = None, *, dry_run: bool = False) -> Swept:
    """Removes what the settings don't keep; with `dry_run` only says what that is. JobRunning, StorageError."""
    return await asyncio.to_thread(_remove, app, time.time_ns() if now_ns is None else now_ns, dry_run)


async def disk_warnings(app: App, now_ns: int | None = None) -> list[str]:
    """What is to be told of the disks that minute files and archive lie on, a line each; none where there is room."""
    return await asyncio.to_thread(_warnings, app, time.time_ns() if now_ns is None else now_ns)


def as_dict(expiry: Expiry) -> dict[str, Any]:
    """For machines."""
    unit = expiry.unit
    return {
        "venue": unit.instrument.venue,
        "symbol": unit.instrument.symbol,
        "first": day_text(unit.first),
        "last": day_text(unit.last),
        "minutes": unit.minutes,
        "bytes": unit.bytes,
        "why": expiry.why,
        "stays": expiry.stays,
    }


def describe(found: Sequence[Expiry], *, dry_run: bool) -> list[str]:
    """For people, line by line."""
    did = "would be removed" if dry_run else "removed"
    lines = [f"{e.unit}: {f'stays: {e.stays}' if e.stays else f'{did}, {e.unit.bytes:,} bytes'} ({e.why})" for e in found]
    return lines or ["nothing to remove: all of the archive is kept"]


def _remove(app: App, now_ns: int, dry_run: bool) -> Swept:
    kept, job = app.settings.archive, Retention(app.files, app.archive)
    if not dry_run and app.archive.root.is_dir():
        job.finish()
    if kept.keep_days is None and kept.max_bytes is None:
        return Swept([], job.problems)
    found = expired(job.units(), Limits(kept.keep_days, kept.max_bytes), day_of(minute_of(now_ns)))
    at = f"{datetime.fromtimestamp(now_ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}"
    for expiry in found:
        if not (dry_run or expiry.stays):
            job.remove(expiry, at)
    if not dry_run and app.archive.root.is_dir():
        job.hold_room()
    return Swept(found, job.problems)


def _warnings(app: App, now_ns: int) -> list[str]:
    settings = app.settings
    rate = rate_of(app.files, app.archive, day_of(minute_of(now_ns)))
    bounds = Bounds(settings.archive.warn_free_bytes, settings.archive.warn_days)
    disks = {disk_of(path).id: disk_of(path) for path in (settings.storage_dir, settings.archive_dir)}
    return [line for disk in disks.values() for line in warnings(disk, rate, bounds)]
