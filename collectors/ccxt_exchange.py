"""The one place that knows ccxt: makes an exchange of it that never rounds, and translates its errors and its trades.

ccxt reads JSON numbers as binary floats, on the websocket as by REST. Here it gets them as their texts, and makes no numbers
of its own: a price or a size that isn't a text all the same is refused, row by row.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from collectors.venues.parsed import Raws, clip, plain
from pipeline.errors import BadValue, VenueError
from pipeline.trade import RawTrades, Side

PREFIX = "ccxt-"
MOST_NEW = 10_000  # trades of one symbol that ccxt keeps until they are taken; of more it would drop the oldest, silently
_AGAIN_IN_S = 60.0  # ccxt doesn't tell how long an exchange wants to be left alone
_LATEST_MS = (2**63 - 1) // 10**6
_SIDES: dict[Any, Side] = {"buy": Side.BUY, "sell": Side.SELL, None: Side.NONE}
# ccxt's errors by their names, so that none of it need be imported where it isn't used.
_FATAL = {"AuthenticationError", "PermissionDenied", "BadSymbol", "NotSupported", "ArgumentsRequired", "RestrictedLocation"}
_LEAVE_ALONE = {"RateLimitExceeded", "DDoSProtection"}

Rows = Sequence[Mapping[str, Any]]  # trades as ccxt unifies them
T = TypeVar("T")

exact_json = partial(json.loads, parse_float=str)  # integers are exact anyway, and often compared


@dataclass(slots=True)
class CcxtExchange:
    """One exchange of ccxt pro, as far as trades are concerned. Every error of it is a VenueError."""

    name: str
    ccxt: Any  # an exchange object of ccxt.pro

    def tell(self, *, opened: Callable[[], None], unread: Callable[[str, str], None]) -> None:
        """Has the opening of each websocket told, and each message that ccxt's code fails at, with its error."""
        told, self.ccxt.unread = self.ccxt.on_connected, unread

        def on_connected(*args: Any) -> None:
            opened()
            told(*args)

        self.ccxt.on_connected = on_connected

    @property
    def can_fetch(self) -> bool:
        """Whether it has a REST history."""
        return bool(self.ccxt.has.get("fetchTrades"))

    async def load(self, symbols: Sequence[str]) -> None:
        """Gets its markets; VenueError, fatal where a symbol is none of them."""
        await self._asked(self.ccxt.load_markets())
        unknown = [symbol for symbol in symbols if symbol not in self.ccxt.symbols]
        if unknown:
            raise VenueError(f"{self.name}: no market {', '.join(map(repr, unknown))}; ccxt writes them BTC/USDT", fatal=True)

    async def watch(self, symbol: str) -> Rows:
        """The trades since the last call, at least one."""
        return _rows(await self._asked(self.ccxt.watch_trades(symbol)))

    async def fetch(self, symbol: str) -> Rows:
        """The newest trades, as many as the exchange gives at once."""
        return _rows(await self._asked(self.ccxt.fetch_trades(symbol)))

    async def close(self) -> None:
        """Gives back its sockets. VenueError."""
        await self._asked(self.ccxt.close())

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except Exception as error:
            raise translated(self.name, error) from error


def make(exchange_id: str, settings: Mapping[str, Any]) -> Any:
    """An exchange object of ccxt pro that never rounds. BadValue where ccxt isn't installed, or can't watch its trades."""
    pro = require_exchange(exchange_id)
    exchange = getattr(pro, exchange_id)({"enableRateLimit": True, "newUpdates": True, **settings})
    if not exchange.has.get("watchTrades"):
        raise BadValue(f"venue {PREFIX + exchange_id!r}: ccxt can't watch its trades")
    exchange.options["tradesLimit"] = MOST_NEW
    return without_floats(exchange)


def require_exchange(exchange_id: str) -> Any:
    """The module ccxt.pro. BadValue where it isn't installed, or has no such exchange."""
    try:
        pro = import_module("ccxt.pro")
    except ImportError:
        raise BadValue(f'venue {PREFIX + exchange_id!r} needs ccxt: pip install "spillway[ccxt]"') from None
    if exchange_id not in pro.exchanges:
        raise BadValue(f"venue {PREFIX + exchange_id!r}: ccxt pro {pro.__version__} has no exchange {exchange_id!r}")
    return pro


def without_floats(exchange: Any) -> Any:
    """The same exchange, which now reads numbers as texts, keeps them so, and makes up no ids."""
    open_client = exchange.client

    def client(url: str) -> Any:
        made = open_client(url)
        made.handle_text_or_binary_message = partial(_on_text, exchange, made)
        return made

    exchange.client = client
    exchange.number = str
    exchange.on_json_response = exact_json
    exchange.create_ccxt_trade_id = lambda *args, **kwargs: None  # of time, price and size: two trades could share one
    return exchange


def _on_text(exchange: Any, client: Any, data: str | bytes) -> None:
    """What a websocket of ccxt does with a message. One that its code fails at is told, and the next one is read."""
    try:
        if isinstance(data, bytes) and client.decompressBinary:
            data = data.decode()
        is_json = isinstance(data, str) and data[:1] in ("{", "[")
        client.on_message_callback(client, exact_json(data) if is_json else data)
    except Exception as error:
        if "BaseError" in _kinds(error):
            client.reject(error)
        else:
            raw = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
            exchange.unread(clip(raw), f"{type(error).__name__}: {plain(str(error))}")


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def translated(name: str, error: BaseException) -> VenueError:
    """An error of ccxt, or one that its code ran into, as ours."""
    kinds = _kinds(error)
    wait_s = _AGAIN_IN_S if kinds & _LEAVE_ALONE else 0.0
    message = f"{name}: {type(error).__name__}: {plain(str(error))}"
    return VenueError(message, fatal=bool(kinds & _FATAL), retry_after_s=wait_s)


def columns(rows: Rows) -> RawTrades:
    """Trades of ccxt as columns; a row that lacks something, or was rounded, is refused with its reason. Ids are texts."""
    n = len(rows)
    reasons = {number: why for number, row in enumerate(rows) if (why := _refused(row))}
    return RawTrades(
        ids=np.array([str(row.get("id")) for row in rows], dtype=object),
        ts_ns=np.fromiter([_time_ns(row.get("timestamp")) for row in rows], np.int64, n),
        price=[_text(row.get("price")) for row in rows],
        size=[_text(row.get("amount")) for row in rows],
        side=np.fromiter([_SIDES.get(_plain_key(row.get("side")), Side.NONE) for row in rows], np.int8, n),
        reasons=reasons,
    )


def has_ids(rows: Rows) -> bool:
    """Whether any of the trades has an id of its exchange."""
    return any(_has_id(row) for row in rows)


def raws(rows: Rows, where: str) -> Raws:
    """Row -> what the exchange sent, as far as ccxt tells."""
    return lambda row: (clip(json.dumps(rows[row].get("info", rows[row]), default=str).encode()), where)


def _rows(answer: Sequence[Any]) -> Rows:
    return [row if isinstance(row, Mapping) else {"info": row} for row in answer]


def _refused(row: Mapping[str, Any]) -> str:
    if not _has_id(row):
        return "no id: it can't be told from other trades"
    for field in ("price", "amount"):
        if type(row.get(field)) is not str:
            return f"{field} is no text but a {type(row.get(field)).__name__}: its digits may have been rounded"
    return "" if _plain_key(row.get("side")) in _SIDES else f"side {plain(str(row.get('side')), 40)!r} is unknown"


def _has_id(row: Mapping[str, Any]) -> bool:
    return type(row.get("id")) in {str, int} and row["id"] != ""


def _plain_key(side: Any) -> Any:
    return side if isinstance(side, str | None) else repr(side)


def _text(number: Any) -> str:
    return number if type(number) is str else ""


def _time_ns(stamp_ms: Any) -> int:
    return min(stamp_ms, _LATEST_MS) * 10**6 if type(stamp_ms) is int and stamp_ms > 0 else 0
