"""OKX (v5): the shapes of its frames and history, from okx.com/docs-v5. Pure.

The channel `trades-all` gives every trade by itself, with a `tradeId` that is contiguous per instrument. (The channel `trades`
puts several into one: its ids skip those, and its frames are not taken for trades.) `side` is the taker's. Numbers are quoted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
import numpy as np

from collectors.venues.frames import REFUSED, FrameParser, Kind, Shape, Verdict, history_rows, raw_rows
from collectors.venues.history import Reach, Span, descending
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import Parsed, Parser, nanoseconds, plain
from pipeline import fixed
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades

_CHANNEL = "trades-all"
_MS_PER_MINUTE = 60_000
_MOST_KLINES = 100
_UPGRADE = "64008"  # the connection will be closed within a minute, for an upgrade of theirs
# Answers that asking again wouldn't change: a bad or missing parameter, an instrument that isn't there or isn't of that kind.
_FATAL = frozenset({"50014", "51000", "51001", "51015"})
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # numpy's integers end there


# Fields stand in the order of the wire, where msgspec looks for them first.
class _Trade(msgspec.Struct, gc=False):
    instId: str
    tradeId: _Natural
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: _Natural


class _Arg(msgspec.Struct, gc=False):
    channel: Literal["trades-all"]
    instId: str


class _Frame(msgspec.Struct, gc=False):
    arg: _Arg
    data: list[_Trade]


class _AnyArg(msgspec.Struct):
    channel: Any = ""
    instId: Any = ""


class _Envelope(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    event: str = ""
    arg: _AnyArg | None = None
    code: Any = ""
    msg: Any = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    code: str
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_Candle = tuple[_Natural, str, str, str, str, str, str, str, str]

_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ANSWER = msgspec.json.Decoder(_Answer)
_CANDLES = msgspec.json.Decoder(list[_Candle], strict=False)
_NAMED = re.compile(r"instId:\s*([^\s,]+)")


def _columns(rows: Sequence[_Trade]) -> RawTrades:
    n = len(rows)
    return RawTrades(
        ids=np.fromiter([row.tradeId for row in rows], np.int64, n),
        ts_ns=nanoseconds(np.fromiter([row.ts for row in rows], np.int64, n)),
        price=[row.px for row in rows],
        size=[row.sz for row in rows],
        side=2 * np.fromiter([row.side == "buy" for row in rows], np.int8, n) - 1,
    )


def _judge(frame: bytes, reason: str) -> Verdict:
    if frame == b"pong":
        return Verdict(Kind.OTHER)
    head = _ENVELOPE.decode(frame)
    arg = head.arg or _AnyArg()
    symbol = arg.instId if isinstance(arg.instId, str) else ""
    if head.event == "error":
        named = _NAMED.search(str(head.msg))
        return Verdict(Kind.REFUSAL, symbol or (named[1] if named else ""), f"{head.code} {head.msg}")
    if head.event:
        return Verdict(Kind.RECONNECT if head.event == "notice" and head.code == _UPGRADE else Kind.OTHER)
    if arg.channel == _CHANNEL:
        return Verdict(Kind.BAD, symbol, rows=raw_rows(head.data))
    return Verdict(Kind.OTHER if arg.channel and isinstance(arg.channel, str) else Kind.BAD)


_SHAPE: Shape[_Frame, _Trade] = Shape(
    frame=_Frame,
    trade=_Trade,
    trades=lambda frame: frame.data,
    symbol=None,
    whose=lambda trade: trade.instId,
    columns=_columns,
    judge=_judge,
    quoted=True,
)


@dataclass(frozen=True, slots=True)
class Okx:
    """The exchange, spot and derivatives; symbols are its instrument ids: `BTC-USDT`, `BTC-USDT-SWAP`."""

    name: ClassVar[str] = "okx"
    stream: ClassVar[str] = "trade"
    ws_url: ClassVar[str] = "wss://ws.okx.com:8443"
    rest_url: ClassVar[str] = "https://www.okx.com"
    ids: ClassVar[IdRule] = IdRule.CONTIGUOUS
    reach: ClassVar[Reach] = Reach.ID
    # A connection may subscribe 480 times an hour, an address connect 3 times and ask for history 10 times a second. A
    # connection that hears nothing for 30 s is cut, unless it sends the text `ping`.
    limits: ClassVar[VenueLimits] = VenueLimits(
        100, 100, requests_per_s=5.0, messages_per_s=10.0, connects_per_s=1.0, keepalive=b"ping", keepalive_s=20.0
    )

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The address of candles and single trades, which needs no login; instruments are subscribed to by messages."""
        return "/ws/v5/business"

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """One message an instrument, so that one that the venue refuses spoils no other's."""
        return [
            msgspec.json.encode({"op": "subscribe", "args": [{"channel": _CHANNEL, "instId": symbol}]}) for symbol in symbols
        ]

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`."""
        return FrameParser(self.name, symbols, _SHAPE)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """Up to 100 trades below an id, newest first; the venue keeps three months."""
        again, below = descending(span, page)
        if not again:
            return None
        after = "" if below is None else f"&after={below}"
        return f"/api/v5/market/history-trades?instId={quote(symbol, safe='')}&type=1{after}&limit={self.limits.page_size}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows, oldest first. VenueError for a body that has none; fatal where the venue would say the same again."""
        where = f"{self.name} {symbol} history"
        rows = raw_rows(_data(body, where))
        if rows is None:
            raise VenueError(f"{where}: expected a list of trades")
        return history_rows(symbol, rows[::-1], where, _Trade, _columns, quoted=True)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Up to 100 minutes after one time and before another."""
        after = (first_minute + min(count, _MOST_KLINES)) * _MS_PER_MINUTE
        between = f"after={after}&before={first_minute * _MS_PER_MINUTE - 1}&limit={_MOST_KLINES}"
        return f"/api/v5/market/history-candles?instId={quote(symbol, safe='')}&bar=1m&{between}"

    def parse_klines(self, body: bytes) -> list[Kline]:
        """Rows of start in ms, open, high, low, close, volume in what a trade's size counts, two more volumes, whether over."""
        where = f"{self.name} klines"
        try:
            rows = _CANDLES.decode(_data(body, where))
            return [
                Kline(row[0] // _MS_PER_MINUTE, fixed.to_decimal(*fixed.parse(row[5])))
                for row in reversed(rows)
                if row[8] == "1"
            ]
        except (*REFUSED, BadValue) as error:
            raise VenueError(f"{where}: expected a list of rows: {plain(str(error))}") from None


def _data(body: bytes, where: str) -> msgspec.Raw:
    """What an answer brings. VenueError where it is a refusal or no answer."""
    try:
        answer = _ANSWER.decode(body)
    except REFUSED as error:
        raise VenueError(f"{where}: expected an answer with data: {plain(str(error))}") from None
    if answer.code != "0":
        raise VenueError(f"{where}: refused: {plain(answer.code)} {plain(answer.msg)}", fatal=answer.code in _FATAL)
    return answer.data


OKX = Okx()
