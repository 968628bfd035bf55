"""What counts of an instrument: days of their own, days of merged months, less what retention removed.

A day's generation only goes up. Its own manifest, the manifest of its month and the record of removals each name one, and the
highest counts; of equal ones the later in that order. Data moves in that order too, and who moves it first writes where it
goes: so who looks in that order sees each day once, whatever is being merged or removed meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_text
from sinks import durable, folders, manifest, removed, signed
from sinks.manifest import FORMAT, Layout, Manifest, Month, month_of
from sinks.minute_files import Mark
from sinks.removed import Removal
from sinks.sound import require_sound

_T = TypeVar("_T")
_HELD = 64  # records remembered


class Catalog:
    """Reads the manifests of an archive. Thread-safe; remembers the few that are asked for again and again."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._held: dict[Path, tuple[Mark, object]] = {}

    def days(self, instrument: Instrument) -> list[int]:
        """The days that count, counted from 1970, in order."""
        own = self.layout.days(instrument)
        months = [m for name in self.layout.months(instrument) if (m := self.month(instrument, name))]
        found = {*own, *(day for month in months for day in month.numbers)}
        gone = self.removed(instrument)
        return sorted(d for d in found if day_text(d) not in gone or self.day(instrument, d))

    def day(self, instrument: Instrument, day: int) -> Manifest | None:
        """What counts of a day; None where nothing does. StorageError where a record of it is damaged."""
        own = self.own(instrument, day)
        month = self.month(instrument, month_of(day))
        merged = month.day(day) if month else None
        found = own if own and (merged is None or own.generation > merged.generation) else merged
        return found if found and found.generation > self.removed(instrument).get(day_text(day), -1) else None

    def next_generation(self, instrument: Instrument, day: int) -> int:
        """The generation of the day's next parts."""
        now = self.day(instrument, day)
        gone = self.removed(instrument).get(day_text(day), -1)
        return max(now.generation if now else -1, gone) + 1

    def removed_days(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, that retention removed and that did not come back; in order."""
        found = (folders.day(*map(int, date.split("-"))) for date in self.removed(instrument))
        return sorted(day for day in found if day is not None and self.day(instrument, day) is None)

    def stretches(self, instrument: Instrument, days: list[int]) -> list[list[int]]:
        """Days in order, in groups of those that follow each other in one merged month's files."""
        found = ((day, self.day(instrument, day)) for day in days)
        files = [(day, (month_of(day), m.levels.file) if m and m.in_month else day) for day, m in found]
        return [[day for day, _ in group] for _, group in groupby(files, key=lambda item: item[1])]

    def stretch(self, instrument: Instrument, days: list[int]) -> Manifest | None:
        """Several days of a merged month as if they were one day; None where they aren't together in its files."""
        found = [m for m in (self.day(instrument, day) for day in days) if m]
        if len(found) < 2 or len(found) < len(days) or len({m.levels.file for m in found}) > 1 or not found[0].in_month:
            return None
        return replace(found[0], content=replace(found[0].content, last_minute=found[-1].content.last_minute))

    # --- records --------------------------------------------------------------------------------------------------------

    def own(self, instrument: Instrument, day: int) -> Manifest | None:
        """The day's own manifest, whether it counts or not."""
        path = self.layout.manifest(instrument, day)
        found = manifest.load(path)
        if found and (found.venue, found.symbol, found.date) != (instrument.venue, instrument.symbol, day_text(day)):
            raise StorageError(f"{path}: is the manifest of {found.venue} {found.symbol} {found.date}")
        if found:
            require_sound(found, path)
        return found

    def month(self, instrument: Instrument, month: str) -> Month | None:
        """A merged month's manifest."""
        path = self.layout.month(instrument, month)
        return self._remembered(path, lambda: self._month(path, instrument, month))

    def removed(self, instrument: Instrument) -> dict[str, int]:
        """The dates that retention removed, with the generations that went."""
        path = self.layout.removed(instrument)
        found = self._remembered(path, lambda: removed.load(self.layout, instrument))
        if found and (found.venue, found.symbol) != (instrument.venue, instrument.symbol):
            raise StorageError(f"{path}: is the record of {found.venue} {found.symbol}")
        return found.days if found else {}

    def removals(self, instrument: Instrument) -> tuple[Removal, ...]:
        """What retention removed, in the order in which it went."""
        found = removed.load(self.layout, instrument)
        return found.removals if found else ()

    def _month(self, path: Path, instrument: Instrument, month: str) -> Month | None:
        found = signed.load(path, Month, FORMAT)
        if found and (found.venue, found.symbol, found.month) != (instrument.venue, instrument.symbol, month):
            raise StorageError(f"{path}: is the manifest of {found.venue} {found.symbol} {found.month}")
        if found:
            require_sound(found, path)
        return found

    def _remembered(self, path: Path, load: Callable[[], _T]) -> _T | None:
        """What `load` made of the file, unless another file stands there now. Its mark is taken before it is read."""
        try:
            mark = Mark.of(os.lstat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise durable.failure(error, path, "read") from error
        held = self._held.get(path)
        if held and held[0] == mark:
            return held[1]  # type: ignore[return-value]
        found = load()
        if len(self._held) >= _HELD:
            self._held.clear()
        self._held[path] = (mark, found)
        return found
