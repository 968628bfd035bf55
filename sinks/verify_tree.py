"""Files that lie in storage and archive and that nothing of ours names: left over, lost, or foreign.

Spillway doesn't read them. Tools that read whole folders do, so each is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_text
from sinks import durable, folders
from sinks.archive import Archive
from sinks.damage import Damage, restore
from sinks.manifest import KINDS, month_of
from sinks.minute_files import MinuteFiles

_DATE = re.compile(r"date=([0-9]{4})-([0-9]{2})-([0-9]{2})")
_PART = re.compile(r"(part|month)-[0-9]+\.parquet")
_RECORD = re.compile(r"([0-9]{4}-[0-9]{2}(-[0-9]{2})?|removed|kept-[0-9]{4}-[0-9]{2}-[0-9]{2})\.json")
_AWAY = "move it away: Spillway passes it over, other tools may not"
_LEFT = "a run that died left it: run `spillway compact`; if it stays, delete it"
_LATER = "run `spillway compact`, which removes what a run that died left; if it stays, restore its manifest from a backup"


def foreign_in_storage(files: MinuteFiles, instruments: Iterable[Instrument]) -> Iterator[Damage]:
    """What lies among minute files and is none."""
    for instrument in instruments:
        yield from (Damage(path, "is no minute file", _AWAY) for path in files.strays(instrument))


def foreign_at_top(storage: Path, archive: Path) -> Iterator[Damage]:
    """What lies above the instruments' folders and doesn't belong there."""
    tops = [storage, *_subfolders(storage), archive, *(archive / name for name in (*KINDS, "manifest"))]
    tops += [venue for name in (*KINDS, "manifest") for venue in _subfolders(archive / name)]
    for folder in tops:
        for name in folders.names(folder):
            if not name.startswith(".") and not (folder / name).is_dir():
                yield Damage(folder / name, "is none of Spillway's files", _AWAY)
    for name in folders.names(archive):
        if not name.startswith(".") and name not in (*KINDS, "manifest") and (archive / name).is_dir():
            yield Damage(archive / name, "is none of Spillway's folders", _AWAY)


class Tree:
    """The files of one instrument in the archive."""

    def __init__(self, archive: Archive, instrument: Instrument) -> None:
        self._archive, self._instrument = archive, instrument
        self._layout, self._catalog = archive.layout, archive.catalog

    def unnamed(self, wanted: range) -> Iterator[Damage]:
        """What no manifest that counts names, of the days in `wanted`. Only while no compaction runs."""
        yield from self._records(wanted)
        for kind in KINDS:
            top = self._layout.top(kind, self._instrument)
            for name in folders.names(top):
                day = _day(name)
                if day is None:
                    yield from _foreign(top / name)
                elif day in wanted:
                    yield from self._parts(top / name, day)

    def _records(self, wanted: range) -> Iterator[Damage]:
        top = self._layout.top("manifest", self._instrument)
        yield from (
            Damage(top / name, "is none of Spillway's records", _AWAY)
            for name in folders.names(top)
            if not _RECORD.fullmatch(name) and not name.startswith(durable.TEMPORARY)
        )
        for day in self._layout.days(self._instrument):
            now = self._now(day) if day in wanted else None
            if day in wanted and (now is None or now[1]):
                yield Damage(self._layout.manifest(self._instrument, day), "doesn't count any more", _LEFT)

    def _now(self, day: int) -> tuple[str, bool] | None:
        """The name of what holds the day, and whether that is a month; None where nothing holds it or that can't be told."""
        try:
            now = self._catalog.day(self._instrument, day)
        except StorageError:
            return ("", False)  # its manifest is damaged, which is told elsewhere
        return (now.levels.file, now.in_month) if now else None

    def _parts(self, folder: Path, day: int) -> Iterator[Damage]:
        named, later = self._named(day), self._later(day)
        for name in folders.names(folder):
            if name in named or name.startswith(durable.TEMPORARY) or "" in named:
                continue
            if not _PART.fullmatch(name):
                yield from _foreign(folder / name)
            elif name in later:
                lost = self._layout.manifest(self._instrument, day).name
                yield Damage(
                    folder / name, f"no manifest names it, and it is later than what counts: {lost} is missing", _LATER
                )
            elif named or day in self._catalog.removed_days(self._instrument):
                yield Damage(folder / name, "no manifest names it", _LEFT)
            else:
                yield Damage(
                    folder / name,
                    f"no manifest names it: {self._layout.manifest(self._instrument, day).name} is missing",
                    restore(self._instrument, day, day),
                )

    def _later(self, day: int) -> set[str]:
        """Parts that are later than what a merged month holds of the day."""
        now = self._now(day)
        month = self._catalog.month(self._instrument, month_of(day)) if now and now[1] else None
        merged = month.day(day) if month else None
        if merged is None:
            return set()
        found = (self._layout.later_parts(kind, self._instrument, day, merged.generation) for kind in KINDS)
        return {path.name for paths in found for path in paths}

    def _named(self, day: int) -> set[str]:
        found = {now[0]} if (now := self._now(day)) else set()
        if day_text(day).endswith("-01"):
            try:
                month = self._catalog.month(self._instrument, month_of(day))
            except StorageError:
                return {""}
            found |= {month.levels.file} if month else set()
        return found


def _foreign(path: Path) -> Iterator[Damage]:
    found = sorted(p for p in path.rglob("*") if not p.is_dir()) if path.is_dir() and not path.is_symlink() else [path]
    yield from (Damage(p, "is none of Spillway's files", _AWAY) for p in found)


def _day(name: str) -> int | None:
    match = _DATE.fullmatch(name)
    return folders.day(*map(int, match.groups())) if match else None


def _subfolders(folder: Path) -> list[Path]:
    return [folder / name for name in folders.names(folder) if (folder / name).is_dir()]
