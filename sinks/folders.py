"""Folders listed without surprises: what isn't there is empty, and a name that isn't one of ours is passed over."""

from __future__ import annotations

import os
from datetime import date
from functools import lru_cache
from pathlib import Path

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from sinks import durable

_EPOCH = date(1970, 1, 1)


def names(folder: Path) -> list[str]:
    """What lies in a folder, in order; nothing where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise durable.failure(error, folder, "listed") from error


def instruments(root: Path, venue_key: str = "", symbol_key: str = "") -> list[Instrument]:
    """The instruments that have a folder `<root>/<venue_key><venue>/<symbol_key><symbol>`."""
    found = []
    for venue in _values(root, venue_key):
        for symbol in _values(root / f"{venue_key}{venue}", symbol_key):
            instrument = _instrument(venue, symbol)
            if instrument and instrument not in found:
                found.append(instrument)
    return sorted(found)


@lru_cache(maxsize=512)
def day(year: int, month: int, day_of_month: int) -> int | None:
    """A date as a day counted from 1970; None for a date that isn't in the calendar."""
    try:
        return (date(year, month, day_of_month) - _EPOCH).days
    except ValueError:
        return None


def _values(folder: Path, key: str) -> list[str]:
    return [name.removeprefix(key) for name in names(folder) if name.startswith(key) and (folder / name).is_dir()]


def _instrument(venue: str, symbol: str) -> Instrument | None:
    """The instrument of two folder names, if there is one that has just these."""
    try:
        instrument = Instrument.from_path_names(venue, symbol)
    except BadValue:
        return None
    return instrument if instrument.path == f"{venue}/{symbol}" else None
