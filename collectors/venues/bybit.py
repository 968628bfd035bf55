"""Bybit v5, linear contracts and spot: the shapes of their frames and history, from bybit-exchange.github.io/docs/v5. Pure.

Ids prove nothing: UUIDs on linear, numbers shared with other symbols on spot, so they stay texts. `S` is the taker's side.
History reaches no further back than one answer. Prices and sizes stay the venue's texts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, ClassVar, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np

from collectors.venues.frames import REFUSED, FrameParser, Kind, Shape, Verdict, history_rows, raw_rows
from collectors.venues.history import Reach, Span
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import Parsed, Parser, nanoseconds, plain
from pipeline.errors import VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # numpy's integers end there
_Stamp = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,18}\Z")]
_Taker = Literal["Buy", "Sell"]
_TOPIC = "publicTrade."
_MS_PER_MINUTE = 60_000
_KLINES = 1000  # minutes that one answer may hold

# A refusal names its topic (linear) or says `Invalid symbol :[...]` (spot).
_REFUSED = re.compile(r"(?:publicTrade\.|[Ii]nvalid symbol ?:\[?(?:publicTrade\.)?)([^\s,\]]+)")
_BAD_REQUEST = 10001  # also for an unknown symbol; all other codes (10006: too many visits) may pass


class _Trade(msgspec.Struct, gc=False):
    T: _Natural
    s: str
    S: _Taker
    v: str
    p: str
    i: str


class _Frame(msgspec.Struct, gc=False):
    topic: Annotated[str, msgspec.Meta(pattern=r"\ApublicTrade\.")]
    data: list[_Trade]


class _Head(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    topic: str = ""
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Row(msgspec.Struct, gc=False):
    i: str = msgspec.field(name="execId")
    s: str = msgspec.field(name="symbol")
    p: str = msgspec.field(name="price")
    v: str = msgspec.field(name="size")
    S: _Taker = msgspec.field(name="side")
    T: _Stamp = msgspec.field(name="time")


_R = TypeVar("_R")


class _List(msgspec.Struct, Generic[_R]):
    rows: list[_R] = msgspec.field(name="list")


class _Answer(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    message: str = msgspec.field(name="retMsg", default="")
    result: msgspec.Raw = msgspec.Raw(b"null")


_HEAD = msgspec.json.Decoder(_Head)
_ANSWER = msgspec.json.Decoder(_Answer)
_ROWS = msgspec.json.Decoder(_List[msgspec.Raw])
_CANDLES = msgspec.json.Decoder(_List[tuple[_Stamp, str, str, str, str, Decimal, str]])


def _columns(rows: Sequence[_Trade | _Row]) -> RawTrades:
    n = len(rows)
    return RawTrades(
        ids=np.array([row.i for row in rows], dtype=object),
        ts_ns=nanoseconds(np.fromiter([int(row.T) for row in rows], np.int64, n)),
        price=[row.p for row in rows],
        size=[row.v for row in rows],
        side=np.fromiter([1 if row.S == "Buy" else -1 for row in rows], np.int8, n),
    )


def _judge(frame: bytes, reason: str) -> Verdict:
    head = _HEAD.decode(frame)
    if head.topic.startswith(_TOPIC):
        return Verdict(Kind.BAD, head.topic[len(_TOPIC) :], reason, raw_rows(head.data))
    if head.success is False:
        found = _REFUSED.search(head.ret_msg)
        return Verdict(Kind.REFUSAL, found[1] if found else "", head.ret_msg or "no reason told")
    is_other = bool(head.topic or head.op or head.success)
    return Verdict(Kind.OTHER if is_other else Kind.BAD, reason=reason)


_SHAPE = Shape(
    frame=_Frame,
    trade=_Trade,
    trades=lambda frame: frame.data,
    symbol=None,
    whose=lambda trade: trade.s,
    columns=_columns,
    judge=_judge,
)


@dataclass(frozen=True, slots=True)
class Bybit:
    """One of Bybit's markets."""

    name: str
    category: str
    limits: VenueLimits
    stream: ClassVar[str] = "trade"
    ws_url: ClassVar[str] = "wss://stream.bybit.com"
    rest_url: ClassVar[str] = "https://api.bybit.com"
    ids: ClassVar[IdRule] = IdRule.OPAQUE
    reach: ClassVar[Reach] = Reach.NEWEST

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The market's stream; symbols are subscribed to by messages."""
        return f"/v5/public/{self.category}"

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """One message a symbol: of a message with one bad topic the venue refuses all, and names only that one."""
        return [msgspec.json.encode({"op": "subscribe", "args": [_TOPIC + symbol]}) for symbol in symbols]

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`."""
        return FrameParser(self.name, symbols, _SHAPE)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """The newest trades, once: they can't be addressed."""
        if page is not None:
            return None
        return f"/v5/market/recent-trade?{self._of(symbol)}&limit={self.limits.page_size}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows, oldest first. VenueError for a body that has none, fatal where the venue refuses the request for good."""
        where = f"{self.name} {symbol} history"
        texts = [bytes(row) for row in reversed(_result(_ROWS, body, where, "a list of trades").rows)]
        return history_rows(symbol, texts, where, _Row, _columns)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Up to 1000 minutes: the newest before the end that is asked for, so that end is given."""
        count = min(count, _KLINES)
        start_ms, end_ms = first_minute * _MS_PER_MINUTE, (first_minute + count - 1) * _MS_PER_MINUTE
        return f"/v5/market/kline?{self._of(symbol)}&interval=1&start={start_ms}&end={end_ms}&limit={count}"

    def parse_klines(self, body: bytes) -> list[Kline]:
        """Rows of start, open, high, low, close, volume, turnover, newest first."""
        rows = _result(_CANDLES, body, f"{self.name} klines", "a list of rows").rows
        return [Kline(int(row[0]) // _MS_PER_MINUTE, row[5]) for row in reversed(rows)]

    def _of(self, symbol: str) -> str:
        return f"category={self.category}&symbol={quote(symbol, safe='')}"


_T = TypeVar("_T")


def _result(decoder: msgspec.json.Decoder[_T], body: bytes, where: str, expected: str) -> _T:
    """What an answer holds. VenueError for a refusal, and for any other body."""
    try:
        answer = _ANSWER.decode(body)
        if answer.code == 0:
            return decoder.decode(answer.result)
    except REFUSED as error:
        raise VenueError(f"{where}: expected {expected}: {plain(str(error))}") from None
    raise VenueError(f"{where}: {answer.code} {plain(answer.message)}", fatal=answer.code == _BAD_REQUEST)


# Allowed are 21,000 characters of topics a connection, 500 connections in 5 minutes, 600 requests in 5 s, and no rate of
# messages is told. A ping is wanted every 20 s; what is silent for 10 minutes is cut.
_PING = b'{"op":"ping"}'


def _limits(page_size: int) -> VenueLimits:
    return VenueLimits(
        200,
        page_size,
        requests_per_s=10.0,
        messages_per_s=20.0,
        connects_per_s=1.0,
        banned={403: 600.0},  # "access too frequent", for ten minutes
        keepalive=_PING,
        keepalive_s=20.0,
    )


LINEAR = Bybit("bybit", "linear", _limits(1000))
SPOT = Bybit("bybit-spot", "spot", _limits(60))
