"""Where venues tell their own time, and how to read it. Pure.

Bitstamp and bitFlyer have no such endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from collectors.venues.iso import one_iso_ns
from pipeline.errors import VenueError
from pipeline.trade import NS_PER_S

_NS_PER_MS = 1_000_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VenueClock:
    """The path below the REST base, the reader of its answer (ns since 1970), and how coarse the answer is."""

    path: str
    read: Callable[[bytes], int]
    grain_ns: int = _NS_PER_MS


class _Binance(msgspec.Struct):
    serverTime: int


class _Coinbase(msgspec.Struct):
    iso: str


class _KrakenTime(msgspec.Struct):
    unixtime: int


class _Kraken(msgspec.Struct):
    result: _KrakenTime


class _OkxTime(msgspec.Struct):
    ts: str


class _Okx(msgspec.Struct):
    data: list[_OkxTime]


class _BybitTime(msgspec.Struct):
    timeNano: str


class _Bybit(msgspec.Struct):
    result: _BybitTime


def _reader(kind: type[T], ns_of: Callable[[T], int]) -> Callable[[bytes], int]:
    """A reader of answers of this shape. It raises VenueError for any other."""

    def read(body: bytes) -> int:
        try:
            found = ns_of(msgspec.json.decode(body, type=kind))
        except (msgspec.MsgspecError, ValueError, IndexError):
            found = 0
        if found <= 0:
            raise VenueError(f"expected the venue's time, not {body[:80]!r}")
        return found

    return read


_binance = _reader(_Binance, lambda answer: answer.serverTime * _NS_PER_MS)
_bybit = VenueClock("/v5/market/time", _reader(_Bybit, lambda answer: int(answer.result.timeNano)))

CLOCKS = {
    "binance": VenueClock("/api/v3/time", _binance),
    "binance-usdm": VenueClock("/fapi/v1/time", _binance),
    "coinbase": VenueClock("/time", _reader(_Coinbase, lambda answer: one_iso_ns(answer.iso))),
    "kraken": VenueClock("/0/public/Time", _reader(_Kraken, lambda answer: answer.result.unixtime * NS_PER_S), NS_PER_S),
    "okx": VenueClock("/api/v5/public/time", _reader(_Okx, lambda answer: int(answer.data[0].ts) * _NS_PER_MS)),
    "bybit": _bybit,
    "bybit-spot": _bybit,
}
