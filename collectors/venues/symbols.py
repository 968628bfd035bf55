"""How venues write their symbols: enough to see that one was written another venue's way. Pure; the venue has the last word."""

from __future__ import annotations

import re
from dataclasses import dataclass

from collectors.ccxt_exchange import PREFIX


@dataclass(frozen=True, slots=True)
class Spelling:
    """A pattern that the venue's symbols match, and an example."""

    pattern: re.Pattern[str]
    example: str


def _spelling(pattern: str, example: str) -> Spelling:
    return Spelling(re.compile(pattern), example)


_JOINED = _spelling(r"[^a-z\s/_-]+", "BTCUSDT")  # not ASCII alone: some coins have Chinese names
SPELLINGS = {
    "binance": _JOINED,
    "binance-usdm": _spelling(r"[^a-z\s/-]+", "BTCUSDT"),  # BTCUSDT_260327 ends
    "coinbase": _spelling(r"[A-Z0-9]+(-[A-Z0-9]+)+", "BTC-USD"),
    "kraken": _spelling(r"[A-Za-z0-9.]+/[A-Z0-9.]+", "BTC/USD"),
    "okx": _spelling(r"[A-Z0-9]+(-[A-Z0-9_]+)+", "BTC-USDT"),
    "bybit": _spelling(r"[A-Z0-9]+(-[A-Z0-9]+)*", "BTCUSDT"),
    "bybit-spot": _spelling(r"[A-Z0-9]+", "BTCUSDT"),
    "bitstamp": _spelling(r"[a-z0-9-]+", "btcusd"),
    "bitflyer": _spelling(r"[A-Z0-9]+(_[A-Z0-9]+)+", "BTC_JPY"),
}
_CCXT = _spelling(r"[^\s/]+/[^\s/]+", "BTC/USDT")


def doubt(venue: str, symbol: str) -> str:
    """Why this can hardly be a symbol of the venue; empty where it may be one, or where nothing is known of the venue."""
    spelling = _CCXT if venue.startswith(PREFIX) else SPELLINGS.get(venue)
    if spelling is None or spelling.pattern.fullmatch(symbol):
        return ""
    return f"{symbol!r} doesn't look like a symbol of {venue}, which writes them like {spelling.example}"
