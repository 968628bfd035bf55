"""The minutes of an instrument below the window, with what each holds: read once, and again where their files change."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.conserved import DAMAGED, Copy, Sums, total
from pipeline.errors import DamagedMinute
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, day_of
from sinks.archive import Archive
from sinks.manifest import Manifest
from sinks.minute_files import Mark, MinuteFiles
from sinks.tables import VOLUMES, starts

FAR_AHEAD = 1 << 40  # minutes
_COLUMNS = ("timestamp", *VOLUMES[:3], "trade_count", "revision")


@dataclass(slots=True)
class FileCopies:
    """The minute files of an instrument."""

    files: MinuteFiles
    instrument: Instrument
    _held: dict[int, tuple[Mark, Copy]] = field(default_factory=dict)

    def look(self) -> dict[int, Copy]:
        """What lies there now. One that goes while it is looked at is left out: it is in the archive. StorageError."""
        held: dict[int, tuple[Mark, Copy]] = {}
        for minute in self.files.between(self.instrument, 0, FAR_AHEAD):
            with suppress(FileNotFoundError):
                mark = Mark.of(os.lstat(self.files.path(self.instrument, minute)))
                known = self._held.get(minute)
                held[minute] = known if known and known[0] == mark else (mark, self._read(minute))
        self._held = held
        return {minute: copy for minute, (_, copy) in held.items()}

    def _read(self, minute: int) -> Copy:
        try:
            found = self.files.parts(self.instrument, minute)
        except DamagedMinute:
            return DAMAGED
        if found is None:
            raise FileNotFoundError
        return Copy.of_head(found[0].head)

    def __len__(self) -> int:
        return len(self._held)


@dataclass(slots=True)
class ArchiveCopies:
    """The archived days of an instrument: as a whole, by their manifests, or minute by minute where it matters."""

    archive: Archive
    instrument: Instrument
    _days: dict[int, tuple[Manifest, dict[int, Copy]]] = field(default_factory=dict)

    def look(self, apart: Iterable[int]) -> tuple[dict[int, Sums], dict[int, Copy]]:
        """The sums of each day that counts, and of the days `apart` each minute, too. StorageError."""
        named = self.archive.days(self.instrument)
        days = self.archive.catalog.between(self.instrument, named[0], named[-1]) if named else {}
        wanted = set(apart) & days.keys()
        self._days = {day: self._minutes(days[day]) for day in wanted}
        sums = {day: _sums(manifest.content.totals) for day, manifest in days.items()}
        return sums, {minute: copy for _, minutes in self._days.values() for minute, copy in minutes.items()}

    def removed(self) -> set[int]:
        """The days that retention removed."""
        return set(self.archive.catalog.removed_days(self.instrument))

    def _minutes(self, manifest: Manifest) -> tuple[Manifest, dict[int, Copy]]:
        held = self._days.get(manifest.day)
        if held and held[0] == manifest:
            return held
        first = manifest.day * MINUTES_PER_DAY
        table = self.archive.read_minutes(self.instrument, first, first + MINUTES_PER_DAY, _COLUMNS)
        rows = zip(*(table[name].to_pylist() for name in _COLUMNS[1:]), strict=True)
        texts = {
            minute: Copy(revision, " ".join([*map(repr, volumes), str(count)]))
            for minute, (*volumes, count, revision) in zip(starts(table), rows, strict=True)
        }
        return manifest, texts


def days_of(minutes: Iterable[int]) -> set[int]:
    """The days that they lie in."""
    return set(map(day_of, minutes))


def best(*places: Mapping[int, Copy]) -> dict[int, Copy]:
    """Each minute once: of several copies the one with the highest revision, of equal ones the first."""
    found: dict[int, Copy] = {}
    for place in places:
        for minute, copy in place.items():
            if minute not in found or copy.revision > found[minute].revision:
                found[minute] = copy
    return found


def all_of(minutes: Mapping[int, Copy], days: Mapping[int, Sums]) -> Sums:
    """What they hold together."""
    return total([*(copy.sums for copy in minutes.values()), *days.values()])


def _sums(totals: Mapping[str, str]) -> Sums:
    return Sums.of_texts(totals[name] for name in Sums._fields)
