"""Binance spot and USD-M futures, as developers.binance.com has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Minute, Tape
from collectors.simulator.wires.texts import ms, text
from collectors.simulator.wires.wire import Page, Refused, Session, Wire, limited, number

_MS_PER_MINUTE = 60_000
_SPOT_AGGREGATES = 7_000_000  # spot's aggregates have ids of their own


@dataclass(frozen=True, slots=True)
class _Market:
    """One of Binance's markets."""

    stream: str
    event: Callable[[SimTrade], str]

    def combined(self, trade: SimTrade) -> bytes:
        """The event as combined streams wrap it."""
        return f'{{"stream":"{trade.symbol.lower()}@{self.stream}","data":{self.event(trade)}}}'.encode()

    def session(self, tape: Tape, path: str) -> Session:
        return _Streams(self, tape, path)


class _Streams(Session):
    """Streams are named in the path, or asked for by messages."""

    def __init__(self, market: _Market, tape: Tape, path: str) -> None:
        super().__init__(tape, path)
        self._market = market
        place, _, query = unquote(path).partition("?")
        self.plain = place.endswith("/stream")
        self._add((query.partition("streams=") if self.plain else place.partition("/ws/"))[2].split("/"))

    def heard(self, text: bytes) -> Iterable[bytes]:
        request = json.loads(text)
        if request["method"] == "SUBSCRIBE":
            self._add(request["params"])
        return [json.dumps({"result": None, "id": request["id"]}).encode()]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        if self.plain:
            return [self._market.combined(trade) for trade in trades]
        return [self._market.event(trade).encode() for trade in trades]

    def _add(self, streams: Iterable[str]) -> None:
        names = (stream.partition("@") for stream in streams)
        self.symbols |= {symbol.upper() for symbol, _, kind in names if kind == self._market.stream}


def _spot_event(trade: SimTrade) -> str:
    at, maker = ms(trade.ts_ns), "false" if trade.buy else "true"
    return (
        f'{{"e":"trade","E":{at},"s":"{trade.symbol}","t":{trade.trade_id},"p":"{trade.price}","q":"{trade.size}",'
        f'"T":{at},"m":{maker},"M":true}}'
    )


def _spot_row(trade: SimTrade) -> str:
    at, maker = ms(trade.ts_ns), "false" if trade.buy else "true"
    return (
        f'{{"id":{trade.trade_id},"price":"{trade.price}","qty":"{trade.size}","quoteQty":"0","time":{at},'
        f'"isBuyerMaker":{maker},"isBestMatch":true}}'
    )


def _spot_aggregate(trade: SimTrade) -> str:
    return _aggregate(trade, trade.trade_id + _SPOT_AGGREGATES, trade.trade_id, trade.trade_id)[:-1] + ',"M":true}'


def _usdm_event(trade: SimTrade) -> str:
    return f'{{"e":"aggTrade","E":{ms(trade.ts_ns)},"s":"{trade.symbol}",{_usdm_row(trade)[1:]}'


def _usdm_row(trade: SimTrade) -> str:
    first = trade.trade_id * 1000  # fills have ids of their own, and holes between aggregates
    return _aggregate(trade, trade.trade_id, first, first + trade.count - 1)


def _aggregate(trade: SimTrade, number: int, first: int, last: int) -> str:
    maker = "false" if trade.buy else "true"
    return f'{{"a":{number},"p":"{trade.price}","q":"{trade.size}","f":{first},"l":{last},"T":{ms(trade.ts_ns)},"m":{maker}}}'


def _trades(row: Callable[[SimTrade], str], first_id: int = 0) -> Page:
    """A history by `fromId` (less `first_id`), by time, or of the newest trades."""

    def page(tape: Tape, query: Mapping[str, str]) -> str:
        symbol, limit = query["symbol"], limited(query, "limit", 500, 1000)
        from_id, start = number(query, "fromId"), number(query, "startTime")
        if from_id is not None:
            trades = tape.from_id(symbol, from_id - first_id, limit)
        elif start is not None:
            trades = tape.since(symbol, start * 1_000_000, limit)
        else:
            trades = tape.newest(symbol, limit)
        end = number(query, "endTime")
        return f"[{','.join(row(t) for t in trades if end is None or ms(t.ts_ns) <= end)}]"

    return page


def _klines(most: int) -> Page:
    def page(tape: Tape, query: Mapping[str, str]) -> str:
        if query["interval"] != "1m":
            raise ValueError("the simulator has minutes only")
        limit = limited(query, "limit", 500, most)
        start, end = number(query, "startTime"), number(query, "endTime")
        first = None if start is None else -(-start // _MS_PER_MINUTE)
        minutes = tape.minutes(query["symbol"], first, None if end is None else end // _MS_PER_MINUTE)
        return f"[{','.join(map(_kline, minutes[-limit:] if start is None else minutes[:limit]))}]"

    return page


def _kline(candle: Minute) -> str:
    at = candle.minute * _MS_PER_MINUTE
    return (
        f'[{at},"{candle.open}","{candle.high}","{candle.low}","{candle.close}","{text(candle.volume)}",{at + 59_999},'
        f'"{text(candle.notional)}",{candle.count},"{text(candle.buy_volume)}","{text(candle.buy_notional)}","0"]'
    )


_BAD = Refused(400, '{"code":-1121,"msg":"Invalid symbol."}')
_BUSY = '{"code":-1003,"msg":"Too much request weight used; current limit is 6000 request weight per 1 MINUTE."}'
_SPOT = _Market("trade", _spot_event)
_USDM = _Market("aggTrade", _usdm_event)

SPOT = Wire(
    session=_SPOT.session,
    frame=_SPOT.combined,
    pages={
        "/api/v3/historicalTrades": _trades(_spot_row),
        "/api/v3/aggTrades": _trades(_spot_aggregate, _SPOT_AGGREGATES),
        "/api/v3/klines": _klines(1000),
    },
    bad=_BAD,
    busy=_BUSY,
)
USDM = Wire(
    session=_USDM.session,
    frame=_USDM.combined,
    pages={"/fapi/v1/aggTrades": _trades(_usdm_row), "/fapi/v1/klines": _klines(1500)},
    bad=_BAD,
    busy=_BUSY,
)
