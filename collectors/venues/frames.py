"""The parsing that all venues share whose frames hold lists of trades. Pure.

While all frames of a batch are good, they are decoded in one step. Where one isn't, each is looked at by itself, and of a frame
with one bad trade the others are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from collectors.venues.parsed import REFUSED, Parsed, Reader, Refusal, clip, plain
from pipeline.trade import RawTrades, Reject

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
    symbol: Callable[[F], str]  # whose they are
    columns: Callable[[Sequence[T]], RawTrades]
    judge: Callable[[bytes, str], Verdict]  # (a frame that doesn't decode as `frame`, the decoder's reason) -> what it is


class FrameParser(Generic[F, T]):
    """Frames of one connection in, columns by symbol out."""

    def __init__(self, venue: str, symbols: Collection[str], shape: Shape[F, T]) -> None:
        self._where = f"{venue} websocket"
        self._symbols = frozenset(symbols)
        self._shape = shape
        self._frames: Reader[F] = Reader(shape.frame)
        self._trades: Reader[T] = Reader(shape.trade)

    def __call__(self, frames: Sequence[bytes]) -> Parsed:
        """The frames' trades; never raises."""
        values, numbers, refused = self._frames.read(frames)
        found: _Found[T] = _Found()
        shape = self._shape
        for value, number in zip(values, numbers, strict=True):
            found.add(shape.symbol(value), shape.trades(value), number)
        for number, reason in refused.items():
            self._look_again(frames[number], number, reason, found)
        for symbol in found.trades.keys() - self._symbols:
            strangers = dict.fromkeys(found.numbers.pop(symbol))
            del found.trades[symbol]
            found.bad += [(n, self._symbol(), f"symbol {plain(symbol, 64)!r} was never asked for") for n in strangers]
        return Parsed(
            {symbol: shape.columns(trades) for symbol, trades in found.trades.items()},
            [(symbol, Reject(clip(frames[number]), self._where, why)) for number, symbol, why in sorted(found.bad)],
            found.other,
            frames,
            found.numbers,
            self._where,
            found.refusals,
            found.reconnect,
        )

    def _look_again(self, frame: bytes, number: int, reason: str, found: _Found[T]) -> None:
        verdict = self._shape.judge(frame, reason)
        symbol = self._symbol(verdict.symbol)
        if verdict.kind is Kind.BAD and verdict.rows is not None:
            values, _, refused = self._trades.read(verdict.rows)
            found.add(verdict.symbol, values, number)
            found.bad += [(number, symbol, why) for why in refused.values()]
        elif verdict.kind is Kind.BAD:
            found.bad.append((number, symbol, verdict.reason or reason))
        elif verdict.kind is Kind.REFUSAL:
            found.refusals.append(Refusal(symbol, plain(verdict.reason)))
        else:
            found.other += 1
            found.reconnect |= verdict.kind is Kind.RECONNECT

    def _symbol(self, told: str = "") -> str:
        """The symbol that a frame tells, if it was asked for; else the only one that was, or an empty text."""
        if told in self._symbols:
            return told
        return next(iter(self._symbols)) if len(self._symbols) == 1 else ""


class _Found(Generic[T]):
    """What a batch of frames held."""

    def __init__(self) -> None:
        self.trades: dict[str, list[T]] = {}
        self.numbers: dict[str, list[int]] = {}  # symbol -> the frame of each of its trades
        self.bad: list[tuple[int, str, str]] = []  # frame, symbol, reason
        self.refusals: list[Refusal] = []
        self.other = 0
        self.reconnect = False

    def add(self, symbol: str, trades: Sequence[T], number: int) -> None:
        """The trades of a frame."""
        if trades:
            self.trades.setdefault(symbol, []).extend(trades)
            self.numbers.setdefault(symbol, []).extend([number] * len(trades))


def history_rows(
    symbol: str, rows: Sequence[bytes], where: str, shape: type[T], columns: Callable[[Sequence[Any]], RawTrades]
) -> Parsed:
    """Rows of a history's answer, each by its raw text: the good ones as columns, a bad one as a Reject."""
    values, numbers, refused = Reader(shape).read(rows)
    rejects = [(symbol, Reject(clip(rows[number]), where, why)) for number, why in refused.items()]
    return Parsed({symbol: columns(values)}, rejects, 0, rows, {symbol: numbers}, where)


__all__ = ["REFUSED", "FrameParser", "Kind", "Shape", "Verdict", "history_rows"]
