"""Stands in for ccxt, which is an extra: an exchange object that behaves like those of ccxt.pro, and ccxt's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

MS = 1_723_161_255_342


class BaseError(Exception):
    """The names and the tree are ccxt's; only the names matter."""


class ExchangeError(BaseError): ...


class AuthenticationError(ExchangeError): ...


class PermissionDenied(AuthenticationError): ...


class BadRequest(ExchangeError): ...


class BadSymbol(BadRequest): ...


class NotSupported(ExchangeError): ...


class OperationFailed(BaseError): ...


class NetworkError(OperationFailed): ...


class DDoSProtection(NetworkError): ...


class RateLimitExceeded(NetworkError): ...


class ExchangeNotAvailable(NetworkError): ...


class Client:
    """One websocket of ccxt: hands each message, read by its own JSON parser, to the exchange."""

    decompressBinary = True

    def __init__(self, exchange: StandIn) -> None:
        self.on_message_callback = exchange.handle_message
        self.rejected: list[BaseException] = []

    def handle_text_or_binary_message(self, data: str | bytes) -> None:
        raise AssertionError("ccxt's own reading, with floats, must have been replaced")

    def reject(self, error: BaseException) -> None:
        self.rejected.append(error)


def trade(number: int | str | None, **changes: Any) -> dict[str, Any]:
    """A trade as ccxt unifies it, with numbers as texts."""
    return {
        "id": None if number is None else str(number),
        **{"timestamp": MS, "symbol": "BTC/USDT", "side": "buy", "price": "61837.63", "amount": "0.02000000"},
        "info": {"tradeId": number, "p": "61837.63"},
        **changes,
    }


class StandIn:
    """Trades and errors are told by `say`; they come to whoever watches, as from ccxt."""

    def __init__(self, symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")) -> None:
        self.has: dict[str, Any] = {"watchTrades": True, "fetchTrades": True}
        self.options: dict[str, Any] = {}
        self.symbols = list(symbols)
        self.history: list[Any] = []
        self.fetched = 0
        self.fetch_error: BaseException | None = None
        self.load_error: BaseException | None = None
        self.closed = False
        self.messages: list[Any] = []
        self._said: dict[str, asyncio.Queue[Any]] = {}
        self._opened = False

    def say(self, *rows: Any, symbol: str = "BTC/USDT") -> None:
        """The next answer of `watch_trades`: trades, or one error."""
        self._queue(symbol).put_nowait(rows)

    async def load_markets(self) -> None:
        if self.load_error:
            raise self.load_error

    async def watch_trades(self, symbol: str) -> list[Any]:
        if not self._opened:
            self._opened = True
            self.on_connected(self.client("wss://stand-in"))
        rows = await self._queue(symbol).get()
        if isinstance(rows[0], BaseException):
            raise rows[0]
        return list(rows)

    async def fetch_trades(self, symbol: str) -> list[Any]:
        self.fetched += 1
        if self.fetch_error:
            raise self.fetch_error
        return self.history

    async def close(self) -> None:
        self.closed = True

    def client(self, url: str) -> Client:
        return Client(self)

    def on_connected(self, client: Client) -> None:
        """A hook, as in ccxt."""

    def on_json_response(self, body: str) -> Any:
        raise AssertionError("ccxt's own reading, with floats, must have been replaced")

    def number(self, text: str) -> float:
        raise AssertionError("ccxt's own numbers, which are floats, must have been replaced")

    def create_ccxt_trade_id(self, timestamp: int | None = None, **parts: Any) -> str:
        return f"{timestamp}-made-up"

    def handle_message(self, client: Client, message: Any) -> None:
        if message == "5xx":
            raise ExchangeNotAvailable("down")
        self.messages.append(message["data"])

    def _queue(self, symbol: str) -> asyncio.Queue[Any]:
        return self._said.setdefault(symbol, asyncio.Queue())


class Makes:
    """Gives exchanges one after the other, as a collector asks for them with each connection."""

    def __init__(self, *exchanges: StandIn) -> None:
        self.exchanges = list(exchanges)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, exchange_id: str, settings: Mapping[str, Any]) -> StandIn:
        self.asked.append((exchange_id, dict(settings)))
        return self.exchanges[min(len(self.asked), len(self.exchanges)) - 1]
