"""Whether a day's or a merged month's Parquet files are what their manifest says: every byte, every row, every sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from pipeline import codec
from pipeline.errors import SpillwayError, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, Status, minute_text
from sinks import signed
from sinks.archive import Archive
from sinks.damage import Damage, restore
from sinks.manifest import KINDS, DayOfMonth, Manifest, Month, content_of
from sinks.parquet import PartReader, damage
from sinks.tables import US_PER_MINUTE, Tables, check, minute_from, span, stamps, starts

_STATUSES = frozenset(str(status) for status in Status)


@dataclass(frozen=True, slots=True)
class Described:
    """A manifest of either kind, and where it is."""

    instrument: Instrument
    path: Path
    record: Manifest | Month
    levels: Path
    minutes: Path

    @property
    def days(self) -> list[DayOfMonth]:
        """What it says of each of its days."""
        r = self.record
        return list(r.days) if isinstance(r, Month) else [DayOfMonth(r.generation, r.levels.rows, r.content, r.open)]

    @property
    def size(self) -> int:
        """The bytes that there are to be read."""
        return self.record.levels.bytes + self.record.minutes.bytes

    @property
    def todo(self) -> str:
        """What helps where it is damaged."""
        first, last = (self.days[i].content.first_minute // MINUTES_PER_DAY for i in (0, -1))
        return restore(self.instrument, first, last)

    def damage(self, path: Path, what: str) -> Damage:
        """A file of it, and what is wrong with it."""
        return Damage(path, what.removeprefix(f"{path}: "), self.todo)


def described(archive: Archive, instrument: Instrument, path: Path, record: Manifest | Month) -> Described:
    """A manifest with the paths of its files."""
    day = record.day if isinstance(record, Manifest) else record.numbers[0]
    levels, minutes = (archive.layout.part(kind, instrument, day, record.part(kind).file) for kind in KINDS)
    return Described(instrument, path, record, levels, minutes)


def check_record(it: Described, *, deep: bool) -> list[Damage]:
    """What is damaged of a day or month. `deep`: each minute's file is made anew and its checksum compared."""
    bad = _unsigned(it)
    for kind, path in zip(KINDS, (it.levels, it.minutes), strict=True):
        bad += [it.damage(path, line) for line in damage(path, it.record.part(kind))]
    if bad:
        return bad
    try:
        return [it.damage(it.path, line) for line in _lies(it)] or list(_contradictions(it, deep))
    except SpillwayError as error:
        return [it.damage(it.path, str(error))]


def _unsigned(it: Described) -> list[Damage]:
    try:
        same = it.path.read_bytes() == signed.encode(it.record)
    except OSError as error:
        return [it.damage(it.path, f"can't be read: {error.strerror}")]
    return [] if same else [it.damage(it.path, "damaged: it is not spelled as Spillway writes it")]


def _lies(it: Described) -> Iterator[str]:
    """What isn't so by what the files say of themselves."""
    for kind, path in zip(KINDS, (it.levels, it.minutes), strict=True):
        with PartReader(path, it.record.part(kind)) as reader:
            says = (reader.facts.get("venue"), reader.facts.get("symbol"))
        if says != (it.instrument.venue, it.instrument.symbol):
            yield f"names a file of {says[0]} {says[1]}: {path.name}"


def _contradictions(it: Described, deep: bool) -> Iterator[Damage]:
    record = it.record
    with PartReader(it.minutes, record.minutes) as reader:
        minutes = reader.read(range(len(record.minutes.groups)))
    yield from _groups_of_minutes(it, starts(minutes))
    for status in sorted({*minutes["status"].to_pylist()} - _STATUSES):
        yield it.damage(it.minutes, f"has the status {status!r}")
    yield from _days(it, minutes)
    yield from _levels(it, minutes, deep)


def _groups_of_minutes(it: Described, found: list[int]) -> Iterator[Damage]:
    at = 0
    for group in it.record.minutes.groups:
        if found[at : at + group.rows][:: max(1, group.rows - 1)] not in ([group.first, group.last], [group.first]):
            yield it.damage(it.path, f"says that a row group of minutes begins at {minute_text(group.first)}, and it doesn't")
        at += group.rows
    if any(a >= b for a, b in pairwise(found)):
        yield it.damage(it.minutes, "its minutes don't stand in order, or one stands twice")


def _days(it: Described, minutes: pa.Table) -> Iterator[Damage]:
    """Whether what it says of each day is so, and it says it of all."""
    times = stamps(minutes)
    told = 0
    for day in it.days:
        start = day.content.first_minute // MINUTES_PER_DAY * MINUTES_PER_DAY
        first, last = np.searchsorted(times, [start * US_PER_MINUTE, (start + MINUTES_PER_DAY) * US_PER_MINUTE]).tolist()
        rows = minutes.slice(first, last - first)
        told += len(rows)
        if not len(rows) or content_of(rows) != day.content:
            yield it.damage(
                it.path, f"lies: its totals, status or scales of {minute_text(start)[:10]} are not those of its parts"
            )
    if told != len(minutes):
        yield it.damage(it.path, f"lies: {len(minutes) - told:,} minutes are of days that it doesn't name")


def _levels(it: Described, minutes: pa.Table, deep: bool) -> Iterator[Damage]:
    """Group by group, so that a month fits in memory: do the levels make the minutes' totals?"""
    times, told = stamps(minutes), 0
    by_day = {day.content.first_minute // MINUTES_PER_DAY: 0 for day in it.days}
    with PartReader(it.levels, it.record.levels) as reader:
        for i, group in enumerate(it.record.levels.groups):
            levels = reader.read([i])
            first, last = np.searchsorted(times, [group.first * US_PER_MINUTE, (group.last + 1) * US_PER_MINUTE]).tolist()
            tables = Tables(levels, minutes.slice(first, last - first))
            told += len(tables.minutes)
            yield from _sums(it, tables, deep)
            for day, rows in zip(
                *np.unique(stamps(levels) // (MINUTES_PER_DAY * US_PER_MINUTE), return_counts=True), strict=True
            ):
                by_day[int(day)] = by_day.get(int(day), 0) + int(rows)
    if told != len(minutes):
        yield it.damage(it.path, f"lies: its row groups of levels leave out {len(minutes) - told:,} minutes")
    if by_day != {day.content.first_minute // MINUTES_PER_DAY: day.levels for day in it.days}:
        yield it.damage(it.path, "lies: its days don't have as many levels as it says")


def _sums(it: Described, tables: Tables, deep: bool) -> Iterator[Damage]:
    if not len(tables.minutes):
        yield it.damage(it.levels, f"has levels that are of no minute, about {span(tables.levels)}")
        return
    try:
        check(tables)
    except StorageError as error:
        yield it.damage(it.levels, str(error))
        return
    if deep:
        yield from _made_anew(it, tables)


def _made_anew(it: Described, tables: Tables) -> Iterator[Damage]:
    edges = np.searchsorted(stamps(tables.levels), stamps(tables.minutes)).tolist()
    for row, (first, last) in zip(tables.minutes.to_pylist(), pairwise([*edges, len(tables.levels)]), strict=True):
        try:
            minute = minute_from(it.instrument, row, tables.levels.slice(first, last - first))
            same = codec.split(codec.encode(minute), str(it.minutes)).checksum == row["checksum"]
            why = "" if same else "its checksum differs"
        except (SpillwayError, ValueError, msgspec.DecodeError) as error:
            why = str(error)
        if why:
            when = f"{row['timestamp']:%Y-%m-%d %H:%M}"
            yield it.damage(it.minutes, f"{when} is not the minute that was compacted: {why}")
