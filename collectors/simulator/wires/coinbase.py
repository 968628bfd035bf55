"""Coinbase Exchange, as docs.cdp.coinbase.com/exchange has it. Its sides are the makers'."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Minute, Tape
from collectors.simulator.wires.texts import iso, text, uuid
from collectors.simulator.wires.wire import Refused, Session, Wire, limited, number

_MOST_CANDLES = 300


class _Feed(Session):
    """Channels of products; the last match of each comes first."""

    def __init__(self, tape: Tape, path: str) -> None:
        super().__init__(tape, path)
        self._channels: dict[str, set[str]] = {}

    def heard(self, text: bytes) -> Iterable[bytes]:
        request = json.loads(text)
        wanted = _wanted(request)
        unknown = sorted({product for products in wanted.values() for product in products} - set(self.tape.symbols))
        if request.get("type") not in ("subscribe", "unsubscribe") or unknown:
            return [_error(f"{unknown[0]} is not a valid product" if unknown else "malformed request")]
        if request["type"] == "unsubscribe":
            return [self._leave(wanted)]
        new = wanted.get("matches", set()) - self.symbols
        for channel, products in wanted.items():
            self._channels.setdefault(channel, set()).update(products)
        self.symbols |= new
        return [self._subscriptions(), *self._last(new)]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        return [match(trade) for trade in trades]

    def beat(self) -> Iterable[bytes]:
        products = sorted(self._channels.get("heartbeat", ()))
        last = {product: self.tape.newest(product, 1) for product in products}
        return [_heartbeat(trade, self.tape.now_ns) for trades in last.values() for trade in trades]

    def _last(self, products: set[str]) -> list[bytes]:
        return [match(trade, "last_match") for product in sorted(products) for trade in self.tape.newest(product, 1)]

    def _leave(self, wanted: Mapping[str, set[str]]) -> bytes:
        for channel, products in wanted.items():
            self._channels.get(channel, set()).difference_update(products)
        self.symbols -= wanted.get("matches", set())
        return self._subscriptions()

    def _subscriptions(self) -> bytes:
        channels = [
            {"name": name, "product_ids": sorted(products), "account_ids": None} for name, products in self._channels.items()
        ]
        return json.dumps({"type": "subscriptions", "channels": channels}).encode()


def _wanted(request: Mapping[str, Any]) -> dict[str, set[str]]:
    """Channel -> products, named for all channels together or for each."""
    wanted: dict[str, set[str]] = {}
    shared = set(request.get("product_ids", ()))
    for channel in request.get("channels", ()):
        named = {"name": channel} if isinstance(channel, str) else channel
        wanted.setdefault(named["name"], set()).update(named.get("product_ids", ()), shared)
    return wanted


def match(trade: SimTrade, kind: str = "match") -> bytes:
    """A trade; `last_match` for the one before the subscription."""
    return (
        f'{{"type":"{kind}","trade_id":{trade.trade_id},"maker_order_id":"{uuid("maker", trade.symbol, trade.trade_id)}",'
        f'"taker_order_id":"{uuid("taker", trade.symbol, trade.trade_id // 2)}","side":"{_maker(trade)}","size":"{trade.size}",'
        f'"price":"{trade.price}","product_id":"{trade.symbol}","sequence":{_sequence(trade)},"time":"{iso(trade.ts_ns)}"}}'
    ).encode()


def _maker(trade: SimTrade) -> str:
    return "sell" if trade.buy else "buy"


def _sequence(trade: SimTrade) -> int:
    return trade.trade_id * 40  # of all that happens to the book: trades are the lesser part of it


def _heartbeat(last: SimTrade, now_ns: int) -> bytes:
    return (
        f'{{"type":"heartbeat","last_trade_id":{last.trade_id},"product_id":"{last.symbol}","sequence":{_sequence(last)},'
        f'"time":"{iso(now_ns)}"}}'
    ).encode()


def _error(reason: str) -> bytes:
    return json.dumps({"type": "error", "message": "Failed to subscribe", "reason": reason}).encode()


def _trades(tape: Tape, query: Mapping[str, str]) -> str:
    """The newest trades, or those before (`after`!) an id; newest first."""
    product, limit = query["product"], limited(query, "limit", 1000, 1000)
    after, before = number(query, "after"), number(query, "before")
    if after is not None:
        trades = tape.below_id(product, after, limit)
    else:
        trades = tape.newest(product, limit) if before is None else tape.above_id(product, before, limit)
    return f"[{','.join(_row(trade) for trade in reversed(trades))}]"


def _row(trade: SimTrade) -> str:
    return (
        f'{{"trade_id":{trade.trade_id},"side":"{_maker(trade)}","size":"{trade.size}","price":"{trade.price}",'
        f'"time":"{iso(trade.ts_ns)}"}}'
    )


def _candles(tape: Tape, query: Mapping[str, str]) -> str:
    """Newest first; minutes without trades are left out."""
    if query.get("granularity", "60") != "60":
        raise ValueError("the simulator has minutes only")
    first, last = (_minute(query[name]) if name in query else None for name in ("start", "end"))
    if first is None or last is None:
        first, last = tape.now_ns // (60 * 10**9) - _MOST_CANDLES + 1, None
    elif last - first + 1 > _MOST_CANDLES:
        raise Refused(
            400, '{"message":"granularity too small for the requested time range. Count of aggregations is too large"}'
        )
    candles = tape.minutes(query["product"], first, last, empty=False)
    return f"[{','.join(_candle(candle) for candle in reversed(candles))}]"


def _minute(moment: str) -> int:
    second = int(moment) if moment.isdecimal() else int(datetime.fromisoformat(moment).timestamp())
    return second // 60


def _candle(candle: Minute) -> str:
    return f"[{candle.minute * 60},{candle.low},{candle.high},{candle.open},{candle.close},{text(candle.volume)}]"


WIRE = Wire(
    session=_Feed,
    frame=match,
    pages={"/products/{product}/trades": _trades, "/products/{product}/candles": _candles},
    bad=Refused(404, '{"message":"NotFound"}'),
    paths={"/"},
    busy='{"message":"Public rate limit exceeded"}',
)
