"""Binance as its documentation has it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.wires.binance import SPOT, USDM
from tests.collectors.simulator.wires.talk import START_NS, happened, heard, made, page, read

MS = 1_000_000
SELL = SimTrade("BTCUSDT", 7, START_NS + 5 * MS, "60000.01000000", "0.00100000", False, 3)
BUY = SimTrade("BTCUSDT", 8, START_NS + 6 * MS, "60000.02000000", "0.00200000", True)


def test_a_combined_stream_wraps_events_and_a_raw_one_does_not() -> None:
    event = {"e": "trade", "E": START_NS // MS + 5, "s": "BTCUSDT", "t": 7, "p": "60000.01000000", "q": "0.00100000"}
    event |= {"T": START_NS // MS + 5, "m": True, "M": True}
    combined = SPOT.session(happened([SELL]), "/stream?streams=btcusdt@trade")
    raw = SPOT.session(happened([SELL]), "/ws/btcusdt@trade")
    assert [read(told) for told in combined.tell([SELL])] == [{"stream": "btcusdt@trade", "data": event}]
    assert [read(told) for told in raw.tell([SELL])] == [event]
    assert (combined.plain, raw.plain) == (True, False)
    assert SPOT.frame(SELL) == next(iter(combined.tell([SELL])))


def test_the_buyer_is_the_maker_where_the_taker_sold() -> None:
    assert [read(SPOT.frame(trade))["data"]["m"] for trade in (SELL, BUY)] == [True, False]
    assert [read(USDM.frame(trade))["data"]["m"] for trade in (SELL, BUY)] == [True, False]


def test_futures_tell_aggregates_with_the_range_of_their_fills() -> None:
    told = read(USDM.frame(SELL))
    assert told["stream"] == "btcusdt@aggTrade"
    assert {key: told["data"][key] for key in "easflpqT"} == {
        **{"e": "aggTrade", "a": 7, "s": "BTCUSDT", "f": 7000, "l": 7002},
        **{"p": "60000.01000000", "q": "0.00100000", "T": START_NS // MS + 5},
    }


def test_streams_are_asked_for_by_path_or_by_message() -> None:
    tape = happened([SELL])
    session, answers = heard(SPOT, tape, "/ws", {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "x@depth"], "id": 9})
    assert (session.symbols, answers) == ({"BTCUSDT"}, [{"result": None, "id": 9}])
    assert SPOT.session(tape, "/stream?streams=ethusdt%40trade/btcusdt@depth").symbols == {"ETHUSDT"}


def test_history_goes_from_an_id_on_or_is_the_newest() -> None:
    tape = happened(made("BTCUSDT", 3_000))
    path = "/api/v3/historicalTrades"
    assert [row["id"] for row in page(SPOT, tape, path, symbol="BTCUSDT", fromId=11, limit=4)] == [11, 12, 13, 14]
    assert [row["id"] for row in page(SPOT, tape, path, symbol="BTCUSDT")] == list(range(2_501, 3_001))
    assert len(page(SPOT, tape, path, symbol="BTCUSDT", fromId=1, limit=5_000)) == 1_000
    assert page(SPOT, tape, path, symbol="BTCUSDT", fromId=3_001) == []
    row = page(SPOT, tape, path, symbol="BTCUSDT", fromId=5, limit=1)[0]
    assert set(row) == {"id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"}
    with pytest.raises(KeyError):
        page(SPOT, tape, path, symbol="NOPE")


def test_aggregates_of_futures_are_had_the_same_way_and_by_time() -> None:
    tape = happened([SELL, BUY])
    rows = page(USDM, tape, "/fapi/v1/aggTrades", symbol="BTCUSDT")
    assert [(row["a"], row["f"], row["l"], row["m"]) for row in rows] == [(7, 7000, 7002, True), (8, 8000, 8000, False)]
    later = page(USDM, tape, "/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=BUY.ts_ns // MS)
    assert [row["a"] for row in later] == [8]


def test_aggregates_of_the_spot_market_have_ids_of_their_own() -> None:
    (row,) = page(SPOT, happened([SELL]), "/api/v3/aggTrades", symbol="BTCUSDT")
    assert (row["f"], row["l"]) == (7, 7)
    assert row["a"] != 7


@pytest.mark.parametrize(("wire", "path"), [(SPOT, "/api/v3/klines"), (USDM, "/fapi/v1/klines")])
def test_klines_have_what_takers_bought(wire: object, path: str) -> None:
    assert wire in (SPOT, USDM)
    trades = made("BTCUSDT", 3_000)
    minute = START_NS // (60 * 10**9) + 1
    rows = page(
        SPOT if wire is SPOT else USDM, happened(trades), path, symbol="BTCUSDT", interval="1m", startTime=minute * 60_000
    )
    mine = [t for t in trades if t.ts_ns // (60 * 10**9) == minute]
    first = rows[0]
    assert len(first) == 12
    assert (first[0], first[6], first[8]) == (minute * 60_000, minute * 60_000 + 59_999, len(mine))
    assert Decimal(first[5]) == sum(Decimal(t.size) for t in mine)
    assert Decimal(first[9]) == sum(Decimal(t.size) for t in mine if t.buy)
    assert [row[0] for row in rows] == [(minute + n) * 60_000 for n in range(len(rows))]
