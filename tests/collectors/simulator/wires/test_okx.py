"""OKX v5 as its documentation has it."""

from __future__ import annotations

from decimal import Decimal

from collectors.simulator.synthetic import SimTrade, merged
from collectors.simulator.wires.okx import WIRE
from tests.collectors.simulator.wires.talk import START_NS, happened, heard, made, page, read

ARG = {"channel": "trades-all", "instId": "BTC-USDT"}
MS = 1_000_000
BUY = SimTrade("BTC-USDT", 130_639_474, 1_630_048_897_897 * MS, "42219.9", "0.12060306", True)


def test_trades_all_tells_one_trade_a_frame_in_texts() -> None:
    assert read(WIRE.frame(BUY)) == {
        "arg": ARG,
        "data": [
            {"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306"}
            | {"side": "buy", "ts": "1630048897897", "source": "0"}
        ],
    }


def test_a_text_ping_is_answered_with_a_text_pong() -> None:
    session = WIRE.session(happened([BUY]), "/ws/v5/business")
    assert list(session.heard(b"ping")) == [b"pong"]


def test_subscriptions_are_acknowledged_one_by_one() -> None:
    tape = happened(merged(made("BTC-USDT", 2), made("ETH-USDT", 2, seed=2)))
    args = [ARG, {"channel": "trades-all", "instId": "ETH-USDT"}]
    session, answers = heard(WIRE, tape, "/ws/v5/business", {"op": "subscribe", "args": args})
    assert [(a["event"], a["arg"]) for a in answers] == [("subscribe", arg) for arg in args]
    assert session.symbols == {"BTC-USDT", "ETH-USDT"}


def test_a_channel_lives_on_its_own_address_only() -> None:
    request = {"op": "subscribe", "args": [ARG]}
    session, (error,) = heard(WIRE, happened([BUY]), "/ws/v5/public", request)
    assert (error["event"], error["code"], session.symbols) == ("error", "60018", set())
    _, (error,) = heard(WIRE, happened([BUY]), "/ws/v5/business", {"op": "subscribe", "args": [ARG | {"instId": "NOPE"}]})
    assert error["code"] == "60018"
    _, (error,) = heard(WIRE, happened([BUY]), "/ws/v5/business", b"{nonsense")
    assert error["code"] == "60012"


def test_the_public_channel_adds_up_the_fills_of_an_order() -> None:
    fills = [SimTrade("BTC-USDT", n, START_NS, "100.5", "0.1", True) for n in (1, 2, 3)]
    other = SimTrade("BTC-USDT", 4, START_NS, "100.6", "0.1", True)
    session, _ = heard(WIRE, happened([BUY]), "/ws/v5/public", {"op": "subscribe", "args": [ARG | {"channel": "trades"}]})
    told = [read(frame)["data"][0] for frame in session.tell([*fills, other])]
    assert [(t["tradeId"], t["sz"], t["count"]) for t in told] == [("3", "0.3", "3"), ("4", "0.1", "1")]
    assert session.symbols == {"BTC-USDT"}


def test_history_is_newest_first_and_after_means_below() -> None:
    trades = made("BTC-USDT", 500)
    tape, path = happened(trades), "/api/v5/market/history-trades"
    rows = page(WIRE, tape, path, instId="BTC-USDT", type=1, after=200, limit=3)
    assert (rows["code"], [row["tradeId"] for row in rows["data"]]) == ("0", ["199", "198", "197"])
    assert set(rows["data"][0]) == {"instId", "side", "sz", "source", "px", "tradeId", "ts"}
    assert len(page(WIRE, tape, path, instId="BTC-USDT", limit=500)["data"]) == 100
    by_time = page(WIRE, tape, path, instId="BTC-USDT", type=2, after=trades[300].ts_ns // MS + 1, limit=100)["data"]
    assert int(by_time[0]["ts"]) <= trades[300].ts_ns // MS


def test_candles_are_newest_first_and_say_whether_they_are_over() -> None:
    trades, path = made("BTC-USDT", 3_000), "/api/v5/market/history-candles"
    tape = happened(trades)
    rows = page(WIRE, tape, path, instId="BTC-USDT", bar="1m")["data"]
    assert [row[8] for row in rows] == ["0"] + ["1"] * (len(rows) - 1)
    assert sum(Decimal(row[5]) for row in rows) == sum(Decimal(t.size) for t in trades)
    middle = rows[1][0]
    assert page(WIRE, tape, path, instId="BTC-USDT", after=middle, limit=1)["data"][0][0] == str(int(middle) - 60_000)
    assert page(WIRE, tape, path, instId="BTC-USDT", after=int(middle) + 1, before=int(middle) - 1)["data"] == [rows[1]]
