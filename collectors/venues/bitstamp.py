"""Bitstamp: the shapes of its frames and history, from www.bitstamp.net/websocket/v2 and /api. Pure.

Ids rise, shared by all pairs. `type` is the taker's side: 0 buys, 1 sells. The stream has times in microseconds, and prices and
sizes as numbers and as texts (`_str`), which we take. History has whole seconds only: enough to place a trade in its minute.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

import msgspec
import numpy as np

from collectors.venues.frames import REFUSED, FrameParser, Kind, Shape, Verdict, history_rows, raw_rows
from collectors.venues.history import Reach, Span
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import Parsed, Parser, clip, nanoseconds, plain
from pipeline.errors import VenueError
from pipeline.instrument import IdRule
from pipeline.trade import NS_PER_S, RawTrades

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # numpy's integers end there
_Digits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,18}\Z")]
_CHANNEL = "live_trades_"
_KLINES = 1000  # minutes that one answer may hold
# Of the histories of a minute, an hour and a day the first is never asked for: a venue that fails at first is asked again, and
# the span would be out of its reach by then. An hour gets spans that leave ten minutes for that.
_HOUR_NS = 3_000 * NS_PER_S


class _Trade(msgspec.Struct, gc=False):
    id: _Natural
    size: str = msgspec.field(name="amount_str")
    price: str = msgspec.field(name="price_str")
    type: Literal[0, 1]
    stamp: _Digits = msgspec.field(name="microtimestamp")


class _Frame(msgspec.Struct, gc=False):
    data: _Trade
    channel: Annotated[str, msgspec.Meta(pattern=r"\Alive_trades_")]
    event: Literal["trade"]


class _Row(msgspec.Struct, gc=False):
    stamp: _Digits = msgspec.field(name="date")
    id: _Digits = msgspec.field(name="tid")
    size: str = msgspec.field(name="amount")
    type: Literal["0", "1"]
    price: str


class _Head(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    event: str = ""
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    message: str = ""


class _Candle(msgspec.Struct):
    timestamp: _Digits
    volume: Decimal


class _Candles(msgspec.Struct):
    ohlc: list[_Candle]


class _CandlesAnswer(msgspec.Struct):
    data: _Candles


_HEAD = msgspec.json.Decoder(_Head)
_ERROR = msgspec.json.Decoder(_Error)
_CANDLES = msgspec.json.Decoder(_CandlesAnswer)


def _columns(rows: Sequence[_Trade | _Row]) -> RawTrades:
    n = len(rows)
    return RawTrades(
        ids=np.fromiter([int(row.id) for row in rows], np.int64, n),
        ts_ns=nanoseconds(np.fromiter([int(row.stamp) for row in rows], np.int64, n)),
        price=[row.price for row in rows],
        size=[row.size for row in rows],
        side=1 - 2 * np.fromiter([int(row.type) for row in rows], np.int8, n),
    )


def _judge(frame: bytes, reason: str) -> Verdict:
    head = _HEAD.decode(frame)
    symbol = head.channel.removeprefix(_CHANNEL)
    if head.event == "bts:error":
        return Verdict(Kind.REFUSAL, symbol, _message(head))
    if head.event == "bts:request_reconnect":
        return Verdict(Kind.RECONNECT)
    is_trade = head.event == "trade" and (symbol != head.channel or not symbol)
    return Verdict(Kind.BAD if is_trade or not head.event else Kind.OTHER, symbol, reason)


def _message(head: _Head) -> str:
    try:
        return _ERROR.decode(head.data).message or "no reason told"
    except REFUSED:
        return bytes(head.data)[:200].decode("utf-8", "backslashreplace")


_SHAPE = Shape(
    frame=_Frame,
    trade=_Trade,
    trades=lambda frame: (frame.data,),
    symbol=lambda frame: frame.channel[len(_CHANNEL) :],
    columns=_columns,
    judge=_judge,
)


@dataclass(frozen=True, slots=True)
class Bitstamp:
    """The venue; symbols are as in its addresses: `btcusd`, `btcusd-perp`."""

    name: ClassVar[str] = "bitstamp"
    stream: ClassVar[str] = "trade"
    ws_url: ClassVar[str] = "wss://ws.bitstamp.net"
    rest_url: ClassVar[str] = "https://www.bitstamp.net"
    ids: ClassVar[IdRule] = IdRule.MONOTONIC
    reach: ClassVar[Reach] = Reach.NEWEST
    # Told are 10,000 requests in 10 minutes and 90 days of a connection; nothing is told of channels or messages. A history
    # is bounded by its time; the number only says that no day is known to have had more.
    limits: ClassVar[VenueLimits] = VenueLimits(
        100, 200_000, requests_per_s=5.0, messages_per_s=10.0, connects_per_s=1.0, lifetime_s=90 * 24 * 3600.0
    )

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The one stream there is; symbols are subscribed to by messages."""
        return "/"

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """One message a symbol."""
        return [msgspec.json.encode({"event": "bts:subscribe", "data": {"channel": _CHANNEL + symbol}}) for symbol in symbols]

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`."""
        return FrameParser(self.name, symbols, _SHAPE)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """The trades of the last hour or day, once: they can't be addressed otherwise.

        The span is taken to end about now, for so does this history; then its length says whether the hour is enough. One that
        is open at an end may be of any age, so it gets the day.
        """
        if page is not None:
            return None
        is_short = span.since_ns is not None and span.until_ns is not None and span.until_ns - span.since_ns <= _HOUR_NS
        return f"/api/v2/transactions/{quote(symbol, safe='')}/?time={'hour' if is_short else 'day'}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows, oldest first. Their times are whole seconds: rounded down, which never leaves the minute."""
        where = f"{self.name} {symbol} history"
        rows = raw_rows(body)
        if rows is None:
            raise VenueError(f"{where}: expected a list of trades, not {plain(clip(body))}")
        return history_rows(symbol, rows[::-1], where, _Row, _columns)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Up to 1000 minutes from the first on; with an end as well the venue would count back from that."""
        return f"/api/v2/ohlc/{quote(symbol, safe='')}/?step=60&limit={min(count, _KLINES)}&start={first_minute * 60}"

    def parse_klines(self, body: bytes) -> list[Kline]:
        """Candles by name; of volumes they have the whole only."""
        try:
            candles = _CANDLES.decode(body).data.ohlc
        except REFUSED as error:
            raise VenueError(f"{self.name} klines: expected a list of candles: {plain(str(error))}") from None
        return [Kline(int(candle.timestamp) // 60, candle.volume) for candle in candles]


BITSTAMP = Bitstamp()
