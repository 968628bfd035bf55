"""A symbol that was written another venue's way is doubted, and the venue's own way never is."""

from __future__ import annotations

import pytest

from collectors.venues.symbols import SPELLINGS, doubt
from collectors.venues.venue import VENUES

OWN = [
    *(("binance", symbol) for symbol in ("BTCUSDT", "1000SATSUSDT", "币安人生USDT")),
    *(("binance-usdm", symbol) for symbol in ("BTCUSDT", "BTCUSDT_260327")),
    *(("coinbase", symbol) for symbol in ("BTC-USD", "BTC-PERP-INTX")),
    *(("kraken", symbol) for symbol in ("BTC/USD", "AAPLx/USD")),
    *(("okx", symbol) for symbol in ("BTC-USDT", "BTC-USDT-SWAP", "BTC-USD_UM-250328")),
    *(("bybit", symbol) for symbol in ("BTCUSDT", "BTC-27MAR26", "10000LADYSUSDT")),
    ("bybit-spot", "BTCUSDT"),
    ("bitstamp", "btcusd"),
    *(("bitflyer", symbol) for symbol in ("BTC_JPY", "FX_BTC_JPY")),
    *(("ccxt-kucoin", symbol) for symbol in ("BTC/USDT", "BTC/USDT:USDT")),
    ("none-that-is-known", "any thing"),
]
OTHERS = [
    *(("binance", symbol) for symbol in ("btcusdt", "BTC-USDT", "BTC/USDT", "BTC_USDT")),
    *(("coinbase", symbol) for symbol in ("BTCUSD", "BTC/USD", "btc-usd")),
    *(("kraken", symbol) for symbol in ("BTCUSD", "BTC-USD")),
    *(("okx", symbol) for symbol in ("BTCUSDT", "BTC/USDT")),
    *(("bybit", symbol) for symbol in ("BTC/USDT", "btcusdt")),
    *(("bitstamp", symbol) for symbol in ("BTCUSD", "btc/usd")),
    *(("bitflyer", symbol) for symbol in ("BTCJPY", "BTC/JPY")),
    ("ccxt-kucoin", "BTCUSDT"),
]


@pytest.mark.parametrize(("venue", "symbol"), OWN)
def test_a_venues_own_spelling_is_never_doubted(venue: str, symbol: str) -> None:
    assert doubt(venue, symbol) == ""


@pytest.mark.parametrize(("venue", "symbol"), OTHERS)
def test_another_venues_spelling_is_doubted_with_an_example(venue: str, symbol: str) -> None:
    told = doubt(venue, symbol)
    assert repr(symbol) in told and venue in told
    example = told.rpartition(" ")[2]
    assert doubt(venue, example) == ""


def test_something_is_known_of_each_venue() -> None:
    assert set(SPELLINGS) == set(VENUES)
