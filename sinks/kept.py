"""Minute files that stay for a while after the archive has them: since when, and whether they are still the same files.

The note spares reading them again each hour. Without it, or where a file changed, they are read and compared like new ones.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_text
from sinks import durable, signed
from sinks.manifest import Layout
from sinks.minute_files import Mark, MinuteFiles

FORMAT = 1
_NAME = "kept-{}.json"


class Note(signed.Record, frozen=True, forbid_unknown_fields=True):
    """Which files the archive holds, and since when."""

    at_ns: int
    marks: str  # a digest
    checksum: str = ""


class KeptFiles:
    """The notes, beside the manifests."""

    def __init__(self, files: MinuteFiles, layout: Layout) -> None:
        self._files, self._layout = files, layout

    def path(self, instrument: Instrument, day: int) -> Path:
        """Where a day's note is."""
        return self._layout.top("manifest", instrument) / _NAME.format(day_text(day))

    def since_ns(self, instrument: Instrument, day: int) -> int | None:
        """When the archive had all of the day's files that lie there; None where that isn't known of these very files."""
        try:
            note = signed.load(self.path(instrument, day), Note, FORMAT)
        except StorageError:  # it only spares work
            return None
        return note.at_ns if note and note.marks == _digest(self._marks(instrument, day)) else None

    def note(self, instrument: Instrument, day: int, marks: Mapping[int, Mark], at_ns: int) -> None:
        """Notes the files that the archive holds."""
        data = signed.encode(Note(FORMAT, at_ns, _digest(marks)))
        durable.replace_durably(self.path(instrument, day), data)

    def forget(self, instrument: Instrument, day: int) -> None:
        """The files are gone."""
        path = self.path(instrument, day)
        with durable.explained(path, "deleted"):
            path.unlink(missing_ok=True)

    def _marks(self, instrument: Instrument, day: int) -> dict[int, Mark]:
        found = {}
        for minute in self._files.of_day(instrument, day):
            with suppress(FileNotFoundError):
                found[minute] = Mark.of(os.lstat(self._files.path(instrument, minute)))
        return found


def _digest(marks: Mapping[int, Mark]) -> str:
    rows = [(minute, m.inode, m.size, m.mtime_ns, m.ctime_ns) for minute, m in sorted(marks.items())]
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()
