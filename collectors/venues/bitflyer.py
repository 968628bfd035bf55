"""bitFlyer: the shapes of its frames and history, from lightning.bitflyer.com/docs and bf-lightning-api.readme.io. Pure.

Ids rise, shared by all products. `side` is the taker's, and empty where an auction (Itayose) traded. Prices and sizes are JSON
numbers: their digits are kept as they stand, for a float would change them. There are no official minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote
from zlib import crc32

import msgspec
import numpy as np

from collectors.venues.frames import FrameParser, Kind, Shape, Verdict, history_rows, raw_rows
from collectors.venues.history import Reach, Span, descending
from collectors.venues.iso import iso_ns
from collectors.venues.kline import Kline
from collectors.venues.limits import VenueLimits
from collectors.venues.parsed import Parsed, Parser, clip, plain
from pipeline.errors import VenueError
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades, Side

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # numpy's integers end there
_CHANNEL = "lightning_executions_"
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL, "": Side.NONE}
_NUMBER_STARTS = frozenset("-0123456789")


class _Trade(msgspec.Struct, gc=False):
    id: _Natural
    side: Literal["BUY", "SELL", ""]
    price: msgspec.Raw
    size: msgspec.Raw
    exec_date: str

    def __post_init__(self) -> None:
        for field, value in (("price", self.price), ("size", self.size)):
            if _text(value)[:1] not in _NUMBER_STARTS:
                raise ValueError(f"`{field}`: expected a number")


class _Params(msgspec.Struct, gc=False):
    channel: Annotated[str, msgspec.Meta(pattern=r"\Alightning_executions_")]
    message: list[_Trade]


class _Frame(msgspec.Struct, gc=False):
    params: _Params
    method: Literal["channelMessage"]


class _AnyParams(msgspec.Struct):
    channel: str = ""
    message: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Head(msgspec.Struct):
    """Any frame, as far as it must be known to tell what it is."""

    method: str = ""
    params: _AnyParams = msgspec.field(default_factory=_AnyParams)
    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Error | None = None


_HEAD = msgspec.json.Decoder(_Head)


def _text(number: msgspec.Raw) -> str:
    return bytes(number).decode()


def _columns(rows: Sequence[_Trade]) -> RawTrades:
    n = len(rows)
    return RawTrades(
        ids=np.fromiter([row.id for row in rows], np.int64, n),
        ts_ns=iso_ns([row.exec_date for row in rows]),
        price=[_text(row.price) for row in rows],
        size=[_text(row.size) for row in rows],
        side=np.fromiter([_SIDES[row.side] for row in rows], np.int8, n),
    )


def _request_id(symbol: str) -> int:
    """A number that an answer tells again, from which its symbol can be told."""
    return crc32(symbol.encode()) & 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class _Judge:
    """Tells what a frame is that isn't a good frame of trades."""

    asked: Mapping[int | str | None, str]  # id of a request -> its symbol

    def __call__(self, frame: bytes, reason: str) -> Verdict:
        head = _HEAD.decode(frame)
        asked = self.asked.get(head.id, "")
        if head.error is not None:
            return Verdict(Kind.REFUSAL, asked, f"{head.error.code} {head.error.message}")
        if head.result is not msgspec.UNSET:
            told = bytes(head.result)
            return Verdict(Kind.OTHER) if told == b"true" else Verdict(Kind.REFUSAL, asked, f"answered {told[:50]!r}")
        channel = head.params.channel
        if head.method and channel and not channel.startswith(_CHANNEL):
            return Verdict(Kind.OTHER)
        rows = raw_rows(head.params.message) if channel and head.method == "channelMessage" else None
        return Verdict(Kind.BAD, channel.removeprefix(_CHANNEL), reason, rows)


@dataclass(frozen=True, slots=True)
class Bitflyer:
    """The venue; symbols are its product codes: `BTC_JPY`, `FX_BTC_JPY`."""

    name: ClassVar[str] = "bitflyer"
    stream: ClassVar[str] = "trade"
    ws_url: ClassVar[str] = "wss://ws.lightstream.bitflyer.com"
    rest_url: ClassVar[str] = "https://api.bitflyer.com"
    ids: ClassVar[IdRule] = IdRule.MONOTONIC
    reach: ClassVar[Reach] = Reach.ID
    # 500 requests in 5 minutes are allowed an address; nothing is told of channels, messages or connections.
    limits: ClassVar[VenueLimits] = VenueLimits(100, 500, requests_per_s=1.2, messages_per_s=10.0, connects_per_s=1.0)

    def ws_path(self, symbols: Sequence[str]) -> str:
        """The JSON-RPC stream; symbols are subscribed to by messages."""
        return "/json-rpc"

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """One request a symbol, whose id tells the symbol again."""
        return [
            msgspec.json.encode(
                {"jsonrpc": "2.0", "id": _request_id(s), "method": "subscribe", "params": {"channel": _CHANNEL + s}}
            )
            for s in symbols
        ]

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser for the frames of `symbols`."""
        shape = Shape(
            frame=_Frame,
            trade=_Trade,
            trades=lambda frame: frame.params.message,
            symbol=lambda frame: frame.params.channel[len(_CHANNEL) :],
            columns=_columns,
            judge=_Judge({_request_id(symbol): symbol for symbol in symbols}),
        )
        return FrameParser(self.name, symbols, shape)

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """Up to 500 trades below an id, newest first; the venue keeps 31 days."""
        again, below = descending(span, page)
        if not again:
            return None
        before = "" if below is None else f"&before={below}"
        return f"/v1/executions?product_code={quote(symbol, safe='')}&count={self.limits.page_size}{before}"

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The rows, oldest first. VenueError for a body that is no list."""
        where = f"{self.name} {symbol} history"
        rows = raw_rows(body)
        if rows is None:
            raise VenueError(f"{where}: expected a list of executions, not {plain(clip(body))}")
        return history_rows(symbol, rows[::-1], where, _Trade, _columns)

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """None: the venue publishes no minutes."""
        return None

    def parse_klines(self, body: bytes) -> list[Kline]:
        """There are none to parse."""
        raise VenueError(f"{self.name} has no official minutes")


BITFLYER = Bitflyer()
