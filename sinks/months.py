"""Merging: a closed month's days become one file of levels and one of minutes, so that years stay few files.

The month's files are written beside the days, read back and compared; then its manifest is put in place, and from then on its
days count there; only then the days' manifests and parts go. A run after a crash finds the days or the month, and gives the
same bytes. A late minute makes its day a generation of its own again, which counts until the month is merged anew. That
rewrites the month, a minute of work at most: leaving the day beside it is cheaper, but tools that read all files would count it
twice. Days are read one at a time and written to the disk as they come, so a month needs no more memory than a day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from pipeline import crash
from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from sinks import durable
from sinks.archive import Archive
from sinks.manifest import FORMAT, KINDS, DayOfMonth, Kind, Manifest, Month, content_of, days_of, encode, month_of
from sinks.merge import by_hour, concat
from sinks.parquet import Part, PartWriter, damage, digest
from sinks.part_writing import THREADS, checked, checks, facts, grouped, put, remove, removed_on_failure, require_none
from sinks.tables import LEVELS, MINUTES, Tables

MINUTE_ROWS = 10_080  # a row group of minutes ends with the day in which it reaches a week
_ROOM = 1 << 16
_FEWEST = 2  # days: one alone is a file already


@dataclass(frozen=True, slots=True)
class MonthReport:
    """What the merging of a month did."""

    instrument: Instrument
    month: str
    generation: int | None  # of the files that count now; None where the month isn't merged
    days: int = 0
    written: bool = False
    bytes_in: int = 0  # of the files that it was made of
    bytes_out: int = 0
    deleted: int = 0  # files that left


@dataclass(slots=True)
class _Sources:
    """The days of a month as they are, read one at a time."""

    archive: Archive
    instrument: Instrument
    days: Sequence[Manifest]
    minutes: list[Tables] = field(default_factory=list)

    @property
    def files(self) -> dict[Path, Part]:
        """What will be read."""
        return {self.archive.part(kind, self.instrument, day): day.part(kind) for day in self.days for kind in KINDS}

    def require_whole(self) -> None:
        """StorageError unless each file is the very one of its manifest: not every bit of it is under a page's checksum."""
        for path, part in self.files.items():
            for line in damage(path, part):
                raise StorageError(f"{line}: nothing was merged")

    def hours(self) -> Iterator[Tables]:
        """All hours, each found to add up; the minutes are held back."""
        for day in self.days:
            tables = self.archive.read_day(self.instrument, day)
            if content_of(tables.minutes) != day.content:
                path = self.archive.layout.manifest(self.instrument, day.day)
                raise StorageError(f"{path}: its totals, status or scales are not those of its parts: nothing was merged")
            self.minutes.append(Tables(LEVELS.empty_table(), tables.minutes))
            yield from checked(by_hour(tables))

    def weeks(self) -> Iterator[Tables]:
        """The minutes that were held back, by row group."""
        group: list[Tables] = []
        for day in self.minutes:
            group.append(day)
            if sum(len(t.minutes) for t in group) >= MINUTE_ROWS:
                yield concat(group)
                group = []
        if group:
            yield concat(group)


class MonthMerger:
    """Merges closed months. One process at a time, together with compaction; others get JobRunning."""

    def __init__(self, archive: Archive, *, reserve: int = 0) -> None:
        """`reserve`: bytes that merging leaves free on the disk, for spilling and compaction."""
        self.archive = archive
        self._layout, self._reserve = archive.layout, reserve

    def due(self, instrument: Instrument, before: int) -> list[str]:
        """The months that ended before the day `before` and are not yet, or not any more, one file; in order."""
        own = Counter(map(month_of, self._layout.days(instrument)))
        months = [m for m in sorted({*own, *self._layout.months(instrument)}) if days_of(m)[-1] < before]
        return [m for m in months if self._is_due(self.archive.catalog.month(instrument, m), instrument, own[m])]

    def _is_due(self, merged: Month | None, instrument: Instrument, own: int) -> bool:
        return own >= _FEWEST if merged is None else own > 0 or bool(self._left_over(instrument, merged))

    def merge_month(self, instrument: Instrument, month: str) -> MonthReport:
        """Brings a month's days into one file each of levels and minutes.

        Raises JobRunning, DiskFull or StorageError; then the days count as before, and the next run goes on.
        """
        with durable.job_lock(self.archive.root, "compact"):
            self._clean(instrument, month)
            old = self.archive.catalog.month(instrument, month)
            days = [m for day in days_of(month) if (m := self.archive.manifest(instrument, day))]
            if not days or (old is None and len(days) < _FEWEST):
                return MonthReport(instrument, month, old.generation if old else None, len(days))
            if old and all(day.in_month for day in days):
                return self._settle(instrument, old)
            return self._merge(_Sources(self.archive, instrument, days), month, old)

    # --- the way of a month ---------------------------------------------------------------------------------------------

    def _merge(self, sources: _Sources, month: str, old: Month | None) -> MonthReport:
        size = sum(part.bytes for part in sources.files.values())
        durable.require_room(self.archive.root, size + size // 8 + _ROOM + self._reserve)
        sources.require_whole()
        new = self._write(sources, month, old.generation + 1 if old else 0)
        put(self._layout.month(sources.instrument, month), encode(new), self.archive.root)
        crash.point("month.manifest")
        deleted = self._tidy(sources.instrument, new)
        return MonthReport(
            sources.instrument,
            month,
            new.generation,
            len(new.days),
            written=True,
            bytes_in=size,
            bytes_out=new.levels.bytes + new.minutes.bytes,
            deleted=deleted,
        )

    def _write(self, sources: _Sources, month: str, generation: int) -> Month:
        """Writes the month's next generation, reads it back and compares; it doesn't count yet."""
        file, first = f"month-{generation}.parquet", sources.days[0].day
        paths = {kind: self._layout.part(kind, sources.instrument, first, file) for kind in KINDS}
        with removed_on_failure(paths.values()), ExitStack() as stack:
            temporary = {kind: stack.enter_context(durable.streamed(path)) for kind, path in paths.items()}
            meant, writers = _filled(sources, temporary)
            parts = self._put_parts(sources, paths, temporary, writers, meant)
        days = tuple(DayOfMonth(d.generation, d.levels.rows, d.content, d.open) for d in sources.days)
        names = (sources.instrument.venue, sources.instrument.symbol, month)
        return Month(FORMAT, *names, generation, parts["levels"], parts["minutes"], days)

    def _put_parts(
        self,
        sources: _Sources,
        paths: dict[Kind, Path],
        temporary: dict[Kind, Path],
        writers: dict[Kind, PartWriter],
        meant: dict[Kind, list[int]],
    ) -> dict[Kind, Part]:
        names = ("price_scale", "size_scale")
        says = facts(sources.instrument, {n: max(getattr(day.content, n) for day in sources.days) for n in names})
        found: dict[Kind, Part] = {}
        reading: list[Future[list[str]]] = []
        with ThreadPoolExecutor(THREADS, "merge") as pool:
            for kind, path in paths.items():
                found[kind] = writers[kind].finish_file(path.name, says)
                durable.settle_streamed(temporary[kind], path)
                durable.sync_folder(path.parent, self.archive.root)
                crash.point(f"month.{kind}")
                reading += checks(path, found[kind], meant[kind], pool)
            require_none(reading)
        return found

    def _settle(self, instrument: Instrument, now: Month) -> MonthReport:
        """All days count in the month. What a dead run left goes, once what holds it is whole and durable under its name."""
        if self._left_over(instrument, now):
            paths = [self._layout.part(kind, instrument, now.numbers[0], now.part(kind).file) for kind in KINDS]
            for line in chain.from_iterable(damage(p, now.part(kind)) for kind, p in zip(KINDS, paths, strict=True)):
                raise StorageError(f"{line}: what it was made of was not deleted")
            for path in (*paths, self._layout.month(instrument, now.month)):
                durable.sync_folder(path.parent, self.archive.root)
        size = now.levels.bytes + now.minutes.bytes
        deleted = self._tidy(instrument, now)
        return MonthReport(instrument, now.month, now.generation, len(now.days), bytes_out=size, deleted=deleted)

    # --- what is left over ----------------------------------------------------------------------------------------------

    def _clean(self, instrument: Instrument, month: str) -> None:
        """Removes temporary files of dead runs."""
        folders = [self._layout.folder(kind, instrument, days_of(month)[0]) for kind in KINDS]
        durable.remove_stale([*folders, self._layout.top("manifest", instrument)])

    def _left_over(self, instrument: Instrument, now: Month) -> list[Path]:
        """The files of the month that count no more: the days' manifests come first. Not later parts than those that were
        merged: a compaction is about to name them, or their manifest was lost."""
        own = set(self._layout.days(instrument))
        manifests = [self._layout.manifest(instrument, day) for day in now.numbers if day in own]
        later = {
            path
            for kind in KINDS
            for day in now.days
            for path in self._layout.later_parts(kind, instrument, day.day, day.generation)
        }
        parts = (p for kind in KINDS for day in now.numbers for p in self._layout.parts(kind, instrument, day))
        days = [path for path in parts if path not in later]
        months = [
            path
            for kind in KINDS
            for path in self._layout.month_parts(kind, instrument, now.month)
            if path.name != now.part(kind).file
        ]
        return [*manifests, *days, *months]

    def _tidy(self, instrument: Instrument, now: Month) -> int:
        found = self._left_over(instrument, now)
        manifests = [path for path in found if path.suffix == ".json"]
        for batch in (manifests, found[len(manifests) :]):  # first what names, then what is named
            for _ in remove(batch):
                crash.point("month.deleting")
        for folder in {path.parent for path in found} - {self._layout.top("manifest", instrument)}:
            durable.remove_empty(folder)
        return len(found)


def _filled(sources: _Sources, to: dict[Kind, Path]) -> tuple[dict[Kind, list[int]], dict[Kind, PartWriter]]:
    """Both files of a month written but for their ends, and what each row group was meant to be."""
    levels, minutes = PartWriter(LEVELS, to["levels"]), PartWriter(MINUTES, to["minutes"])
    meant: dict[Kind, list[int]] = {"levels": [], "minutes": []}
    for group in grouped(sources.hours()):
        meant["levels"].append(digest(group.levels))
        levels.add(group.levels)
    for week in sources.weeks():
        meant["minutes"].append(digest(week.minutes))
        minutes.add(week.minutes)
    return meant, {"levels": levels, "minutes": minutes}
