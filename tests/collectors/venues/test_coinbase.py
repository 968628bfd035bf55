"""Coinbase's frames and history: what real and documented ones say, and that nothing that it may send is an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from collectors.venues.coinbase import COINBASE
from collectors.venues.history import Span
from collectors.venues.kline import Kline
from collectors.venues.parsed import Parsed, Refusal
from collectors.venues.venue import venue_of
from pipeline.errors import VenueError
from pipeline.instrument import IdRule, id_rule
from tests.collectors.venues.hostile import LATEST_NS, VALUES, broken, exact, found, mutants, recorded, rows
from tests.collectors.venues.walks import split, walk

# The example of docs.cdp.coinbase.com/exchange/websocket-feed/channels, "Match".
MATCH: dict[str, Any] = {
    "type": "match",
    "trade_id": 10,
    "sequence": 50,
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "time": "2014-11-07T08:19:27.028459Z",
    "product_id": "BTC-USD",
    "size": "5.23512",
    "price": "400.23",
    "side": "sell",
}
AT_NS = 1_415_348_367_028_459_000
FIELDS = ["type", "trade_id", "time", "product_id", "size", "price", "side"]
# The example of "Get product trades" in the reference of its REST API.
ROWS = b"""[
    {"time": "2014-11-07T22:19:28.578544Z", "trade_id": 74, "price": "10.00000000", "size": "0.01000000", "side": "buy"},
    {"time": "2014-11-07T01:08:43.642366Z", "trade_id": 73, "price": "100.00000000", "size": "0.01000000", "side": "sell"}
]"""


def frame(**changes: Any) -> bytes:
    return json.dumps({**MATCH, **changes}).encode()


def parse(*frames: bytes, symbols: tuple[str, ...] = ("BTC-USD",)) -> Parsed:
    return COINBASE.parser(symbols)(frames)


def slowly_ns(text: str) -> int:
    """A time as nanoseconds, by another way than the parser's."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    since = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(seconds=1) * 10**9 + int(Decimal(f"0.{fraction or 0}") * 10**9)


# --- real and documented frames -------------------------------------------------------------------------------------------


def test_recorded_matches_parse_to_what_an_independent_reading_gives() -> None:
    frames = recorded("recorded_COINBASE.ws.28.0.gz")
    told = [event for event in map(exact, frames) if event["type"] in ("match", "last_match")]
    expected: dict[str, list[tuple[Any, ...]]] = {}
    for event in told:
        taker = {"buy": -1, "sell": 1}[event["side"]]  # "the side field indicates the maker order side"
        row = event["trade_id"], slowly_ns(event["time"]), Decimal(event["price"]), Decimal(event["size"]), taker
        expected.setdefault(event["product_id"], []).append(row)
    parsed = COINBASE.parser(expected)(frames)
    assert {symbol: list(rows(trades)) for symbol, trades in parsed.trades.items()} == expected
    assert len(told) > 90
    assert (parsed.rejects, parsed.refusals, parsed.other) == ([], [], len(frames) - len(told))


def test_recorded_trades_stand_on_the_side_on_which_they_moved_the_price() -> None:
    """The channel `ticker`, recorded beside, tells the taker's side of the same trades."""
    events = [exact(text) for text in recorded("recorded_COINBASE.ws.28.0.gz")]
    takers = {(e["product_id"], e["trade_id"]): e["side"] for e in events if e["type"] == "ticker" and "trade_id" in e}
    parsed = COINBASE.parser({e["product_id"] for e in events if "product_id" in e})([json.dumps(e).encode() for e in events])
    sides = {
        (symbol, int(i)): side for symbol, t in parsed.trades.items() for i, side in zip(t.ids, t.side.tolist(), strict=True)
    }
    both = takers.keys() & sides.keys()
    assert len(both) > 50
    assert {key: {"buy": 1, "sell": -1}[takers[key]] for key in both} == {key: sides[key] for key in both}


def test_the_documented_match_is_read() -> None:
    trades = parse(frame()).trades["BTC-USD"]
    assert list(rows(trades)) == [(10, AT_NS, Decimal("400.23"), Decimal("5.23512"), 1)]


def test_a_match_whose_maker_sold_was_bought_by_the_taker() -> None:
    parsed = parse(frame(trade_id=1, side="sell"), frame(trade_id=2, side="buy"))
    assert parsed.trades["BTC-USD"].side.tolist() == [1, -1]


def test_the_last_match_before_the_subscription_is_a_trade_too() -> None:
    assert found(parse(frame(type="last_match"), frame(trade_id=11)), "BTC-USD") == [10, 11]


def test_prices_and_sizes_stay_the_venues_texts() -> None:
    trades = parse(frame(price="0.10000000000000000000000001", size="1e-8")).trades["BTC-USD"]
    assert (trades.price, trades.size) == (["0.10000000000000000000000001"], ["1e-8"])


def test_trades_of_several_symbols_are_kept_apart_with_their_raw_frames() -> None:
    frames = [frame(trade_id=1), frame(trade_id=7, product_id="ETH-USD"), frame(trade_id=2)]
    parsed = parse(*frames, symbols=("BTC-USD", "ETH-USD"))
    assert (found(parsed, "BTC-USD"), found(parsed, "ETH-USD")) == ([1, 2], [7])
    assert parsed.raws("BTC-USD")(1) == (frames[2].decode(), "coinbase websocket")


# --- other frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"]}]}',
        b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}',
    ],
)
def test_a_frame_that_is_no_trade_is_counted_and_not_refused(text: bytes) -> None:
    parsed = parse(frame(), text, frame(trade_id=11))
    assert (found(parsed, "BTC-USD"), parsed.rejects, parsed.other) == ([10, 11], [], 1)


def test_a_refused_subscription_is_told_with_its_symbol() -> None:
    text = b'{"type":"error","message":"Failed to subscribe","reason":"NO-SUCH is not a valid product"}'
    parsed = parse(text, frame(), symbols=("BTC-USD", "NO-SUCH"))
    assert parsed.refusals == [Refusal("NO-SUCH", "Failed to subscribe: NO-SUCH is not a valid product")]
    assert (found(parsed, "BTC-USD"), parsed.rejects) == ([10], [])


def test_an_error_that_names_no_symbol_is_a_refusal_of_the_whole_connection() -> None:
    parsed = parse(b'{"type":"error","message":"Slow down","reason":"rate limit exceeded"}')
    assert parsed.refusals == [Refusal("", "Slow down: rate limit exceeded")]


# --- bad frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", broken(frame()))
def test_a_broken_frame_is_refused_and_the_others_are_kept(what: str) -> None:
    parsed = parse(frame(), broken(frame())[what], frame(trade_id=11))
    assert (found(parsed, "BTC-USD"), len(parsed.rejects), parsed.other) == ([10, 11], 1, 0)


@pytest.mark.parametrize("name", FIELDS)
def test_a_frame_without_a_field_is_refused(name: str) -> None:
    text = json.dumps({key: value for key, value in MATCH.items() if key != name}).encode()
    parsed = parse(text, frame(trade_id=11), symbols=("BTC-USD", "ETH-USD"))
    ((symbol, reject),) = parsed.rejects
    assert symbol == ("" if name in ("type", "product_id") else "BTC-USD")
    assert (reject.raw, reject.where) == (text.decode(), "coinbase websocket")
    assert found(parsed, "BTC-USD") == [11]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:12])
def test_a_value_of_a_wrong_type_never_becomes_a_trade(name: str, value: Any) -> None:
    if (name, value) in [("trade_id", 7), ("type", "x"), ("type", "")]:
        return  # these are right, or another kind of frame
    parsed = parse(frame(**{name: value}), frame(trade_id=11))
    trades = parsed.trades["BTC-USD"]
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    assert batch.ids.tolist() == [11]
    assert len(parsed.rejects) + len(reasons) == 1


def test_a_price_beyond_all_bounds_is_refused_when_checked() -> None:
    trades = parse(frame(price="1e400"), frame(trade_id=11)).trades["BTC-USD"]
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    assert (list(reasons), batch.ids.tolist()) == ([0], [11])
    assert "price" in reasons[0]


def test_a_symbol_never_asked_for_is_refused() -> None:
    ((symbol, reject),) = parse(frame(product_id="../../etc/passwd"), symbols=("BTC-USD", "ETH-USD")).rejects
    assert (symbol, reject.reason) == ("", "symbol '../../etc/passwd' was never asked for")


def test_frames_with_a_few_bytes_changed_are_never_an_exception() -> None:
    for text in mutants(frame()):
        parse(frame(), text)


# --- what is sent ---------------------------------------------------------------------------------------------------------


def test_each_product_is_subscribed_to_by_a_message_of_its_own_and_one_beats_the_heart() -> None:
    messages = [json.loads(message) for message in COINBASE.subscriptions(["BTC-USD", "ETH-USD"])]
    assert messages == [
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]},
        {"type": "subscribe", "product_ids": ["ETH-USD"], "channels": ["matches"]},
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["heartbeat"]},
    ]


def test_the_venue_is_known_by_its_name_with_the_rule_that_the_pipeline_knows() -> None:
    assert venue_of("coinbase") is COINBASE
    assert COINBASE.ids is id_rule("coinbase") is IdRule.CONTIGUOUS


# --- history --------------------------------------------------------------------------------------------------------------


def test_the_documented_history_is_read_oldest_first_with_the_takers_side() -> None:
    parsed = COINBASE.parse_history("BTC-USD", ROWS)
    assert list(rows(parsed.trades["BTC-USD"])) == [
        (73, slowly_ns("2014-11-07T01:08:43.642366Z"), Decimal(100), Decimal("0.01"), 1),
        (74, slowly_ns("2014-11-07T22:19:28.578544Z"), Decimal(10), Decimal("0.01"), -1),
    ]


def test_a_bad_row_is_refused_and_the_others_are_kept() -> None:
    parsed = COINBASE.parse_history("BTC-USD", ROWS.replace(b'"trade_id": 74', b'"trade_id": "x"'))
    ((symbol, reject),) = parsed.rejects
    assert (found(parsed, "BTC-USD"), symbol) == ([73], "BTC-USD")
    assert '"trade_id": "x"' in reject.raw


@pytest.mark.parametrize("body", [b"", b"null", b'{"message":"NotFound"}', b"<html>", b"[" * 10_000 + b"]" * 10_000, b"\xff"])
def test_a_body_that_is_no_list_is_an_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="coinbase BTC-USD history: expected a list of trades"):
        COINBASE.parse_history("BTC-USD", body)


def serve(where: str, query: dict[str, str]) -> bytes:
    """The history of a product whose newest trade is 5000."""
    assert where == "/products/BTC-USD/trades"
    top, limit = min(int(query.get("after", 5001)), 5001), int(query["limit"])
    assert 1 <= limit <= 1000
    told = [{**json.loads(frame()), "trade_id": i} for i in range(top - 1, max(top - 1 - limit, 0), -1)]
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    ("span", "pages"),
    [(Span(100, 102), 1), (Span(1, 1), 1), (Span(1, 1000), 1), (Span(7, 3500), 4), (Span(4900), 1), (Span(3000, 5000), 3)],
)
def test_a_hole_is_walked_from_above_in_as_few_pages_as_it_takes(span: Span, pages: int) -> None:
    ids, asked = walk(COINBASE, "BTC-USD", span, serve)
    assert (ids, asked) == (list(range(span.first_id or 1, (span.last_id or 5000) + 1)), pages)


def test_no_more_rows_are_asked_for_than_are_wanted() -> None:
    assert split(COINBASE.history_path("BTC-USD", Span(100, 102), None) or "")[1] == {"limit": "3", "after": "103"}


# --- klines ---------------------------------------------------------------------------------------------------------------


def test_klines_are_asked_for_by_both_ends_and_300_at_most() -> None:
    where, query = split(COINBASE.klines_path("BTC-USD", 27_000_000, 1000) or "")
    assert where == "/products/BTC-USD/candles"
    assert query == {"granularity": "60", "start": "2021-05-03T00:00:00Z", "end": "2021-05-03T04:59:59Z"}


def test_klines_are_exact_and_oldest_first() -> None:
    body = b"[[1620000060,1.1,2.2,1.5,2,0.30000000000000004],[1620000000,1,2,1,2,1e-8]]"
    assert COINBASE.parse_klines(body) == [
        Kline(27_000_000, Decimal("0.00000001")),
        Kline(27_000_001, Decimal("0.30000000000000004")),
    ]


@pytest.mark.parametrize("volume", [b"1e400", b'"1"', b"null", b"[]", b"1" * 5000])
def test_klines_that_hold_no_volume_are_an_error(volume: bytes) -> None:
    with pytest.raises(VenueError, match="coinbase klines: expected a list of rows"):
        COINBASE.parse_klines(b"[[1620000060,1.1,2.2,1.5,2," + volume + b"]]")


def test_a_refusal_of_klines_is_told() -> None:
    with pytest.raises(VenueError, match="rows: granularity too small"):
        COINBASE.parse_klines(b'{"message":"granularity too small for the requested time range"}')
