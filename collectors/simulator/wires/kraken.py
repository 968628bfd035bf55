"""Kraken: websocket v2 and REST, as docs.kraken.com/api has it. Prices and sizes are JSON numbers on the websocket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Minute, Tape
from collectors.simulator.wires.texts import iso, seconds, text
from collectors.simulator.wires.wire import Refused, Session, Wire, limited, number, runs

_SNAPSHOT = 50  # trades
_MOST_CANDLES = 720
_LEGACY = {"BTC": "XXBT", "ETH": "XETH", "XRP": "XXRP", "LTC": "XLTC", "USD": "ZUSD", "EUR": "ZEUR"}
_STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.9","system":"online","api_version":"v2",'
    b'"connection_id":12393906104898154338}]}'
)


class _Book(Session):
    """The trade channel of symbols; with a snapshot of the last trades unless it isn't wanted."""

    plain = False

    def hello(self) -> Iterable[bytes]:
        return [_STATUS]

    def heard(self, text: bytes) -> Iterable[bytes]:
        request = json.loads(text)
        method, req_id = request.get("method"), request.get("req_id")
        if method == "ping":
            return [json.dumps({"method": "pong"} | self._times(req_id)).encode()]
        params = request.get("params", {})
        if method not in ("subscribe", "unsubscribe") or params.get("channel") != "trade":
            error = {
                "error": "Unsupported event" if method is None else "Unsupported channel",
                "method": method,
                "success": False,
            }
            return [json.dumps(error | self._times(req_id)).encode()]
        return [answer for symbol in params["symbol"] for answer in self._change(method, symbol, params, req_id)]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        return [_message("update", run) for run in runs(trades)]

    def beat(self) -> Iterable[bytes]:
        return [b'{"channel":"heartbeat"}'] if self.symbols else []

    def _change(self, method: str, symbol: str, params: Mapping[str, Any], req_id: int | None) -> list[bytes]:
        times = self._times(req_id)
        if symbol not in self.tape.symbols:
            error = {"error": f"Currency pair not supported {symbol}", "method": method, "success": False, "symbol": symbol}
            return [json.dumps(error | times).encode()]
        result: dict[str, Any] = {"channel": "trade", "symbol": symbol}
        if method == "unsubscribe":
            self.symbols.discard(symbol)
            return [json.dumps({"method": method, "result": result, "success": True} | times).encode()]
        self.symbols.add(symbol)
        result["snapshot"] = bool(params.get("snapshot", True))
        answer = json.dumps({"method": method, "result": result, "success": True} | times).encode()
        last = self.tape.newest(symbol, _SNAPSHOT) if result["snapshot"] else []
        return [answer, _message("snapshot", last)] if last else [answer]

    def _times(self, req_id: int | None) -> dict[str, Any]:
        times: dict[str, Any] = {"time_in": iso(self.tape.now_ns), "time_out": iso(self.tape.now_ns + 20_000)}
        return times if req_id is None else times | {"req_id": req_id}


def _message(kind: str, trades: Sequence[SimTrade]) -> bytes:
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(map(_trade, trades))}]}}'.encode()


def _trade(trade: SimTrade) -> str:
    side, order = "buy" if trade.buy else "sell", "market" if trade.trade_id % 3 else "limit"
    return (
        f'{{"symbol":"{trade.symbol}","side":"{side}","price":{trade.price},"qty":{trade.size},"ord_type":"{order}",'
        f'"trade_id":{trade.trade_id},"timestamp":"{iso(trade.ts_ns)}"}}'
    )


def _frame(trade: SimTrade) -> bytes:
    return _message("update", [trade])


# --- REST: all answers have status 200 ------------------------------------------------------------------------------------


def _trades(tape: Tape, query: Mapping[str, str]) -> str:
    """Trades after a time (a text of ns), oldest first; without it the newest ones."""
    symbol, limit = _symbol(tape, query["pair"]), limited(query, "count", 1000, 1000)
    since = number(query, "since")
    if since is not None and since < 10**18:
        since *= 10**9  # whole seconds are understood as well
    trades = tape.newest(symbol, limit) if since is None else tape.since(symbol, since + 1, limit)
    last = trades[-1].ts_ns if trades else since or 0
    return f'{{"error":[],"result":{{"{_key(symbol, query)}":[{",".join(map(_row, trades))}],"last":"{last}"}}}}'


def _row(trade: SimTrade) -> str:
    side, order = "b" if trade.buy else "s", "m" if trade.trade_id % 3 else "l"
    return f'["{trade.price}","{trade.size}",{seconds(trade.ts_ns)},"{side}","{order}","",{trade.trade_id}]'


def _candles(tape: Tape, query: Mapping[str, str]) -> str:
    """The last 720 minutes and no more, those after `since`; the last of them is still going on."""
    if query.get("interval", "1") != "1":
        raise ValueError("the simulator has minutes only")
    symbol, since = _symbol(tape, query["pair"]), number(query, "since", 0)
    candles = [c for c in tape.minutes(symbol, None, None)[-_MOST_CANDLES:] if c.minute * 60 > (since or 0)]
    last = candles[-2].minute * 60 if len(candles) > 1 else since
    return f'{{"error":[],"result":{{"{_key(symbol, query)}":[{",".join(map(_candle, candles))}],"last":{last}}}}}'


def _candle(candle: Minute) -> str:
    average = text((candle.notional / candle.volume).quantize(candle.notional)) if candle.volume else "0"
    prices = f'"{candle.open}","{candle.high}","{candle.low}","{candle.close}","{average}"'
    return f'[{candle.minute * 60},{prices},"{text(candle.volume)}",{candle.count}]'


def _symbol(tape: Tape, pair: str) -> str:
    """`BTC/USD` for any of its names. KeyError where there is none."""
    return {name: symbol for symbol in tape.symbols for name in _names(symbol)}[pair.upper()]


def _names(symbol: str) -> set[str]:
    base, _, quote = symbol.partition("/")
    short = base.replace("BTC", "XBT")
    return {symbol, base + quote, f"{short}/{quote}", short + quote, _LEGACY.get(base, base) + _LEGACY.get(quote, quote)}


def _key(symbol: str, query: Mapping[str, str]) -> str:
    if query.get("assetVersion") == "1":
        return symbol
    base, _, quote = symbol.partition("/")
    legacy = base in _LEGACY and quote in _LEGACY
    return _LEGACY[base] + _LEGACY[quote] if legacy else base + quote


WIRE = Wire(
    session=_Book,
    frame=_frame,
    pages={"/0/public/Trades": _trades, "/0/public/OHLC": _candles},
    bad=Refused(200, '{"error":["EQuery:Unknown asset pair"]}'),
    paths={"/v2"},
    busy='{"error":["EGeneral:Too many requests"]}',
    soft_busy='{"error":["EGeneral:Too many requests"]}',
)
