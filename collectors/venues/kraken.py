"""Kraken spot (websocket v2): the shapes of its frames and history, from docs.kraken.com. Pure.

A frame may hold many trades, after subscribing the latest 50. `trade_id` is contiguous per pair. `side` is the taker's. Prices
and sizes of the stream are JSON numbers, as are the times of the history: their digits are kept as they stand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
import numpy as np

from collectors.venues.frames import REFUSED, FrameParser, Kind, Shape, Verdict, history_rows, raw_rows
from collectors.venues.history import Reach, Span, onward
from collectors.venues.iso import iso_ns
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import Parsed, Parser, plain
from pipeline import fixed
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades

_S_PER_MINUTE = 60
_NS_DECIMALS = 9
_LATEST = 2**63 - 1
_BLUR_NS = 1_000  # the history's times have been binary floats, and have lost some of their last digits
_FATAL = ("EQuery:", "EGeneral:Invalid arguments", "EGeneral:Permission denied")  # asking again wouldn't change these
_Natural = Annotated[int, msgspec.Meta(ge=0, le=_LATEST)]  # numpy's integers end there


# Fields stand in the order of the wire, where msgspec looks for them first.
class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: _Natural
    timestamp: str


class _Frame(msgspec.Struct, gc=False):
    channel: Literal["trade"]
    data: list[_Trade]


class _Row(msgspec.Struct, array_like=True, gc=False):
    price: str
    volume: str
    time: msgspec.Raw
    side: Literal["b", "s"]
    kind: str
    misc: str
    trade_id: _Natural


class _Envelope(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    channel: str = ""
    method: str = ""
    success: Any = None
    error: Any = None
    symbol: Any = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Whose(msgspec.Struct):
    symbol: str


class _Answer(msgspec.Struct):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_Candle = tuple[_Natural, str, str, str, str, str, str, _Natural]

_ENVELOPE = msgspec.json.Decoder(_Envelope)
_WHOSE = msgspec.json.Decoder(_Whose)
_ANSWER = msgspec.json.Decoder(_Answer)
_CANDLES = msgspec.json.Decoder(list[_Candle])


def _columns(trades: Sequence[_Trade]) -> RawTrades:
    n = len(trades)
    return RawTrades(
        ids=np.fromiter([trade.trade_id for trade in trades], np.int64, n),
        ts_ns=iso_ns([trade.timestamp for trade in trades]),
        price=[str(trade.price, "ascii", "replace") for trade in trades],
        size=[str(trade.qty, "ascii", "replace") for trade in trades],
        side=2 * np.fromiter([trade.side == "buy" for trade in trades], np.int8, n) - 1,
    )


def _row_columns(rows: Sequence[_Row]) -> RawTrades:
    n = len(rows)
    return RawTrades(
        ids=np.fromiter([row.trade_id for row in rows], np.int64, n),
        ts_ns=np.fromiter([_ns(row.time) for row in rows], np.int64, n),
        price=[row.price for row in rows],
        size=[row.volume for row in rows],
        side=2 * np.fromiter([row.side == "b" for row in rows], np.int8, n) - 1,
    )


def _ns(seconds: msgspec.Raw) -> int:
    """A JSON number of seconds as nanoseconds; 0 where it can't be a time."""
    try:
        value, scale = fixed.parse(str(seconds, "ascii", "replace"))
    except BadValue:
        return 0
    ns = fixed.rescale(value, 0, _NS_DECIMALS) // fixed.rescale(1, 0, scale)
    return min(max(ns, 0), _LATEST)


def _judge(frame: bytes, reason: str) -> Verdict:
    head = _ENVELOPE.decode(frame)
    if head.channel == "trade":
        rows = raw_rows(head.data)
        return Verdict(Kind.BAD, _told(rows or ()), rows=rows)
    if head.success is False or (head.error is not None and not head.channel):
        symbol = head.symbol if isinstance(head.symbol, str) else ""
        return Verdict(Kind.REFUSAL, symbol, str(head.error))
    return Verdict(Kind.OTHER if head.channel or head.method else Kind.BAD)


def _told(rows: Sequence[bytes]) -> str:
    """The first symbol that a frame tells."""
    for row in rows:
        try:
            return _WHOSE.decode(row).symbol
        except REFUSED:
            continue
    return ""


_SHAPE: Shape[_Frame, _Trade] = Shape(
    frame=_Frame,
    trade=_Trade,
    trades=lambda frame: frame.data,
    symbol=None,
    whose=lambda trade: trade.symbol,
    columns=_columns,
    judge=_judge,
)


@dataclass(frozen=True, slots=True)
class Kraken:
    """The exchange's spot market; symbols are those of its websocket v2: `BTC/USD`."""

    name: ClassVar[str] = "kraken"
    stream: ClassVar[str] = "trade"
    ws_url: ClassVar[str] = "wss://ws.kraken.com"
    rest_url: ClassVar[str] = "https://api.kraken.com"
    ids: ClassVar[IdRule] = IdRule.CONTIGUOUS
    reach: ClassVar[Reach] = Reach.TIME
    # An address may ask about once a second, and connect 150 times in ten minutes.
    limits: ClassVar[VenueLimits] = VenueLimits(100, 1000, requests_per_s=0.8, messages_per_s=5.0, connects_per_s=0.2)

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The second version of the feed; pairs are subscribed to by messages."""
        return "/v2"

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """One message for all pairs, each of which is acknowledged or refused by itself."""
        params = {"channel": "trade", "symbol": list(symbols), "snapshot": True}
        return [msgspec.json.encode({"method": "subscribe", "params": params})]

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`."""
        return FrameParser(self.name, symbols, _SHAPE)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """Up to 1000 trades from a time on, oldest first; the venue keeps them all. It takes the pair's name of the stream."""
        since_ns = onward(span, page, page_size=self.limits.page_size, overlap_ns=_BLUR_NS)
        if since_ns is None:
            return None
        after_ns = max(since_ns - 1, 0)  # only later ones are given
        return f"/0/public/Trades?pair={quote(symbol, safe='')}&since={after_ns}&count={self.limits.page_size}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows, oldest first. VenueError for a body that has none; fatal where the venue would say the same again."""
        where = f"{self.name} {symbol} history"
        rows = raw_rows(_only(_result(body, where), where))
        if rows is None:
            raise VenueError(f"{where}: expected a list of trades")
        return history_rows(symbol, rows, where, _Row, _row_columns)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Minutes from the first on, however many: up to 720, and none older than the latest 720."""
        since_s = first_minute * _S_PER_MINUTE - 1
        return f"/0/public/OHLC?pair={quote(symbol, safe='')}&interval=1&since={since_s}"

    def parse_klines(self, body: bytes) -> list[Kline]:
        """Rows of start in s, open, high, low, close, average, volume, trades; the last is still going on."""
        where = f"{self.name} klines"
        try:
            rows = _CANDLES.decode(_only(_result(body, where), where))
            return [Kline(row[0] // _S_PER_MINUTE, fixed.to_decimal(*fixed.parse(row[6])), trade_count=row[7]) for row in rows]
        except (*REFUSED, BadValue) as error:
            raise VenueError(f"{where}: expected a list of rows: {plain(str(error))}") from None


def _result(body: bytes, where: str) -> Mapping[str, msgspec.Raw]:
    """What an answer brings. VenueError where it is a refusal or no answer."""
    try:
        answer = _ANSWER.decode(body)
    except REFUSED as error:
        raise VenueError(f"{where}: expected an answer with a result: {plain(str(error))}") from None
    if answer.error:
        fatal = any(error.startswith(_FATAL) for error in answer.error)
        raise VenueError(f"{where}: refused: {plain(', '.join(answer.error))}", fatal=fatal)
    return answer.result


def _only(result: Mapping[str, msgspec.Raw], where: str) -> msgspec.Raw:
    """The list of an answer for one pair, which stands under a name of the pair that the venue chooses, beside `last`."""
    lists = [value for key, value in result.items() if key != "last"]
    if len(lists) != 1:
        raise VenueError(f"{where}: expected one pair, got {len(lists)}")
    return lists[0]


KRAKEN = Kraken()
