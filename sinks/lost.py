"""Days whose Parquet lies there and whose manifest doesn't: it was lost, and readers pass them over. They can say so.

A compaction that runs, or died, leaves parts without a manifest too: then all of their minutes still lie in minute files. What
retention removed may leave some as well: that is recorded. What remains is a loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_of, day_text
from sinks import folders
from sinks.archive import Archive
from sinks.manifest import KINDS, Layout, days_of, first_day, month_of
from sinks.parquet import revisions_in
from sinks.tables import starts

_FEW = 8  # days
_DATE = re.compile(r"date=([0-9]{4})-([0-9]{2})-([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Lost:
    """Parquet that nothing names any more, and the manifest that did."""

    part: Path
    manifest: Path

    def __str__(self) -> str:
        return f"{self.part}: left out: {self.manifest} is missing"


def lost_parts(archive: Archive, instrument: Instrument, wanted: range, filed: Callable[[], Iterable[int]]) -> list[Lost]:
    """What is lost of the minutes `wanted` (counted from 1970), a part for each day or month. `filed`: those of them that
    lie in minute files now; it's asked only where something may be lost.

    StorageError where a folder can't be listed or a record is damaged.
    """
    days = range(day_of(wanted.start), day_of(wanted.stop - 1) + 1)
    return [lost for lost in _suspects(archive, instrument, days) if _is_lost(archive, instrument, lost.part, wanted, filed)]


def _suspects(archive: Archive, instrument: Instrument, days: range) -> Iterator[Lost]:
    """Of the range's days and months, parts that no manifest may name: most often there are none."""
    layout = archive.layout
    there = _near(layout, instrument, days) if len(days) <= _FEW else _listed(layout, instrument)
    if not there:
        return
    own = set(layout.days(instrument))
    for day in sorted(day for day in there - own if day in days):
        now = archive.manifest(instrument, day)
        generation = now.generation if now else -1
        parts = [path for kind in reversed(KINDS) for path in layout.later_parts(kind, instrument, day, generation)]
        yield from (Lost(path, layout.manifest(instrument, day)) for path in parts[:1])
    for month in sorted({month_of(day) for day in there if day_text(day).endswith("-01")} - {*layout.months(instrument)}):
        held = days_of(month)
        if held.start < days.stop and days.start < held.stop:
            parts = [path for kind in reversed(KINDS) for path in layout.month_parts(kind, instrument, month)]
            yield from (Lost(path, layout.month(instrument, month)) for path in parts[:1])


def _near(layout: Layout, instrument: Instrument, days: range) -> set[int]:
    """Of a short range, the days without a manifest, and first days of months without one, if there are folders of them: a
    year's folders aren't listed for an hour's read."""
    lacking = [day for day in days if not layout.manifest(instrument, day).exists()]
    months = {month for day in lacking if not layout.month(instrument, month := month_of(day)).exists()}
    asked = {*lacking, *map(first_day, months)}
    return {day for day in asked if any(layout.folder(kind, instrument, day).is_dir() for kind in KINDS)}


def _listed(layout: Layout, instrument: Instrument) -> set[int]:
    names = {name for kind in KINDS for name in folders.names(layout.top(kind, instrument))}
    return {day for name in names if (day := _day(name)) is not None}


def _is_lost(archive: Archive, instrument: Instrument, part: Path, wanted: range, filed: Callable[[], Iterable[int]]) -> bool:
    """Whether a part holds minutes, or revisions of them, that nobody else does. What counts is asked last: a compaction may
    end meanwhile."""
    try:
        held = revisions_in(part)
    except StorageError:
        return part.exists()  # damaged as well; or gone just now
    files, gone = set(filed()), archive.catalog.removed(instrument)
    lacking = {minute: revision for minute, revision in held.items() if minute in wanted and minute not in files}
    lacking = {minute: revision for minute, revision in lacking.items() if day_text(day_of(minute)) not in gone}
    if not lacking:
        return False
    counting = archive.read_minutes(instrument, min(lacking), max(lacking) + 1, ["timestamp", "revision"])
    known = dict(zip(starts(counting), counting["revision"].to_pylist(), strict=True))
    return any(revision > known.get(minute, -1) for minute, revision in lacking.items())


@lru_cache(8192)
def _day(name: str) -> int | None:
    match = _DATE.fullmatch(name)
    return folders.day(*map(int, match.groups())) if match else None
