"""What a venue's parser gives: trades as columns, what it refused and why, and the raw text behind each row. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from collectors.venues.history import Span
from pipeline.trade import RawTrades, Reject

MAX_RAW = 65_536  # bytes of a refused frame that are kept: a hostile one may have millions
# All that msgspec raises for texts from outside: malformed, of a wrong type, nested too deep, not UTF-8.
REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_LATEST = 2**63 - 1
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))  # below the first: worth so many nanoseconds

Raws = Callable[[int], tuple[str, str]]  # row -> its raw text, and where it stood
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The venue refuses a subscription: of a symbol, or ("") of the whole connection."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """Trades by symbol; what was refused, with its symbol ("" where that can't be told); how many frames were neither."""

    trades: dict[str, RawTrades]
    rejects: list[tuple[str, Reject]] = field(default_factory=list)
    other: int = 0
    frames: Sequence[bytes] = ()
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)  # symbol -> the frame of each row
    where: str = ""
    refusals: Sequence[Refusal] = ()
    reconnect: bool = False  # the venue asks for a new connection

    def raws(self, symbol: str) -> Raws:
        """Row of `symbol` -> its raw text and where it stood; only asked for rows that are refused later."""
        numbers = self.numbers[symbol]
        return lambda row: (clip(self.frames[numbers[row]]), self.where)

    def within(self, symbol: str, span: Span) -> Parsed:
        """Only the trades of `symbol` that belong to the span. An end that an id tells isn't told by a time as well."""
        trades = self.trades[symbol]
        kept = np.ones(len(trades.ts_ns), dtype=bool)
        if span.first_id is not None:
            kept &= np.asarray(trades.ids) >= span.first_id
        elif span.since_ns is not None:
            kept &= trades.ts_ns >= span.since_ns
        if span.last_id is not None:
            kept &= np.asarray(trades.ids) <= span.last_id
        elif span.until_ns is not None:
            kept &= trades.ts_ns <= span.until_ns
        rows = np.flatnonzero(kept)
        if len(rows) == len(kept):
            return self
        numbers = [self.numbers[symbol][row] for row in rows.tolist()]
        return replace(self, trades={symbol: _take(trades, rows)}, numbers={symbol: numbers})


Parser = Callable[[Sequence[bytes]], Parsed]


class Reader(Generic[T]):
    """Reads JSON texts of one shape: all in one decode, and one by one only where that shows a bad one among them."""

    def __init__(self, shape: type[T]) -> None:
        self._many: Callable[[bytes], list[T]] = msgspec.json.Decoder(list[shape]).decode  # type: ignore[valid-type]
        self.one: Callable[[bytes], T] = msgspec.json.Decoder(shape).decode

    def read(self, texts: Sequence[bytes]) -> tuple[list[T], Sequence[int], dict[int, str]]:
        """The values, the number of each one's text, and for each refused text's number the reason."""
        try:
            values = self._many(b"[" + b",".join(texts) + b"]")
        except REFUSED:
            return self._each(texts)
        # A text that holds a comma between two values is bad by itself, yet reads well in the joined list.
        return (values, range(len(values)), {}) if len(values) == len(texts) else self._each(texts)

    def _each(self, texts: Sequence[bytes]) -> tuple[list[T], Sequence[int], dict[int, str]]:
        values: list[T] = []
        numbers: list[int] = []
        refused: dict[int, str] = {}
        for number, text in enumerate(texts):
            try:
                values.append(self.one(text))
                numbers.append(number)
            except REFUSED as error:
                refused[number] = str(error)
        return values, numbers, refused


def nanoseconds(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times since 1970 as nanoseconds; whether they are s, ms, us or ns is told by magnitude (right from 1973 to 5138).

    What nanoseconds in 64 bits can't hold becomes their end, in 2262, which is refused later as lying in the future.
    """
    if not len(stamps):
        return stamps
    low, high = int(stamps.min()), int(stamps.max())
    for limit, unit in _UNITS:
        if low >= limit // 1000 and high < min(limit, _LATEST // unit):
            return stamps * unit
    return np.array([_one_ns(stamp) for stamp in stamps.tolist()], dtype=np.int64)


def _one_ns(stamp: int) -> int:
    unit = next((unit for limit, unit in _UNITS if stamp < limit), 1)
    return min(stamp * unit, _LATEST)


def clip(raw: bytes) -> str:
    """Raw bytes as text for the dead letters: what isn't UTF-8 is escaped, and a giant is cut."""
    return cut_short(raw).decode("utf-8", "backslashreplace")


def cut_short(raw: bytes) -> bytes:
    """At most `MAX_RAW` bytes; where some are left out, how many there were is told instead, which makes it no JSON."""
    return raw if len(raw) <= MAX_RAW else raw[: MAX_RAW - 40] + b" ... (%d bytes)" % len(raw)


def plain(text: str, most: int = 200) -> str:
    """A foreign text fit for one line of a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def _take(trades: RawTrades, rows: NDArray[Any]) -> RawTrades:
    kept = rows.tolist()
    return RawTrades(
        ids=np.asarray(trades.ids)[rows],
        ts_ns=trades.ts_ns[rows],
        price=[trades.price[row] for row in kept],
        size=[trades.size[row] for row in kept],
        side=trades.side[rows],
        count=None if trades.count is None else trades.count[rows],
        reasons={new: trades.reasons[row] for new, row in enumerate(kept) if row in trades.reasons},
    )
