"""Minute files without a disk: the twin of what keeps minutes, with faults that a test asks for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pipeline import codec
from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import Minute


class MemoryFiles:
    """A MinuteWriter and a Keeper. Like the real one it lets a higher revision stand, and refuses another of the same."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Instrument, int], bytes] = {}
        self.settled: list[Instrument] = []
        self.fail_write: dict[int, Exception] = {}  # minute -> what writing it runs into
        self.fail_settle: Exception | None = None
        self.garble: set[int] = set()  # minutes that read back otherwise than they were written

    def __len__(self) -> int:
        return len(self.kept)

    def write(self, instrument: Instrument, minute: int, data: bytes) -> Path:
        if minute in self.fail_write:
            raise self.fail_write[minute]
        stored = self.kept.get((instrument, minute))
        if stored is not None and stored != data and revision(stored) == revision(data):
            raise StorageError(f"{minute}: holds another revision {revision(stored)} already")
        if stored is None or revision(stored) < revision(data):
            self.kept[instrument, minute] = data
        return Path(f"{minute}.json")

    def settle(self, instruments: Collection[Instrument]) -> None:
        if self.fail_settle:
            raise self.fail_settle
        self.settled += instruments

    def read(self, instrument: Instrument, minute: int) -> bytes | None:
        data = self.kept.get((instrument, minute))
        return data[:-9] + b"garbled}\n" if data and minute in self.garble else data

    def load(self, instrument: Instrument, minute: int) -> Minute | None:
        data = self.read(instrument, minute)
        return codec.decode(data, f"file {minute}") if data else None

    def newest(self, instrument: Instrument) -> int | None:
        return max((m for i, m in self.kept if i == instrument), default=None)

    def minutes(self, instrument: Instrument) -> dict[int, Minute]:
        """All that is kept of an instrument."""
        return {m: codec.decode(data, f"file {m}") for (i, m), data in sorted(self.kept.items()) if i == instrument}


def revision(data: bytes) -> int:
    return codec.split(data, "a test").head.revision
