"""Binance spot and USD-M futures: the shapes of their frames and history, from developers.binance.com. Pure.

Spot gives every trade (`trade`, id `t`); futures give aggregates (`aggTrade`, id `a`, of the fills `f`..`l`). Both ids are
contiguous per symbol. `m` says that the buyer was the maker: the aggressor sold. Prices and sizes stay the venue's texts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
import numpy as np

from collectors.venues.history import Reach, Span, ascending
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import REFUSED, Parsed, Parser, Reader, clip, nanoseconds, plain
from pipeline.errors import VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades, Reject

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # numpy's integers end there


# Fields stand in the order of the wire, where msgspec looks for them first. All shapes use the stream's names.
class _Trade(msgspec.Struct, gc=False):
    e: Literal["trade"]
    s: str
    t: _Natural
    p: str
    q: str
    T: _Natural
    m: bool


class _AggTrade(msgspec.Struct, gc=False):
    e: Literal["aggTrade"]
    s: str
    t: _Natural = msgspec.field(name="a")
    p: str
    q: str
    f: _Natural
    l: _Natural  # noqa: E741
    T: _Natural
    m: bool


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


class _AggFrame(msgspec.Struct, gc=False):
    data: _AggTrade


class _TradeRow(msgspec.Struct, gc=False):
    t: _Natural = msgspec.field(name="id")
    p: str = msgspec.field(name="price")
    q: str = msgspec.field(name="qty")
    T: _Natural = msgspec.field(name="time")
    m: bool = msgspec.field(name="isBuyerMaker")


class _AggRow(msgspec.Struct, gc=False):
    t: _Natural = msgspec.field(name="a")
    p: str
    q: str
    f: _Natural
    l: _Natural  # noqa: E741
    T: _Natural
    m: bool


_Row = tuple[int, str, str, str, str, Decimal, int, str, int, Decimal, str, str]  # what klines' rows hold
_KLINES = msgspec.json.Decoder(list[_Row])
_MS_PER_MINUTE = 60_000
_DAY_S = 24 * 3600.0


class _Event(msgspec.Struct):
    e: str = ""
    s: str = ""


class _Envelope(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    e: str = ""
    s: str = ""
    stream: str = ""
    data: _Event = msgspec.field(default_factory=_Event)
    error: Any = None
    code: Any = None


def _columns(rows: Sequence[Any]) -> RawTrades:
    """Rows of one shape as columns."""
    n = len(rows)
    return RawTrades(
        ids=np.fromiter([row.t for row in rows], np.int64, n),
        ts_ns=nanoseconds(np.fromiter([row.T for row in rows], np.int64, n)),
        price=[row.p for row in rows],
        size=[row.q for row in rows],
        side=1 - 2 * np.fromiter([row.m for row in rows], np.int8, n),
    )


def _aggregate_columns(rows: Sequence[Any]) -> RawTrades:
    """The same with how many fills each row stands for."""
    n = len(rows)
    first, last = np.fromiter([row.f for row in rows], np.int64, n), np.fromiter([row.l for row in rows], np.int64, n)
    return replace(_columns(rows), count=last - first + 1)


@dataclass(frozen=True, slots=True)
class Binance:
    """One of Binance's markets."""

    name: str
    stream: str
    ws_url: str
    rest_url: str
    history: str  # the path of the history request
    event: str  # the kind of its trade frames, and the name of their stream
    frame: type[_TradeFrame] | type[_AggFrame]
    trade: type[_Trade] | type[_AggTrade]
    row: type[_TradeRow] | type[_AggRow]
    columns: Callable[[Sequence[Any]], RawTrades]
    klines: str  # the path of the klines request
    limits: VenueLimits
    ids: ClassVar[IdRule] = IdRule.CONTIGUOUS
    reach: ClassVar[Reach] = Reach.ID

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The combined stream of all symbols; their names are lower case here and upper case everywhere else."""
        return "/stream?streams=" + "/".join(f"{quote(symbol.lower(), safe='')}@{self.event}" for symbol in symbols)

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """None: the address says it all."""
        return ()

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`, of combined or raw streams."""
        return _FrameParser(self, symbols)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """Up to 1000 trades from an id on, oldest first. Needs no API key."""
        from_id = ascending(span, page)
        if from_id is None:
            return None
        wanted = self.limits.page_size if span.last_id is None else span.last_id - from_id + 1
        limit = min(wanted, self.limits.page_size)
        return f"{self.history}?symbol={quote(symbol, safe='')}&fromId={from_id}&limit={limit}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows under `symbol`, a bad one as a Reject. VenueError for a body that is no list."""
        where = f"{self.name} {symbol} history"
        try:
            texts = [bytes(row) for row in msgspec.json.decode(body, type=list[msgspec.Raw])]
        except REFUSED as error:
            raise VenueError(f"{where}: expected a list of trades: {plain(str(error))}") from None
        reader: Reader[_TradeRow | _AggRow] = Reader(self.row)
        rows, numbers, refused = reader.read(texts)
        rejects = [(symbol, Reject(clip(texts[number]), where, why)) for number, why in refused.items()]
        return Parsed({symbol: self.columns(rows)}, rejects, 0, texts, {symbol: numbers}, where)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Up to 1000 minutes from the first on."""
        start_ms = first_minute * _MS_PER_MINUTE
        return f"{self.klines}?symbol={quote(symbol, safe='')}&interval=1m&startTime={start_ms}&limit={count}"

    def parse_klines(self, body: bytes) -> list[Kline]:
        """Rows of open time, open, high, low, close, volume, close time, quote volume, trades, taker's buy volume, ..."""
        try:
            rows = _KLINES.decode(body)
        except REFUSED as error:
            raise VenueError(f"{self.name} klines: expected a list of rows: {plain(str(error))}") from None
        return [Kline(row[0] // _MS_PER_MINUTE, row[5], row[9], row[8]) for row in rows]


SPOT = Binance(
    name="binance",
    stream="trade",
    ws_url="wss://stream.binance.com:9443",
    rest_url="https://api.binance.com",
    history="/api/v3/historicalTrades",
    klines="/api/v3/klines",
    # 1024 symbols are allowed, but a URL ends at some 8,000 characters; a history page weighs 25 of 6,000 a minute.
    limits=VenueLimits(200, 1000, requests_per_s=3.0, burst_s=10.0, connects_per_s=1.0, lifetime_s=_DAY_S),
    event="trade",
    frame=_TradeFrame,
    trade=_Trade,
    row=_TradeRow,
    columns=_columns,
)
USDM = Binance(
    name="binance-usdm",
    stream="agg",
    ws_url="wss://fstream.binance.com/market",  # since April 2026 the unrouted address gives no aggTrade
    rest_url="https://fapi.binance.com",
    history="/fapi/v1/aggTrades",
    klines="/fapi/v1/klines",
    limits=VenueLimits(
        200, 1000, requests_per_s=1.5, burst_s=10.0, connects_per_s=1.0, lifetime_s=_DAY_S
    ),  # 20 of 2,400 a minute
    event="aggTrade",
    frame=_AggFrame,
    trade=_AggTrade,
    row=_AggRow,
    columns=_aggregate_columns,
)


class _FrameParser:
    """Frames of one connection in, columns by symbol out. The hot path: while all frames are good, none is handled singly."""

    def __init__(self, market: Binance, symbols: Collection[str]) -> None:
        self._market = market
        self._where = f"{market.name} websocket"
        self._symbols = frozenset(symbols)
        self._combined: Reader[_TradeFrame | _AggFrame] = Reader(market.frame)
        self._raw: Reader[_Trade | _AggTrade] = Reader(market.trade)
        self._envelope = Reader(_Envelope)

    def __call__(self, frames: Sequence[bytes]) -> Parsed:
        values, numbers, refused = self._combined.read(frames)
        trades = [value.data for value in values]
        symbols = {trade.s for trade in trades}
        if refused or not symbols <= self._symbols:
            return self._sifted(frames, dict(zip(numbers, trades, strict=True)), refused)
        return self._parsed(frames, trades, numbers, symbols)

    def _parsed(
        self, frames: Sequence[bytes], trades: Sequence[_Trade | _AggTrade], numbers: Sequence[int], symbols: set[str]
    ) -> Parsed:
        columns = self._market.columns
        if len(symbols) == 1:
            (symbol,) = symbols
            return Parsed({symbol: columns(trades)}, [], 0, frames, {symbol: numbers}, self._where)
        grouped: dict[str, list[_Trade | _AggTrade]] = {symbol: [] for symbol in symbols}
        rows: dict[str, list[int]] = {symbol: [] for symbol in symbols}
        for number, trade in zip(numbers, trades, strict=True):
            grouped[trade.s].append(trade)
            rows[trade.s].append(number)
        return Parsed({s: columns(group) for s, group in grouped.items()}, [], 0, frames, rows, self._where)

    def _sifted(self, frames: Sequence[bytes], trades: dict[int, _Trade | _AggTrade], refused: dict[int, str]) -> Parsed:
        """The same for a batch that holds more than trades that were asked for."""
        bad: dict[int, tuple[str, str]] = {}
        for number, reason in refused.items():
            found = self._second_look(frames[number], reason)
            if isinstance(found, tuple):
                bad[number] = found
            elif found is not None:
                trades[number] = found
        other = len(frames) - len(trades) - len(bad)
        strangers = {number: trade.s for number, trade in trades.items() if trade.s not in self._symbols}
        bad |= {n: (self._symbol(), f"symbol {plain(s, 64)!r} was never asked for") for n, s in strangers.items()}
        numbers = sorted(trades.keys() - bad.keys())
        good = [trades[number] for number in numbers]
        rejects = [(symbol, Reject(clip(frames[n]), self._where, why)) for n, (symbol, why) in sorted(bad.items())]
        return replace(self._parsed(frames, good, numbers, {t.s for t in good}), rejects=rejects, other=other)

    def _second_look(self, frame: bytes, reason: str) -> _Trade | _AggTrade | tuple[str, str] | None:
        """A trade of a raw stream; or, of a bad frame, the symbol and the reason; or None for a frame that is no trade."""
        try:
            return self._raw.one(frame)
        except REFUSED as error:
            raw_reason = str(error)
        try:
            head = self._envelope.one(frame)
        except REFUSED:
            return self._symbol(), reason
        symbol = self._symbol(head.data.s or head.s or head.stream.partition("@")[0].upper())
        if head.error is not None or head.code is not None:
            return symbol, "the venue refused a request"
        if head.e == self._market.event:
            return symbol, raw_reason
        is_trade = self._market.event in (head.data.e, head.stream.partition("@")[2])
        return (symbol, reason) if is_trade else None

    def _symbol(self, told: str = "") -> str:
        """The symbol that a frame tells, if it was asked for; else the only one that was, or an empty text."""
        if told in self._symbols:
            return told
        return next(iter(self._symbols)) if len(self._symbols) == 1 else ""
