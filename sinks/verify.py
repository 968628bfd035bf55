"""Everything that is kept read again: what is damaged is named, with what is wrong and what to do.

A compaction that runs meanwhile is no damage: what changed while it was being read is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline import codec
from pipeline.errors import JobRunning, SpillwayError, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, day_of
from sinks import durable, folders
from sinks.archive import Archive
from sinks.damage import Damage, refetch, restore
from sinks.manifest import KINDS, Manifest, Month, days_of
from sinks.minute_files import MinuteFiles
from sinks.tables import starts
from sinks.verify_parts import Described, check_record, described
from sinks.verify_tree import Tree, foreign_at_top, foreign_in_storage

Progress = Callable[[int, int], None]
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to verify: minutes from `start` up to, and without, `end`; None: of every venue and symbol."""

    start: int
    end: int
    venue: str | None = None
    symbol: str | None = None

    @property
    def days(self) -> range:
        """The days in which they lie."""
        return range(day_of(self.start), day_of(self.end - 1) + 1)

    def of(self, instruments: list[Instrument]) -> list[Instrument]:
        """Those of the instruments that are wanted."""
        return [i for i in instruments if self.venue in (None, i.venue) and self.symbol in (None, i.symbol)]


@dataclass(slots=True)
class Found:
    """What was read, and what of it is damaged."""

    minute_files: int = 0
    days: int = 0
    months: int = 0
    minutes: int = 0  # of the archive
    levels: int = 0
    bytes: int = 0
    read: list[Path] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Task:
    size: int
    run: Callable[[], None]


class Verifier:
    """Reads minute files and archive again."""

    def __init__(self, files: MinuteFiles, archive: Archive, *, deep: bool = False) -> None:
        """`deep`: each archived minute's file is made anew, and its checksum compared with the one that was compacted."""
        self.files, self.archive = files, archive
        self._deep = deep
        self._found = Found()

    def verify(self, wanted: Wanted, progress: Progress = lambda done, total: None) -> Found:
        """Reads all that is wanted. StorageError only where a folder can't be listed."""
        self._found = Found()
        instruments = wanted.of(sorted({*self.files.instruments(), *self.archive.instruments(), *self._parted()}))
        tasks = [task for i in instruments for task in (*self._of_files(i, wanted), *self._of_archive(i, wanted))]
        done, total = 0, sum(task.size for task in tasks)
        for task in tasks:
            progress(done, total)
            task.run()
            done += task.size
        self._tree(instruments, wanted)
        progress(total, total)
        return self._found

    def _parted(self) -> list[Instrument]:
        """Instruments of which parts lie there, manifest or not."""
        return [i for kind in KINDS for i in folders.instruments(self.archive.root / kind, "venue=", "symbol=")]

    # --- minute files ---------------------------------------------------------------------------------------------------

    def _of_files(self, instrument: Instrument, wanted: Wanted) -> Iterator[_Task]:
        by_day: dict[int, list[int]] = {}
        for minute in self.files.between(instrument, wanted.start, wanted.end):
            by_day.setdefault(day_of(minute), []).append(minute)
        for day, minutes in by_day.items():
            size = sum(_size(self.files.path(instrument, minute)) for minute in minutes)
            yield _Task(size, partial(self._check_files, instrument, day, minutes))

    def _check_files(self, instrument: Instrument, day: int, minutes: list[int]) -> None:
        archived = self._archived(instrument, day)
        for minute in minutes:
            path = self.files.path(instrument, minute)
            what = self._wrong_with(instrument, minute, archived.get(minute))
            self._found.minute_files += what is not None
            self._found.bytes += _size(path)
            self._found.read.append(path)
            if what:
                self._found.damages.append(Damage(path, what.removeprefix(f"{path}: "), refetch(instrument, day)))

    def _wrong_with(self, instrument: Instrument, minute: int, archived: tuple[int, str] | None) -> str | None:
        """What is wrong with a minute's file; empty where nothing is, None where it went meanwhile."""
        path = self.files.path(instrument, minute)
        try:
            found = self.files.load(instrument, minute)
            data = self.files.read(instrument, minute) if found else None
        except SpillwayError as error:
            return str(error)
        if found is None or data is None:
            return None
        if codec.encode(found) != data:
            return "its totals are not those of its levels"
        if archived and archived[0] == found.revision and archived[1] != codec.split(data, str(path)).checksum:
            return f"differs from the archive in revision {found.revision}: which is right can't be told"
        return ""

    def _archived(self, instrument: Instrument, day: int) -> dict[int, tuple[int, str]]:
        start = day * MINUTES_PER_DAY
        try:
            names = ["timestamp", "revision", "checksum"]
            table = self.archive.read_minutes(instrument, start, start + MINUTES_PER_DAY, columns=names)
        except StorageError:
            return {}  # told where the archive is read
        rows = zip(table["revision"].to_pylist(), table["checksum"].to_pylist(), strict=True)
        return dict(zip(starts(table), rows, strict=True))

    # --- the archive ----------------------------------------------------------------------------------------------------

    def _of_archive(self, instrument: Instrument, wanted: Wanted) -> Iterator[_Task]:
        layout, days = self.archive.layout, wanted.days
        try:
            self.archive.catalog.removed(instrument)
        except StorageError as error:
            self._damaged_record(layout.removed(instrument), error, "restore it from a backup: it says what was removed")
        for month in layout.months(instrument):
            if set(days_of(month)) & set(days):
                yield _Task(self._size_of_month(instrument, month), partial(self._check_month, instrument, month))
        for day in layout.days(instrument):
            if day in days:
                yield _Task(self._size_of_day(instrument, day), partial(self._check_day, instrument, day))

    def _check_day(self, instrument: Instrument, day: int) -> None:
        path = self.archive.layout.manifest(instrument, day)
        self._check(instrument, path, lambda: self._own(instrument, day), restore(instrument, day, day))

    def _check_month(self, instrument: Instrument, month: str) -> None:
        path, days = self.archive.layout.month(instrument, month), days_of(month)
        self._check(instrument, path, lambda: self._merged(instrument, month), restore(instrument, days[0], days[-1]))

    def _own(self, instrument: Instrument, day: int) -> Manifest | None:
        """The day's own manifest, if it counts."""
        own = self.archive.catalog.own(instrument, day)
        now = self.archive.manifest(instrument, day)
        return own if own and now and not now.in_month else None

    def _merged(self, instrument: Instrument, month: str) -> Month | None:
        """A month's manifest, if any of its days counts there."""
        found = self.archive.catalog.month(instrument, month)
        counts = found and any(m.in_month for day in found.numbers if (m := self.archive.manifest(instrument, day)))
        return found if counts else None

    def _check(self, instrument: Instrument, path: Path, load: Callable[[], Manifest | Month | None], todo: str) -> None:
        """Checks what a manifest names; what changed meanwhile is checked anew."""
        for _ in range(_TRIES):
            try:
                record = load()
                it = described(self.archive, instrument, path, record) if record else None
                bad = check_record(it, deep=self._deep) if it else []
                changed = bool(bad) and load() != record
            except StorageError as error:
                return self._damaged_record(path, error, todo)
            if not changed:
                return self._note(it, bad)
        return self._found.notes.append(f"{path}: it changed again and again while it was read")

    def _note(self, it: Described | None, bad: list[Damage]) -> None:
        if it is None:
            return
        found = self._found
        found.damages += bad
        found.months += isinstance(it.record, Month)
        found.days += len(it.days)
        found.minutes += sum(day.content.minutes for day in it.days)
        found.levels += it.record.levels.rows
        found.bytes += it.size
        found.read += [it.path, it.levels, it.minutes]

    def _damaged_record(self, path: Path, error: StorageError, todo: str) -> None:
        known = {damage.path for damage in self._found.damages}
        named = next((Path(start) for start, colon, _ in [str(error).partition(": ")] if colon), path)
        if named not in known:
            self._found.read.append(named)
            self._found.damages.append(Damage(named, str(error).removeprefix(f"{named}: "), todo))

    def _size_of_day(self, instrument: Instrument, day: int) -> int:
        folders = [self.archive.layout.folder(kind, instrument, day) for kind in KINDS]
        return sum(_size(path) for folder in folders for path in folder.glob("part-*"))

    def _size_of_month(self, instrument: Instrument, month: str) -> int:
        paths = (self.archive.layout.month_parts(kind, instrument, month) for kind in KINDS)
        return sum(_size(path) for each in paths for path in each)

    # --- what nothing names ---------------------------------------------------------------------------------------------

    def _tree(self, instruments: list[Instrument], wanted: Wanted) -> None:
        found = self._found
        found.damages += foreign_in_storage(self.files, instruments)
        if wanted.venue is None and wanted.symbol is None:
            found.damages += foreign_at_top(self.files.root, self.archive.root)
        if not self.archive.root.is_dir():
            return
        try:
            with durable.job_lock(self.archive.root, "compact"):
                for instrument in instruments:
                    found.damages += self._unnamed(instrument, wanted)
        except JobRunning as running:
            found.notes.append(f"files that nothing names were not looked for: {running}")

    def _unnamed(self, instrument: Instrument, wanted: Wanted) -> list[Damage]:
        try:
            return list(Tree(self.archive, instrument).unnamed(wanted.days))
        except StorageError as error:
            self._found.notes.append(f"{instrument}: files that nothing names were not looked for: {error}")
            return []


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
