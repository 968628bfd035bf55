"""Coinbase Exchange: the shapes of its frames and history, from docs.cdp.coinbase.com/exchange. Pure.

Every trade is a `match`; the first one after subscribing is a `last_match`, the last before it. `trade_id` is contiguous per
product. `side` is the maker's, on the stream as in the history: a maker who sold means that the aggressor bought.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
import numpy as np

from collectors.venues.frames import REFUSED, FrameParser, Kind, Shape, Verdict, history_rows, raw_rows
from collectors.venues.history import Reach, Span, descending
from collectors.venues.iso import iso_ns
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import Parsed, Parser, plain
from pipeline import fixed
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades

_MOST_KLINES = 300
_S_PER_MINUTE = 60
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # numpy's integers end there
_Side = Literal["buy", "sell"]


# Fields stand in the order of the wire, where msgspec looks for them first.
class _Match(msgspec.Struct, gc=False):
    type: Literal["match", "last_match"]
    trade_id: _Natural
    side: _Side
    size: str
    price: str
    product_id: str
    time: str


class _Row(msgspec.Struct, gc=False):
    trade_id: _Natural
    side: _Side
    size: str
    price: str
    time: str


class _Envelope(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    type: str
    product_id: Any = ""
    message: Any = ""
    reason: Any = ""


class _Refused(msgspec.Struct):
    message: str


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_REFUSED = msgspec.json.Decoder(_Refused)
_CANDLES = msgspec.json.Decoder(list[tuple[_Natural, msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw]])
_NAMED = re.compile(r"(\S+) is not a valid product")


def _columns(rows: Sequence[_Match | _Row]) -> RawTrades:
    n = len(rows)
    return RawTrades(
        ids=np.fromiter([row.trade_id for row in rows], np.int64, n),
        ts_ns=iso_ns([row.time for row in rows]),
        price=[row.price for row in rows],
        size=[row.size for row in rows],
        side=2 * np.fromiter([row.side == "sell" for row in rows], np.int8, n) - 1,  # the maker sold: the taker bought
    )


def _judge(frame: bytes, reason: str) -> Verdict:
    head = _ENVELOPE.decode(frame)
    if head.type in ("match", "last_match"):
        return Verdict(Kind.BAD, head.product_id if isinstance(head.product_id, str) else "")
    if head.type == "error":
        told = f"{head.message}: {head.reason}"
        named = _NAMED.search(told)
        return Verdict(Kind.REFUSAL, named[1] if named else "", told)
    return Verdict(Kind.OTHER)


_SHAPE: Shape[_Match, _Match] = Shape(
    frame=_Match,
    trade=_Match,
    trades=lambda match: (match,),
    symbol=lambda match: match.product_id,
    columns=_columns,
    judge=_judge,
)


@dataclass(frozen=True, slots=True)
class Coinbase:
    """The exchange; symbols are its product ids: `BTC-USD`."""

    name: ClassVar[str] = "coinbase"
    stream: ClassVar[str] = "trade"
    ws_url: ClassVar[str] = "wss://ws-feed.exchange.coinbase.com"
    rest_url: ClassVar[str] = "https://api.exchange.coinbase.com"
    ids: ClassVar[IdRule] = IdRule.CONTIGUOUS
    reach: ClassVar[Reach] = Reach.ID
    # An address may send 10 requests and 100 messages a second, and connect 8 times a second.
    limits: ClassVar[VenueLimits] = VenueLimits(100, 1000, requests_per_s=5.0, messages_per_s=20.0, connects_per_s=2.0)

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The feed; products are subscribed to by messages."""
        return "/"

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """One message a product, for one that the venue refuses spoils its whole message. Heartbeats keep a quiet feed open."""
        messages: list[dict[str, Any]] = [
            {"type": "subscribe", "product_ids": [symbol], "channels": ["matches"]} for symbol in symbols
        ]
        messages += [{"type": "subscribe", "product_ids": [symbol], "channels": ["heartbeat"]} for symbol in symbols[:1]]
        return [msgspec.json.encode(message) for message in messages]

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`."""
        return FrameParser(self.name, symbols, _SHAPE)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """Up to 1000 trades below an id, newest first; the venue keeps them all."""
        again, below = descending(span, page)
        if not again:
            return None
        wanted = self.limits.page_size if None in (below, span.first_id) else (below or 0) - (span.first_id or 0)
        limit = max(1, min(wanted, self.limits.page_size))
        after = "" if below is None else f"&after={below}"
        return f"/products/{quote(symbol, safe='')}/trades?limit={limit}{after}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows, oldest first. VenueError for a body that is no list."""
        where = f"{self.name} {symbol} history"
        rows = raw_rows(body)
        if rows is None:
            raise VenueError(f"{where}: expected a list of trades: {_told(body)}")
        return history_rows(symbol, rows[::-1], where, _Row, _columns)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Up to 300 minutes; where nothing traded the venue gives none."""
        start_s = first_minute * _S_PER_MINUTE
        end_s = start_s + min(count, _MOST_KLINES) * _S_PER_MINUTE - 1
        start, end = (quote(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")) for at in (start_s, end_s))
        return f"/products/{quote(symbol, safe='')}/candles?granularity=60&start={start}&end={end}"

    def parse_klines(self, body: bytes) -> list[Kline]:
        """Rows of start in s, low, high, open, close, volume, newest first; all are JSON numbers."""
        try:
            rows = _CANDLES.decode(body)
            return [
                Kline(row[0] // _S_PER_MINUTE, fixed.to_decimal(*fixed.parse(str(row[5], "utf-8")))) for row in reversed(rows)
            ]
        except (*REFUSED, BadValue):
            raise VenueError(f"{self.name} klines: expected a list of rows: {_told(body)}") from None


def _told(body: bytes) -> str:
    """What an answer says that isn't what was asked for."""
    try:
        return plain(_REFUSED.decode(body).message)
    except REFUSED:
        return plain(body[:200].decode("utf-8", "replace"))


COINBASE = Coinbase()
