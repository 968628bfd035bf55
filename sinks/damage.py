"""What is found damaged, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.instrument import Instrument
from pipeline.minute import day_text

DAY = 1440


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that isn't what it should be."""

    path: Path
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def restore(instrument: Instrument, first_day: int, last_day: int) -> str:
    """What helps where archived days are lost."""
    return (
        "restore it from a backup; or, where the venue still has that time, move what is left of it away and run"
        f" `{_backfill(instrument, day_text(first_day), day_text(last_day + 1))}`"
    )


def refetch(instrument: Instrument, day: int) -> str:
    """What helps where a minute file is lost."""
    return (
        "restore it from a backup; or move it away and, where the venue still has that time, run"
        f" `{_backfill(instrument, day_text(day), day_text(day + 1))}`"
    )


def _backfill(instrument: Instrument, start: str, end: str) -> str:
    return f"spillway backfill --venue {instrument.venue} --symbol {instrument.symbol} --from {start} --to {end}"
