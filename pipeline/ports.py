"""What the pipeline asks of the parts that collect and keep. `spillway/` plugs the real ones in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from pipeline.instrument import Instrument
from pipeline.minute import Minute


class Keeper(Protocol):
    """A place that keeps minutes after they left the window: the minute files, the archive, or both."""

    def load(self, instrument: Instrument, minute: int) -> Minute | None:
        """The minute with its highest revision, or None. Raises DamagedMinute or StorageError, never guesses."""

    def newest(self, instrument: Instrument) -> int | None:
        """The latest minute kept of an instrument."""


class MinuteWriter(Protocol):
    """Where spill puts minutes. Thread-safe."""

    def write(self, instrument: Instrument, minute: int, data: bytes) -> Path:
        """Makes `data` the minute's file: written, fsynced, renamed. Not yet durable under its name: see `settle`."""

    def settle(self, instruments: Collection[Instrument]) -> None:
        """Makes the names of all files written for these durable (fsync of their folders)."""

    def read(self, instrument: Instrument, minute: int) -> bytes | None:
        """The file's bytes, or None where there is none."""


class Compactor(Protocol):
    """What turns finished days of minute files into the archive."""

    def days(self, instrument: Instrument) -> Sequence[int]:
        """The days (counted from 1970) of which minute files lie there."""

    def instruments(self) -> Sequence[Instrument]:
        """All that have minute files."""
