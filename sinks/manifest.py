"""What counts in the archive: where its files lie, and the manifests that name them.

    <root>/levels/venue=V/symbol=S/date=YYYY-MM-DD/part-G.parquet       G: the generation, one more with each merge
    <root>/minutes/venue=V/symbol=S/date=YYYY-MM-DD/part-G.parquet
    <root>/manifest/venue=V/symbol=S/YYYY-MM-DD.json                    what a day is made of
    <root>/levels|minutes/.../date=YYYY-MM-01/month-G.parquet           a merged month's days
    <root>/manifest/venue=V/symbol=S/YYYY-MM.json                       what a merged month is made of
    <root>/manifest/venue=V/symbol=S/removed.json                       what retention removed

A part that no manifest names is not data. A manifest is replaced in one step, so readers see a day's old generation or its new
one, never both. A day's generation only goes up; of several records of a day the highest counts: see `sinks/catalog.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_of, day_text
from sinks import folders, signed
from sinks.parquet import Part
from sinks.tables import starts, totals

FORMAT = 1
Kind: TypeAlias = Literal["levels", "minutes"]
KINDS: tuple[Kind, ...] = ("levels", "minutes")

encode = signed.encode

_NAME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\.json")
_MONTH = re.compile(r"([0-9]{4}-[0-9]{2})\.json")
_PART = re.compile(r"part-[0-9]+\.parquet")
_MONTH_PART = re.compile(r"month-[0-9]+\.parquet")


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a day holds."""

    minutes: int
    first_minute: int  # counted from 1970
    last_minute: int
    totals: dict[str, str]  # exact sums of volumes, notional and trade count, as decimal text
    status: dict[str, int]  # how many minutes have each status
    price_scale: int  # the most decimals of any price and size of the day
    size_scale: int


class Manifest(signed.Record, frozen=True, forbid_unknown_fields=True):
    """What a day's archive is made of."""

    venue: str
    symbol: str
    date: str
    generation: int
    levels: Part
    minutes: Part
    content: Content
    open: tuple[str, ...]  # minutes whose files could not be merged: the day stays open for them
    checksum: str = ""

    def part(self, kind: Kind) -> Part:
        """The levels' part or the minutes'."""
        return self.levels if kind == "levels" else self.minutes

    @property
    def day(self) -> int:
        """The day, counted from 1970."""
        return day_of(self.content.first_minute)

    @property
    def in_month(self) -> bool:
        """Whether it lies in a merged month's files, and this is only a view of that month's manifest."""
        return bool(_MONTH_PART.fullmatch(self.levels.file))


class DayOfMonth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A day that was merged into a month."""

    generation: int  # of the day
    levels: int  # rows
    content: Content
    open: tuple[str, ...]

    @property
    def day(self) -> int:
        """The day, counted from 1970."""
        return day_of(self.content.first_minute)


class Month(signed.Record, frozen=True, forbid_unknown_fields=True):
    """What a merged month is made of."""

    venue: str
    symbol: str
    month: str  # 2024-10
    generation: int  # of the month's files
    levels: Part
    minutes: Part
    days: tuple[DayOfMonth, ...]
    checksum: str = ""

    def part(self, kind: Kind) -> Part:
        """The levels' part or the minutes'."""
        return self.levels if kind == "levels" else self.minutes

    def day(self, day: int) -> Manifest | None:
        """One of its days, as a manifest of its own would tell of it."""
        found = next((d for d in self.days if day_of(d.content.first_minute) == day), None)
        if found is None:
            return None
        levels, minutes = replace(self.levels, rows=found.levels), replace(self.minutes, rows=found.content.minutes)
        names = (self.venue, self.symbol, day_text(day))
        return Manifest(FORMAT, *names, found.generation, levels, minutes, found.content, found.open)

    @property
    def numbers(self) -> list[int]:
        """Its days, counted from 1970, in order."""
        return [day_of(d.content.first_minute) for d in self.days]


def content_of(minutes: pa.Table) -> Content:
    """What a manifest says of a day whose checked minutes these are."""
    found = starts(minutes)
    return Content(
        len(found),
        found[0],
        found[-1],
        totals(minutes),
        dict(sorted(Counter(minutes["status"].to_pylist()).items())),
        max(minutes["price_scale"].to_pylist()),
        max(minutes["size_scale"].to_pylist()),
    )


def month_of(day: int) -> str:
    """The month in which a day lies: 2024-10."""
    return day_text(day)[:7]


def first_day(month: str) -> int:
    """A month's first day, counted from 1970. StorageError for what is no month."""
    year, _, number = month.partition("-")
    found = folders.day(int(year), int(number), 1)
    if found is None:
        raise StorageError(f"{month}: is no month")
    return found


def days_of(month: str) -> range:
    """All days of a month."""
    start = first_day(month)
    following = first_day(month_of(start + 31))
    return range(start, following)


class Layout:
    """Where the archive's files lie."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tops: dict[tuple[str, Instrument], Path] = {}

    def folder(self, kind: Kind, instrument: Instrument, day: int) -> Path:
        """The folder of a day's parts."""
        return self.top(kind, instrument) / f"date={day_text(day)}"

    def part(self, kind: Kind, instrument: Instrument, day: int, file: str) -> Path:
        """A part that a manifest names."""
        if _MONTH_PART.fullmatch(file):
            return self.top(kind, instrument).joinpath(f"date={month_of(day)}-01", file)
        if not _PART.fullmatch(file):
            raise StorageError(f"{self.manifest(instrument, day)}: names {file!r}: expected a part")
        return self.top(kind, instrument).joinpath(f"date={day_text(day)}", file)

    def parts(self, kind: Kind, instrument: Instrument, day: int) -> list[Path]:
        """All parts of the day itself that lie there, named or not."""
        folder = self.folder(kind, instrument, day)
        return [folder / name for name in folders.names(folder) if _PART.fullmatch(name)]

    def later_parts(self, kind: Kind, instrument: Instrument, day: int, generation: int) -> list[Path]:
        """The parts of the day itself that lie there with a higher generation: new ones, or their manifest was lost."""
        return [path for path in self.parts(kind, instrument, day) if int(path.stem.partition("-")[2]) > generation]

    def month_parts(self, kind: Kind, instrument: Instrument, month: str) -> list[Path]:
        """All files of a merged month that lie there, named or not."""
        folder = self.folder(kind, instrument, first_day(month))
        return [folder / name for name in folders.names(folder) if _MONTH_PART.fullmatch(name)]

    def manifest(self, instrument: Instrument, day: int) -> Path:
        """A day's manifest."""
        return self.top("manifest", instrument) / f"{day_text(day)}.json"

    def month(self, instrument: Instrument, month: str) -> Path:
        """A merged month's manifest."""
        return self.top("manifest", instrument) / f"{month}.json"

    def removed(self, instrument: Instrument) -> Path:
        """The record of what retention removed."""
        return self.top("manifest", instrument) / "removed.json"

    def days(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, that have a manifest of their own."""
        return list(_days_named(tuple(folders.names(self.top("manifest", instrument)))))

    def months(self, instrument: Instrument) -> list[str]:
        """The months that have a manifest."""
        return list(_months_named(tuple(folders.names(self.top("manifest", instrument)))))

    def instruments(self) -> list[Instrument]:
        """All that have a manifest, or had one."""
        found = folders.instruments(self.root / "manifest", "venue=", "symbol=")
        return [i for i in found if self.days(i) or self.months(i) or self.removed(i).exists()]

    def top(self, top: str, instrument: Instrument) -> Path:
        """An instrument's folder below `levels`, `minutes` or `manifest`."""
        found = self._tops.get((top, instrument))
        if found is None:
            venue, symbol = instrument.path.split("/")
            found = self._tops[top, instrument] = self.root / top / f"venue={venue}" / f"symbol={symbol}"
        return found


@lru_cache(16)
def _days_named(names: tuple[str, ...]) -> tuple[int, ...]:
    found = (folders.day(*map(int, match.groups())) for match in map(_NAME.fullmatch, names) if match)
    return tuple(day for day in found if day is not None)


@lru_cache(16)
def _months_named(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(match[1] for match in map(_MONTH.fullmatch, names) if match and 1 <= int(match[1][5:]) <= 12)


def load(path: Path) -> Manifest | None:
    """The manifest at `path`; None where there is none. StorageError where it is damaged or of an unknown format."""
    return signed.load(path, Manifest, FORMAT)
