"""Which days may be compacted and which months merged, and doing so."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, day_of, day_text, minute_of
from sinks.compact import Compactor, DayReport
from sinks.disk_guard import SPILL_RESERVE
from sinks.manifest import KINDS, days_of
from sinks.months import MonthMerger, MonthReport
from spillway.app import App

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a month that was due."""

    report: MonthReport
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        r = self.report
        return {
            "venue": r.instrument.venue,
            "symbol": r.instrument.symbol,
            "month": r.month,
            "days": r.days,
            "written": r.written,
            "bytes_in": r.bytes_in,
            "bytes_out": r.bytes_out,
            "problem": self.problem,
        }

    def __str__(self) -> str:
        r = self.report
        what = f"{r.days} days in one, {r.bytes_in:,} -> {r.bytes_out:,} bytes" if r.written else "tidied up"
        return f"{r.instrument} {r.month}: {self.problem or what}"


@dataclass(frozen=True, slots=True)
class Due:
    """A day that would be compacted, or a month that would be merged."""

    instrument: Instrument
    what: str  # 2024-10-23, or 2024-10
    files: int  # that would become one of levels and one of minutes
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        named = {"venue": self.instrument.venue, "symbol": self.instrument.symbol}
        return named | {"what": self.what, "files": self.files, "bytes": self.bytes}

    def __str__(self) -> str:
        return f"{self.instrument} {self.what}: {self.files:,} files, {self.bytes:,} bytes, would become two"


async def due_now(app: App, now_ns: int | None = None, *, months: bool | None = None) -> list[Due]:
    """What `compact_finished` and `merge_months` would take on now. Nothing is changed."""
    now = time.time_ns() if now_ns is None else now_ns
    days = await finished_days(app, now)
    before = _closed_before(app, now) if _wants_months(app, months) else None
    return await asyncio.to_thread(lambda: [*_days_due(app, days), *(_months_due(app, before) if before is not None else ())])


def _days_due(app: App, days: Sequence[tuple[Instrument, int]]) -> Iterator[Due]:
    for instrument, day in days:
        minutes = app.files.of_day(instrument, day)
        yield Due(instrument, day_text(day), len(minutes), app.files.size(instrument, minutes))


def _months_due(app: App, before: int) -> Iterator[Due]:
    merger = MonthMerger(app.archive)
    for instrument in app.archive.instruments():
        for month in merger.due(instrument, before):
            held = [m for day in days_of(month) if (m := app.archive.manifest(instrument, day))]
            parts = {app.archive.part(kind, instrument, m): m.part(kind).bytes for m in held for kind in KINDS}
            yield Due(instrument, month, len(parts), sum(parts.values()))


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
    """Compacts each finished day. A day that fails is reported, and the others go on. JobRunning where another process
    compacts these folders."""
    days = await finished_days(app, time.time_ns() if now_ns is None else now_ns)
    reports = []
    keep_s = app.settings.archive.keep_json_days * SECONDS_PER_DAY
    compactor = Compactor(app.files, app.archive, keep_s=keep_s, reserve=SPILL_RESERVE)
    for done, (instrument, day) in enumerate(days):
        progress(done, len(days))
        try:
            reports.append(await asyncio.to_thread(compactor.compact_day, instrument, day))
        except StorageError as error:
            reports.append(DayReport(instrument, day, None, problems=(str(error),)))
    progress(len(days), len(days))
    return reports


async def merge_months(
    app: App,
    now_ns: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    wanted: bool | None = None,
) -> list[Merged]:
    """Merges the months that closed long enough before `now_ns`. `wanted`: whether to; None: as the settings
    say. JobRunning."""
    if not _wants_months(app, wanted):
        return []
    before = _closed_before(app, time.time_ns() if now_ns is None else now_ns)
    merger = MonthMerger(app.archive, reserve=max(SPILL_RESERVE, app.settings.archive.warn_free_bytes))
    return await asyncio.to_thread(_merge_all, merger, before, progress)


def _wants_months(app: App, wanted: bool | None) -> bool:
    return app.settings.archive.merge_months if wanted is None else wanted


def _closed_before(app: App, now_ns: int) -> int:
    """The day before which a month must have ended to be merged."""
    delay_days = app.settings.archive.merge_delay_days + app.settings.redis.window_hours / 24
    return day_of(minute_of(now_ns)) - math.ceil(delay_days)


def _merge_all(merger: MonthMerger, before: int, progress: Callable[[int, int], None]) -> list[Merged]:
    found: list[Merged] = []
    months: list[tuple[Instrument, str]] = []
    for instrument in merger.archive.instruments():
        try:
            months += [(instrument, month) for month in merger.due(instrument, before)]
        except StorageError as error:
            found.append(Merged(MonthReport(instrument, "months", None), str(error)))
    for done, (instrument, month) in enumerate(months):
        progress(done, len(months))
        try:
            found.append(Merged(merger.merge_month(instrument, month)))
        except StorageError as error:
            found.append(Merged(MonthReport(instrument, month, None), str(error)))
    progress(len(months), len(months))
    return found


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
        "kept": report.kept,
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
