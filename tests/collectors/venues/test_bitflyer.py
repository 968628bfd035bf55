"""bitFlyer's frames and history: what real and documented ones say, and that nothing that a venue may send is an exception."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from collectors.venues.bitflyer import BITFLYER
from collectors.venues.history import Span
from collectors.venues.parsed import MAX_RAW, Parsed, Refusal
from collectors.venues.venue import venue_of
from pipeline.errors import VenueError
from pipeline.instrument import IdRule, id_rule
from tests.collectors.venues.hostile import LATEST_NS, VALUES, broken, exact, found, mutants, recorded, rows

# An execution as bf-lightning-api.readme.io/docs/realtime-executions describes it, each value as it is sent.
EXECUTION = {
    "id": "2284079807",
    "side": '"BUY"',
    "price": "5860832.0",
    "size": "0.01",
    "exec_date": '"2021-12-12T23:05:29.9692063Z"',
    "buy_child_order_acceptance_id": '"JRF20211212-230529-223057"',
    "sell_child_order_acceptance_id": '"JRF20211212-230529-081757"',
}
AT_NS = 1639350329969206300
FIELDS = ["id", "side", "price", "size", "exec_date"]


def execution(number: int = 2284079807, /, **changes: str) -> str:
    told = {**EXECUTION, "id": str(number), **changes}
    return "{" + ",".join(f'"{name}":{value}' for name, value in told.items()) + "}"


def frame(*executions: str, symbol: str = "BTC_JPY") -> bytes:
    message = f'{{"channel":"lightning_executions_{symbol}","message":[{",".join(executions)}]}}'
    return f'{{"jsonrpc":"2.0","method":"channelMessage","params":{message}}}'.encode()


def parse(*frames: bytes, symbols: tuple[str, ...] = ("BTC_JPY",)) -> Parsed:
    return BITFLYER.parser(symbols)(frames)


# --- real frames ----------------------------------------------------------------------------------------------------------


def executions_told(frames: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """Symbol and execution, read without the parser."""
    params = [exact(text).get("params", {}) for text in frames]
    told = [p for p in params if p.get("channel", "").startswith("lightning_executions_")]
    return [(p["channel"].removeprefix("lightning_executions_"), each) for p in told for each in p["message"]]


def slowly_ns(text: str) -> int:
    """A time as nanoseconds, by another way than the parser's."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    since = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(seconds=1) * 10**9 + int(Decimal(f"0.{fraction or 0}") * 10**9)


def test_recorded_frames_parse_to_what_an_independent_reading_gives() -> None:
    frames = recorded("recorded_BITFLYER.ws.1.0.gz")
    told = executions_told(frames)
    parsed = BITFLYER.parser({symbol for symbol, _ in told})(frames)
    read = {symbol: list(rows(trades)) for symbol, trades in parsed.trades.items()}
    expected: dict[str, list[tuple[Any, ...]]] = {}
    for symbol, e in told:
        row = e["id"], slowly_ns(e["exec_date"]), e["price"], e["size"], {"BUY": 1, "SELL": -1, "": 0}[e["side"]]
        expected.setdefault(symbol, []).append(row)
    assert read == expected
    assert len(told) > 72
    assert (parsed.rejects, parsed.refusals) == ([], [])
    assert parsed.other == sum(b'"channel":"lightning_executions_' not in text for text in frames)


def test_the_texts_of_recorded_prices_and_sizes_are_those_of_the_frames() -> None:
    frames = recorded("recorded_BITFLYER.ws.1.0.gz")
    parsed = BITFLYER.parser({symbol for symbol, _ in executions_told(frames)})(frames)
    for symbol, trades in parsed.trades.items():
        texts = b"".join(f for f in frames if f'executions_{symbol}"'.encode() in f).decode()
        assert list(trades.price) == re.findall(r'"price":([^,]+),', texts)
        assert list(trades.size) == re.findall(r'"size":([^,]+),', texts)


def test_the_later_order_of_each_recorded_execution_is_on_the_side_that_it_tells() -> None:
    """Acceptance ids tell the second of each order, and the taker's is the later one: so `side` is the taker's."""
    told = [e for _, e in executions_told(recorded("recorded_BITFLYER.ws.1.0.gz"))]
    orders = [(e["side"], e["buy_child_order_acceptance_id"][:18], e["sell_child_order_acceptance_id"][:18]) for e in told]
    clear = [(side, buy > sell) for side, buy, sell in orders if buy != sell]
    assert {side for side, _ in clear} == {"BUY", "SELL"}
    assert all(bought_later is (side == "BUY") for side, bought_later in clear)


# --- frames ---------------------------------------------------------------------------------------------------------------


def test_a_frame_gives_its_executions() -> None:
    parsed = parse(frame(execution(7), execution(8, side='"SELL"', price="5860833")))
    assert list(rows(parsed.trades["BTC_JPY"])) == [
        (7, AT_NS, Decimal(5860832), Decimal("0.01"), 1),
        (8, AT_NS, Decimal(5860833), Decimal("0.01"), -1),
    ]
    assert (parsed.rejects, parsed.other) == ([], 0)


def test_an_auctions_trade_has_no_side() -> None:
    assert parse(frame(execution(side='""'))).trades["BTC_JPY"].side.tolist() == [0]


@pytest.mark.parametrize(
    ("told", "price"),
    [
        ("1e-08", "0.00000001"),
        ("1E-8", "0.00000001"),
        ("1.5e+2", "150"),
        ("1234567.0", "1234567"),
        ("0.1", "0.1"),
        ("9007199254740993.0000000001", "9007199254740993.0000000001"),
        ("0.30000000000000004", "0.30000000000000004"),
    ],
)
@pytest.mark.parametrize("field", ["price", "size"])
def test_numbers_keep_the_digits_that_a_float_would_lose(field: str, told: str, price: str) -> None:
    trades = parse(frame(execution(**{field: told}))).trades["BTC_JPY"]
    texts = trades.price if field == "price" else trades.size
    assert list(texts) == [told]
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    value, scale = (batch.price, batch.price_scale) if field == "price" else (batch.size, batch.size_scale)
    assert (Decimal(int(value[0])).scaleb(-scale), reasons) == (Decimal(price), {})


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("2021-12-12T23:05:29.9692063Z", AT_NS),
        ("2021-12-12T23:05:29.9692063", AT_NS),
        ("2021-12-12T23:05:29Z", 1639350329 * 10**9),
        ("2021-12-12T23:05:29.75", 1639350329750000000),
        ("2021-12-12T23:05:29.123456789Z", 1639350329123456789),
    ],
)
def test_times_are_utc_to_the_last_digit_with_or_without_the_letter_that_says_so(text: str, at_ns: int) -> None:
    assert parse(frame(execution(exec_date=f'"{text}"'))).trades["BTC_JPY"].ts_ns.tolist() == [at_ns]


@pytest.mark.parametrize(
    "text", ["", "soon", "2021-02-30T00:00:00Z", "2021-13-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
)
def test_a_time_that_is_none_is_refused_when_checked(text: str) -> None:
    parsed = parse(frame(execution(1, exec_date=f'"{text}"'), execution(2)))
    batch, reasons = parsed.trades["BTC_JPY"].checked(latest_ns=LATEST_NS)
    assert (batch.ids.tolist(), list(reasons)) == ([2], [0])


def test_executions_of_several_products_are_kept_apart_with_their_raw_frames() -> None:
    frames = [frame(execution(1), execution(2)), frame(execution(9), symbol="FX_BTC_JPY"), frame(execution(3))]
    parsed = parse(*frames, symbols=("BTC_JPY", "FX_BTC_JPY"))
    assert (found(parsed, "BTC_JPY"), found(parsed, "FX_BTC_JPY")) == ([1, 2, 3], [9])
    assert parsed.raws("BTC_JPY")(2) == (frames[2].decode(), "bitflyer websocket")


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"result":true}',
        '{"jsonrpc":"2.0","method":"channelMessage","params":{"channel":"lightning_ticker_BTC_JPY","message":{"ltp":1.0}}}',
        '{"jsonrpc":"2.0","method":"channelMessage","params":{"channel":"lightning_board_BTC_JPY","message":{"bids":[]}}}',
    ],
)
def test_a_frame_that_is_no_execution_is_counted_and_not_refused(text: str) -> None:
    parsed = parse(text.encode(), frame(execution(7)))
    assert (found(parsed, "BTC_JPY"), parsed.rejects, parsed.refusals, parsed.other) == ([7], [], [], 1)


def test_a_refused_subscription_is_told_with_the_symbol_of_its_request() -> None:
    symbols = ("BTC_JPY", "NOPE", "ETH_JPY")
    request = json.loads(BITFLYER.subscriptions(symbols)[1])
    answers = [
        {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "Invalid params", "data": None}},
        {"jsonrpc": "2.0", "id": request["id"], "result": False},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}},
    ]
    parsed = BITFLYER.parser({*symbols})([json.dumps(answer).encode() for answer in answers])
    assert parsed.refusals == [
        Refusal("NOPE", "-32602 Invalid params"),
        Refusal("NOPE", "answered b'false'"),
        Refusal("", "-32700 Parse error"),
    ]
    assert (parsed.rejects, parsed.other) == ([], 0)


# --- bad frames -----------------------------------------------------------------------------------------------------------


def fits(field: str, value: Any) -> bool:
    """Whether a value is of the field's own type. What can't be a price or a time is refused later, when trades are checked."""
    if field == "id":
        return type(value) is int and 0 <= value < 2**63
    if field in {"price", "size"}:
        return type(value) in {int, float}
    return isinstance(value, str) and (field == "exec_date" or value == "")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda v: json.dumps(v)[:12])
def test_a_wrong_type_in_any_field_refuses_that_execution_and_no_other(field: str, value: Any) -> None:
    wrong = json.dumps([value] if fits(field, value) else value)
    bad = frame(execution(2), execution(3, **{field: wrong}), execution(4))
    parsed = parse(frame(execution(1)), bad, frame(execution(5)))
    assert found(parsed, "BTC_JPY") == [1, 2, 4, 5]
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where) == ("BTC_JPY", bad.decode(), "bitflyer websocket")
    assert field in reject.reason


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_refuses_that_execution(field: str) -> None:
    lame = json.dumps({key: value for key, value in json.loads(execution()).items() if key != field})
    parsed = parse(frame(execution(1), lame, execution(3)), symbols=("BTC_JPY", "ETH_JPY"))
    assert (found(parsed, "BTC_JPY"), parsed.other) == ([1, 3], 0)
    ((symbol, reject),) = parsed.rejects
    assert (symbol, f"`{field}`" in reject.reason) == ("BTC_JPY", True)


@pytest.mark.parametrize("field", ["method", "params", "channel", "message"])
@pytest.mark.parametrize("value", [v for v in VALUES if not isinstance(v, str) and v != []], ids=lambda v: json.dumps(v)[:12])
def test_a_wrong_type_around_the_executions_refuses_the_frame(field: str, value: Any) -> None:
    told = json.loads(frame(execution(2)))
    (told if field in told else told["params"])[field] = value
    parsed = parse(frame(execution(1)), json.dumps(told).encode())
    assert (found(parsed, "BTC_JPY"), len(parsed.rejects), parsed.other) == ([1], 1, 0)


@pytest.mark.parametrize("field", ["method", "params", "channel", "message"])
def test_a_frame_that_lacks_a_field_is_refused(field: str) -> None:
    told = json.loads(frame(execution(2)))
    del (told if field in told else told["params"])[field]
    parsed = parse(json.dumps(told).encode())
    ((_, reject),) = parsed.rejects
    assert (parsed.other, f"`{field}`" in reject.reason) == (0, True)


@pytest.mark.parametrize("bad", broken(frame(execution())).values(), ids=broken(b"{}"))
def test_a_broken_frame_is_refused_with_a_reason_and_the_others_go_on(bad: bytes) -> None:
    parsed = parse(frame(execution(1)), bad, frame(execution(3)))
    assert found(parsed, "BTC_JPY") == [1, 3]
    ((_, reject),) = parsed.rejects
    assert reject.reason
    assert len(reject.raw) <= MAX_RAW
    assert parsed.raws("BTC_JPY")(1)[0] == frame(execution(3)).decode()


@pytest.mark.parametrize("number", ["1e400", "-1", "0", "0.0", "-0", "1e-400", "1" + "0" * 5000])
@pytest.mark.parametrize("field", ["price", "size"])
def test_a_number_that_no_price_or_size_can_have_is_refused_when_checked(field: str, number: str) -> None:
    parsed = parse(frame(execution(1, **{field: number}), execution(2)))
    batch, reasons = parsed.trades["BTC_JPY"].checked(latest_ns=LATEST_NS)
    assert (batch.ids.tolist(), list(reasons)) == ([2], [0])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-", "1.", ".5", "01", "0x10", "1_0", "+1", "1e", "\u0661"])
@pytest.mark.parametrize("field", ["price", "size"])
def test_what_json_does_not_know_as_a_number_is_refused(field: str, number: str) -> None:
    parsed = parse(frame(execution(1, **{field: number})), frame(execution(2)))
    assert (found(parsed, "BTC_JPY"), len(parsed.rejects)) == ([2], 1)


@pytest.mark.parametrize("symbols", [("BTC_JPY",), ("BTC_JPY", "ETH_JPY")])
def test_a_symbol_never_asked_for_is_refused(symbols: tuple[str, ...]) -> None:
    parsed = parse(frame(execution(1)), frame(execution(2), symbol="../../etc/passwd"), symbols=symbols)
    assert (list(parsed.trades), found(parsed, "BTC_JPY")) == (["BTC_JPY"], [1])
    ((symbol, reject),) = parsed.rejects
    assert symbol == ("BTC_JPY" if len(symbols) == 1 else "")
    assert reject.reason == "symbol '../../etc/passwd' was never asked for"


def test_no_mutation_of_a_frame_is_an_exception_or_touches_its_neighbours() -> None:
    for bad in mutants(frame(execution(5))):
        parsed = parse(frame(execution(1)), bad, frame(execution(9)))
        ids = found(parsed, "BTC_JPY")
        assert (ids[0], ids[-1]) == (1, 9)
        assert len(ids) + len(parsed.rejects) + len(parsed.refusals) + parsed.other == 3


# --- history --------------------------------------------------------------------------------------------------------------


def page(*executions: str) -> bytes:
    return f"[{','.join(executions)}]".encode()


def test_history_rows_are_trades_oldest_first_and_the_streams_own() -> None:
    parsed = BITFLYER.parse_history("BTC_JPY", page(execution(8, side='"SELL"'), execution(7)))
    assert list(rows(parsed.trades["BTC_JPY"])) == list(
        rows(parse(frame(execution(7), execution(8, side='"SELL"'))).trades["BTC_JPY"])
    )
    assert parsed.raws("BTC_JPY")(0) == (execution(7), "bitflyer BTC_JPY history")


@pytest.mark.parametrize("field", FIELDS)
def test_a_bad_history_row_is_refused_and_the_others_go_on(field: str) -> None:
    parsed = BITFLYER.parse_history("BTC_JPY", page(execution(3), execution(2, **{field: "null"}), execution(1)))
    assert found(parsed, "BTC_JPY") == [1, 3]
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.where) == ("BTC_JPY", "bitflyer BTC_JPY history")


REFUSED = b'{"status":-156,"error_message":"Execution history is limited to the most recent 31 days.","data":null}'


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"[" * 100_000, b"[1,", REFUSED])
def test_a_history_answer_that_is_no_list_is_a_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="bitflyer BTC_JPY history: expected a list of executions"):
        BITFLYER.parse_history("BTC_JPY", body)


def test_history_is_walked_from_the_newest_id_wanted_down_to_the_oldest() -> None:
    first = BITFLYER.history_path("BTC_JPY", Span(100, 2000), None)
    assert first == "/v1/executions?product_code=BTC_JPY&count=500&before=2001"
    trades = BITFLYER.parse_history("BTC_JPY", page(execution(1999), execution(1500))).trades["BTC_JPY"]
    assert str(BITFLYER.history_path("BTC_JPY", Span(100, 2000), trades)).endswith("&before=1500")
    last = BITFLYER.parse_history("BTC_JPY", page(execution(102), execution(99))).trades["BTC_JPY"]
    assert BITFLYER.history_path("BTC_JPY", Span(100, 2000), last) is None
    assert BITFLYER.history_path("BTC_JPY", Span(), None) == "/v1/executions?product_code=BTC_JPY&count=500"
    assert str(BITFLYER.history_path("A&B", Span(), None)) == "/v1/executions?product_code=A%26B&count=500"


# --- addresses ------------------------------------------------------------------------------------------------------------


def test_each_product_is_subscribed_to_by_a_request_of_its_own() -> None:
    assert BITFLYER.ws_path(["BTC_JPY"]) == "/json-rpc"
    requests = [json.loads(message) for message in BITFLYER.subscriptions(["BTC_JPY", "FX_BTC_JPY"])]
    ids = {request.pop("id") for request in requests}
    assert len(ids) == 2
    assert all(type(i) is int and 0 <= i < 2**31 for i in ids)
    assert requests[1] == {
        "jsonrpc": "2.0",
        "method": "subscribe",
        "params": {"channel": "lightning_executions_FX_BTC_JPY"},
    }


def test_there_are_no_official_minutes() -> None:
    assert BITFLYER.klines_path("BTC_JPY", 0, 1) is None
    with pytest.raises(VenueError, match="bitflyer has no official minutes"):
        BITFLYER.parse_klines(b"[]")


def test_it_is_known_by_its_name_with_the_rule_that_the_pipeline_knows() -> None:
    assert venue_of("bitflyer") is BITFLYER
    assert BITFLYER.ids is id_rule("bitflyer") is IdRule.MONOTONIC


def test_requests_stay_below_500_in_5_minutes_even_with_a_burst() -> None:
    assert BITFLYER.limits.requests_per_s * 300 < 450
