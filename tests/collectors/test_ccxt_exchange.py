"""ccxt behind its one wall: no number becomes a float, no error comes through, and the real one is as we take it to be."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from collectors import ccxt_exchange
from collectors.asking import RepairRules
from collectors.ccxt_exchange import CcxtExchange, columns, exact_json, has_ids, make, raws, translated, without_floats
from collectors.ccxt_live import CcxtCollector
from collectors.delays import Delays
from pipeline.errors import BadValue, VenueError
from tests.collectors import ccxt_stand_in as stand_in
from tests.collectors.ccxt_stand_in import MS, StandIn, trade
from tests.collectors.text_sink import TextSink

LATEST_NS = 2_000_000_000 * 10**9
ODD = ["0.30000000000000004", "9007199254740993.1", "1e-08", "0.1000000000000000055511151231257827", "1E400"]


def test_where_ccxt_is_not_installed_it_is_told_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    with pytest.raises(BadValue, match=r"venue 'ccxt-kucoin' needs ccxt: pip install \"spillway\[ccxt\]\""):
        make("kucoin", {})


# --- numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ODD)
def test_json_numbers_are_read_as_their_texts(number: str) -> None:
    assert exact_json(f'{{"p":{number},"rows":[[{number},7]],"id":12345678901234567890}}') == {
        "p": number,
        "rows": [[number, 7]],
        "id": 12345678901234567890,
    }


def test_an_exchange_reads_and_makes_no_floats_any_more() -> None:
    exchange: Any = without_floats(StandIn())
    client = exchange.client("wss://stand-in")
    client.handle_text_or_binary_message('{"data":[0.30000000000000004]}')
    client.handle_text_or_binary_message(b'{"data":1e-08}')
    assert exchange.messages == [["0.30000000000000004"], "1e-08"]
    assert exchange.on_json_response('{"price":0.30000000000000004}') == {"price": "0.30000000000000004"}
    assert exchange.number("0.30000000000000004") == "0.30000000000000004"
    assert exchange.create_ccxt_trade_id(timestamp=1, price="1") is None


@pytest.mark.parametrize("data", ['{"data":', b"\xff\xfe", '{"no":"data"}', "[" * 10_000, "7"])
def test_a_message_that_ccxt_fails_at_is_told_and_the_next_one_is_read(data: str | bytes) -> None:
    unread: list[tuple[str, str]] = []
    exchange: Any = without_floats(StandIn())
    CcxtExchange("ccxt-x", exchange).tell(opened=lambda: None, unread=lambda raw, why: unread.append((raw, why)))
    client = exchange.client("wss://stand-in")
    client.handle_text_or_binary_message(data)
    client.handle_text_or_binary_message('{"data":1}')
    ((raw, why),) = unread
    assert raw[:5] == (data if isinstance(data, str) else "\\xff\\xfe")[:5]
    assert why
    assert (exchange.messages, client.rejected) == ([1], [])


def test_an_error_that_ccxt_makes_of_a_message_goes_to_those_who_wait() -> None:
    exchange: Any = without_floats(StandIn())
    client = exchange.client("wss://stand-in")
    client.handle_text_or_binary_message("5xx")
    assert [type(error).__name__ for error in client.rejected] == ["ExchangeNotAvailable"]


# --- trades ---------------------------------------------------------------------------------------------------------------


def test_trades_become_columns_with_their_texts() -> None:
    rows = [trade(1, price="0.30000000000000004"), trade("b-2", side="sell", amount="1e-08"), trade(3, side=None)]
    trades = columns(rows)
    assert list(trades.ids) == ["1", "b-2", "3"]
    assert (trades.price[0], trades.size[1]) == ("0.30000000000000004", "1e-08")
    assert (trades.side.tolist(), trades.ts_ns.tolist()) == ([1, -1, 0], [MS * 10**6] * 3)
    assert trades.reasons == {}
    assert raws(rows, "there")(1) == ('{"tradeId": "b-2", "p": "61837.63"}', "there")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": 61837.63}, "price is no text but a float: its digits may have been rounded"),
        ({"amount": 1}, "amount is no text but a int"),
        ({"amount": None}, "amount is no text but a NoneType"),
        ({"id": None}, "no id"),
        ({"id": ""}, "no id"),
        ({"id": 1.5}, "no id"),
        ({"side": "up"}, "side 'up' is unknown"),
        ({"side": ["buy"]}, "is unknown"),
        ({"price": "1e400"}, "price '1e400' is out of range"),
        ({"price": "abc"}, "is not a decimal number"),
        ({"timestamp": None}, "no time"),
        ({"timestamp": 1.5}, "no time"),
        ({"timestamp": -5}, "no time"),
        ({"timestamp": 10**400}, "time in the future"),
    ],
)
def test_a_trade_that_lacks_something_or_was_rounded_is_refused_and_the_others_are_not(
    changes: dict[str, Any], reason: str
) -> None:
    batch, reasons = columns([trade(1), trade(2, **changes), trade(3)]).checked(latest_ns=LATEST_NS)
    assert batch.ids.tolist() == ["1", "3"]
    assert list(reasons) == [1]
    assert reason in reasons[1]


async def test_what_is_no_trade_at_all_is_refused() -> None:
    exchange = StandIn()
    exchange.history = [trade(1), None, 5, "x", []]
    rows = await CcxtExchange("ccxt-x", exchange).fetch("BTC/USDT")
    _, reasons = columns(rows).checked(latest_ns=LATEST_NS)
    assert list(reasons) == [1, 2, 3, 4]
    assert raws(rows, "there")(3) == ('"x"', "there")


def test_an_exchange_without_ids_shows() -> None:
    assert has_ids([trade(None), trade(1)])
    assert not has_ids([trade(None), trade(None)])


# --- errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "fatal", "wait_s"),
    [
        (stand_in.BadSymbol("no"), True, 0.0),
        (stand_in.AuthenticationError("no"), True, 0.0),
        (stand_in.PermissionDenied("no"), True, 0.0),
        (stand_in.NotSupported("no"), True, 0.0),
        (stand_in.RateLimitExceeded("slow"), False, 60.0),
        (stand_in.DDoSProtection("slow"), False, 60.0),
        (stand_in.NetworkError("cut"), False, 0.0),
        (stand_in.ExchangeNotAvailable("down"), False, 0.0),
        (stand_in.ExchangeError("odd"), False, 0.0),
        (KeyError("price"), False, 0.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_ours_and_say_whether_to_try_again(error: Exception, fatal: bool, wait_s: float) -> None:
    ours = translated("ccxt-x", error)
    assert (ours.fatal, ours.retry_after_s) == (fatal, wait_s)
    assert str(ours).startswith(f"ccxt-x: {type(error).__name__}: ")


async def test_a_symbol_that_is_no_market_is_fatal() -> None:
    with pytest.raises(VenueError, match="ccxt-x: no market 'BTCUSDT'; ccxt writes them BTC/USDT") as error:
        await CcxtExchange("ccxt-x", StandIn()).load(["BTC/USDT", "BTCUSDT"])
    assert error.value.fatal


# --- the real ccxt --------------------------------------------------------------------------------------------------------

MARKET = {
    **{"name": "BTC/USD", "market_symbol": "btcusd", "base_currency": "BTC", "base_decimals": 8, "counter_currency": "USD"},
    **{"counter_decimals": 2, "minimum_order_value": "10", "trading": "Enabled", "instant_order_counter_decimals": 2},
    **{"instant_and_market_orders": "Enabled", "description": "Bitcoin / U.S. dollar", "market_type": "SPOT"},
}


class BitstampOnLoopback:
    """Speaks Bitstamp's protocol. Its prices are JSON numbers on the websocket, with digits that no float holds."""

    def __init__(self) -> None:
        self.traded: list[tuple[int, str, str]] = []  # id, price, amount
        self.sockets: list[web.WebSocketResponse] = []
        self.subscribed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Settings by which ccxt finds it."""
        app = web.Application()
        app.add_routes([web.get("/api/v2/markets/", self.markets), web.get("/ws", self.stream)])
        app.add_routes([web.get("/api/v2/transactions/btcusd/", self.transactions)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield {"urls": {"api": {"public": f"http://{host}/api", "ws": f"ws://{host}/ws"}}}
        finally:
            await runner.cleanup()

    async def markets(self, request: web.Request) -> web.Response:
        return web.json_response([MARKET])

    async def transactions(self, request: web.Request) -> web.Response:
        rows = [f'{{"date":"{MS // 1000}","tid":"{i}","amount":"{a}","type":"0","price":"{p}"}}' for i, p, a in self.traded]
        return web.Response(text=f"[{','.join(reversed(rows))}]", content_type="application/json")

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT and json.loads(message.data)["event"] == "bts:subscribe":
                channel = json.loads(message.data)["data"]["channel"]
                await socket.send_json({"event": "bts:subscription_succeeded", "channel": channel, "data": {}})
                self.subscribed.set()
        return socket

    async def trade(self, number: int, price: str, amount: str, *, heard: bool = True) -> None:
        """Makes a trade; unless it is `heard` only the history knows it."""
        self.traded.append((number, price, amount))
        data = f'{{"id":{number},"amount":{amount},"price":{price},"type":1,"microtimestamp":"{MS}000"}}'
        if heard:
            await self.sockets[-1].send_str(f'{{"data":{data},"channel":"live_trades_btcusd","event":"trade"}}')


async def until(reached: asyncio.Event | TextSink, count: int = 0) -> None:
    async with asyncio.timeout(20):
        await (reached.wait() if isinstance(reached, asyncio.Event) else reached.holds(count))


async def test_the_real_ccxt_rounds_nothing_and_gives_back_what_a_cut_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ccxt.pro", reason='ccxt is an extra: pip install "spillway[ccxt]"')
    exchange, sink, stop = BitstampOnLoopback(), TextSink(), asyncio.Event()
    async with exchange.running() as settings:
        collector = CcxtCollector(
            exchange_id="bitstamp",
            symbols=["BTC/USD"],
            sinks={"BTC/USD": sink},
            reject=sink.reject,
            settings=settings,
            gap_log=sink,
            delays=Delays(first_s=0.01, cap_s=0.02),
            rules=RepairRules(quiet_s=0.2, lag_s=0.05),
        )
        run = asyncio.create_task(collector.run(stop))
        await until(exchange.subscribed)
        await exchange.trade(1, "0.30000000000000004", "9007199254740993.1")
        await exchange.trade(2, "1e-08", "0.1000000000000000055511151231257827")
        await until(sink, 2)
        exchange.subscribed.clear()
        await exchange.sockets[-1].close()
        await exchange.trade(3, "61837.630", "0.02", heard=False)
        await until(exchange.subscribed)
        await exchange.trade(4, "61838", "0.5")
        await until(sink, 4)
        await until(sink.logged)
        stop.set()
        await run
    told = {str(number): (price, amount) for number, price, amount in exchange.traded}
    assert {row[0]: row[2:4] for row in sink.repairs} == told  # texts in JSON
    assert {row[0]: row[2:4] for row in sink.live} == {i: told[i] for i in ("1", "2", "4")}  # numbers in JSON
    assert (collector.connections, collector.trades, sink.rejects) == (2, 3, [])
    assert [(fetched, how) for _, _, fetched, how in sink.outages] == [(True, "overlap fetched")]


async def test_the_real_ccxt_has_all_that_is_replaced_in_it() -> None:
    pytest.importorskip("ccxt.pro", reason='ccxt is an extra: pip install "spillway[ccxt]"')
    exchange = make("kucoin", {})
    try:
        client = exchange.client("wss://127.0.0.1:1")
        for kind, names in ((type(exchange), ("client", "on_json_response", "create_ccxt_trade_id", "on_connected")),):
            assert all(hasattr(kind, name) for name in names)
        assert hasattr(type(exchange), "number")
        assert all(hasattr(type(client), name) for name in ("handle_text_or_binary_message", "reject"))
        assert exchange.options["tradesLimit"] == ccxt_exchange.MOST_NEW
        assert exchange.parse_number("0.30000000000000004") == "0.30000000000000004"
        assert exchange.parse_json('{"price":0.30000000000000004}') == {"price": "0.30000000000000004"}
    finally:
        await exchange.close()


def test_the_real_ccxt_names_its_errors_as_they_are_known_here() -> None:
    ccxt = pytest.importorskip("ccxt", reason='ccxt is an extra: pip install "spillway[ccxt]"')
    for name in ("BadSymbol", "AuthenticationError", "PermissionDenied", "NotSupported", "ArgumentsRequired"):
        assert translated("x", getattr(ccxt, name)("no")).fatal
    for name in ("RateLimitExceeded", "DDoSProtection"):
        assert translated("x", getattr(ccxt, name)("slow")).retry_after_s > 0
    assert not translated("x", ccxt.NetworkError("cut")).fatal


@pytest.mark.parametrize(("exchange_id", "told"), [("mtgox", "has no exchange 'mtgox'"), ("exchanges", "has no exchange")])
def test_an_exchange_that_ccxt_does_not_know_is_refused(exchange_id: str, told: str) -> None:
    pytest.importorskip("ccxt.pro", reason='ccxt is an extra: pip install "spillway[ccxt]"')
    with pytest.raises(BadValue, match=told):
        make(exchange_id, {})
