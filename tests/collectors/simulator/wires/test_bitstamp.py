"""Bitstamp as its documentation has it."""

from __future__ import annotations

from decimal import Decimal

from collectors.simulator.synthetic import SimTrade, with_shared_ids
from collectors.simulator.wires.bitstamp import WIRE
from tests.collectors.simulator.wires.talk import happened, heard, made, page, read

SELL = SimTrade("ethusd", 216_000_484, 1_641_343_709_599_000_000, "3802.93", "0.93100000", False)
S = 10**9


def test_a_trade_is_told_in_numbers_and_in_texts() -> None:
    told = read(WIRE.frame(SELL))
    assert (told["channel"], told["event"]) == ("live_trades_ethusd", "trade")
    data = told["data"]
    assert (data["id"], data["type"], data["timestamp"]) == (216_000_484, 1, "1641343709")
    assert (data["amount"], data["amount_str"]) == (Decimal("0.931"), "0.93100000")
    assert (data["price"], data["price_str"]) == (Decimal("3802.93"), "3802.93")
    assert data["microtimestamp"] == "1641343709599000"


def test_each_channel_is_subscribed_to_by_itself() -> None:
    request = {"event": "bts:subscribe", "data": {"channel": "live_trades_ethusd"}}
    session, answers = heard(WIRE, happened([SELL]), "/", request)
    assert answers == [{"event": "bts:subscription_succeeded", "channel": "live_trades_ethusd", "data": {}}]
    assert session.symbols == {"ethusd"}
    session, answers = heard(WIRE, happened([SELL]), "/", request, request | {"event": "bts:unsubscribe"})
    assert (answers[1]["event"], session.symbols) == ("bts:unsubscription_succeeded", set())


def test_an_unknown_channel_is_an_error_and_a_heartbeat_is_answered() -> None:
    bad = {"event": "bts:subscribe", "data": {"channel": "live_trades_nope"}}
    _, (error, beat) = heard(WIRE, happened([SELL]), "/", bad, {"event": "bts:heartbeat"})
    assert error["event"] == "bts:error"
    assert beat == {"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}


def test_history_is_a_minute_an_hour_or_a_day_newest_first() -> None:
    trades = with_shared_ids(made("btcusd", 3_000), made("ethusd", 3_000, seed=2))
    tape, path = happened(trades), "/api/v2/transactions/{pair}/"
    mine = [t for t in trades if t.symbol == "btcusd"]
    minute = page(WIRE, tape, path, pair="btcusd", time="minute")
    expected = [t for t in reversed(mine) if t.ts_ns >= tape.now_ns - 60 * S]
    assert [row["tid"] for row in minute] == [str(t.trade_id) for t in expected]
    assert [(row["price"], row["amount"]) for row in minute] == [(t.price, t.size) for t in expected]
    assert [row["date"] for row in minute] == [str(t.ts_ns // S) for t in expected]
    assert {row["type"] for row in minute} == {"0", "1"}
    assert len(page(WIRE, tape, path, pair="btcusd")) == len(page(WIRE, tape, path, pair="btcusd", time="day")) == 3_000


def test_candles_are_oldest_first() -> None:
    trades, path = made("btcusd", 3_000), "/api/v2/ohlc/{pair}/"
    answer = page(WIRE, happened(trades), path, pair="btcusd", step=60, limit=1000)
    rows = answer["data"]["ohlc"]
    assert answer["data"]["pair"] == "BTC/USD"
    assert sum(Decimal(row["volume"]) for row in rows) == sum(Decimal(t.size) for t in trades)
    second = page(WIRE, happened(trades), path, pair="btcusd", step=60, limit=1, start=rows[1]["timestamp"])
    assert second["data"]["ohlc"] == [rows[1]]
