"""Bybit v5 as its documentation has it."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from collectors.simulator.synthetic import SimTrade, merged
from collectors.simulator.wires.bybit import LINEAR, SPOT, linear_id
from collectors.simulator.wires.wire import Wire
from tests.collectors.simulator.wires.talk import happened, heard, made, page, read

MS = 1_000_000
BUY = SimTrade("BTCUSDT", 5, 1_672_304_486_865 * MS, "16578.50", "0.001", True)
SUBSCRIBE = {"req_id": "t1", "op": "subscribe", "args": ["publicTrade.BTCUSDT"]}


def test_a_linear_trade_has_a_uuid_and_a_spot_trade_a_number() -> None:
    linear, spot = read(LINEAR.frame(BUY)), read(SPOT.frame(BUY))
    assert (linear["topic"], linear["type"]) == ("publicTrade.BTCUSDT", "snapshot")
    (trade,) = linear["data"]
    assert set(trade) == {"T", "s", "S", "v", "p", "L", "i", "BT", "RPI", "seq"}
    assert (trade["T"], trade["s"], trade["S"], trade["v"], trade["p"]) == (
        1_672_304_486_865,
        "BTCUSDT",
        "Buy",
        "0.001",
        "16578.50",
    )
    assert str(UUID(trade["i"])) == trade["i"] == linear_id(BUY)
    assert spot["data"][0]["i"] == "5"


def test_the_same_trade_has_the_same_id_everywhere_and_another_one_another() -> None:
    row = page(LINEAR, happened([BUY]), "/v5/market/recent-trade", category="linear", symbol="BTCUSDT")["result"]["list"][0]
    assert row["execId"] == linear_id(BUY)
    assert len({linear_id(trade) for trade in made("BTCUSDT", 300)}) == 300


@pytest.mark.parametrize(("wire", "kind", "told"), [(LINEAR, "linear", ""), (SPOT, "spot", "subscribe")])
def test_subscriptions_and_pings_are_answered(wire: Wire, kind: str, told: str) -> None:
    session, (ack, pong) = heard(wire, happened([BUY]), f"/v5/public/{kind}", SUBSCRIBE, {"op": "ping"})
    assert (ack["success"], ack["ret_msg"], ack["op"], ack["req_id"]) == (True, told, "subscribe", "t1")
    assert (pong["success"], pong["ret_msg"], pong["op"]) == (True, "pong", "ping")
    assert session.symbols == {"BTCUSDT"}


def test_an_unknown_topic_refuses_all_of_the_request() -> None:
    request = SUBSCRIBE | {"args": ["publicTrade.BTCUSDT", "publicTrade.NOPE"]}
    session, (answer,) = heard(LINEAR, happened([BUY]), "/v5/public/linear", request)
    assert (answer["success"], session.symbols) == (False, set())
    assert "publicTrade.NOPE" in answer["ret_msg"]


def test_the_spot_market_takes_ten_topics_a_request() -> None:
    symbols = [f"S{n}USDT" for n in range(11)]
    tape = happened(merged(*(made(symbol, 1) for symbol in symbols)))
    request = SUBSCRIBE | {"args": [f"publicTrade.{symbol}" for symbol in symbols]}
    for wire, taken in ((SPOT, 0), (LINEAR, 11)):
        session, _ = heard(wire, tape, "/v5/public/x", request)
        assert len(session.symbols) == taken


def test_a_frame_holds_several_trades_of_one_symbol() -> None:
    trades = merged(made("BTCUSDT", 100), made("ETHUSDT", 100, seed=2))
    frames = [read(told) for told in LINEAR.session(happened(trades), "/v5/public/linear").tell(trades)]
    assert all({f"publicTrade.{row['s']}" for row in f["data"]} == {f["topic"]} for f in frames)
    assert max(len(f["data"]) for f in frames) > 1
    assert [row["i"] for f in frames for row in f["data"]] == [linear_id(t) for t in trades]


@pytest.mark.parametrize(("wire", "kind", "most"), [(LINEAR, "linear", 1_000), (SPOT, "spot", 60)])
def test_history_is_only_the_newest_trades(wire: Wire, kind: str, most: int) -> None:
    trades = made("BTCUSDT", 1_500)
    query = {"category": kind, "symbol": "BTCUSDT", "limit": 2_000}
    answer = page(wire, happened(trades), "/v5/market/recent-trade", **query)
    rows = answer["result"]["list"]
    assert (answer["retCode"], answer["result"]["category"], len(rows)) == (0, kind, most)
    assert [row["time"] for row in rows] == [str(t.ts_ns // MS) for t in reversed(trades[-most:])]
    assert {"execId", "symbol", "price", "size", "side", "time", "isBlockTrade"} <= set(rows[0])


def test_klines_are_newest_first() -> None:
    trades = made("BTCUSDT", 3_000)
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": 1}
    rows = page(LINEAR, happened(trades), "/v5/market/kline", **query)["result"]["list"]
    assert [int(row[0]) for row in rows] == sorted((int(row[0]) for row in rows), reverse=True)
    assert sum(Decimal(row[5]) for row in rows) == sum(Decimal(t.size) for t in trades)
    one = page(LINEAR, happened(trades), "/v5/market/kline", **query, start=rows[1][0], end=int(rows[1][0]) + 59_999)
    assert one["result"]["list"] == [rows[1]]
