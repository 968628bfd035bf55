"""Kraken's websocket v2 and REST as their documentation has them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from collectors.simulator.synthetic import SimTrade, merged
from collectors.simulator.wires.kraken import WIRE
from tests.collectors.simulator.wires.talk import happened, heard, made, page, read

SUBSCRIBE = {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True}, "req_id": 4}
SELL = SimTrade("BTC/USD", 4_665_906, 1_695_627_989_049_698_000, "37000.10", "0.10000000", False)


def test_the_status_comes_first() -> None:
    (status,) = [read(told) for told in WIRE.session(happened([SELL]), "/v2").hello()]
    assert (status["channel"], status["type"]) == ("status", "update")
    assert (status["data"][0]["system"], status["data"][0]["api_version"]) == ("online", "v2")


def test_a_subscription_is_acknowledged_and_the_last_50_trades_come_again() -> None:
    session, (ack, snapshot) = heard(WIRE, happened(made("BTC/USD", 80)), "/v2", SUBSCRIBE)
    assert ack["result"] == {"channel": "trade", "snapshot": True, "symbol": "BTC/USD"}
    assert (ack["method"], ack["success"], ack["req_id"]) == ("subscribe", True, 4)
    assert {"time_in", "time_out"} <= set(ack)
    assert (snapshot["channel"], snapshot["type"]) == ("trade", "snapshot")
    assert [row["trade_id"] for row in snapshot["data"]] == list(range(31, 81))
    assert session.symbols == {"BTC/USD"}


def test_without_a_snapshot_there_is_only_the_acknowledgement() -> None:
    params = {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": False}
    _, answers = heard(WIRE, happened(made("BTC/USD", 80)), "/v2", {"method": "subscribe", "params": params})
    assert [a["success"] for a in answers] == [True]


def test_an_unknown_pair_is_refused_and_the_others_are_not() -> None:
    params = {"channel": "trade", "symbol": ["NOPE/USD", "BTC/USD"], "snapshot": False}
    session, (bad, good) = heard(WIRE, happened(made("BTC/USD", 5)), "/v2", {"method": "subscribe", "params": params})
    assert (bad["success"], bad["error"]) == (False, "Currency pair not supported NOPE/USD")
    assert good["success"]
    assert session.symbols == {"BTC/USD"}


def test_updates_hold_several_trades_of_one_symbol_as_exact_numbers() -> None:
    tape = happened(merged(made("BTC/USD", 100), made("ETH/USD", 100, seed=2)))
    frames = [read(told) for told in WIRE.session(tape, "/v2").tell(tape.trades)]
    assert {(f["channel"], f["type"]) for f in frames} == {("trade", "update")}
    assert all(len({row["symbol"] for row in f["data"]}) == 1 for f in frames)
    assert max(len(f["data"]) for f in frames) > 1
    rows = [row for f in frames for row in f["data"]]
    assert [(r["symbol"], r["trade_id"]) for r in rows] == [(t.symbol, t.trade_id) for t in tape.trades]
    assert [(str(r["price"]), str(r["qty"])) for r in rows] == [(t.price, t.size) for t in tape.trades]


def test_a_trade_tells_the_takers_side_and_microseconds() -> None:
    (row,) = read(WIRE.frame(SELL))["data"]
    assert set(row) == {"symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"}
    assert (row["side"], row["price"], row["qty"]) == ("sell", Decimal("37000.10"), Decimal("0.10000000"))
    assert row["timestamp"] == "2023-09-25T07:46:29.049698Z"


def test_pings_and_heartbeats() -> None:
    session, answers = heard(WIRE, happened([SELL]), "/v2", {"method": "ping", "req_id": 1}, SUBSCRIBE)
    assert (answers[0]["method"], answers[0]["req_id"]) == ("pong", 1)
    assert [read(beat) for beat in session.beat()] == [{"channel": "heartbeat"}]


def test_history_comes_after_a_time_oldest_first() -> None:
    trades = made("BTC/USD", 1_500)
    tape, path = happened(trades), "/0/public/Trades"
    answer = page(WIRE, tape, path, pair="XBTUSD", since=trades[9].ts_ns, count=3)
    assert answer["error"] == []
    rows = answer["result"]["XXBTZUSD"]
    assert [row[6] for row in rows] == [11, 12, 13]
    assert answer["result"]["last"] == str(trades[12].ts_ns)
    price, size, at, side, order, rest, _ = rows[0]
    assert (price, size) == (trades[10].price, trades[10].size)
    assert int(at * 10**9) == trades[10].ts_ns
    assert (side, order in "ml", rest) == ("b" if trades[10].buy else "s", True, "")
    newest = page(WIRE, tape, path, pair="XBTUSD")["result"]["XXBTZUSD"]
    assert [row[6] for row in newest] == list(range(501, 1_501))
    assert page(WIRE, tape, path, pair="XBTUSD", since=trades[-1].ts_ns)["result"]["XXBTZUSD"] == []


@pytest.mark.parametrize("pair", ["BTC/USD", "XBTUSD", "XBT/USD", "XXBTZUSD", "BTCUSD"])
def test_a_pair_has_several_names(pair: str) -> None:
    answer = page(WIRE, happened([SELL]), "/0/public/Trades", pair=pair, assetVersion=1)
    assert [row[6] for row in answer["result"]["BTC/USD"]] == [SELL.trade_id]


def test_candles_count_their_trades() -> None:
    trades = made("BTC/USD", 3_000)
    answer = page(WIRE, happened(trades), "/0/public/OHLC", pair="XBTUSD", interval=1)
    rows = answer["result"]["XXBTZUSD"]
    assert sum(row[7] for row in rows) == 3_000
    assert sum(Decimal(row[6]) for row in rows) == sum(Decimal(t.size) for t in trades)
    assert answer["result"]["last"] == rows[-2][0]
