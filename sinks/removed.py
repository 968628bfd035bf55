"""What retention removed: a record for each instrument, so that what isn't there is known to be gone on purpose."""

from __future__ import annotations

from typing import Self

import msgspec
from msgspec.structs import replace

from pipeline.instrument import Instrument
from sinks import signed
from sinks.manifest import Layout

FORMAT = 1


class Removal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days that went together."""

    at: str  # when, UTC
    why: str
    days: dict[str, int]  # date -> the generation that was removed: a higher one came later, and counts
    minutes: int
    bytes: int


class Removed(signed.Record, frozen=True, forbid_unknown_fields=True):
    """All that was removed of an instrument."""

    venue: str
    symbol: str
    removals: tuple[Removal, ...]
    checksum: str = ""

    @property
    def days(self) -> dict[str, int]:
        """Each removed date with its highest removed generation."""
        found: dict[str, int] = {}
        for removal in self.removals:
            for date, generation in removal.days.items():
                found[date] = max(generation, found.get(date, -1))
        return found

    def with_(self, removal: Removal) -> Self:
        """The record with one more removal."""
        return replace(self, removals=(*self.removals, removal), checksum="")


def load(layout: Layout, instrument: Instrument) -> Removed | None:
    """An instrument's record, if anything was ever removed of it. StorageError where it is damaged."""
    return signed.load(layout.removed(instrument), Removed, FORMAT)


def empty(instrument: Instrument) -> Removed:
    """The record before anything was removed."""
    return Removed(FORMAT, instrument.venue, instrument.symbol, ())
