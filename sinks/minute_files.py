"""Minute files: `<root>/<venue>/<symbol>/trades_YYYYMMDD_HHMM.json`, one for each minute that left the window.

A file is replaced only by a higher revision of its minute, and deleted only while it is the very file that was read. Both look
first and act then under a lock of the folder, so a revision that is spilled while its day is compacted is never lost. What has
another name, or is no regular file, is no minute: it is left alone, and `strays` tells of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

from pipeline import codec, crash
from pipeline.codec import Parts
from pipeline.errors import DamagedMinute, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, Minute, day_of, minute_text, minute_time
from sinks import durable, folders
from sinks.tables import Tables, tables_of

_DELETERS = 8  # an unlink mostly waits for the file system's journal
_NAME = re.compile(r"trades_([0-9]{4})([0-9]{2})([0-9]{2})_([01][0-9]|2[0-3])([0-5][0-9])\.json")


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a file from another that takes its name."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Mark:
        """A file's mark."""
        return cls(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


class MinuteFiles:
    """The minute files in a folder. Thread-safe, and safe against other processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, instrument: Instrument) -> Path:
        """Where an instrument's files lie."""
        return _folder(self.root, instrument)

    def path(self, instrument: Instrument, minute: int) -> Path:
        """A minute's file, whether it is there or not."""
        day, rest = divmod(minute, MINUTES_PER_DAY)
        return _folder(self.root, instrument) / f"trades_{_date(day)}_{rest // 60:02}{rest % 60:02}.json"

    # --- what is there --------------------------------------------------------------------------------------------------

    def instruments(self) -> list[Instrument]:
        """All that have minute files."""
        return [instrument for instrument in folders.instruments(self.root) if self.newest(instrument) is not None]

    def days(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, of which minute files lie there."""
        return sorted({day_of(minute) for minute in self._minutes(instrument)})

    def of_day(self, instrument: Instrument, day: int) -> list[int]:
        """The minutes of a day that have a file, in order."""
        return self.between(instrument, day * MINUTES_PER_DAY, (day + 1) * MINUTES_PER_DAY)

    def between(self, instrument: Instrument, start: int, end: int) -> list[int]:
        """The minutes from `start` up to, and without, `end` that have a file, in order."""
        return sorted(minute for minute in self._minutes(instrument) if start <= minute < end)

    def newest(self, instrument: Instrument) -> int | None:
        """The latest minute that has a file."""
        return max(self._minutes(instrument), default=None)

    def strays(self, instrument: Instrument) -> list[Path]:
        """What lies among an instrument's files and is none: other names, links, folders. Temporary files don't count."""
        found = [name for name, minute in self._entries(instrument) if minute is None]
        return [self.folder(instrument) / name for name in sorted(found) if not name.startswith(durable.TEMPORARY)]

    # --- in -------------------------------------------------------------------------------------------------------------

    def write(self, instrument: Instrument, minute: int, data: bytes) -> Path:
        """Makes `data` the minute's file: written, fsynced, renamed. Not yet durable under its name: see `settle`.

        A file that holds these bytes, or a higher revision, is left as it is: who reads it back sees which. StorageError where
        it holds other bytes of the same revision: which are right can't be told, so neither may be lost. DamagedMinute where it
        can't be read: what it held may have been the higher revision.
        """
        path = self.path(instrument, minute)
        durable.make_folder(path.parent)
        if _is_newer(path, data):
            with durable.staged(path, data) as temporary, durable.folder_lock(path.parent):
                if _is_newer(path, data):
                    durable.rename(temporary, path)
        return path

    def settle(self, instruments: Collection[Instrument]) -> None:
        """Makes the names of all files written for these durable."""
        for instrument in instruments:
            durable.make_folder(self.folder(instrument))
            durable.sync_folder(self.folder(instrument), self.root)

    def clean(self) -> list[Path]:
        """Removes temporary files of dead runs. Only for the holder of the job that writes here."""
        return durable.remove_stale(self.folder(instrument) for instrument in folders.instruments(self.root))

    # --- out ------------------------------------------------------------------------------------------------------------

    def read(self, instrument: Instrument, minute: int) -> bytes | None:
        """The file's bytes, or None where there is none."""
        found = durable.read_whole(self.path(instrument, minute))
        return found[0] if found else None

    def parts(self, instrument: Instrument, minute: int) -> tuple[Parts, Mark] | None:
        """The file taken apart, its checksum verified, and its mark. DamagedMinute names a file that isn't this minute's."""
        path = self.path(instrument, minute)
        found = durable.read_whole(path)
        if found is None:
            return None
        parts = codec.split(found[0], str(path))
        head = parts.head
        if (head.venue, head.symbol) != (instrument.venue, instrument.symbol) or _start(head.timestamp, path) != minute:
            raise DamagedMinute(f"{path}: holds {head.venue} {head.symbol} {head.timestamp}: expected what its name says")
        return parts, Mark.of(found[1])

    def load(self, instrument: Instrument, minute: int) -> Minute | None:
        """The minute that the file holds, or None where there is none. DamagedMinute names the file."""
        data = self.read(instrument, minute)
        if data is None:
            return None
        path = self.path(instrument, minute)
        found = codec.decode(data, str(path))
        if (found.instrument, found.start) != (instrument, minute):
            raise DamagedMinute(f"{path}: holds {codec.name_of(found)}: expected {instrument} {minute_text(minute)}")
        return found

    def tables(self, instrument: Instrument, minutes: Sequence[int]) -> Tables:
        """Many minutes' levels and heads as Arrow tables; those without a file are left out."""
        found = (self.parts(instrument, minute) for minute in sorted(minutes))
        return tables_of([parts_and_mark[0] for parts_and_mark in found if parts_and_mark], exact=False)

    def size(self, instrument: Instrument, minutes: Sequence[int]) -> int:
        """The bytes that these minutes' files take."""
        with durable.explained(self.folder(instrument), "read"):
            return sum(os.stat(self.path(instrument, minute)).st_size for minute in minutes)

    def delete(self, instrument: Instrument, marks: Mapping[int, Mark]) -> list[int]:
        """Deletes the minutes' files that are still those marked, durably, and says which minutes' they were."""
        minutes = sorted(marks)
        with durable.folder_lock(self.folder(instrument)) as folder, ThreadPoolExecutor(_DELETERS, "delete") as pool:
            shares = [pool.submit(self._unlink, folder, instrument, marks, minutes[i::_DELETERS]) for i in range(_DELETERS)]
            deleted = sorted(chain.from_iterable(share.result() for share in shares))
        durable.sync_folder(self.folder(instrument))
        return deleted

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _unlink(self, folder: int, instrument: Instrument, marks: Mapping[int, Mark], minutes: Sequence[int]) -> list[int]:
        deleted = []
        for minute in minutes:
            path = self.path(instrument, minute)
            with durable.explained(path, "deleted"), suppress(FileNotFoundError):
                if Mark.of(os.stat(path.name, dir_fd=folder, follow_symlinks=False)) == marks[minute]:
                    os.unlink(path.name, dir_fd=folder)
                    deleted.append(minute)
                    crash.point("compact.deleting")
        return deleted

    def _minutes(self, instrument: Instrument) -> Iterator[int]:
        return (minute for _, minute in self._entries(instrument) if minute is not None)

    def _entries(self, instrument: Instrument) -> Iterator[tuple[str, int | None]]:
        """Each name in the folder, and the minute whose file it is."""
        folder = self.folder(instrument)
        with durable.explained(folder, "listed"):
            if not folder.is_dir():
                return
            with os.scandir(folder) as entries:
                for entry in entries:
                    yield entry.name, _minute(entry.name) if entry.is_file(follow_symlinks=False) else None


@lru_cache(maxsize=1024)
def _folder(root: Path, instrument: Instrument) -> Path:
    return root / instrument.path


@lru_cache(maxsize=64)
def _date(day: int) -> str:
    return f"{minute_time(day * MINUTES_PER_DAY):%Y%m%d}"


def _is_newer(path: Path, data: bytes) -> bool:
    """Whether `data` is to replace what the minute's file holds."""
    found = durable.read_whole(path)
    if found is None or found[0] == data:
        return found is None
    old, new = codec.split(found[0], str(path)).head.revision, codec.split(data, f"{path} (new)").head.revision
    if new == old:
        raise StorageError(f"{path}: can't be written: it holds other bytes of the same revision {old}")
    return new > old


def _start(stamp: str, path: Path) -> int:
    try:
        return codec.minute_from_stamp(stamp)
    except ValueError as error:
        raise DamagedMinute(f"{path}: {error}") from None


def _minute(name: str) -> int | None:
    match = _NAME.fullmatch(name)
    if not match:
        return None
    year, month, day_of_month, hour, minute = map(int, match.groups())
    day = folders.day(year, month, day_of_month)
    return None if day is None else day * MINUTES_PER_DAY + hour * 60 + minute
