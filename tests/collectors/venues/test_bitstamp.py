"""Bitstamp's frames and history: what real and documented ones say, and that nothing that a venue may send is an exception."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from collectors.venues.bitstamp import BITSTAMP
from collectors.venues.history import Span
from collectors.venues.parsed import MAX_RAW, Parsed, Refusal
from collectors.venues.venue import venue_of
from pipeline.errors import VenueError
from pipeline.instrument import IdRule, id_rule
from pipeline.trade import NS_PER_S
from tests.collectors.venues.hostile import LATEST_NS, VALUES, broken, exact, found, mutants, recorded, rows

US = 1643643584587000
NOW_NS = US * 1000

# A message as www.bitstamp.net/websocket/v2 describes it ("Live ticker").
TRADE: dict[str, Any] = {
    **{"id": 212337562, "timestamp": "1643643584", "amount": 0.0028, "amount_str": "0.00280000", "price": 38416},
    **{"price_str": "38416", "type": 0, "microtimestamp": str(US)},
    **{"buy_order_id": 1453295569350656, "sell_order_id": 1453295567900672},
}
# A row as www.bitstamp.net/api describes it (GetTransactions).
ROW: dict[str, Any] = {"date": "1643643584", "tid": "212337562", "amount": "0.00280000", "type": "0", "price": "38416"}
FIELDS = ["id", "amount_str", "price_str", "type", "microtimestamp"]


def frame(trade: dict[str, Any], symbol: str = "btcusd") -> bytes:
    return json.dumps({"data": trade, "channel": f"live_trades_{symbol}", "event": "trade"}).encode()


def trade(number: int = 212337562, **changes: Any) -> dict[str, Any]:
    return {**TRADE, "id": number, **changes}


def event(name: str, channel: str = "", data: Any = None) -> bytes:
    return json.dumps({"event": name, "channel": channel, "data": {} if data is None else data}).encode()


def parse(*frames: bytes, symbols: tuple[str, ...] = ("btcusd",)) -> Parsed:
    return BITSTAMP.parser(symbols)(frames)


# --- real frames ----------------------------------------------------------------------------------------------------------


def trades_told(frames: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """Symbol and data of each trade, read without the parser."""
    events = [exact(text) for text in frames]
    return [(e["channel"].removeprefix("live_trades_"), e["data"]) for e in events if e["event"] == "trade"]


def test_recorded_frames_parse_to_what_an_independent_reading_gives() -> None:
    frames = recorded("recorded_BITSTAMP.ws.1.0.gz")
    told = trades_told(frames)
    parsed = BITSTAMP.parser({symbol for symbol, _ in told})(frames)
    read = {symbol: list(rows(trades)) for symbol, trades in parsed.trades.items()}
    expected: dict[str, list[tuple[Any, ...]]] = {}
    for symbol, t in told:
        row = t["id"], int(t["microtimestamp"]) * 1000, Decimal(t["price_str"]), Decimal(t["amount_str"]), 1 - 2 * t["type"]
        expected.setdefault(symbol, []).append(row)
    assert read == expected
    assert (len(told), parsed.rejects, parsed.refusals, parsed.other) == (10, [], [], len(frames) - 10)


def test_the_numbers_of_recorded_frames_are_their_texts() -> None:
    for _, t in trades_told(recorded("recorded_BITSTAMP.ws.1.0.gz")):
        assert (Decimal(t["price_str"]), Decimal(t["amount_str"])) == (t["price"], t["amount"])


def test_the_later_order_of_each_recorded_trade_is_on_the_side_that_it_tells() -> None:
    """Order ids rise with time, and the taker's order is the later one: so `type` is the taker's side."""
    told = trades_told(recorded("recorded_BITSTAMP.ws.1.0.gz"))
    assert {t["type"] for _, t in told} == {0, 1}
    assert all((t["buy_order_id"] > t["sell_order_id"]) is (t["type"] == 0) for _, t in told)


# --- frames ---------------------------------------------------------------------------------------------------------------


def test_a_documented_frame_gives_its_trade() -> None:
    parsed = parse(frame(TRADE))
    assert list(rows(parsed.trades["btcusd"])) == [(212337562, US * 1000, Decimal(38416), Decimal("0.0028"), 1)]
    assert (parsed.rejects, parsed.other) == ([], 0)


def test_type_1_is_a_sell() -> None:
    assert parse(frame(trade(1, type=0)), frame(trade(2, type=1))).trades["btcusd"].side.tolist() == [1, -1]


def test_prices_and_sizes_are_the_texts_and_not_the_numbers_beside_them() -> None:
    trades = parse(frame(trade(price=0.1, price_str="0.10000000000000000000000001", amount_str="0.50"))).trades["btcusd"]
    assert (trades.price, trades.size) == (["0.10000000000000000000000001"], ["0.50"])


def test_trades_of_several_symbols_are_kept_apart_with_their_raw_frames() -> None:
    frames = [frame(trade(1)), frame(trade(2), "btcusd-perp"), frame(trade(3))]
    parsed = parse(*frames, symbols=("btcusd", "btcusd-perp"))
    assert (found(parsed, "btcusd"), found(parsed, "btcusd-perp")) == ([1, 3], [2])
    assert parsed.raws("btcusd")(1) == (frames[2].decode(), "bitstamp websocket")


@pytest.mark.parametrize(
    "text",
    [
        event("bts:subscription_succeeded", "live_trades_btcusd"),
        event("bts:unsubscription_succeeded", "live_trades_btcusd"),
        event("bts:heartbeat", "", {"status": "success"}),
        event("data", "diff_order_book_btcusd", {"timestamp": "1", "bids": [], "asks": []}),
        event("order_created", "live_orders_btcusd", {"id": 1}),
        event("trade", "private-my_trades_btcusd-7", TRADE),
    ],
    ids=lambda text: text[:40],
)
def test_a_frame_that_is_no_trade_is_counted_and_not_refused(text: bytes) -> None:
    parsed = parse(text, frame(TRADE))
    assert (found(parsed, "btcusd"), parsed.rejects, parsed.refusals, parsed.other) == ([212337562], [], [], 1)
    assert not parsed.reconnect


def test_the_venue_may_ask_for_a_new_connection() -> None:
    parsed = parse(event("bts:request_reconnect"), frame(TRADE))
    assert (parsed.reconnect, parsed.other, parsed.rejects, found(parsed, "btcusd")) == (True, 1, [], [212337562])


@pytest.mark.parametrize(
    ("channel", "data", "refusal"),
    [
        (
            "live_trades_nope",
            {"code": None, "message": "Bad subscription string."},
            Refusal("nope", "Bad subscription string."),
        ),
        ("", {"code": None, "message": "Incorrect JSON format."}, Refusal("", "Incorrect JSON format.")),
        ("live_trades_mtgox", {"message": "a\nb"}, Refusal("", "a?b")),
        ("live_trades_nope", {}, Refusal("nope", "no reason told")),
        ("live_trades_nope", "no", Refusal("nope", '"no"')),
    ],
)
def test_a_refused_subscription_is_told_with_its_symbol(channel: str, data: Any, refusal: Refusal) -> None:
    parsed = parse(event("bts:error", channel, data), frame(TRADE), symbols=("btcusd", "nope"))
    assert (parsed.refusals, parsed.rejects, found(parsed, "btcusd")) == ([refusal], [], [212337562])


# --- bad frames -----------------------------------------------------------------------------------------------------------


def fits(field: str, value: Any) -> bool:
    """Whether a value is of the field's own type. A text that is no number is refused later, when trades are checked."""
    if field == "id":
        return type(value) is int and 0 <= value < 2**63
    return isinstance(value, str) and field in {"amount_str", "price_str"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda v: json.dumps(v)[:12])
def test_a_wrong_type_in_any_field_refuses_that_frame_and_no_other(field: str, value: Any) -> None:
    bad = frame(trade(2, **{field: [value] if fits(field, value) else value}))
    parsed = parse(frame(trade(1)), bad, frame(trade(3)))
    assert found(parsed, "btcusd") == [1, 3]
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where) == ("btcusd", bad.decode(), "bitstamp websocket")
    assert f"$.data.{field}" in reject.reason


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_refuses_the_frame(field: str) -> None:
    lame = {key: value for key, value in TRADE.items() if key != field}
    ((symbol, reject),) = parse(frame(lame), symbols=("btcusd", "ethusd")).rejects
    assert (symbol, f"`{field}`" in reject.reason) == ("btcusd", True)


@pytest.mark.parametrize("field", ["data", "channel", "event"])
@pytest.mark.parametrize("value", [v for v in VALUES if not isinstance(v, str)], ids=lambda v: json.dumps(v)[:12])
def test_a_wrong_type_around_the_trade_refuses_the_frame(field: str, value: Any) -> None:
    bad = json.dumps({**exact(frame(trade(2))), field: value}, default=float).encode()
    parsed = parse(frame(trade(1)), bad)
    assert (found(parsed, "btcusd"), len(parsed.rejects), parsed.other) == ([1], 1, 0)


@pytest.mark.parametrize("field", ["data", "channel", "event"])
def test_a_frame_that_lacks_a_field_is_refused(field: str) -> None:
    text = json.dumps({key: value for key, value in exact(frame(TRADE)).items() if key != field}, default=float).encode()
    parsed = parse(text)
    ((_, reject),) = parsed.rejects
    assert (parsed.other, f"`{field}`" in reject.reason) == (0, True)


@pytest.mark.parametrize("bad", broken(frame(TRADE)).values(), ids=broken(b"{}"))
def test_a_broken_frame_is_refused_with_a_reason_and_the_others_go_on(bad: bytes) -> None:
    parsed = parse(frame(trade(1)), bad, frame(trade(3)))
    assert found(parsed, "btcusd") == [1, 3]
    ((_, reject),) = parsed.rejects
    assert reject.reason
    assert len(reject.raw) <= MAX_RAW
    assert parsed.raws("btcusd")(1)[0] == frame(trade(3)).decode()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", "abc", "", "-1", "0", "1,5", "\u0661"])
@pytest.mark.parametrize("field", ["price_str", "amount_str"])
def test_a_price_or_size_that_is_a_text_but_no_number_is_refused_when_checked(field: str, text: str) -> None:
    parsed = parse(frame(trade(1, **{field: text})), frame(trade(2)))
    batch, reasons = parsed.trades["btcusd"].checked(latest_ns=LATEST_NS)
    assert (batch.ids.tolist(), list(reasons)) == ([2], [0])


@pytest.mark.parametrize("stamp", ["0", "5", "999999999999999999"])
def test_an_absurd_time_is_refused_when_checked(stamp: str) -> None:
    parsed = parse(frame(trade(1, microtimestamp=stamp)), frame(trade(2)))
    _, reasons = parsed.trades["btcusd"].checked(latest_ns=LATEST_NS)
    assert list(reasons) == [0]


@pytest.mark.parametrize("stamp", ["", "-1", "1.5", "1e9", "12345678901234567890", "1\n", " 1", "\u0661"])
def test_a_time_of_anything_but_digits_is_refused(stamp: str) -> None:
    assert len(parse(frame(trade(1, microtimestamp=stamp))).rejects) == 1


@pytest.mark.parametrize("symbols", [("btcusd",), ("btcusd", "ethusd")])
def test_a_symbol_never_asked_for_is_refused(symbols: tuple[str, ...]) -> None:
    parsed = parse(frame(trade(1)), frame(trade(2), "../../etc/passwd"), symbols=symbols)
    assert (list(parsed.trades), found(parsed, "btcusd")) == (["btcusd"], [1])
    ((symbol, reject),) = parsed.rejects
    assert symbol == ("btcusd" if len(symbols) == 1 else "")
    assert reject.reason == "symbol '../../etc/passwd' was never asked for"


def test_no_mutation_of_a_frame_is_an_exception_or_touches_its_neighbours() -> None:
    for bad in mutants(frame(trade(5))):
        parsed = parse(frame(trade(1)), bad, frame(trade(9)))
        ids = found(parsed, "btcusd")
        assert (ids[0], ids[-1]) == (1, 9)
        assert len(ids) + len(parsed.rejects) + len(parsed.refusals) + parsed.other == 3


# --- history --------------------------------------------------------------------------------------------------------------


def test_history_rows_are_trades_oldest_first() -> None:
    newest = {**ROW, "tid": "212337563", "type": "1", "date": "1643643585"}
    page = BITSTAMP.parse_history("btcusd", json.dumps([newest, ROW]).encode())
    assert list(rows(page.trades["btcusd"])) == [
        (212337562, 1643643584 * NS_PER_S, Decimal(38416), Decimal("0.0028"), 1),
        (212337563, 1643643585 * NS_PER_S, Decimal(38416), Decimal("0.0028"), -1),
    ]
    assert json.loads(page.raws("btcusd")(0)[0])["tid"] == "212337562"


def test_history_gives_a_trade_the_streams_id_price_size_side_and_minute() -> None:
    """The time is another one: whole seconds. It is never later, and never in another minute."""
    live = parse(frame(TRADE)).trades["btcusd"]
    page = BITSTAMP.parse_history("btcusd", json.dumps([ROW]).encode()).trades["btcusd"]
    ((i, at, *rest),) = rows(page)
    ((live_i, live_at, *live_rest),) = rows(live)
    assert (i, rest) == (live_i, live_rest)
    assert at <= live_at < at + NS_PER_S
    assert at // (60 * NS_PER_S) == live_at // (60 * NS_PER_S)


@pytest.mark.parametrize("field", list(ROW))
@pytest.mark.parametrize("value", [None, 5, 1.5, "x", [], {}, True])
def test_a_bad_history_row_is_refused_and_the_others_go_on(field: str, value: Any) -> None:
    value = [value] if isinstance(value, str) and field in {"amount", "price"} else value
    listed = [{**ROW, "tid": "2"}, {**ROW, field: value}, {**ROW, "tid": "1"}]
    page = BITSTAMP.parse_history("btcusd", json.dumps(listed).encode())
    assert found(page, "btcusd") == [1, 2]
    ((symbol, reject),) = page.rejects
    assert (symbol, reject.where) == ("btcusd", "bitstamp btcusd history")


def test_an_empty_history_page_has_no_trades() -> None:
    assert found(BITSTAMP.parse_history("btcusd", b"[]"), "btcusd") == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"code":"400.002","reason":"x"}', b"<html>", b"[" * 100_000, b"[1,"])
def test_a_history_answer_that_is_no_list_is_a_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="bitstamp btcusd history: expected a list of trades"):
        BITSTAMP.parse_history("btcusd", body)


def test_klines_are_minutes_with_their_volume() -> None:
    """Candles as www.bitstamp.net/api describes them (GetOHLCData)."""
    candle = {"high": "9064.77", "timestamp": "1593961440", "volume": "18.49436608", "low": "1", "close": "2", "open": "3"}
    body = json.dumps({"data": {"pair": "BTC/USD", "ohlc": [candle, {**candle, "timestamp": "1593961500"}]}}).encode()
    first, second = BITSTAMP.parse_klines(body)
    assert (first.minute, first.volume, first.buy_volume) == (26566024, Decimal("18.49436608"), None)
    assert second.minute == first.minute + 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":{"ohlc":[{"timestamp":1,"volume":"1"}]}}', b"[" * 100_000])
def test_klines_that_can_not_be_read_are_a_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="bitstamp klines: expected a list of candles"):
        BITSTAMP.parse_klines(body)


# --- addresses ------------------------------------------------------------------------------------------------------------


def test_messages_and_paths_are_the_venues_own() -> None:
    assert BITSTAMP.ws_path(["btcusd"]) == "/"
    assert BITSTAMP.subscriptions(["btcusd", "ethusd"]) == [
        b'{"event":"bts:subscribe","data":{"channel":"live_trades_btcusd"}}',
        b'{"event":"bts:subscribe","data":{"channel":"live_trades_ethusd"}}',
    ]
    assert BITSTAMP.klines_path("btcusd", 26566024, 5000) == "/api/v2/ohlc/btcusd/?step=60&limit=1000&start=1593961440"
    assert str(BITSTAMP.klines_path("a/b?c", 0, 1)).startswith("/api/v2/ohlc/a%2Fb%3Fc/")


@pytest.mark.parametrize(
    ("span", "window"),
    [
        (Span(since_ns=NOW_NS - 20 * NS_PER_S, until_ns=NOW_NS), "hour"),
        (Span(5, 9, since_ns=NOW_NS - 3_000 * NS_PER_S, until_ns=NOW_NS), "hour"),
        (Span(since_ns=NOW_NS - 3_001 * NS_PER_S, until_ns=NOW_NS), "day"),
        (Span(since_ns=NOW_NS), "day"),
        (Span(until_ns=NOW_NS), "day"),
        (Span(5, 9), "day"),
    ],
)
def test_the_history_is_one_answer_of_an_hour_where_that_is_enough_or_else_of_a_day(span: Span, window: str) -> None:
    assert BITSTAMP.history_path("btcusd", span, None) == f"/api/v2/transactions/btcusd/?time={window}"
    page = BITSTAMP.parse_history("btcusd", json.dumps([ROW]).encode()).trades["btcusd"]
    assert BITSTAMP.history_path("btcusd", span, page) is None


def test_it_is_known_by_its_name_with_the_rule_that_the_pipeline_knows() -> None:
    assert venue_of("bitstamp") is BITSTAMP
    assert BITSTAMP.ids is id_rule("bitstamp") is IdRule.MONOTONIC
    assert BITSTAMP.limits.lifetime_s == 90 * 86_400
