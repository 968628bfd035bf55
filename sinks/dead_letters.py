"""What could not be taken, with its reason: one JSON object a line, so that nothing is dropped in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiofiles
import orjson

from pipeline.errors import StorageError
from pipeline.instrument import Instrument, path_name
from pipeline.trade import Reject
from sinks.durable import make_folder, private

LONGEST_RAW = 4096  # of a raw text, characters kept: a frame of 50 MB must not fill the disk a second time


@dataclass(slots=True)
class DeadLetters:
    """A dead-letter file. `fresh`: a replay begins it anew, so that replaying twice doesn't list a row twice."""

    path: Path
    fresh: bool = False
    count: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def put(self, rejects: Sequence[Reject]) -> None:
        """Appends; returns once the lines are handed to the system. StorageError where they can't be."""
        async with self._lock:
            try:
                await asyncio.to_thread(make_folder, self.path.parent)
                async with aiofiles.open(self.path, "wb" if self.fresh else "ab", opener=private) as file:
                    await file.write(b"".join(_line(r) for r in rejects))
            except OSError as error:
                raise StorageError(f"dead letters {self.path}: {error.strerror}") from None
            self.fresh = False
        self.count += len(rejects)
        for reject in rejects:
            self.reasons[reject.reason] = self.reasons.get(reject.reason, 0) + 1

    def begin(self) -> None:
        """Starts over: what was there is of an earlier replay of the same tape."""
        self.fresh, self.count = True, 0
        self.reasons.clear()
        self.path.unlink(missing_ok=True)


def for_tape(root: Path, instrument: Instrument, tape: Path) -> DeadLetters:
    """The dead letters of one tape, begun anew."""
    letters = DeadLetters(root / instrument.path / f"{path_name(tape.name)}.jsonl")
    letters.begin()
    return letters


def for_day(root: Path, venue: str, day: str) -> DeadLetters:
    """The dead letters of a venue's live frames on a day."""
    return DeadLetters(root / venue / f"live_{day}.jsonl")


def _line(reject: Reject) -> bytes:
    text = reject.raw.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON
    raw = text if len(text) <= LONGEST_RAW else f"{text[:LONGEST_RAW]}... ({len(text)} characters)"
    return orjson.dumps({"where": reject.where, "reason": reject.reason, "raw": raw}, option=orjson.OPT_APPEND_NEWLINE)
