"""The way in of a compaction: what a day's minute files hold that the archive doesn't hold yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import groupby

from pipeline.codec import Parts
from pipeline.errors import DamagedMinute, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import minute_time
from sinks.minute_files import Mark, MinuteFiles
from sinks.tables import Tables, Unfit, tables_of

_AHEAD = 4  # hours that are read ahead of who takes them: what bounds the memory

Known = Mapping[int, tuple[int, str]]  # minute -> the revision that the archive holds, and its checksum


@dataclass(slots=True)
class _Hour:
    tables: Tables = field(default_factory=Tables.empty)
    marks: dict[int, Mark] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Intake:
    """Reads one instrument's minute files, and notes what becomes of each."""

    files: MinuteFiles
    instrument: Instrument
    known: Known
    marks: dict[int, Mark] = field(default_factory=dict)  # files that may go once the archive holds what was taken
    problems: dict[int, str] = field(default_factory=dict)  # files that must stay, and why
    taken: int = 0  # minutes that are new to the archive

    @property
    def open(self) -> tuple[str, ...]:
        """The minutes whose files must stay, as the manifest names them."""
        return tuple(f"{minute_time(minute):%Y-%m-%dT%H:%M}" for minute in sorted(self.problems))

    def hours(self, minutes: Sequence[int], pool: Executor) -> Iterator[Tables]:
        """What is new in these minutes' files, by the hour, in order; the pool reads a few hours ahead."""
        waiting: deque[Future[_Hour]] = deque()
        for _, group in groupby(minutes, key=lambda minute: minute // 60):
            waiting.append(pool.submit(self._read, list(group)))
            if len(waiting) > _AHEAD:
                yield self._note(waiting.popleft().result())
        while waiting:
            yield self._note(waiting.popleft().result())

    def _note(self, hour: _Hour) -> Tables:
        self.marks |= hour.marks
        self.problems |= hour.problems
        self.taken += len(hour.tables.minutes)
        return hour.tables

    def _read(self, minutes: Sequence[int]) -> _Hour:
        hour = _Hour()
        new: dict[int, Parts] = {}
        for minute in minutes:
            try:
                found = self.files.parts(self.instrument, minute)
                if found and self._is_new(minute, found[0]):
                    new[minute] = found[0]
                if found:
                    hour.marks[minute] = found[1]
            except (DamagedMinute, StorageError) as error:
                hour.problems[minute] = str(error)
        hour.tables = self._tables(hour, new)
        return hour

    def _is_new(self, minute: int, parts: Parts) -> bool:
        """False for what the archive holds in this or a higher revision; StorageError where both hold one, and differ."""
        revision, checksum = self.known.get(minute, (0, ""))
        if parts.head.revision == revision and parts.checksum != checksum:
            path = self.files.path(self.instrument, minute)
            raise StorageError(f"{path}: differs from the archive in revision {revision}: which is right can't be told")
        return parts.head.revision > revision

    def _tables(self, hour: _Hour, new: dict[int, Parts]) -> Tables:
        try:
            return tables_of(list(new.values()), exact=True)
        except Unfit:  # one of them is: which?
            unfit = {minute: why for minute, parts in new.items() if (why := _unfit(parts))}
        for minute, why in unfit.items():
            path = self.files.path(self.instrument, minute)
            hour.problems[minute] = f"{path}: can't be archived: {self.instrument} {why}"
            del new[minute], hour.marks[minute]
        return tables_of(list(new.values()), exact=True)


def _unfit(parts: Parts) -> str | None:
    try:
        tables_of([parts], exact=True)
    except Unfit as error:
        return str(error)
    return None
