"""Recorded websocket frames, `<receive time> <json>` a line, of any venue: read by the parser that reads them live. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from collectors.tapes.block import TapeBlock
from collectors.tapes.chunks import Chunk
from collectors.tapes.frames import LEAST_SURVEY
from collectors.tapes.lines import Lines
from collectors.venues.parsed import Parsed, clip
from collectors.venues.venue import Venue
from pipeline.trade import RawTrades, Reject

_CLIENT = (b"wss://", b"ws://")  # what the recorder itself sent
_STRANGER = re.compile(r"symbol '(.*)' was never asked for")  # how parsers refuse a trade of a symbol beside theirs


@dataclass(slots=True)
class Recorded:
    """What a tape's frames are of."""

    ours: bool = False  # there are trades of the symbol
    others: set[str] = field(default_factory=set)  # further symbols that have trades


@dataclass(frozen=True, slots=True)
class _Frames:
    """A chunk's frames, the line of each, and how many lines are the recorder's own."""

    texts: list[bytes]
    lines: list[int]
    own: int


def survey_recorded(chunks: Iterable[Chunk], venue: Venue, symbol: str) -> Recorded:
    """Looks through a tape's begin, and further until a trade of the symbol is found."""
    seen, read, parse = Recorded(), 0, venue.parser([symbol])
    for chunk in chunks:
        parsed = parse(_frames(chunk.data).texts)
        seen.ours = seen.ours or any(len(trades.ts_ns) for trades in parsed.trades.values())
        seen.others |= {name for _, reject in parsed.rejects if (name := _stranger(reject)) is not None}
        read += len(chunk.data)
        if seen.ours and read >= LEAST_SURVEY:
            break
    return seen


class RecordedReader:
    """Reads the trades of one symbol from one tape of frames."""

    def __init__(self, venue: Venue, symbol: str, others: Collection[str], file_name: str) -> None:
        """`others`: symbols that the tape is known to have beside ours."""
        self._venue, self._symbol, self._name = venue, symbol, file_name
        self._others = set(others) - {symbol}
        self._parse = venue.parser([symbol, *self._others])

    def blocks(self, chunks: Iterable[Chunk]) -> Iterator[TapeBlock]:
        """Chunks of whole lines from the file's start as blocks, one for each."""
        line = 1
        for chunk in chunks:
            lines = Lines(chunk.data, line, self._name)
            line += lines.count
            yield self._block(lines, chunk.done_bytes)

    def _block(self, lines: Lines, done_bytes: int) -> TapeBlock:
        frames = _frames(lines.data)
        parsed = self._parse(frames.texts)
        rejects = self._rejects(parsed, frames, lines)
        ours = parsed.trades.get(self._symbol, _NOTHING)
        numbers = parsed.numbers.get(self._symbol, ())
        refused = {place for place, _ in rejects}
        skipped = frames.own + len(frames.texts) - len(refused | {frames.lines[number] for number in numbers})

        def raw(row: int) -> tuple[str, str]:
            return lines.raw(frames.lines[numbers[row]])

        return TapeBlock(ours, raw, [reject for _, reject in rejects], done_bytes, skipped)

    def _rejects(self, parsed: Parsed, frames: _Frames, lines: Lines) -> list[tuple[int, Reject]]:
        """What was refused, with its line; but not what is of other symbols."""
        if not parsed.rejects:
            return []
        strangers = {name for _, reject in parsed.rejects if (name := _stranger(reject)) is not None}
        if not strangers <= self._others:  # ask for them from now on: that is quicker
            self._others |= strangers - {self._symbol}
            self._parse = self._venue.parser([self._symbol, *self._others])
        placed = zip(_places([reject for _, reject in parsed.rejects], frames), parsed.rejects, strict=True)
        kept = [(line, r) for line, (symbol, r) in placed if symbol not in self._others and _stranger(r) is None]
        return [(line, lines.reject(line, reject.reason)) for line, reject in kept]


_NOTHING = RawTrades([], np.zeros(0, np.int64), [], [], np.zeros(0, np.int8))


def _frames(data: bytes) -> _Frames:
    every = data[:-1].split(b"\n")
    lines = [n for n, line in enumerate(every) if line and line != b"\r" and not line.startswith(_CLIENT)]
    own = sum(1 for line in every if line.startswith(_CLIENT))
    return _Frames([every[n].partition(b" ")[2] for n in lines], lines, own)


def _stranger(reject: Reject) -> str | None:
    found = _STRANGER.fullmatch(reject.reason)
    return found[1] if found else None


def _places(rejects: Sequence[Reject], frames: _Frames) -> list[int]:
    """The line of each reject, told by its frame's text: the same frame is refused each time it comes, and in order."""
    lines: dict[str, list[int]] = defaultdict(list)
    for text, line in zip(frames.texts, frames.lines, strict=True):
        lines[clip(text)].append(line)
    total: dict[str, int] = defaultdict(int)
    for reject in rejects:
        total[reject.raw] += 1
    seen: dict[str, int] = defaultdict(int)
    places = []
    for reject in rejects:
        standing = lines[reject.raw]
        places.append(standing[seen[reject.raw] * len(standing) // total[reject.raw]])
        seen[reject.raw] += 1
    return places
