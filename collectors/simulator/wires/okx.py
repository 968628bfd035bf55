"""OKX v5, as okx.com/docs-v5 has it: `trades-all` on the business address, the aggregating `trades` on the public one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Minute, Tape
from collectors.simulator.wires.texts import ms, text
from collectors.simulator.wires.wire import Refused, Session, Wire, limited, number

_NS_PER_MS = 1_000_000
_MS_PER_MINUTE = 60_000
_CONNECTION = "a4d3ae55"
_CHANNELS = {"/ws/v5/business": "trades-all", "/ws/v5/public": "trades"}


class _Channel(Session):
    """The one channel of trades that the address has, of several instruments."""

    def __init__(self, tape: Tape, path: str) -> None:
        super().__init__(tape, path)
        self._channel = _CHANNELS.get(path.partition("?")[0], "")
        self.plain = self._channel == "trades-all"

    def heard(self, text: bytes) -> Iterable[bytes]:
        if text == b"ping":
            return [b"pong"]
        try:
            request = json.loads(text)
            return [self._change(request["op"], arg) for arg in request["args"]]
        except (ValueError, KeyError, TypeError):
            return [_error("60012", f"Invalid request: {text.decode('utf-8', 'replace')}")]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        if self.plain:
            return [_frame(trade) for trade in trades]
        return [_aggregate(fills) for fills in _orders(trades)]

    def _change(self, op: str, arg: Mapping[str, str]) -> bytes:
        channel, name = arg["channel"], arg["instId"]
        if channel != self._channel or name not in self.tape.symbols or op not in ("subscribe", "unsubscribe"):
            told = f"Wrong URL or channel:{channel},instId:{name} doesn't exist."
            return _error("60018", f"{told} Please use the correct URL, channel and parameters referring to API document.")
        (self.symbols.add if op == "subscribe" else self.symbols.discard)(name)
        return json.dumps({"event": op, "arg": {"channel": channel, "instId": name}, "connId": _CONNECTION}).encode()


def _error(code: str, message: str) -> bytes:
    return json.dumps({"event": "error", "code": code, "msg": message, "connId": _CONNECTION}).encode()


def _frame(trade: SimTrade) -> bytes:
    return _message("trades-all", trade.symbol, _fields(trade, trade.size) + ',"source":"0"')


def _message(channel: str, name: str, fields: str) -> bytes:
    return f'{{"arg":{{"channel":"{channel}","instId":"{name}"}},"data":[{{{fields}}}]}}'.encode()


def _fields(trade: SimTrade, size: str) -> str:
    return (
        f'"instId":"{trade.symbol}","tradeId":"{trade.trade_id}","px":"{trade.price}","sz":"{size}",'
        f'"side":"{_side(trade)}","ts":"{ms(trade.ts_ns)}"'
    )


def _side(trade: SimTrade) -> str:
    return "buy" if trade.buy else "sell"


def _orders(trades: Sequence[SimTrade]) -> Iterator[list[SimTrade]]:
    """Consecutive trades that one order may have made at one price."""
    fills: list[SimTrade] = []
    for trade in trades:
        if fills and _order(fills[-1]) != _order(trade):
            yield fills
            fills = []
        fills.append(trade)
    if fills:
        yield fills


def _order(trade: SimTrade) -> tuple[str, str, bool, int]:
    return trade.symbol, trade.price, trade.buy, ms(trade.ts_ns)


def _aggregate(fills: Sequence[SimTrade]) -> bytes:
    """The id is the last one's."""
    last, size = fills[-1], text(sum((Decimal(fill.size) for fill in fills), Decimal(0)))
    extra = f',"count":"{len(fills)}","source":"0","seqId":{last.trade_id * 3}'
    return _message("trades", last.symbol, _fields(last, size) + extra)


# --- REST -----------------------------------------------------------------------------------------------------------------


def _trades(tape: Tape, query: Mapping[str, str]) -> str:
    """Newest first: those before (`after`!) an id or a time, or the newest of all."""
    name, limit = query["instId"], limited(query, "limit", 100, 100)
    after, before = number(query, "after"), number(query, "before")
    if after is None:
        trades = tape.newest(name, limit) if before is None else tape.above_id(name, before, limit)
    elif query.get("type", "1") == "2":
        trades = tape.before(name, after * _NS_PER_MS, limit)
    else:
        trades = tape.below_id(name, after, limit)
        trades = [trade for trade in trades if before is None or trade.trade_id > before]
    rows = [f'{{{_fields(trade, trade.size)},"source":"0"}}' for trade in reversed(trades)]
    return f'{{"code":"0","msg":"","data":[{",".join(rows)}]}}'


def _candles(tape: Tape, query: Mapping[str, str]) -> str:
    """Newest first: those before (`after`!) a time, and after another (`before`)."""
    if query.get("bar", "1m") != "1m":
        raise ValueError("the simulator has minutes only")
    after, before = number(query, "after"), number(query, "before")
    last = None if after is None else -(-after // _MS_PER_MINUTE) - 1
    first = None if before is None else before // _MS_PER_MINUTE + 1
    candles = tape.minutes(query["instId"], first, last)[-limited(query, "limit", 100, 300) :]
    now = tape.now_ns // (_NS_PER_MS * _MS_PER_MINUTE)
    rows = [_candle(candle, candle.minute < now) for candle in reversed(candles)]
    return f'{{"code":"0","msg":"","data":[{",".join(rows)}]}}'


def _candle(candle: Minute, over: bool) -> str:
    prices = f'"{candle.open}","{candle.high}","{candle.low}","{candle.close}"'
    volume, worth = text(candle.volume), text(candle.notional)
    return f'["{candle.minute * _MS_PER_MINUTE}",{prices},"{volume}","{worth}","{worth}","{int(over)}"]'


WIRE = Wire(
    session=_Channel,
    frame=_frame,
    pages={"/api/v5/market/history-trades": _trades, "/api/v5/market/history-candles": _candles},
    bad=Refused(200, '{"code":"51001","msg":"Instrument ID doesn\'t exist.","data":[]}'),
    paths=_CHANNELS,
    busy='{"code":"50011","msg":"Too Many Requests","data":[]}',
)
