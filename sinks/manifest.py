"""What counts in the archive: where its files lie, and the manifest that names them, one for each day of an instrument.

    <root>/levels/venue=V/symbol=S/date=YYYY-MM-DD/part-G.parquet       G: the generation, one more with each merge
    <root>/minutes/venue=V/symbol=S/date=YYYY-MM-DD/part-G.parquet
    <root>/manifest/venue=V/symbol=S/YYYY-MM-DD.json

A part that the manifest doesn't name is not data. The manifest is replaced in one step, so readers see a day's old generation
or its new one, never both.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_of, day_text
from sinks import durable, folders
from sinks.parquet import Part
from sinks.tables import starts, totals

FORMAT = 1
Kind: TypeAlias = Literal["levels", "minutes"]
KINDS: tuple[Kind, ...] = ("levels", "minutes")

_NAME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\.json")
_PART = re.compile(r"part-[0-9]+\.parquet")


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a day holds."""

    minutes: int
    first_minute: int  # counted from 1970
    last_minute: int
    totals: dict[str, str]  # exact sums of volumes, notional and trade count, as decimal text
    status: dict[str, int]  # how many minutes have each status
    price_scale: int  # the most decimals of any price and size of the day
    size_scale: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a day's archive is made of."""

    format: int
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


class _AnyFormat(msgspec.Struct):
    format: int


class Layout:
    """Where the archive's files lie."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, kind: Kind, instrument: Instrument, day: int) -> Path:
        """The folder of a day's parts."""
        return self._of(kind, instrument) / f"date={day_text(day)}"

    def part(self, kind: Kind, instrument: Instrument, day: int, file: str) -> Path:
        """A part that a manifest names."""
        if not _PART.fullmatch(file):
            raise StorageError(f"{self.manifest(instrument, day)}: names {file!r}: expected a part")
        return self.folder(kind, instrument, day) / file

    def parts(self, kind: Kind, instrument: Instrument, day: int) -> list[Path]:
        """All parts that lie there, named or not."""
        folder = self.folder(kind, instrument, day)
        return [folder / name for name in folders.names(folder) if _PART.fullmatch(name)]

    def manifest(self, instrument: Instrument, day: int) -> Path:
        """A day's manifest."""
        return self._of("manifest", instrument) / f"{day_text(day)}.json"

    def days(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, that have a manifest."""
        matches = map(_NAME.fullmatch, folders.names(self._of("manifest", instrument)))
        found = (folders.day(*map(int, match.groups())) for match in matches if match)
        return [day for day in found if day is not None]

    def instruments(self) -> list[Instrument]:
        """All that have a manifest."""
        found = folders.instruments(self.root / "manifest", "venue=", "symbol=")
        return [instrument for instrument in found if self.days(instrument)]

    def _of(self, top: str, instrument: Instrument) -> Path:
        venue, symbol = instrument.path.split("/")
        return self.root / top / f"venue={venue}" / f"symbol={symbol}"


def encode(manifest: Manifest) -> bytes:
    """The manifest as its file holds it, with its own checksum."""
    signed = replace(manifest, checksum=_checksum(manifest))
    return msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n"


def load(path: Path) -> Manifest | None:
    """The manifest at `path`; None where there is none. StorageError where it is damaged or of an unknown format."""
    found = durable.read_whole(path)
    if found is None:
        return None
    try:
        known = msgspec.json.decode(found[0], type=_AnyFormat).format
        if known != FORMAT:
            raise StorageError(f"{path}: format {known}: this version reads format {FORMAT}")
        manifest = msgspec.json.decode(found[0], type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: damaged: {error}") from None
    if manifest.checksum != _checksum(manifest):
        raise StorageError(f"{path}: damaged: its checksum is not that of its content")
    return manifest


def _checksum(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(manifest, checksum=""))).hexdigest()
