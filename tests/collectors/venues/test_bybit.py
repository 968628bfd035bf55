"""Bybit's frames and history: what documented ones say, and that nothing that a venue may send is an exception."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from collectors.venues.bybit import LINEAR, SPOT, Bybit
from collectors.venues.history import Span
from collectors.venues.parsed import MAX_RAW, Parsed, Refusal
from collectors.venues.venue import venue_of
from pipeline.errors import VenueError
from pipeline.instrument import IdRule, id_rule
from tests.collectors.venues.hostile import LATEST_NS, VALUES, broken, exact, found, mutants, recorded, rows

MS = 1672304486865
UUID = "20f43950-d8dd-5b31-9112-a178eb6023af"

# The example of bybit-exchange.github.io/docs/v5/websocket/public/trade, and its fields of today that it leaves out.
TRADE: dict[str, Any] = {
    **{"T": MS, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50", "L": "PlusTick"},
    **{"i": UUID, "BT": False, "RPI": False, "seq": 1783284617},
}
# The example of bybit-exchange.github.io/docs/v5/market/recent-trade.
ROW: dict[str, Any] = {
    **{"execId": "2100000000007764263", "symbol": "BTCUSDT", "price": "16618.49", "size": "0.00012", "side": "Buy"},
    **{"time": "1672052955758", "isBlockTrade": False},
}
FIELDS = ["T", "s", "S", "v", "p", "i"]


def frame(*trades: dict[str, Any], symbol: str = "BTCUSDT") -> bytes:
    body = {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": MS + 3, "data": list(trades)}
    return json.dumps(body).encode()


def trade(name: str = UUID, **changes: Any) -> dict[str, Any]:
    return {**TRADE, "i": name, **changes}


def parse(*frames: bytes, symbols: tuple[str, ...] = ("BTCUSDT",), venue: Bybit = LINEAR) -> Parsed:
    return venue.parser(symbols)(frames)


def answer(*listed: Any, code: int = 0, message: str = "OK") -> bytes:
    result = {"category": "spot", "list": list(listed)}
    return json.dumps({"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": MS}).encode()


# --- frames ---------------------------------------------------------------------------------------------------------------


def test_the_documented_frame_gives_its_trade() -> None:
    parsed = parse(frame(TRADE))
    assert list(rows(parsed.trades["BTCUSDT"])) == [(UUID, MS * 10**6, Decimal("16578.50"), Decimal("0.001"), 1)]
    assert (parsed.rejects, parsed.other) == ([], 0)


def test_the_side_is_the_takers() -> None:
    assert parse(frame(trade("1", S="Buy"), trade("2", S="Sell"))).trades["BTCUSDT"].side.tolist() == [1, -1]


def test_prices_and_sizes_stay_the_venues_texts() -> None:
    trades = parse(frame(trade(p="0.10000000000000000000000001", v="100000000000000000.50"))).trades["BTCUSDT"]
    assert (trades.price, trades.size) == (["0.10000000000000000000000001"], ["100000000000000000.50"])


@pytest.mark.parametrize("i", [UUID, "2290000000036455162", "007"])
def test_ids_are_texts_whatever_they_look_like(i: str) -> None:
    trades = parse(frame(trade(i)), venue=SPOT).trades["BTCUSDT"]
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    assert (batch.ids.tolist(), str(batch.ids.dtype), reasons) == ([i], "object", {})


def test_trades_of_several_symbols_are_kept_apart_with_their_raw_frames() -> None:
    frames = [
        frame(trade("1"), trade("2")),
        frame(trade("9", s="ETHUSDT"), symbol="ETHUSDT"),
        frame(trade("3")),
    ]
    parsed = parse(*frames, symbols=("BTCUSDT", "ETHUSDT"))
    assert (found(parsed, "BTCUSDT"), found(parsed, "ETHUSDT")) == (["1", "2", "3"], ["9"])
    assert parsed.raws("BTCUSDT")(2) == (frames[2].decode(), "bybit websocket")
    assert parsed.raws("BTCUSDT")(1)[0] == frames[0].decode()


def test_block_trades_are_trades() -> None:
    assert found(parse(frame(trade("1", BT=True, RPI=True))), "BTCUSDT") == ["1"]


@pytest.mark.parametrize(
    "text",
    [
        '{"success":true,"ret_msg":"","conn_id":"3cd84cb1","req_id":"","op":"subscribe"}',
        '{"success":true,"ret_msg":"subscribe","conn_id":"2324d924","req_id":"10001","op":"subscribe"}',
        '{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"","op":"ping"}',
        '{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cfcb4ocsvfriu23r3er0-1b"}',
        '{"topic":"orderbook.1.BTCUSDT","type":"delta","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":1,"seq":2}}',
        '{"topic":"kline.1.BTCUSDT","data":[{"start":1,"end":2,"open":"1"}],"ts":1,"type":"snapshot"}',
        '{"topic":"allLiquidation.BTCUSDT","ts":1,"data":[{"T":1,"s":"BTCUSDT","S":"Sell","v":"1","p":"2","i":"3"}]}',
    ],
)
def test_a_frame_that_is_no_trade_is_counted_and_not_refused(text: str) -> None:
    parsed = parse(text.encode(), frame(TRADE))
    assert (found(parsed, "BTCUSDT"), parsed.rejects, parsed.refusals, parsed.other) == ([UUID], [], [], 1)


@pytest.mark.parametrize(
    ("told", "symbol"),
    [
        ("error:handler not found,topic:publicTrade.NOPE", "NOPE"),
        ("Invalid symbol :[publicTrade.NOPE]", "NOPE"),
        ("Invalid symbol :[NOPE]", "NOPE"),
        ("error:handler not found,topic:publicTrade.MTGOXUSD", ""),
        ("error:invalid op", ""),
    ],
)
def test_a_refused_subscription_is_told_with_its_symbol(told: str, symbol: str) -> None:
    text = json.dumps({"success": False, "ret_msg": told, "conn_id": "x", "req_id": "", "op": "subscribe"})
    parsed = parse(text.encode(), frame(TRADE), symbols=("BTCUSDT", "NOPE"))
    assert (parsed.refusals, parsed.rejects, found(parsed, "BTCUSDT")) == ([Refusal(symbol, told)], [], [UUID])


def test_a_refusal_without_a_reason_is_a_refusal() -> None:
    assert parse(b'{"success":false,"op":"subscribe"}').refusals == [Refusal("", "no reason told")]


# --- bad frames -----------------------------------------------------------------------------------------------------------


def fits(field: str, value: Any) -> bool:
    """Whether a value is of the field's own type. A text that is no number is refused later, when trades are checked."""
    if field == "T":
        return type(value) is int and 0 <= value < 2**63
    return isinstance(value, str) and field in {"v", "p", "i"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda v: json.dumps(v)[:12])
def test_a_wrong_type_in_any_field_refuses_that_trade_and_no_other(field: str, value: Any) -> None:
    value = [value] if fits(field, value) else value
    bad = frame(trade("2"), trade("3", **{field: value}), trade("4"))
    parsed = parse(frame(trade("1")), bad, frame(trade("5")))
    assert found(parsed, "BTCUSDT") == ["1", "2", "4", "5"]
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where) == ("BTCUSDT", bad.decode(), "bybit websocket")
    assert reject.reason


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_refuses_that_trade(field: str) -> None:
    lame = {key: value for key, value in TRADE.items() if key != field}
    parsed = parse(frame(trade("1"), lame, trade("3")))
    assert (found(parsed, "BTCUSDT"), len(parsed.rejects), parsed.other) == (["1", "3"], 1, 0)


@pytest.mark.parametrize("value", [v for v in VALUES if not isinstance(v, str)], ids=lambda v: json.dumps(v)[:12])
@pytest.mark.parametrize("field", ["topic", "data"])
def test_a_wrong_type_around_the_trades_refuses_the_frame(field: str, value: Any) -> None:
    if field == "data" and value == []:
        value = "no list"
    bad = json.dumps({"topic": "publicTrade.BTCUSDT", "data": [TRADE], field: value}).encode()
    parsed = parse(frame(trade("1")), bad)
    assert (found(parsed, "BTCUSDT"), len(parsed.rejects), parsed.other) == (["1"], 1, 0)


@pytest.mark.parametrize("field", ["topic", "data"])
def test_a_frame_that_lacks_a_field_is_refused(field: str) -> None:
    text = json.dumps({key: value for key, value in exact(frame(TRADE)).items() if key != field}).encode()
    parsed = parse(text, symbols=("BTCUSDT", "ETHUSDT"))
    ((symbol, reject),) = parsed.rejects
    assert (symbol, parsed.other) == ("" if field == "topic" else "BTCUSDT", 0)
    assert field in reject.reason


@pytest.mark.parametrize("bad", broken(frame(TRADE)).values(), ids=broken(b"{}"))
def test_a_broken_frame_is_refused_with_a_reason_and_the_others_go_on(bad: bytes) -> None:
    parsed = parse(frame(trade("1")), bad, frame(trade("3")))
    assert found(parsed, "BTCUSDT") == ["1", "3"]
    ((_, reject),) = parsed.rejects
    assert reject.reason
    assert len(reject.raw) <= MAX_RAW
    assert parsed.raws("BTCUSDT")(1)[0] == frame(trade("3")).decode()


@pytest.mark.parametrize("price", ["NaN", "Infinity", "1e400", "abc", "", "-1", "0", "1,5", "\u0661"])
@pytest.mark.parametrize("field", ["p", "v"])
def test_a_price_or_size_that_is_a_text_but_no_number_is_refused_when_checked(field: str, price: str) -> None:
    parsed = parse(frame(trade("1", **{field: price}), trade("2")))
    batch, reasons = parsed.trades["BTCUSDT"].checked(latest_ns=LATEST_NS)
    assert (batch.ids.tolist(), list(reasons)) == (["2"], [0])


@pytest.mark.parametrize("stamp", [0, 5, 10**13, 2**63 - 1])
def test_an_absurd_time_is_refused_when_checked(stamp: int) -> None:
    _, reasons = parse(frame(trade("1", T=stamp), trade("2"))).trades["BTCUSDT"].checked(latest_ns=LATEST_NS)
    assert list(reasons) == [0]


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
def test_a_symbol_never_asked_for_is_refused(symbols: tuple[str, ...]) -> None:
    stranger = frame(trade("2", s="../../etc/passwd"), symbol="../../etc/passwd")
    parsed = parse(frame(trade("1")), stranger, symbols=symbols)
    assert (list(parsed.trades), found(parsed, "BTCUSDT")) == (["BTCUSDT"], ["1"])
    ((symbol, reject),) = parsed.rejects
    assert symbol == ("BTCUSDT" if len(symbols) == 1 else "")
    assert reject.reason == "symbol '../../etc/passwd' was never asked for"


def test_a_trade_belongs_to_the_symbol_that_it_tells() -> None:
    told = frame(trade("1"), trade("2", s="ETHUSDT"), trade("3", s="MTGOX"))
    parsed = parse(told, symbols=("BTCUSDT", "ETHUSDT"))
    assert (found(parsed, "BTCUSDT"), found(parsed, "ETHUSDT"), len(parsed.rejects)) == (["1"], ["2"], 1)


def test_no_mutation_of_a_frame_is_an_exception_or_touches_its_neighbours() -> None:
    for bad in mutants(frame(trade("5"))):
        parsed = parse(frame(trade("1")), bad, frame(trade("9")))
        ids = found(parsed, "BTCUSDT")
        assert (ids[0], ids[-1]) == ("1", "9")
        assert len(ids) + len(parsed.rejects) + len(parsed.refusals) + parsed.other == 3


def test_recorded_frames_of_the_protocol_of_2021_are_refused_or_counted_and_never_guessed_at() -> None:
    """Nothing of v2 holds any more: topics were `trade.BTCUSDT`, sizes numbers, and times texts."""
    frames = recorded("recorded_BYBIT.ws.25.0.gz")
    told = [exact(text) for text in frames]
    symbols = {event["topic"].partition(".")[2] for event in told if "topic" in event}
    parsed = LINEAR.parser(symbols)(frames)
    assert sum(event.get("topic", "").startswith("trade.") for event in told) == 66
    assert (parsed.trades, parsed.rejects, parsed.refusals, parsed.other) == ({}, [], [], len(frames))


# --- history --------------------------------------------------------------------------------------------------------------


def test_history_rows_are_trades_oldest_first() -> None:
    newest = {**ROW, "execId": "2100000000007764264", "side": "Sell", "time": "1672052955759"}
    page = SPOT.parse_history("BTCUSDT", answer(newest, ROW))
    assert list(rows(page.trades["BTCUSDT"])) == [
        ("2100000000007764263", 1672052955758 * 10**6, Decimal("16618.49"), Decimal("0.00012"), 1),
        ("2100000000007764264", 1672052955759 * 10**6, Decimal("16618.49"), Decimal("0.00012"), -1),
    ]
    assert json.loads(page.raws("BTCUSDT")(0)[0])["execId"] == "2100000000007764263"


def test_history_and_stream_give_a_trade_the_same_id_so_that_it_counts_once() -> None:
    live = parse(frame(TRADE)).trades["BTCUSDT"]
    row = {**ROW, "execId": UUID, "price": "16578.50", "size": "0.001", "time": str(MS)}
    assert list(rows(LINEAR.parse_history("BTCUSDT", answer(row)).trades["BTCUSDT"])) == list(rows(live))


@pytest.mark.parametrize("field", ["execId", "price", "size", "side", "time"])
@pytest.mark.parametrize("value", [None, 5, 1.5, [], {}, True])
def test_a_bad_history_row_is_refused_and_the_others_go_on(field: str, value: Any) -> None:
    page = LINEAR.parse_history("BTCUSDT", answer({**ROW, "execId": "2"}, {**ROW, field: value}, {**ROW, "execId": "1"}))
    assert found(page, "BTCUSDT") == ["1", "2"]
    ((symbol, reject),) = page.rejects
    assert (symbol, reject.where) == ("BTCUSDT", "bybit BTCUSDT history")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b"[" * 100_000, answer()[:-5], b'{"retCode":0,"result":{}}'])
def test_a_history_answer_without_a_list_is_a_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="bybit BTCUSDT history: expected a list of trades") as error:
        LINEAR.parse_history("BTCUSDT", body)
    assert not error.value.fatal


@pytest.mark.parametrize(("code", "fatal"), [(10001, True), (10006, False), (10016, False)])
def test_a_refused_request_is_fatal_only_where_it_will_always_be_refused(code: int, fatal: bool) -> None:
    body = json.dumps({"retCode": code, "retMsg": "told\nso", "result": {}, "retExtInfo": {}, "time": 1}).encode()
    with pytest.raises(VenueError, match=f"bybit-spot BTCUSDT history: {code} told.so") as error:
        SPOT.parse_history("BTCUSDT", body)
    assert error.value.fatal is fatal
    with pytest.raises(VenueError, match=f"bybit-spot klines: {code}"):
        SPOT.parse_klines(body)


def test_klines_are_minutes_oldest_first() -> None:
    """Rows as in bybit-exchange.github.io/docs/v5/market/kline."""
    listed = [
        ["1670608860000", "17071", "17073", "17027", "17055.5", "268611", "15.74462667"],
        ["1670608800000", "17071.5", "17071.5", "17061", "17071", "0.10", "0.24469757"],
    ]
    first, second = LINEAR.parse_klines(answer(*listed))
    assert (first.minute, first.volume, first.buy_volume, first.trade_count) == (27843480, Decimal("0.10"), None, None)
    assert (second.minute, second.volume) == (27843481, Decimal(268611))


@pytest.mark.parametrize("body", [b"", b"[]", answer(["1", "2"]), answer([1, "1", "1", "1", "1", "1", "1"])])
def test_klines_that_can_not_be_read_are_a_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="bybit klines: expected a list of rows"):
        LINEAR.parse_klines(body)


# --- addresses ------------------------------------------------------------------------------------------------------------


def test_paths_are_the_venues_own() -> None:
    assert (LINEAR.ws_path(["BTCUSDT"]), SPOT.ws_path(["BTCUSDT"])) == ("/v5/public/linear", "/v5/public/spot")
    path = "/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"
    assert LINEAR.history_path("BTCUSDT", Span(since_ns=5), None) == path
    assert SPOT.history_path("BTCUSDT", Span(), None) == "/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60"
    assert SPOT.klines_path("BTCUSDT", 27843480, 2) == (
        "/v5/market/kline?category=spot&symbol=BTCUSDT&interval=1&start=1670608800000&end=1670608860000&limit=2"
    )
    assert str(LINEAR.klines_path("A&B", 0, 5000)).endswith("symbol=A%26B&interval=1&start=0&end=59940000&limit=1000")


def test_the_history_is_one_answer() -> None:
    page = LINEAR.parse_history("BTCUSDT", answer(ROW)).trades["BTCUSDT"]
    assert LINEAR.history_path("BTCUSDT", Span(since_ns=5), page) is None


def test_each_symbol_is_subscribed_to_by_itself_so_that_a_bad_one_spoils_no_other() -> None:
    assert LINEAR.subscriptions(["BTCUSDT", "ETHUSDT"]) == [
        b'{"op":"subscribe","args":["publicTrade.BTCUSDT"]}',
        b'{"op":"subscribe","args":["publicTrade.ETHUSDT"]}',
    ]


def test_the_topics_of_a_connection_are_not_longer_than_the_venue_allows() -> None:
    longest = [f"1000000SYMBOL{n:03d}USDT-26SEP25" for n in range(LINEAR.limits.symbols_per_connection)]
    assert sum(len(f"publicTrade.{symbol}") for symbol in longest) < 21_000


def test_both_markets_are_known_by_their_names_with_the_rule_that_the_pipeline_knows() -> None:
    for venue in (LINEAR, SPOT):
        assert venue_of(venue.name) is venue
        assert venue.ids is id_rule(venue.name) is IdRule.OPAQUE
