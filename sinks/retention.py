"""Retention: the oldest whole days and merged months go, by age or because the archive is larger than it may be.

Never what is not compacted: a day of which minute files lie there stays. Never a part of a day or of a merged month. What goes
is first written into the record of removals, and from then on it doesn't count; then the manifests go, then the files. So a
reader sees a day whole or not at all, and a run after a crash finishes what the record says.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TypeVar

from pipeline import crash
from pipeline.errors import DiskFull, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_of, day_text
from sinks import durable, removed, signed
from sinks.archive import Archive
from sinks.manifest import KINDS, Manifest, month_of
from sinks.minute_files import MinuteFiles
from sinks.part_writing import put, remove
from sinks.removed import Removal, Removed

FOREVER = 1 << 40  # minutes
ROOM = 1 << 20  # bytes: more than the record of ten years of days
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Unit:
    """What goes together: a day, or a merged month."""

    instrument: Instrument
    days: tuple[Manifest, ...]
    bytes: int
    waiting: int = 0  # minute files of it that lie there, compacted or not: it stays as long as they do

    @property
    def first(self) -> int:
        """Its first day, counted from 1970."""
        return self.days[0].day

    @property
    def last(self) -> int:
        """Its last day."""
        return self.days[-1].day

    @property
    def minutes(self) -> int:
        """How many minutes it holds."""
        return sum(day.content.minutes for day in self.days)

    def __str__(self) -> str:
        dates = day_text(self.first) + (f" to {day_text(self.last)}" if len(self.days) > 1 else "")
        return f"{self.instrument} {dates}"


@dataclass(frozen=True, slots=True)
class Expiry:
    """A unit that has to go, and why; or that would have to, if nothing of it were still waiting."""

    unit: Unit
    why: str
    stays: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept; None: all of it."""

    keep_days: float | None = None
    max_bytes: int | None = None


def expired(units: Iterable[Unit], limits: Limits, today: int) -> list[Expiry]:
    """What has to go, the oldest first. `today`: the day that it is, counted from 1970."""
    found = []
    rest = sorted(units, key=lambda unit: (unit.last, unit.instrument))
    total = sum(unit.bytes for unit in rest)
    for unit in rest:
        why = _why(unit, limits, today, total)
        if not why:
            continue
        stays = f"{unit.waiting:,} of its minute files still lie there" if unit.waiting else ""
        found.append(Expiry(unit, why, stays))
        total -= 0 if stays else unit.bytes
    return found


class Retention:
    """Removes whole days and months. One process at a time, together with compaction; others get JobRunning."""

    def __init__(self, files: MinuteFiles, archive: Archive) -> None:
        self.files = files
        self.archive = archive
        self.problems: list[str] = []  # instruments that were passed over: what is damaged must not stop the others
        self._layout, self._catalog = archive.layout, archive.catalog
        self._room = archive.root / ".room"

    def units(self) -> list[Unit]:
        """All days and merged months that count."""
        return list(chain.from_iterable(self._each(self._units_of)))

    def remove(self, expiry: Expiry, at: str) -> None:
        """Removes a unit. `at`: the time, for the record. JobRunning or StorageError; the next run then goes on."""
        unit = expiry.unit
        with durable.job_lock(self.archive.root, "compact"):
            if self._units_of(unit.instrument, {day.day for day in unit.days}) != [unit] or unit.waiting:
                return  # it changed since it was looked at: the next run looks again
            days = {day_text(day.day): day.generation for day in unit.days}
            record = removed.load(self._layout, unit.instrument) or removed.empty(unit.instrument)
            record = record.with_(Removal(at, expiry.why, days, unit.minutes, unit.bytes))
            self._record(record, self._layout.removed(unit.instrument))
            crash.point("retention.recorded")
            self._delete(unit.instrument, sorted(day.day for day in unit.days))

    def hold_room(self) -> None:
        """Sets the room aside that a record takes, so that what frees a disk can begin on a full one; there it does nothing."""
        with durable.job_lock(self.archive.root, "compact"), suppress(DiskFull):
            durable.remove_stale([self.archive.root])
            if not self._room.exists():
                durable.replace_durably(self._room, os.urandom(ROOM))  # zeros may take no room at all

    def finish(self) -> int:
        """Deletes what a dead run recorded and didn't come to delete; says how many files those were."""
        with durable.job_lock(self.archive.root, "compact"):
            return sum(self._each(lambda i: self._delete(i, self._catalog.removed_days(i))))

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _record(self, record: Removed, path: Path) -> None:
        try:
            put(path, signed.encode(record), self.archive.root)
        except DiskFull:
            if not self._room.exists():
                raise
            self._room.unlink(missing_ok=True)
            put(path, signed.encode(record), self.archive.root)

    def _each(self, work: Callable[[Instrument], _T]) -> list[_T]:
        found = []
        for instrument in self.archive.instruments():
            try:
                found.append(work(instrument))
            except StorageError as error:
                self.problems.append(f"{instrument}: passed over: {error}")
        return found

    def _units_of(self, instrument: Instrument, only: set[int] | None = None) -> list[Unit]:
        counting = [m for day in self.archive.days(instrument) if (m := self.archive.manifest(instrument, day))]
        waiting = Counter(map(day_of, self.files.between(instrument, 0, FOREVER)))
        merged = {m for m in self._layout.months(instrument) if self._catalog.month(instrument, m)}
        units = []
        for _, group in groupby(counting, key=lambda m: month_of(m.day) if month_of(m.day) in merged else m.day):
            days = tuple(group)
            files = {self.archive.part(kind, instrument, m): m.part(kind).bytes for m in days for kind in KINDS}
            lying = sum(waiting[m.day] for m in days)
            units.append(Unit(instrument, days, sum(files.values()), lying))
        return [unit for unit in units if only is None or only & {m.day for m in unit.days}]

    def _delete(self, instrument: Instrument, days: Sequence[int]) -> int:
        """Deletes the files of removed days: what names first, then what is named."""
        gone = [day for day in days if self._catalog.day(instrument, day) is None]
        months = self._gone_months(instrument, gone)
        names = [self._layout.manifest(instrument, day) for day in gone]
        manifests = [path for path in (*names, *(self._layout.month(instrument, m) for m in months)) if path.exists()]
        parts = self._parts(instrument, gone, months)
        for batch in (manifests, parts):
            for _ in remove(batch):
                crash.point("retention.deleting")
        for folder in {path.parent for path in parts}:
            durable.remove_empty(folder)
        return len(manifests) + len(parts)

    def _gone_months(self, instrument: Instrument, gone: Sequence[int]) -> list[str]:
        """The months all of whose merged days are gone."""
        names = sorted({month_of(day) for day in gone})
        found = ((name, self._catalog.month(instrument, name)) for name in names)
        return [name for name, month in found if month is None or set(month.numbers) <= set(gone)]

    def _parts(self, instrument: Instrument, gone: Sequence[int], months: Sequence[str]) -> list[Path]:
        days = [path for kind in KINDS for day in gone for path in self._layout.parts(kind, instrument, day)]
        return days + [path for kind in KINDS for m in months for path in self._layout.month_parts(kind, instrument, m)]


def _why(unit: Unit, limits: Limits, today: int, total: int) -> str:
    if limits.keep_days is not None and unit.last + limits.keep_days < today:
        return f"older than {limits.keep_days:g} days"
    if limits.max_bytes is not None and total > limits.max_bytes:
        return f"the archive has {total:,} bytes and may have {limits.max_bytes:,}"
    return ""
