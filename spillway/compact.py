"""Which days may be compacted, and compacting them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, day_of, day_text, minute_of
from sinks.compact import Compactor, DayReport
from spillway.app import App


async def finished_days(app: App, now_ns: int) -> list[tuple[Instrument, int]]:
    """Days with minute files that ended before `now_ns` and of which the window holds nothing any more."""
    found = []
    for instrument in await asyncio.to_thread(app.files.instruments):
        in_window = await _days_in_window(app, instrument)
        for day in await asyncio.to_thread(app.files.days, instrument):
            if (day + 1) * MINUTES_PER_DAY <= minute_of(now_ns) and day not in in_window:
                found.append((instrument, day))
    return found


async def compact_finished(
    app: App, now_ns: int | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[DayReport]:
    """Compacts each finished day. JobRunning where another process compacts these folders; DiskFull, StorageError."""
    days = await finished_days(app, time.time_ns() if now_ns is None else now_ns)
    reports = []
    compactor = Compactor(app.files, app.archive)
    for done, (instrument, day) in enumerate(days):
        progress(done, len(days))
        reports.append(await asyncio.to_thread(compactor.compact_day, instrument, day))
    progress(len(days), len(days))
    return reports


def as_dict(report: DayReport) -> dict[str, Any]:
    """A day's report for machines."""
    return {
        "venue": report.instrument.venue,
        "symbol": report.instrument.symbol,
        "day": day_text(report.day),
        "merged": report.merged,
        "deleted": report.deleted,
        "levels": report.levels,
        "bytes_in": report.bytes_in,
        "bytes_out": report.bytes_out,
        "problems": list(report.problems),
    }


def describe(reports: Sequence[DayReport]) -> list[str]:
    """Reports for people, line by line."""
    lines = []
    for r in reports:
        sizes = f", {r.bytes_in:,} -> {r.bytes_out:,} bytes" if r.bytes_out else ""
        lines.append(f"{r.instrument} {day_text(r.day)}: {r.merged:,} minutes merged, {r.levels:,} levels{sizes}")
        lines += [f"  left where it is: {problem}" for problem in r.problems]
    return lines or ["nothing to compact: no finished day has minute files"]


async def _days_in_window(app: App, instrument: Instrument) -> set[int]:
    sealed = await app.window.sealed_minutes(instrument)
    cursor = await app.window.cursor(instrument)
    still_open = cursor.state.open_minutes if cursor else []
    return {day_of(minute) for minute in (*sealed, *still_open)}
