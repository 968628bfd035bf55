"""Bybit v5, linear and spot, as bybit-exchange.github.io/docs/v5 has it. Ids are UUIDs on linear, numbers on spot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Minute, Tape
from collectors.simulator.wires.texts import ms, text, uuid
from collectors.simulator.wires.wire import Page, Refused, Session, Wire, limited, number, runs

_MS_PER_MINUTE = 60_000
_CONNECTION = "465772b1-7630-4fdc-a492-e003e6f0f260"
_SPOT_ARGS = 10  # to a request


@dataclass(frozen=True, slots=True)
class _Market:
    """One of Bybit's markets."""

    category: str
    most: int  # trades in an answer
    usual: int

    def session(self, tape: Tape, path: str) -> Session:
        return _Topics(self, tape, path)

    def id_text(self, trade: SimTrade) -> str:
        """A trade's id as the market tells it."""
        return uuid("bybit", trade.symbol, trade.trade_id) if self.category == "linear" else str(trade.trade_id)

    def message(self, trades: Sequence[SimTrade]) -> bytes:
        """Trades of one symbol."""
        topic, at = f"publicTrade.{trades[0].symbol}", ms(trades[-1].ts_ns) + 2
        return f'{{"topic":"{topic}","type":"snapshot","ts":{at},"data":[{",".join(map(self._trade, trades))}]}}'.encode()

    def frame(self, trade: SimTrade) -> bytes:
        return self.message([trade])

    def page(self, tape: Tape, query: Mapping[str, str]) -> str:
        """The newest trades, newest first; more can't be had."""
        symbol, limit = query["symbol"], limited(query, "limit", self.usual, self.most)
        rows = ",".join(map(self._row, reversed(tape.newest(symbol, limit))))
        return self._answer(tape, query, f'"category":"{self.category}","list":[{rows}]')

    def candles(self, tape: Tape, query: Mapping[str, str]) -> str:
        """Newest first."""
        if query["interval"] != "1":
            raise ValueError("the simulator has minutes only")
        start, end = number(query, "start"), number(query, "end")
        first = None if start is None else -(-start // _MS_PER_MINUTE)
        minutes = tape.minutes(query["symbol"], first, None if end is None else end // _MS_PER_MINUTE)
        rows = ",".join(map(_candle, reversed(minutes[-limited(query, "limit", 200, 1000) :])))
        return self._answer(tape, query, f'"category":"{self.category}","symbol":"{query["symbol"]}","list":[{rows}]')

    def _answer(self, tape: Tape, query: Mapping[str, str], result: str) -> str:
        if query.get("category", "linear") != self.category:
            raise KeyError("category")
        return f'{{"retCode":0,"retMsg":"OK","result":{{{result}}},"retExtInfo":{{}},"time":{ms(tape.now_ns)}}}'

    def _trade(self, trade: SimTrade) -> str:
        tick = f',"L":"{"PlusTick" if trade.buy else "MinusTick"}"' if self.category == "linear" else ""
        return (
            f'{{"T":{ms(trade.ts_ns)},"s":"{trade.symbol}","S":"{_side(trade)}","v":"{trade.size}","p":"{trade.price}"{tick},'
            f'"i":"{self.id_text(trade)}","BT":false,"RPI":false,"seq":{_sequence(trade)}}}'
        )

    def _row(self, trade: SimTrade) -> str:
        return (
            f'{{"execId":"{self.id_text(trade)}","symbol":"{trade.symbol}","price":"{trade.price}","size":"{trade.size}",'
            f'"side":"{_side(trade)}","time":"{ms(trade.ts_ns)}","isBlockTrade":false,"isRPITrade":false,'
            f'"seq":"{_sequence(trade)}"}}'
        )


class _Topics(Session):
    """`publicTrade.SYMBOL` of several symbols."""

    plain = False

    def __init__(self, market: _Market, tape: Tape, path: str) -> None:
        super().__init__(tape, path)
        self._market = market

    def heard(self, text: bytes) -> Iterable[bytes]:
        request = json.loads(text)
        op, args = request.get("op", ""), request.get("args", [])
        if op == "ping":
            return [self._answer(True, "pong", op, request)]
        spot = self._market.category == "spot"
        if op not in ("subscribe", "unsubscribe") or (spot and len(args) > _SPOT_ARGS):
            return [self._answer(False, "args size >10" if spot and args else "Invalid op", op, request)]
        symbols = {arg.removeprefix("publicTrade.") for arg in args if arg.startswith("publicTrade.")}
        unknown = sorted(symbols - set(self.tape.symbols))
        if unknown:
            return [self._answer(False, f"error:handler not found,topic:publicTrade.{unknown[0]}", op, request)]
        (self.symbols.update if op == "subscribe" else self.symbols.difference_update)(symbols)
        return [self._answer(True, op if spot else "", op, request)]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        return [self._market.message(run) for run in runs(trades)]

    def _answer(self, success: bool, told: str, op: str, request: Mapping[str, str]) -> bytes:
        ending = {"conn_id": _CONNECTION, "req_id": request.get("req_id", ""), "op": op}
        return json.dumps({"success": success, "ret_msg": told} | ending).encode()


def _side(trade: SimTrade) -> str:
    return "Buy" if trade.buy else "Sell"


def _sequence(trade: SimTrade) -> int:
    return 1_783_284_000 + trade.trade_id // 3  # all trades of one order have the same


def _candle(candle: Minute) -> str:
    prices = f'"{candle.open}","{candle.high}","{candle.low}","{candle.close}"'
    return f'["{candle.minute * _MS_PER_MINUTE}",{prices},"{text(candle.volume)}","{text(candle.notional)}"]'


def _wire(market: _Market) -> Wire:
    pages: dict[str, Page] = {"/v5/market/recent-trade": market.page, "/v5/market/kline": market.candles}
    return Wire(
        session=market.session,
        frame=market.frame,
        pages=pages,
        bad=Refused(200, '{"retCode":10001,"retMsg":"params error: symbol invalid","result":{},"retExtInfo":{},"time":0}'),
        paths={f"/v5/public/{market.category}"},
        busy='{"retCode":10006,"retMsg":"Too many visits. Exceeded the API Rate Limit.","result":{},"retExtInfo":{},"time":0}',
        soft_busy='{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{},"time":0}',
    )


_LINEAR, _SPOT = _Market("linear", most=1000, usual=500), _Market("spot", most=60, usual=60)
LINEAR, SPOT = _wire(_LINEAR), _wire(_SPOT)
linear_id = _LINEAR.id_text
