"""The parsing that all venues share whose frames hold lists of trades. Pure.

While all frames of a batch are good, they are decoded in one step. Where one isn't, each is looked at by itself, and of a frame
with one bad trade the others are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain
from typing import Any, Generic, TypeVar

import msgspec

from collectors.venues.parsed import REFUSED, Parsed, Reader, Refusal, clip, plain
from pipeline.trade import RawTrades, Reject

MAX_SIFTED = 1 << 18  # bytes: a longer frame that isn't good is refused as a whole, for it may hold millions of bad trades

F = TypeVar("F")  # a frame of trades
T = TypeVar("T")  # one of its trades


class Kind(Enum):
    """What a frame is that isn't a good frame of trades."""

    OTHER = auto()  # the venue's own matters: an acknowledgement, a heartbeat
    BAD = auto()  # it can't be read, or a trade in it can't
    REFUSAL = auto()  # the venue refuses a subscription, or all
    RECONNECT = auto()  # the venue asks for a new connection


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a frame is; the symbol and the reason as far as it tells them."""

    kind: Kind
    symbol: str = ""
    reason: str = ""
    rows: Sequence[bytes] | None = None  # of a bad frame of trades: the raw text of each trade, where these can be told apart


@dataclass(frozen=True, slots=True)
class Shape(Generic[F, T]):
    """How a venue's frames of trades look."""

    frame: type[F]  # a good frame of trades decodes as this, and no other frame does
    trade: type[T]
    trades: Callable[[F], Sequence[T]]  # the trades of a frame
    symbol: Callable[[F], str] | None  # whose they are; None where each trade tells that
    columns: Callable[[Sequence[T]], RawTrades]
    # (a frame that doesn't decode as `frame`, the decoder's reason) -> what it is. Where it raises REFUSED, the frame is bad.
    judge: Callable[[bytes, str], Verdict]
    whose: Callable[[T], str] | None = None  # whose a trade is, where one frame may hold trades of several symbols
    quoted: bool = False  # integers may stand in quotes


class FrameParser(Generic[F, T]):
    """Frames of one connection in, columns by symbol out."""

    def __init__(self, venue: str, symbols: Collection[str], shape: Shape[F, T]) -> None:
        self._where = f"{venue} websocket"
        self._symbols = frozenset(symbols)
        self._shape = shape
        reader: type[Reader[Any]] = QuotedReader if shape.quoted else Reader
        self._frames: Reader[F] = reader(shape.frame)
        self._trades: Reader[T] = reader(shape.trade)

    def __call__(self, frames: Sequence[bytes]) -> Parsed:
        """The frames' trades, in the order in which they came; never raises."""
        shape = self._shape
        values, numbers, refused = self._frames.read(frames)
        lists = list(map(shape.trades, values))
        owners = list(map(shape.symbol, values)) if shape.symbol else [""] * len(values)
        found: _Found[T] = _Found()
        if refused:
            found.trades = dict(zip(numbers, zip(owners, lists, strict=True), strict=True))
            for number, reason in refused.items():
                self._look_again(frames[number], number, reason, found)
            numbers = sorted(found.trades)
            owners, lists = [found.trades[n][0] for n in numbers], [found.trades[n][1] for n in numbers]
        return self._parsed(frames, lists, owners, numbers, found)

    def _parsed(
        self, frames: Sequence[bytes], lists: list[Sequence[T]], owners: list[str], numbers: Sequence[int], found: _Found[T]
    ) -> Parsed:
        """Frame by frame: its trades, whose they are, its number."""
        trades = list(chain.from_iterable(lists))
        if not (len(trades) == len(lists) and all(lists)):  # seldom so good: each frame holds one trade
            found.other += sum(not held for held in lists)
            numbers = [number for number, held in zip(numbers, lists, strict=True) for _ in held]
            owners = [owner for owner, held in zip(owners, lists, strict=True) for _ in held]
        if self._shape.whose:
            owners = list(map(self._shape.whose, trades))
        groups = _grouped(trades, owners, numbers)
        for symbol in groups.keys() - self._symbols:
            for number in groups.pop(symbol)[1]:
                found.bad.setdefault(number, (self._symbol(), f"symbol {plain(symbol, 64)!r} was never asked for"))
        rejects = [(symbol, Reject(clip(frames[n]), self._where, why)) for n, (symbol, why) in sorted(found.bad.items())]
        return Parsed(
            {symbol: self._shape.columns(group) for symbol, (group, _) in groups.items()},
            rejects,
            found.other,
            frames,
            {symbol: rows for symbol, (_, rows) in groups.items()},
            self._where,
            found.refusals,
            found.reconnect,
        )

    def _look_again(self, frame: bytes, number: int, reason: str, found: _Found[T]) -> None:
        """What a frame is that wasn't read, and its good trades if it has some."""
        verdict = self._judged(frame, reason)
        reason = verdict.reason or reason
        if verdict.kind is Kind.REFUSAL:
            symbol = verdict.symbol if verdict.symbol in self._symbols else ""
            found.refusals.append(Refusal(symbol, plain(reason)))
        elif verdict.kind is not Kind.BAD:
            found.other += 1
            found.reconnect |= verdict.kind is Kind.RECONNECT
        else:
            values, refused = self._sifted(verdict.rows or ())
            if values:
                found.trades[number] = verdict.symbol, values
            if refused or not values:
                found.bad[number] = self._symbol(verdict.symbol), _in_words(refused) or reason

    def _judged(self, frame: bytes, reason: str) -> Verdict:
        if len(frame) > MAX_SIFTED:
            return Verdict(Kind.BAD)
        try:
            return self._shape.judge(frame, reason)
        except REFUSED:
            return Verdict(Kind.BAD)

    def _sifted(self, rows: Sequence[bytes]) -> tuple[list[T], list[str]]:
        """The good ones of a frame's trades, and why others were refused."""
        values, _, refused = self._trades.read(rows)
        return values, list(refused.values())

    def _symbol(self, told: str = "") -> str:
        """The symbol that a frame tells, if it was asked for; else the only one that was, or an empty text."""
        if told in self._symbols:
            return told
        return next(iter(self._symbols)) if len(self._symbols) == 1 else ""


class QuotedReader(Reader[T]):
    """Reads integers from quoted ones too."""

    def __init__(self, shape: type[T]) -> None:
        self._many = msgspec.json.Decoder(list[shape], strict=False).decode  # type: ignore[valid-type]
        self.one = msgspec.json.Decoder(shape, strict=False).decode


@dataclass(slots=True)
class _Found(Generic[T]):
    """What a batch held besides good frames of trades; once a frame wasn't good, its trades too."""

    trades: dict[int, tuple[str, Sequence[T]]] = field(default_factory=dict)  # number of a frame -> symbol, trades
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)  # number of a frame -> symbol, reason
    refusals: list[Refusal] = field(default_factory=list)
    other: int = 0
    reconnect: bool = False


def _grouped(
    trades: Sequence[T], owners: Sequence[str], numbers: Sequence[int]
) -> dict[str, tuple[Sequence[T], Sequence[int]]]:
    """Trades, whose each is and in which frame each stood -> by symbol the trades and their frames."""
    symbols = set(owners)
    if len(symbols) == 1:
        return {symbols.pop(): (trades, numbers)}
    groups: dict[str, tuple[list[T], list[int]]] = {symbol: ([], []) for symbol in symbols}
    for trade, owner, number in zip(trades, owners, numbers, strict=True):
        group, rows = groups[owner]
        group.append(trade)
        rows.append(number)
    return dict(groups)


def _in_words(reasons: Sequence[str]) -> str:
    """The reasons of one frame's bad trades as one: there may be many, and they are mostly alike."""
    more = f" (and {len(reasons) - 1} more of its trades)" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}" if reasons else ""


def raw_rows(raw: msgspec.Raw | bytes) -> list[bytes] | None:
    """The raw text of each item of a JSON list; None for anything else."""
    try:
        return [bytes(row) for row in _ROWS.decode(raw)]
    except REFUSED:
        return None


_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


def history_rows(
    symbol: str,
    rows: Sequence[bytes],
    where: str,
    shape: type[T],
    columns: Callable[[Sequence[Any]], RawTrades],
    *,
    quoted: bool = False,
) -> Parsed:
    """Rows of a history's answer, each by its raw text: the good ones as columns, a bad one as a Reject."""
    reader: type[Reader[Any]] = QuotedReader if quoted else Reader
    values, numbers, refused = reader(shape).read(rows)
    rejects = [(symbol, Reject(clip(rows[number]), where, why)) for number, why in refused.items()]
    return Parsed({symbol: columns(values)}, rejects, 0, rows, {symbol: numbers}, where)


__all__ = ["REFUSED", "FrameParser", "Kind", "QuotedReader", "Shape", "Verdict", "history_rows", "raw_rows"]
