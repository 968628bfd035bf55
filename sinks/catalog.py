"""What counts of an instrument: days of their own, days of merged months, less what retention removed.

A day's generation only goes up. Its own manifest, the manifest of its month and the record of removals each name one, and the
highest counts; of equal ones the later in that order. Data moves in that order too, and who moves it first writes where it
goes: so who looks in that order sees each day once, whatever is being merged or removed meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_text
from sinks import ahead, durable, folders, manifest, removed, signed
from sinks.manifest import FORMAT, Layout, Manifest, Month, month_of
from sinks.minute_files import Mark
from sinks.removed import Removal
from sinks.sound import require_sound

_T = TypeVar("_T")
_HELD = 2048  # records remembered: some kB each


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
        return sorted(d for d in found if not gone or day_text(d) not in gone or self.day(instrument, d))

    def day(self, instrument: Instrument, day: int) -> Manifest | None:
        """What counts of a day; None where nothing does. StorageError where a record of it is damaged."""
        own = self.own(instrument, day)
        month = self.month(instrument, month_of(day))
        merged = month.day(day) if month else None
        found = _higher(own, merged)
        return found if found and found.generation > self.removed(instrument).get(day_text(day), -1) else None

    def between(self, instrument: Instrument, first: int, last: int) -> dict[int, Manifest]:
        """What counts of the days from `first` to `last`, in order: all of them with one look at each record."""
        days = [day for day in self.layout.days(instrument) if first <= day <= last]
        paths = [self.layout.manifest(instrument, day) for day in days]
        ahead.fetch(path for path in paths if path not in self._held)
        own = {day: self.own(instrument, day) for day in days}
        names = [name for name in self.layout.months(instrument) if month_of(first) <= name <= month_of(last)]
        months = [month for name in names if (month := self.month(instrument, name))]
        merged = {day: month.day(day) for month in months for day in month.numbers if first <= day <= last}
        gone = self.removed(instrument)
        found = ((day, _higher(own.get(day), merged.get(day))) for day in sorted({*own, *merged}))
        return {day: one for day, one in found if one and (not gone or one.generation > gone.get(day_text(day), -1))}

    def next_generation(self, instrument: Instrument, day: int) -> int:
        """The generation of the day's next parts."""
        now = self.day(instrument, day)
        gone = self.removed(instrument).get(day_text(day), -1)
        return max(now.generation if now else -1, gone) + 1

    def removed_days(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, that retention removed and that did not come back; in order."""
        found = (folders.day(*map(int, date.split("-"))) for date in self.removed(instrument))
        return sorted(day for day in found if day is not None and self.day(instrument, day) is None)

    # --- records --------------------------------------------------------------------------------------------------------

    def own(self, instrument: Instrument, day: int) -> Manifest | None:
        """The day's own manifest, whether it counts or not."""
        path = self.layout.manifest(instrument, day)
        return self._remembered(path, lambda: self._own(path, instrument, day))

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

    def _own(self, path: Path, instrument: Instrument, day: int) -> Manifest | None:
        found = manifest.load(path)
        if found and (found.venue, found.symbol, found.date) != (instrument.venue, instrument.symbol, day_text(day)):
            raise StorageError(f"{path}: is the manifest of {found.venue} {found.symbol} {found.date}")
        if found:
            require_sound(found, path)
        return found

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


def stretches(days: Sequence[Manifest]) -> list[list[Manifest]]:
    """Days in order, in groups of those that lie side by side in one merged month's files."""
    keys = [(month_of(m.day), m.levels.file, m.day - n) if m.in_month else m.day for n, m in enumerate(days)]
    return [[m for m, _ in group] for _, group in groupby(zip(days, keys, strict=True), key=lambda item: item[1])]


def stretch(days: Sequence[Manifest]) -> Manifest:
    """Such a group as if it were one day."""
    return replace(days[0], content=replace(days[0].content, last_minute=days[-1].content.last_minute))


def _higher(own: Manifest | None, merged: Manifest | None) -> Manifest | None:
    return own if own and (merged is None or own.generation > merged.generation) else merged
