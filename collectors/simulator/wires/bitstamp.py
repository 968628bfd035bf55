"""Bitstamp: websocket v2 and REST, as bitstamp.net/api has it. Ids are shared by all pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Minute, Tape
from collectors.simulator.wires.texts import text
from collectors.simulator.wires.wire import Refused, Session, Wire, limited, number

_PREFIX = "live_trades_"
_NS_PER_S = 10**9
_SPANS_S = {"minute": 60, "hour": 3600, "day": 86_400}


class _Channels(Session):
    """One channel a pair, each subscribed to by a message of its own."""

    def heard(self, text: bytes) -> Iterable[bytes]:
        request = json.loads(text)
        event = request.get("event", "")
        if event == "bts:heartbeat":
            return [b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}']
        channel = str(request.get("data", {}).get("channel", ""))
        pair = channel.removeprefix(_PREFIX)
        if event not in ("bts:subscribe", "bts:unsubscribe") or channel == pair or pair not in self.tape.symbols:
            return [b'{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad subscription string."}}']
        (self.symbols.add if event == "bts:subscribe" else self.symbols.discard)(pair)
        done = event.removeprefix("bts:").replace("subscribe", "subscription")
        return [json.dumps({"event": f"bts:{done}_succeeded", "channel": channel, "data": {}}).encode()]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        return [_frame(trade) for trade in trades]


def _frame(trade: SimTrade) -> bytes:
    second, us = trade.ts_ns // _NS_PER_S, trade.ts_ns // 1000
    order = 1_443_875_000_000_000 + trade.trade_id * 2
    return (
        f'{{"data":{{"id":{trade.trade_id},"timestamp":"{second}","amount":{_shortest(trade.size)},"amount_str":"{trade.size}",'
        f'"price":{_shortest(trade.price)},"price_str":"{trade.price}","type":{_type(trade)},"microtimestamp":"{us}",'
        f'"buy_order_id":{order},"sell_order_id":{order + 1}}},'
        f'"channel":"{_PREFIX}{trade.symbol}","event":"trade"}}'
    ).encode()


def _shortest(number: str) -> str:
    """A number without the zeros behind its last decimal; what isn't one (a fault) stays."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def _type(trade: SimTrade) -> int:
    return 0 if trade.buy else 1


def _transactions(tape: Tape, query: Mapping[str, str]) -> str:
    """The trades of the last minute, hour or day; newest first, their times in whole seconds."""
    since_ns = tape.now_ns - _SPANS_S[query.get("time", "hour")] * _NS_PER_S
    trades = tape.since(query["pair"], since_ns)
    return f"[{','.join(_row(trade) for trade in reversed(trades))}]"


def _row(trade: SimTrade) -> str:
    return (
        f'{{"amount":"{trade.size}","date":"{trade.ts_ns // _NS_PER_S}","price":"{trade.price}","tid":"{trade.trade_id}",'
        f'"type":"{_type(trade)}"}}'
    )


def _candles(tape: Tape, query: Mapping[str, str]) -> str:
    """Oldest first: from `start`, up to `end`, or the last ones."""
    if query["step"] != "60":
        raise ValueError("the simulator has minutes only")
    limit, start, end = limited(query, "limit", 100, 1000), number(query, "start"), number(query, "end")
    first = None if start is None else -(-start // 60)
    candles = tape.minutes(query["pair"], first, None if end is None else end // 60)
    candles = candles[-limit:] if start is None else candles[:limit]
    pair = f"{query['pair'][:-3]}/{query['pair'][-3:]}".upper()
    return f'{{"data":{{"ohlc":[{",".join(map(_candle, candles))}],"pair":"{pair}"}}}}'


def _candle(candle: Minute) -> str:
    return (
        f'{{"close":"{candle.close}","high":"{candle.high}","low":"{candle.low}","open":"{candle.open}",'
        f'"timestamp":"{candle.minute * 60}","volume":"{text(candle.volume)}"}}'
    )


WIRE = Wire(
    session=_Channels,
    frame=_frame,
    pages={"/api/v2/transactions/{pair}/": _transactions, "/api/v2/ohlc/{pair}/": _candles},
    bad=Refused(404, '{"status":"error","reason":"Not found","code":"API0016"}'),
    paths={"/"},
    busy='{"reason":"Request rate limit exceeded.","code":"400.002"}',
)
