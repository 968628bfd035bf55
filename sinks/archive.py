"""The archive read: a range of levels or minutes, or one exact minute, from the Parquet parts that the manifests name.

Every page that is read has its checksum verified. A reader that meets a compaction sees a day as it was before or after it.
What writes the archive is `sinks/compact.py`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadValue, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, Minute, day_of
from sinks import ahead
from sinks import manifest as manifests
from sinks.catalog import Catalog, stretch, stretches
from sinks.held import HeldTables
from sinks.manifest import KINDS, Kind, Layout, Manifest
from sinks.minute_files import Mark
from sinks.parquet import PartGone, PartReader, damage
from sinks.tables import LEVELS, MINUTES, US_PER_MINUTE, Tables, check, minute_from, stamps
from sinks.whole import WholeFiles

_SCHEMAS = {"levels": LEVELS, "minutes": MINUTES}
_HELD_DAYS = 4
_WORTH_THREADS = 1 << 14  # rows: fewer are read sooner than threads are told to
Prices: TypeAlias = tuple[float | None, float | None]  # the lowest and the highest that are wanted; None: any
_EVERY: Prices = (None, None)
_THREADS = 2  # more share Python's lock
_T = TypeVar("_T")


@dataclass(slots=True)
class _Held:
    """What `load` decoded last of a day: late trades come in runs."""

    manifest: Manifest
    minutes: pa.Table
    levels: pa.Table | None = None
    group: int = -1  # the row group that `levels` is


class Archive:
    """Reads the Parquet archive in a folder. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.catalog = Catalog(self.layout)
        self._whole_files = WholeFiles()
        self._tables = HeldTables()
        self._held: dict[tuple[Instrument, int], _Held] = {}
        self._lock = threading.Lock()

    # --- what is there --------------------------------------------------------------------------------------------------

    def instruments(self) -> list[Instrument]:
        """All that have a compacted day."""
        return self.layout.instruments()

    def days(self, instrument: Instrument) -> list[int]:
        """The compacted days, counted from 1970, in order."""
        return self.catalog.days(instrument)

    def newest(self, instrument: Instrument) -> int | None:
        """The latest minute kept of an instrument."""
        days = self.days(instrument)
        last = self.manifest(instrument, days[-1]) if days else None
        return last.content.last_minute if last else None

    def manifest(self, instrument: Instrument, day: int) -> Manifest | None:
        """What counts of a day; None where nothing does. StorageError where it is damaged."""
        return self.catalog.day(instrument, day)

    def part(self, kind: Kind, instrument: Instrument, day: Manifest) -> Path:
        """The file of one of a day's parts."""
        return self.layout.part(kind, instrument, day.day, day.part(kind).file)

    # --- ranges ---------------------------------------------------------------------------------------------------------

    def read_levels(
        self,
        instrument: Instrument,
        start: int,
        end: int,
        columns: Sequence[str] | None = None,
        *,
        prices: Prices = _EVERY,
    ) -> pa.Table:
        """Price levels of the minutes from `start` up to, and without, `end` (counted from 1970), by time, then price.

        `prices`: the lowest and the highest price that are wanted, both included.
        """
        return self._read("levels", instrument, start, end, columns, prices)

    def read_minutes(self, instrument: Instrument, start: int, end: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The minutes from `start` up to, and without, `end` (counted from 1970), a row each, in order."""
        return self._read("minutes", instrument, start, end, columns)

    def whole_parts_between(self, kind: Kind, instrument: Instrument, start: int, end: int) -> dict[int, Path]:
        """By day, the file that holds it, for tools that read Parquet themselves: what else is in the file doesn't count.

        The days of the minutes from `start` up to, and without, `end`. Each file was found whole: all of it is read, but only
        once. A later merge may replace a file: then it is gone.
        """
        before = None
        while True:
            found = self.catalog.between(instrument, day_of(start), day_of(end - 1))
            files = {day: self.part(kind, instrument, manifest) for day, manifest in found.items()}
            try:
                self._whole_files.require({files[day]: manifest.part(kind) for day, manifest in found.items()})
            except PartGone:  # a merge or a compaction replaced it just now
                if found == before:
                    raise
                before = found
            else:
                return files

    def read_day(self, instrument: Instrument, day: Manifest) -> Tables:
        """A whole day as its manifest names it."""
        return Tables(self.whole("levels", instrument, day), self.whole("minutes", instrument, day))

    def whole(self, kind: Kind, instrument: Instrument, day: Manifest) -> pa.Table:
        """All levels of a day, or all minutes, as its manifest names them."""
        start, end = day.day * MINUTES_PER_DAY, (day.day + 1) * MINUTES_PER_DAY
        return self._slice(kind, instrument, day, _SCHEMAS[kind].names, start=start, end=end)

    def _read(
        self,
        kind: Kind,
        instrument: Instrument,
        start: int,
        end: int,
        columns: Sequence[str] | None,
        prices: Prices = _EVERY,
    ) -> pa.Table:
        names = _known(kind, columns)
        needed = names if prices == _EVERY else list(dict.fromkeys([*names, "price_level"]))

        def read(day: Manifest) -> pa.Table:
            if kind == "minutes":
                return self._held_slice(instrument, day, names, start, end)
            table = self._slice(kind, instrument, day, needed, start=start, end=end, prices=prices)
            return within(table, prices).select(names)

        def read_together(days: list[Manifest]) -> list[pa.Table | None]:
            """Days of one merged month with one look at its file; each by itself where it is being written anew."""
            try:
                return [read(days[0] if len(days) == 1 else stretch(days))]
            except PartGone:
                return [self._retried(instrument, day.day, read) for day in days]

        groups = stretches(list(self.catalog.between(instrument, day_of(start), day_of(end - 1)).values()))
        if kind == "minutes" and len(groups) > 1:  # small files
            ahead.fetch(self.part(kind, instrument, group[0]) for group in groups)
        with ThreadPoolExecutor(_THREADS, "archive-read") as pool:
            found = list(chain.from_iterable((pool.map if len(groups) > 1 else map)(read_together, groups)))
        return pa.concat_tables([table for table in found if table is not None] or [_SCHEMAS[kind].empty_table().select(names)])

    def _held_slice(self, instrument: Instrument, day: Manifest, names: Sequence[str], start: int, end: int) -> pa.Table:
        """Minutes of a file, held in memory for the next time. Its mark is taken before it is read."""
        path = self.part("minutes", instrument, day)
        try:
            mark = Mark.of(os.lstat(path))
        except OSError:
            return self._slice("minutes", instrument, day, names, start=start, end=end)  # says what is wrong
        first, last = max(start, day.content.first_minute), min(end, day.content.last_minute + 1)
        key = (path, mark, day.minutes.sha256, day.minutes.groups, tuple(names), first, last)
        return self._tables.get(key, lambda: self._slice("minutes", instrument, day, names, start=start, end=end))

    def _slice(
        self,
        kind: Kind,
        instrument: Instrument,
        day: Manifest,
        names: Sequence[str],
        *,
        start: int,
        end: int,
        prices: Prices = _EVERY,
    ) -> pa.Table:
        """The rows of a range, and of the prices, but others too: what is skipped are whole row groups."""
        part = day.part(kind)
        first, last = day.day, day_of(day.content.last_minute)  # a month's file holds more
        start, end = max(start, first * MINUTES_PER_DAY), min(end, (last + 1) * MINUTES_PER_DAY)
        with PartReader(self.part(kind, instrument, day), part) as reader:
            groups = reader.groups(start, end)
            groups = groups if prices == _EVERY else reader.priced(groups, *prices)
            whole = all(start <= part.groups[i].first and part.groups[i].last < end for i in groups)
            threads = sum(part.groups[i].rows for i in groups) >= _WORTH_THREADS
            wanted = names if whole else list(dict.fromkeys(["timestamp", *names]))
            short = kind == "minutes" and len(wanted) < len(MINUTES)  # who wants all of a file is told what is damaged in it
            table = reader.read_minutes(groups, wanted) if short else reader.read(groups, wanted, threads=threads)
        return (table if whole else _between(table, start, end)).select(list(names))

    # --- one minute -----------------------------------------------------------------------------------------------------

    def load(self, instrument: Instrument, minute: int) -> Minute | None:
        """The exact minute as it was compacted, or None."""
        with self._lock:
            return self._retried(instrument, day_of(minute), lambda day: self._load(instrument, day, minute))

    def _load(self, instrument: Instrument, day: Manifest, minute: int) -> Minute | None:
        held = self._hold(instrument, day)
        row = _between(held.minutes, minute, minute + 1)
        if not len(row):
            return None
        group = next((i for i, g in enumerate(day.levels.groups) if g.first <= minute <= g.last), -1)
        if held.levels is None or held.group != group:
            with PartReader(self.part("levels", instrument, day), day.levels) as reader:
                held.levels, held.group = reader.read([group]), group
        return minute_from(instrument, row.to_pylist()[0], _between(held.levels, minute, minute + 1))

    def _hold(self, instrument: Instrument, day: Manifest) -> _Held:
        key = (instrument, day.day)
        held = self._held.pop(key, None)
        if held is None or held.manifest != day:
            held = _Held(day, self.whole("minutes", instrument, day))
        self._held[key] = held  # the newest stands last
        while len(self._held) > _HELD_DAYS:
            del self._held[next(iter(self._held))]
        return held

    # --- is it whole ----------------------------------------------------------------------------------------------------

    def problems(self, instrument: Instrument, day: int) -> list[str]:
        """Reads all of a day and says, a line each, what is not as its manifest says. Nothing: the day is whole."""
        try:
            found = self.manifest(instrument, day)
        except StorageError as error:
            return [str(error)]
        if found is None:
            return [f"{self.layout.manifest(instrument, day)}: there is no manifest"]
        lines = [line for kind in KINDS for line in damage(self.part(kind, instrument, found), found.part(kind))]
        return lines or self._contradictions(instrument, found)

    def _contradictions(self, instrument: Instrument, day: Manifest) -> list[str]:
        path = self.layout.manifest(instrument, day.day)
        try:
            tables = self.read_day(instrument, day)
            check(tables)
        except StorageError as error:
            return [f"{path}: {error}"]
        same = manifests.content_of(tables.minutes) == day.content
        return [] if same else [f"{path}: its totals, status or scales are not those of its parts"]

    # --- helpers --------------------------------------------------------------------------------------------------------

    def _retried(self, instrument: Instrument, day: int, read: Callable[[Manifest], _T]) -> _T | None:
        """Reads by the manifest, and again by the next one where a compaction removed the parts meanwhile."""
        before = None
        while (found := self.manifest(instrument, day)) is not None:
            try:
                return read(found)
            except PartGone:
                if found == before:
                    raise
                before = found
        return None


def within(levels: pa.Table, prices: Prices) -> pa.Table:
    """The rows whose price lies in a range, both ends included."""
    low, high = prices
    if prices == _EVERY:
        return levels
    at = levels["price_level"]
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    return levels.filter(pc.and_(pc.greater_equal(at, least), pc.less_equal(at, most)))


def _known(kind: Kind, columns: Sequence[str] | None) -> list[str]:
    schema = _SCHEMAS[kind]
    unknown = [name for name in columns or () if name not in schema.names]
    if unknown:
        raise BadValue(f"{kind} have no column {unknown[0]!r}: expected some of {', '.join(schema.names)}")
    return list(schema.names if columns is None else columns)


def _between(table: pa.Table, start: int, end: int) -> pa.Table:
    """The rows of the minutes from `start` up to, and without, `end`."""
    first, last = np.searchsorted(stamps(table), [start * US_PER_MINUTE, end * US_PER_MINUTE]).tolist()
    return table.slice(first, last - first)
