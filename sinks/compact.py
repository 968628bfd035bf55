"""Compaction: a day's minute files become Parquet, are read back and compared, and only then go.

The order is what makes it safe to die anywhere: levels, then minutes, then the manifest that makes them count, then the
deletions. Until the manifest stands the minute files are the data; from then on the parts are. A run after a crash finds one or
the other and gives the same bytes. Generations have different names, so no file that counts is ever written to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from msgspec.structs import replace

from pipeline import crash
from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_text
from pipeline.trade import NS_PER_S
from sinks import durable
from sinks.archive import Archive
from sinks.intake import Intake, Known
from sinks.kept import KeptFiles
from sinks.manifest import FORMAT, KINDS, Content, Kind, Manifest, content_of, encode, month_of
from sinks.merge import by_hour, concat, updated
from sinks.minute_files import MinuteFiles
from sinks.parquet import Part, PartReader, PartWriter, damage, digest, revisions_in
from sinks.part_writing import THREADS, checked, checks, facts, grouped, put, removed_on_failure, require_none
from sinks.tables import LEVELS, MINUTES, Tables, starts

_ROOM = 1 << 16  # for footers, the minutes and the manifest of a small day


@dataclass(frozen=True, slots=True)
class DayReport:
    """What the compaction of a day did."""

    instrument: Instrument
    day: int
    generation: int | None  # of the parts that count now; None where nothing was ever compacted
    merged: int = 0  # minutes that came into the archive by this run
    deleted: int = 0  # minute files that left
    levels: int = 0  # rows of the day's levels now
    bytes_in: int = 0  # of the minute files that the archive now holds
    bytes_out: int = 0  # of both parts now
    kept: int = 0  # minute files that the archive holds and that stay for a while
    problems: tuple[str, ...] = ()  # a line for each minute file that stays: the day is open for it


@dataclass(slots=True)
class _Job:
    """One day's compaction."""

    instrument: Instrument
    day: int
    old: Manifest | None
    intake: Intake


class Compactor:
    """Moves days from minute files to the archive. One process at a time; others get JobRunning."""

    def __init__(
        self,
        files: MinuteFiles,
        archive: Archive,
        *,
        keep_s: float = 0,
        reserve: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`keep_s`: how long minute files stay after the archive has them, by `clock` in ns. `reserve`: bytes left free."""
        self.files = files
        self.archive = archive
        self._layout = archive.layout
        self._keep_ns, self._reserve, self._clock = int(keep_s * NS_PER_S), reserve, clock
        self._kept = KeptFiles(files, archive.layout)

    def instruments(self) -> list[Instrument]:
        """All that have minute files."""
        return self.files.instruments()

    def days(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, of which minute files lie there."""
        return self.files.days(instrument)

    def compact_day(self, instrument: Instrument, day: int) -> DayReport:
        """Brings a day's minute files into the archive. What can't be merged stays where it is and is reported.

        Raises JobRunning, DiskFull or StorageError; then nothing was deleted, and the next run goes on.
        """
        with durable.job_lock(self.archive.root, "compact"):
            old = self.archive.manifest(instrument, day)
            if old and self._stays(instrument, day):
                nothing = _Job(instrument, day, old, Intake(self.files, instrument, {}))
                return _report(nothing, old, kept=len(self.files.of_day(instrument, day)))
            self._clean(instrument, day, old)
            return self._compact(_Job(instrument, day, old, Intake(self.files, instrument, self._known(instrument, old))))

    # --- the way of a day -----------------------------------------------------------------------------------------------

    def _compact(self, job: _Job) -> DayReport:
        minutes = self.files.of_day(job.instrument, job.day)
        with ThreadPoolExecutor(THREADS, "compact") as pool:
            hours = self._new(job, minutes, pool)
            written = self._write(job, hours, pool) if hours else None
        if written:
            self._publish(job, written)
            return self._finish(job, written)
        return self._settle(job, job.old) if job.old else self._finish(job, None)

    def _known(self, instrument: Instrument, old: Manifest | None) -> Known:
        if old is None:
            return {}
        table = self.archive.whole("minutes", instrument, old)
        rows = zip(table["revision"].to_pylist(), table["checksum"].to_pylist(), strict=True)
        return dict(zip(starts(table), rows, strict=True))

    def _new(self, job: _Job, minutes: Sequence[int], pool: ThreadPoolExecutor) -> Iterator[Tables] | None:
        """The day as it shall be, by the hour; None where the archive holds all of it already."""
        hours = job.intake.hours(minutes, pool)
        if job.old is None:
            self._require_room(self.files.size(job.instrument, minutes), None)
            filled = (hour for hour in hours if len(hour.minutes))
            first = next(filled, None)
            return chain([first], filled) if first else None
        fresh = concat(hours)  # all is read before anything is written: mostly there is little or nothing
        if not job.intake.taken:
            return None
        self._require_room(sum(mark.size for mark in job.intake.marks.values()), job.old)
        self._require_very_parts(job.instrument, job.old)
        return checked(by_hour(updated(self.archive.read_day(job.instrument, job.old), fresh)))

    def _require_very_parts(self, instrument: Instrument, old: Manifest) -> None:
        """Before a generation is made of an older one: not every bit of a Parquet file is under a page's checksum."""
        for line in chain.from_iterable(damage(self.archive.part(kind, instrument, old), old.part(kind)) for kind in KINDS):
            raise StorageError(f"{line}: nothing was merged")

    def _require_room(self, size: int, old: Manifest | None) -> None:
        """A level takes 56 bytes in Parquet even where nothing can be compressed, and more than twice that in its file."""
        rewritten = sum(old.part(kind).bytes for kind in KINDS) if old else 0
        durable.require_room(self.archive.root, size // 2 + rewritten + _ROOM + self._reserve if size else 0)

    def _settle(self, job: _Job, now: Manifest) -> DayReport:
        """Nothing new came in. Files that a dead run merged may lie there, and what the day is open for may have changed."""
        if job.intake.marks:
            self._require_whole(job, now)
        report = self._finish(job, now)
        if now.open != job.intake.open:
            self._reopen(job, now)
        return report

    def _finish(self, job: _Job, now: Manifest | None) -> DayReport:
        held = now is not None and bool(job.intake.marks)
        kept = held and self._keep(job)
        deleted = self.files.delete(job.instrument, job.intake.marks) if held and not kept else []
        if deleted:
            self._kept.forget(job.instrument, job.day)
        if now:
            self._remove_unnamed(job.instrument, job.day, now)
        return _report(job, now, deleted=len(deleted), kept=len(job.intake.marks) if kept else 0)

    # --- files that stay for a while ------------------------------------------------------------------------------------

    def _stays(self, instrument: Instrument, day: int) -> bool:
        """Whether the archive holds the day's files, these very ones, and not yet for long enough."""
        since = self._kept.since_ns(instrument, day) if self._keep_ns else None
        return since is not None and self._clock() < since + self._keep_ns

    def _keep(self, job: _Job) -> bool:
        """Whether the files stay; from when on is noted."""
        if not self._keep_ns or self._kept.since_ns(job.instrument, job.day) is not None:
            return False  # they stay no longer
        if not job.intake.problems:
            self._kept.note(job.instrument, job.day, job.intake.marks, self._clock())
        return True

    # --- parts out ------------------------------------------------------------------------------------------------------

    def _write(self, job: _Job, hours: Iterator[Tables], pool: ThreadPoolExecutor) -> Manifest:
        """Writes the day's next generation, reads it back and compares; it doesn't count yet."""
        levels, minutes = PartWriter(LEVELS), PartWriter(MINUTES)
        heads, meant = [], []
        for group in grouped(hours):
            meant.append(pool.submit(digest, group.levels))
            levels.add(group.levels)
            heads.append(Tables(LEVELS.empty_table(), group.minutes))
        day = concat(heads).minutes
        minutes.add(day)
        parts: dict[Kind, tuple[PartWriter, list[int]]] = {
            "levels": (levels, [done.result() for done in meant]),
            "minutes": (minutes, [digest(day)]),
        }
        return self._write_parts(job, content_of(day), parts, pool)

    def _write_parts(
        self, job: _Job, content: Content, parts: Mapping[Kind, tuple[PartWriter, list[int]]], pool: ThreadPoolExecutor
    ) -> Manifest:
        generation = self.archive.catalog.next_generation(job.instrument, job.day)
        scales = {"price_scale": content.price_scale, "size_scale": content.size_scale}
        found: dict[Kind, Part] = {}
        reading: list[Future[list[str]]] = []
        paths = [self._layout.part(kind, job.instrument, job.day, f"part-{generation}.parquet") for kind in KINDS]
        with removed_on_failure(paths):
            for kind, path in zip(KINDS, paths, strict=True):
                writer, meant = parts[kind]
                found[kind], data = writer.finish(path.name, facts(job.instrument, scales))
                put(path, data, self.archive.root)
                crash.point(f"compact.{kind}")
                reading += checks(path, found[kind], meant, pool)
            require_none(reading)
        names = (job.instrument.venue, job.instrument.symbol, day_text(job.day))
        return Manifest(FORMAT, *names, generation, found["levels"], found["minutes"], content, job.intake.open)

    def _publish(self, job: _Job, manifest: Manifest) -> None:
        put(self._layout.manifest(job.instrument, job.day), encode(manifest), self.archive.root)
        crash.point("compact.manifest")

    def _reopen(self, job: _Job, now: Manifest) -> None:
        """Writes down anew what the day is open for, where the day itself stays as it is."""
        month = self.archive.catalog.month(job.instrument, month_of(job.day)) if now.in_month else None
        if month is None:
            return self._publish(job, replace(now, open=job.intake.open))
        days = [replace(d, open=job.intake.open) if d.content == now.content else d for d in month.days]
        return put(self._layout.month(job.instrument, month.month), encode(replace(month, days=tuple(days))), self.archive.root)

    # --- what is left over ----------------------------------------------------------------------------------------------

    def _clean(self, instrument: Instrument, day: int, old: Manifest | None) -> None:
        """Removes what a dead run left, once what counts is found in its place."""
        folders = [self._layout.folder(kind, instrument, day) for kind in KINDS]
        durable.remove_stale([*folders, self._layout.manifest(instrument, day).parent])
        if old is None:
            return self._refuse_orphans(instrument, day, None)
        for kind in KINDS:
            with PartReader(self.archive.part(kind, instrument, old), old.part(kind)):
                pass
        self._refuse_orphans(instrument, day, old)
        return self._remove_unnamed(instrument, day, old)

    def _refuse_orphans(self, instrument: Instrument, day: int, old: Manifest | None) -> None:
        """Later parts without a manifest are a dead run's, unless what they hold is only there: then the manifest was lost."""
        if old is None and day_text(day) in self.archive.catalog.removed(instrument):
            return  # what retention didn't come to delete
        generation = old.generation if old else -1
        later = [path for kind in KINDS for path in self._layout.later_parts(kind, instrument, day, generation)]
        known = self._known(instrument, old) if later else {}
        files = set(self.files.of_day(instrument, day)) if later else set()
        for path in later:
            held = revisions_in(path)
            if any(minute not in files and revision > known.get(minute, (-1, ""))[0] for minute, revision in held.items()):
                lost = self._layout.manifest(instrument, day)
                raise StorageError(f"{path}: holds minutes that are nowhere else, and its manifest {lost} is missing")

    def _remove_unnamed(self, instrument: Instrument, day: int, now: Manifest) -> None:
        for kind in KINDS:
            unnamed = [path for path in self._layout.parts(kind, instrument, day) if path.name != now.part(kind).file]
            for path in unnamed:
                with durable.explained(path, "deleted"):
                    path.unlink()
                crash.point("compact.deleting")
            if unnamed:
                durable.sync_folder(unnamed[0].parent)

    def _require_whole(self, job: _Job, now: Manifest) -> None:
        """Before files go that an earlier run merged: what holds them is still whole, and durable under its name."""
        for line in self.archive.problems(job.instrument, job.day):
            raise StorageError(f"{line}: its minute files were not deleted")
        paths = [self.archive.part(kind, job.instrument, now) for kind in KINDS]
        for path in (*paths, self._layout.manifest(job.instrument, job.day)):
            durable.sync_folder(path.parent, self.archive.root)


def _report(job: _Job, now: Manifest | None, *, deleted: int = 0, kept: int = 0) -> DayReport:
    intake = job.intake
    return DayReport(
        job.instrument,
        job.day,
        now.generation if now else None,
        merged=intake.taken,
        deleted=deleted,
        levels=now.levels.rows if now else 0,
        bytes_in=sum(mark.size for mark in intake.marks.values()),
        bytes_out=sum(now.part(kind).bytes for kind in KINDS) if now else 0,
        kept=kept,
        problems=tuple(intake.problems[minute] for minute in sorted(intake.problems)),
    )
