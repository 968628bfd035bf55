"""Coinbase Exchange as its documentation has it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from collectors.simulator.synthetic import SimTrade, merged
from collectors.simulator.wires.coinbase import WIRE
from collectors.simulator.wires.wire import Refused
from tests.collectors.simulator.wires.talk import START_NS, happened, heard, made, page, read

SUBSCRIBE = {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channels": ["matches", "heartbeat"]}
BUY = SimTrade("BTC-USD", 10, 1_415_319_627_028_459_000, "400.23", "5.23512", True)


def test_a_match_tells_the_makers_side_and_microseconds() -> None:
    told = read(WIRE.frame(BUY))
    keys = {"type", "trade_id", "sequence", "maker_order_id", "taker_order_id", "time", "product_id", "size", "price", "side"}
    assert set(told) == keys
    assert (told["type"], told["trade_id"], told["product_id"]) == ("match", 10, "BTC-USD")
    assert (told["size"], told["price"], told["side"]) == ("5.23512", "400.23", "sell")
    assert told["time"] == "2014-11-07T00:20:27.028459Z"


def test_a_subscription_is_confirmed_and_then_the_last_match_of_each_product_comes() -> None:
    tape = happened(merged(made("BTC-USD", 20), made("ETH-USD", 30, seed=2)))
    session, answers = heard(WIRE, tape, "/", SUBSCRIBE)
    assert answers[0]["type"] == "subscriptions"
    assert {c["name"]: c["product_ids"] for c in answers[0]["channels"]} == {
        "matches": ["BTC-USD", "ETH-USD"],
        "heartbeat": ["BTC-USD", "ETH-USD"],
    }
    last = [(a["type"], a["product_id"], a["trade_id"]) for a in answers[1:]]
    assert last == [("last_match", "BTC-USD", 20), ("last_match", "ETH-USD", 30)]
    assert session.symbols == {"BTC-USD", "ETH-USD"}


def test_before_the_first_trade_there_is_no_last_match() -> None:
    tape = happened(made("BTC-USD", 20))
    tape.at = 0
    _, answers = heard(WIRE, tape, "/", {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]})
    assert [a["type"] for a in answers] == ["subscriptions"]


def test_channels_may_name_their_own_products() -> None:
    tape = happened(merged(made("BTC-USD", 2), made("ETH-USD", 2, seed=2)))
    channels = [{"name": "matches", "product_ids": ["ETH-USD"]}]
    session, _ = heard(WIRE, tape, "/", {"type": "subscribe", "channels": channels})
    assert session.symbols == {"ETH-USD"}
    session, answers = heard(WIRE, tape, "/", SUBSCRIBE, {**SUBSCRIBE, "type": "unsubscribe"})
    assert session.symbols == set()
    assert answers[-1]["type"] == "subscriptions"


def test_an_unknown_product_is_an_error_and_nothing_is_subscribed() -> None:
    session, answers = heard(WIRE, happened(made("BTC-USD", 2)), "/", SUBSCRIBE)
    assert answers == [{"type": "error", "message": "Failed to subscribe", "reason": "ETH-USD is not a valid product"}]
    assert session.symbols == set()


def test_heartbeats_tell_the_last_trade() -> None:
    session, _ = heard(WIRE, happened(merged(made("BTC-USD", 20), made("ETH-USD", 30, seed=2))), "/", SUBSCRIBE)
    beats = [read(beat) for beat in session.beat()]
    assert [(b["type"], b["product_id"], b["last_trade_id"]) for b in beats] == [
        ("heartbeat", "BTC-USD", 20),
        ("heartbeat", "ETH-USD", 30),
    ]


def test_trades_are_newest_first_and_after_means_below() -> None:
    tape, path = happened(made("BTC-USD", 1_500)), "/products/{product}/trades"
    assert [row["trade_id"] for row in page(WIRE, tape, path, product="BTC-USD", after=10, limit=3)] == [9, 8, 7]
    assert [row["trade_id"] for row in page(WIRE, tape, path, product="BTC-USD", limit=2)] == [1_500, 1_499]
    assert len(page(WIRE, tape, path, product="BTC-USD", limit=5_000)) == 1_000
    assert [row["trade_id"] for row in page(WIRE, tape, path, product="BTC-USD", before=1_498)] == [1_500, 1_499]
    row = page(WIRE, happened([BUY]), path, product="BTC-USD")[0]
    assert row == {"trade_id": 10, "side": "sell", "size": "5.23512", "price": "400.23", "time": "2014-11-07T00:20:27.028459Z"}


def test_candles_are_numbers_newest_first() -> None:
    trades, path = made("BTC-USD", 3_000), "/products/{product}/candles"
    minute = START_NS // (60 * 10**9) + 1
    spans = {"start": minute * 60, "end": "2024-08-08T23:56:00Z"}
    rows = page(WIRE, happened(trades), path, product="BTC-USD", granularity=60, **spans)
    assert rows[-1][0] == minute * 60
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    mine = [t for t in trades if t.ts_ns // (60 * 10**9) == minute]
    _, low, high, opened, closed, volume = rows[-1]
    assert (opened, closed) == (Decimal(mine[0].price), Decimal(mine[-1].price))
    assert (low, high) == (min(Decimal(t.price) for t in mine), max(Decimal(t.price) for t in mine))
    assert volume == sum(Decimal(t.size) for t in mine)


def test_more_than_300_candles_are_refused() -> None:
    with pytest.raises(Refused, match="400"):
        page(WIRE, happened(made("BTC-USD", 5)), "/products/{product}/candles", product="BTC-USD", start=0, end=300 * 60)
