"""Recorded websocket frames, `<receive time> <json>` a line, of Binance: single or combined streams. Pure.

Every frame must be json, whatever its stream: a broken one might have been a trade.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import not_
from statistics import median_low

import msgspec
import numpy as np

from collectors.tapes.block import TapeBlock
from collectors.tapes.chunks import Chunk
from collectors.tapes.lines import Lines
from collectors.tapes.time import Clock, Natural, clock_of_number, numbers_ns
from collectors.venues.parsed import REFUSED
from pipeline.instrument import Instrument
from pipeline.trade import RawTrades, Reject, Side

TRADE, AGG_TRADE = "trade", "aggTrade"
_KINDS = frozenset((TRADE, AGG_TRADE))
LEAST_SURVEY = 1 << 22  # bytes looked through for the streams that a tape has

_LINE = re.compile(rb"\s*(?:\d{9,20}(?:\.\d+)?:? ?[\[{]|wss?://)")
_PREFERRED = {"binance-usdm": AGG_TRADE}  # the stream whose ids are contiguous there
_CLIENT = (b"wss://", b"ws://")  # what the recorder itself sent
_HINT = b'rade"'  # in every frame of a trade, in few others


class Event(msgspec.Struct, gc=False):
    """A trade or aggregated trade; of other events, what they happen to share with it."""

    e: str = ""
    s: str = ""
    t: Natural | None = None
    a: Natural | None = None
    p: str = ""
    q: str = ""
    T: Natural = 0
    m: bool | None = None
    f: Natural = 0
    l: Natural = 0  # noqa: E741


class Frame(Event, gc=False):
    """A raw frame, or a combined stream's."""

    data: Event | None = None


_FRAME = msgspec.json.Decoder(Frame)
_FRAMES = msgspec.json.Decoder(list[Frame])
_OTHER = msgspec.json.Decoder(msgspec.Raw)
_OTHERS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(slots=True)
class Survey:
    """What a tape's frames are of."""

    kinds: Counter[str] = field(default_factory=Counter)  # trade and aggTrade frames of the symbol
    symbols: set[str] = field(default_factory=set)  # of all trades
    times: list[int] = field(default_factory=list)
    named: bool = False  # any frame names the symbol, be it no trade's


@dataclass(slots=True)
class _Found:
    """A chunk's frames that may be trades, the line of each, and what else there was."""

    events: list[Event] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    skipped: int = 0


def looks_like_frames(head: bytes) -> bool:
    """Whether one of the first lines is a receive time with json, or a client's line."""
    return any(_LINE.match(line) for line in head.split(b"\n", 20)[:20])


def survey(chunks: Iterable[Chunk], instrument: Instrument, file_name: str) -> Survey:
    """Looks through a tape's begin, and further until a trade of the symbol is found."""
    seen, read, ours = Survey(), 0, instrument.symbol.upper()
    name = re.compile(rb'"s"\s*:\s*"%b"|"%b@' % (re.escape(ours.encode()), re.escape(ours.lower().encode())))
    for chunk in chunks:
        for event in _trades_in(Lines(chunk.data, 1, file_name)).events:
            if event.e in _KINDS:
                seen.symbols.add(event.s)
            if event.e in _KINDS and event.s.upper() == ours:
                seen.kinds[event.e] += 1
                seen.times.append(event.T)
        seen.named = seen.named or name.search(chunk.data) is not None
        read += len(chunk.data)
        if seen.kinds and read >= LEAST_SURVEY:
            break
    return seen


class FramesReader:
    """Reads the trades of one symbol from one tape of frames."""

    def __init__(self, instrument: Instrument, seen: Survey, file_name: str) -> None:
        preferred = _PREFERRED.get(instrument.venue, TRADE)
        other = TRADE if preferred == AGG_TRADE else AGG_TRADE
        self._symbols = frozenset((instrument.symbol.upper(), instrument.symbol, instrument.symbol.lower()))
        self._name = file_name
        self._clock = clock_of_number(median_low(seen.times)) if seen.times else Clock.MILLISECONDS
        self._both = len(seen.kinds) > 1
        self._kind = other if other in seen.kinds and preferred not in seen.kinds else preferred

    @property
    def stream(self) -> str:
        """Which of Binance's id sequences the ids are of."""
        return "agg" if self._kind == AGG_TRADE else "trade"

    def blocks(self, chunks: Iterable[Chunk]) -> Iterator[TapeBlock]:
        """Chunks of whole lines from the file's start as blocks, one for each."""
        line = 1
        for chunk in chunks:
            lines = Lines(chunk.data, line, self._name)
            line += lines.count
            yield self._block(lines, chunk.done_bytes)

    def _block(self, lines: Lines, done_bytes: int) -> TapeBlock:
        found = self._ours(_trades_in(lines), lines)
        numbers = found.lines

        def raw(row: int) -> tuple[str, str]:
            return lines.raw(numbers[row])

        return TapeBlock(self._columns(found.events), raw, found.rejects, done_bytes, found.skipped)

    def _ours(self, found: _Found, lines: Lines) -> _Found:
        """The frames of our symbol and kind."""
        events, symbols, kind = found.events, self._symbols, self._kind
        ours = [at for at, event in enumerate(events) if event.e == kind and event.s in symbols]
        if len(ours) == len(events):
            return found
        stray = [] if self._both else self._strays(found)  # of both kinds all along: the same trades twice
        rejects = [lines.reject(line, f"the tape began with {kind} frames alone, this is the other kind") for line in stray]
        skipped = found.skipped + len(events) - len(ours) - len(rejects)
        return _Found([events[at] for at in ours], [found.lines[at] for at in ours], found.rejects + rejects, skipped)

    def _strays(self, found: _Found) -> list[int]:
        """Lines of our symbol's trades of the other kind."""
        rows = zip(found.events, found.lines, strict=True)
        return [line for event, line in rows if event.s in self._symbols and event.e in _KINDS and event.e != self._kind]

    def _columns(self, events: list[Event]) -> RawTrades:
        agg = self._kind == AGG_TRADE
        ids = [event.a for event in events] if agg else [event.t for event in events]
        makers = [event.m for event in events]
        reasons = _missing(ids, "no trade id") | _missing(makers, "no buyer-is-maker flag")
        return RawTrades(
            ids=np.array([i or 0 for i in ids] if reasons else ids, dtype=np.int64),
            ts_ns=numbers_ns([event.T for event in events], self._clock),
            price=[event.p for event in events],
            size=[event.q for event in events],
            side=np.where(np.array(makers, dtype=bool), Side.SELL, Side.BUY).astype(np.int8),
            count=np.array([event.l - event.f + 1 for event in events], dtype=np.int64) if agg else None,
            reasons=reasons,
        )


def _missing(values: Sequence[object], reason: str) -> dict[int, str]:
    return {row: reason for row, value in enumerate(values) if value is None} if None in values else {}


def _trades_in(lines: Lines) -> _Found:
    """All frames of trades of a chunk: all at once, or line by line where one of them is broken."""
    texts = [line.partition(b" ")[2] for line in lines.data[:-1].split(b"\n")]
    hinted = [_HINT in text for text in texts]
    try:
        _none_broken(list(compress(texts, map(not_, hinted))))
        frames = _FRAMES.decode(b"[" + b",".join(compress(texts, hinted)) + b"]")
    except REFUSED:
        return _line_by_line(lines)
    numbers = list(compress(range(len(texts)), hinted))
    if len(frames) != len(numbers):  # a line of two frames
        return _line_by_line(lines)
    return _Found([frame.data or frame for frame in frames], numbers, [], len(texts) - len(numbers))


def _none_broken(texts: list[bytes]) -> None:
    if len(_OTHERS.decode(b"[" + b",".join(texts) + b"]")) != len(texts):
        raise msgspec.DecodeError("a line is not one frame")


def _line_by_line(lines: Lines) -> _Found:
    found = _Found()
    for number, line in enumerate(lines.data[:-1].split(b"\n")):
        if line.startswith(_CLIENT):
            found.skipped += 1
        elif line and line != b"\r":
            try:
                event = _event(line.partition(b" ")[2])
            except REFUSED as error:
                found.rejects.append(lines.reject(number, f"broken frame: {error}"))
                continue
            if event:
                found.events.append(event)
                found.lines.append(number)
            else:
                found.skipped += 1
    return found


def _event(text: bytes) -> Event | None:
    """What may be a trade, else None. msgspec.DecodeError where the frame is broken."""
    if _HINT not in text:
        _OTHER.decode(text)
        return None
    frame = _FRAME.decode(text)
    return frame.data or frame
