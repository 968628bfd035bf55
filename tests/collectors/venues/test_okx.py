"""OKX's frames and history: what real and documented ones say, and that nothing that it may send is an exception."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from collectors.venues.history import Span
from collectors.venues.kline import Kline
from collectors.venues.okx import OKX
from collectors.venues.parsed import Parsed, Refusal
from collectors.venues.venue import venue_of
from pipeline.errors import VenueError
from pipeline.instrument import IdRule, id_rule
from tests.collectors.venues.hostile import LATEST_NS, VALUES, broken, exact, found, mutants, recorded, rows
from tests.collectors.venues.walks import split, walk

# The example of okx.com/docs-v5, "WS / All trades channel".
ARG = {"channel": "trades-all", "instId": "BTC-USDT"}
TRADE: dict[str, Any] = {
    **{"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306"},
    **{"side": "buy", "source": "0", "ts": "1630048897897"},
}
FIELDS = ["instId", "tradeId", "px", "sz", "side", "ts"]
# The example of "GET / Trades history" there.
ROW = {
    **{"instId": "BTC-USDT", "side": "sell", "sz": "0.00001", "source": "0"},
    **{"px": "29963.2", "tradeId": "242720720", "ts": "1654161646974"},
}


def frame(*trades: Any, arg: Any = ARG) -> bytes:
    return json.dumps({"arg": arg, "data": trades or [TRADE]}).encode()


def trade(number: int, **changes: Any) -> dict[str, Any]:
    return {**TRADE, "tradeId": str(number), **changes}


def parse(*frames: bytes, symbols: tuple[str, ...] = ("BTC-USDT",)) -> Parsed:
    return OKX.parser(symbols)(frames)


def answer(*told: Any, code: str = "0", msg: str = "") -> bytes:
    return json.dumps({"code": code, "msg": msg, "data": told}).encode()


# --- real and documented frames -------------------------------------------------------------------------------------------


def test_recorded_trades_parse_to_what_an_independent_reading_gives() -> None:
    """They are of 2022, when the channel of single trades bore the name that now means aggregates."""
    frames = [text.replace(b'"channel":"trades"', b'"channel":"trades-all"') for text in recorded("recorded_OKX.ws.1.0.gz")]
    told = [event for event in map(exact, frames) if "data" in event and event["arg"]["channel"] == "trades-all"]
    expected: dict[str, list[tuple[Any, ...]]] = {}
    for event in told:
        for e in event["data"]:
            side = {"buy": 1, "sell": -1}[e["side"]]  # "Trade direction of taker"
            row = int(e["tradeId"]), int(e["ts"]) * 10**6, Decimal(e["px"]), Decimal(e["sz"]), side
            expected.setdefault(e["instId"], []).append(row)
    parsed = OKX.parser(expected)(frames)
    assert {symbol: list(rows(trades)) for symbol, trades in parsed.trades.items()} == expected
    assert sum(map(len, expected.values())) > 30
    assert (parsed.rejects, parsed.refusals, parsed.other) == ([], [], len(frames) - len(told))


def test_the_documented_frame_is_read() -> None:
    trades = parse(frame()).trades["BTC-USDT"]
    assert list(rows(trades)) == [(130639474, 1_630_048_897_897_000_000, Decimal("42219.9"), Decimal("0.12060306"), 1)]


def test_a_side_is_the_takers() -> None:
    parsed = parse(frame(trade(1, side="buy"), trade(2, side="sell")))
    assert parsed.trades["BTC-USDT"].side.tolist() == [1, -1]


def test_ids_up_to_the_last_of_64_bits_are_exact() -> None:
    assert found(parse(frame(trade(2**63 - 1), trade(2**53 + 1))), "BTC-USDT") == [2**63 - 1, 2**53 + 1]


def test_prices_and_sizes_stay_the_venues_texts() -> None:
    trades = parse(frame(trade(1, px="0.10000000000000000000000001", sz="1e-8"))).trades["BTC-USDT"]
    assert (trades.price, trades.size) == (["0.10000000000000000000000001"], ["1e-8"])


def test_trades_of_several_symbols_are_kept_apart_with_their_raw_frames() -> None:
    eth = trade(7, instId="ETH-USDT")
    frames = [frame(trade(1), trade(2)), frame(eth, arg={**ARG, "instId": "ETH-USDT"}), frame(trade(3))]
    parsed = parse(*frames, symbols=("BTC-USDT", "ETH-USDT"))
    assert (found(parsed, "BTC-USDT"), found(parsed, "ETH-USDT")) == ([1, 2, 3], [7])
    assert parsed.raws("BTC-USDT")(2) == (frames[2].decode(), "okx websocket")


# --- other frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"pong",
        b'{"event":"subscribe","arg":{"channel":"trades-all","instId":"BTC-USDT"},"connId":"a4d3ae55"}',
        b'{"event":"channel-conn-count","channel":"trades-all","connCount":"1","connId":"a4d3ae55"}',
        b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"1"}]}',
        b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[]}',
    ],
)
def test_a_frame_that_is_no_trade_is_counted_and_not_refused(text: bytes) -> None:
    parsed = parse(frame(trade(1)), text, frame(trade(2)))
    assert (found(parsed, "BTC-USDT"), parsed.rejects, parsed.other, parsed.reconnect) == ([1, 2], [], 1, False)


def test_aggregated_trades_are_not_taken_for_single_ones() -> None:
    """Their ids skip those that they sum up, which would look like a hole, and be filled: counted twice."""
    parsed = parse(frame({**TRADE, "count": "3"}, arg={**ARG, "channel": "trades"}))
    assert (parsed.trades, parsed.rejects, parsed.other) == ({}, [], 1)


def test_a_notice_of_an_upgrade_asks_for_a_new_connection() -> None:
    msg = "The connection will soon be closed for a service upgrade. Please reconnect."
    text = json.dumps({"event": "notice", "code": "64008", "msg": msg, "connId": "a4d3ae55"}).encode()
    parsed = parse(text, frame())
    assert (parsed.reconnect, parsed.other, parsed.rejects) == (True, 1, [])


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ({"msg": "Wrong URL or channel:trades-all,instId:NO-SUCH doesn't exist. Please use the correct URL"}, "NO-SUCH"),
        ({"msg": "no", "arg": {"channel": "trades-all", "instId": "NO-SUCH"}}, "NO-SUCH"),
        ({"msg": "Invalid request"}, ""),
        ({"msg": 5}, ""),
    ],
)
def test_a_refused_subscription_is_told_with_its_symbol_where_it_is_named(text: dict[str, Any], symbol: str) -> None:
    told = json.dumps({"event": "error", "code": "60018", **text}).encode()
    parsed = parse(told, frame(), symbols=("BTC-USDT", "NO-SUCH"))
    assert parsed.refusals == [Refusal(symbol, f"60018 {text['msg']}")]
    assert (found(parsed, "BTC-USDT"), parsed.rejects) == ([130639474], [])


# --- bad frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", broken(frame()))
def test_a_broken_frame_is_refused_and_the_others_are_kept(what: str) -> None:
    parsed = parse(frame(trade(1)), broken(frame())[what], frame(trade(2)))
    assert (found(parsed, "BTC-USDT"), len(parsed.rejects), parsed.other) == ([1, 2], 1, 0)


@pytest.mark.parametrize("name", FIELDS)
def test_of_a_frame_with_a_trade_that_lacks_a_field_the_others_are_kept(name: str) -> None:
    bad = {key: value for key, value in TRADE.items() if key != name}
    text = frame(trade(1), bad, trade(3))
    parsed = parse(text, frame(trade(4)), symbols=("BTC-USDT", "ETH-USDT"))
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where) == ("BTC-USDT", text.decode(), "okx websocket")
    assert found(parsed, "BTC-USDT") == [1, 3, 4]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:12])
def test_a_value_of_a_wrong_type_never_becomes_a_trade(name: str, value: Any) -> None:
    if (name, value) == ("tradeId", 7):
        return
    parsed = parse(frame(trade(1), {**TRADE, name: value}), frame(trade(2)))
    batch, reasons = parsed.trades["BTC-USDT"].checked(latest_ns=LATEST_NS)
    assert batch.ids.tolist() == [1, 2]
    assert len(parsed.rejects) + len(reasons) == 1


@pytest.mark.parametrize("data", [None, {}, "x", 7, [7], [[]], [None]])
def test_data_that_are_no_trades_are_refused_with_the_symbol(data: Any) -> None:
    text = json.dumps({"arg": ARG, "data": data}).encode()
    ((symbol, reject),) = parse(text, symbols=("BTC-USDT", "ETH-USDT")).rejects
    assert (symbol, reject.raw) == ("BTC-USDT", text.decode())


def test_a_price_beyond_all_bounds_is_refused_when_checked() -> None:
    batch, reasons = parse(frame(trade(1, px="1e400"), trade(2))).trades["BTC-USDT"].checked(latest_ns=LATEST_NS)
    assert (list(reasons), batch.ids.tolist()) == ([0], [2])


def test_a_symbol_never_asked_for_is_refused_and_those_asked_for_are_kept() -> None:
    parsed = parse(frame(trade(1), trade(7, instId="EVIL"), trade(8, instId="EVIL")), symbols=("BTC-USDT", "ETH-USDT"))
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.reason) == ("", "symbol 'EVIL' was never asked for")
    assert found(parsed, "BTC-USDT") == [1]


def test_frames_with_a_few_bytes_changed_are_never_an_exception() -> None:
    for text in mutants(frame(trade(1), trade(2))):
        parse(frame(trade(3)), text)


# --- what is sent ---------------------------------------------------------------------------------------------------------


def test_each_instrument_is_subscribed_to_by_a_message_of_its_own() -> None:
    messages = [json.loads(message) for message in OKX.subscriptions(["BTC-USDT", "BTC-USDT-SWAP"])]
    assert messages == [
        {"op": "subscribe", "args": [{"channel": "trades-all", "instId": "BTC-USDT"}]},
        {"op": "subscribe", "args": [{"channel": "trades-all", "instId": "BTC-USDT-SWAP"}]},
    ]


def test_a_connection_keeps_within_the_subscriptions_of_an_hour_and_speaks_before_it_is_cut() -> None:
    assert len(OKX.subscriptions(["x"] * OKX.limits.symbols_per_connection)) <= 480
    assert (OKX.limits.keepalive, OKX.limits.keepalive_s < 30) == (b"ping", True)


def test_the_venue_is_known_by_its_name_with_the_rule_that_the_pipeline_knows() -> None:
    assert venue_of("okx") is OKX
    assert OKX.ids is id_rule("okx") is IdRule.CONTIGUOUS


# --- history --------------------------------------------------------------------------------------------------------------


def test_the_documented_history_is_read_oldest_first() -> None:
    parsed = OKX.parse_history("BTC-USDT", answer(ROW, {**ROW, "tradeId": "242720719", "side": "buy"}))
    at_ns, price, size = 1_654_161_646_974_000_000, Decimal("29963.2"), Decimal("0.00001")
    assert list(rows(parsed.trades["BTC-USDT"])) == [
        (242720719, at_ns, price, size, 1),
        (242720720, at_ns, price, size, -1),
    ]


def test_a_bad_row_is_refused_and_the_others_are_kept() -> None:
    parsed = OKX.parse_history("BTC-USDT", answer({**ROW, "ts": "x"}, ROW))
    ((symbol, reject),) = parsed.rejects
    assert (found(parsed, "BTC-USDT"), symbol) == ([242720720], "BTC-USDT")
    assert '"ts": "x"' in reject.raw


@pytest.mark.parametrize(
    ("code", "fatal"), [("50011", False), ("50061", False), ("50001", False), ("51001", True), ("51000", True)]
)
def test_a_refused_request_is_an_error_and_fatal_where_asking_again_would_not_help(code: str, fatal: bool) -> None:
    with pytest.raises(VenueError, match=f"okx BTC-USDT history: refused: {code} why") as caught:
        OKX.parse_history("BTC-USDT", answer(code=code, msg="why"))
    assert caught.value.fatal is fatal


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>", b'{"code":"0","data":7}', b'{"code":"0"}', b"[" * 10_000 + b"]" * 10_000, b"\xff"]
)
def test_a_body_without_rows_is_an_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="okx BTC-USDT history"):
        OKX.parse_history("BTC-USDT", body)


def serve(where: str, query: dict[str, str]) -> bytes:
    """The history of an instrument whose newest trade is 500."""
    assert (where, query["instId"], query["type"], query["limit"]) == (
        *("/api/v5/market/history-trades", "BTC-USDT"),
        *("1", "100"),
    )
    top = min(int(query.get("after", 501)), 501)
    return answer(*({**ROW, "tradeId": str(i)} for i in range(top - 1, max(top - 101, 0), -1)))


@pytest.mark.parametrize(
    ("span", "pages"), [(Span(100, 102), 1), (Span(1, 100), 1), (Span(7, 350), 4), (Span(490), 1), (Span(300, 500), 3)]
)
def test_a_hole_is_walked_from_above_in_as_few_pages_as_it_takes(span: Span, pages: int) -> None:
    ids, asked = walk(OKX, "BTC-USDT", span, serve)
    assert (ids, asked) == (list(range(span.first_id or 1, (span.last_id or 500) + 1)), pages)


# --- klines ---------------------------------------------------------------------------------------------------------------


def test_klines_are_asked_for_between_two_times_and_100_at_most() -> None:
    where, query = split(OKX.klines_path("BTC-USDT", 27_000_000, 1000) or "")
    assert where == "/api/v5/market/history-candles"
    assert query == {
        **{"instId": "BTC-USDT", "bar": "1m", "limit": "100"},
        **{"before": str(27_000_000 * 60_000 - 1), "after": str(27_000_100 * 60_000)},
    }


def test_klines_are_exact_and_oldest_first_and_the_one_still_going_on_is_left_out() -> None:
    told = [
        [str(minute * 60_000), "3721", "3743", "3677", "3708", volume, "8422", "22698", confirmed]
        for minute, volume, confirmed in [(27_000_002, "5", "0"), (27_000_001, "0.3", "1"), (27_000_000, "1e-8", "1")]
    ]
    assert OKX.parse_klines(answer(*told)) == [
        Kline(27_000_000, Decimal("0.00000001")),
        Kline(27_000_001, Decimal("0.3")),
    ]


@pytest.mark.parametrize("volume", ["NaN", "1e400", "", "x"])
def test_klines_whose_volume_is_no_number_are_an_error(volume: str) -> None:
    with pytest.raises(VenueError, match="okx klines"):
        OKX.parse_klines(answer(["0", "1", "1", "1", "1", volume, "1", "1", "1"]))


def test_klines_of_an_unknown_instrument_are_a_fatal_error() -> None:
    with pytest.raises(VenueError, match="51001") as caught:
        OKX.parse_klines(answer(code="51001", msg="Instrument ID doesn't exist"))
    assert caught.value.fatal
