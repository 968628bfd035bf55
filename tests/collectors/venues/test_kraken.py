"""Kraken's frames and history: what documented ones say, and that nothing that it may send is an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from collectors.venues.history import Span
from collectors.venues.kline import Kline
from collectors.venues.kraken import KRAKEN
from collectors.venues.parsed import Parsed, Refusal
from collectors.venues.venue import venue_of
from pipeline.errors import VenueError
from pipeline.instrument import IdRule, id_rule
from tests.collectors.venues.hostile import LATEST_NS, VALUES, broken, exact, found, mutants, recorded, rows
from tests.collectors.venues.walks import split, walk

# The snapshot of docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade, each value as it is sent.
TRADE = {
    "symbol": '"MATIC/USD"',
    "side": '"buy"',
    "price": "0.5147",
    "qty": "6423.46326",
    "ord_type": '"limit"',
    "trade_id": "4665846",
    "timestamp": '"2023-09-25T07:48:36.925533Z"',
}
AT_NS = 1_695_628_116_925_533_000
FIELDS = ["symbol", "side", "price", "qty", "trade_id", "timestamp"]
# The example of docs.kraken.com/api/docs/rest-api/get-recent-trades.
HISTORY = b"""{"error": [], "result": {"XXBTZUSD": [
    ["30243.40000", "0.34507674", 1688669597.8277369, "b", "m", "", 61044952],
    ["30243.30000", "0.00376960", 1688669598.2804112, "s", "l", "", 61044953],
    ["30243.30000", "0.01235716", 1688669602.698379, "s", "m", "", 61044956]], "last": "1688671969993150842"}}"""


def trade(number: int = 4665846, /, **changes: str) -> str:
    told = {**TRADE, "trade_id": str(number), **changes}
    return "{" + ",".join(f'"{name}":{value}' for name, value in told.items()) + "}"


def frame(*trades: str, kind: str = "update") -> bytes:
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(trades)}]}}'.encode()


def parse(*frames: bytes, symbols: tuple[str, ...] = ("MATIC/USD",)) -> Parsed:
    return KRAKEN.parser(symbols)(frames)


# --- real and documented frames -------------------------------------------------------------------------------------------


def test_the_documented_snapshot_is_read() -> None:
    second = trade(4665847, qty="1136.19677815", timestamp='"2023-09-25T07:49:36.925603Z"')
    trades = parse(frame(trade(), second, kind="snapshot")).trades["MATIC/USD"]
    assert list(rows(trades)) == [
        (4665846, AT_NS, Decimal("0.5147"), Decimal("6423.46326"), 1),
        (4665847, AT_NS + 60_000_070_000, Decimal("0.5147"), Decimal("1136.19677815"), 1),
    ]


def first_protocol(frames: list[bytes]) -> list[tuple[str, list[str]]]:
    """Pair and trade of each trade that a session of the first protocol received: price, volume, time, side, type, misc."""
    events = [event for event in map(exact, frames) if isinstance(event, list) and event[2] == "trade"]
    return [(event[3], told) for event in events for told in event[1]]


def slowly_ns(seconds: str) -> int:
    return int(Decimal(seconds) * 10**9)


def test_recorded_trades_in_todays_frames_parse_to_what_an_independent_reading_gives() -> None:
    """They came by the first protocol, which is gone: their values are put into frames of the second."""
    told = first_protocol(recorded("recorded_KRAKEN.ws.48.0.gz"))
    frames: list[bytes] = []
    expected: dict[str, list[tuple[Any, ...]]] = {}
    for number, (pair, (price, volume, at, side, *_)) in enumerate(told):
        stamp = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(at.partition(".")[0]))
        text = f'"{stamp:%Y-%m-%dT%H:%M:%S}.{at.partition(".")[2]}Z"'
        changes = {"symbol": f'"{pair}"', "side": {"b": '"buy"', "s": '"sell"'}[side], "price": price, "qty": volume}
        frames.append(frame(trade(number, **changes, timestamp=text)))
        row = number, slowly_ns(at), Decimal(price), Decimal(volume), {"b": 1, "s": -1}[side]
        expected.setdefault(pair, []).append(row)
    assert len(told) == 10
    parsed = KRAKEN.parser(expected)(frames)
    assert {symbol: list(rows(trades)) for symbol, trades in parsed.trades.items()} == expected
    assert (parsed.rejects, parsed.other) == ([], 0)


def test_frames_of_the_first_protocol_are_refused() -> None:
    frames = recorded("recorded_KRAKEN.ws.48.0.gz")
    parsed = parse(*frames)
    assert (parsed.trades, len(parsed.rejects)) == ({}, len(frames))


def test_a_side_is_the_takers() -> None:
    parsed = parse(frame(trade(1, side='"buy"'), trade(2, side='"sell"')))
    assert parsed.trades["MATIC/USD"].side.tolist() == [1, -1]


@pytest.mark.parametrize("number", ["0.1", "1e-8", "12345678901234567890.123456789", "0.30000000000000004", "40.0", "7"])
def test_the_digits_of_json_numbers_are_kept(number: str) -> None:
    trades = parse(frame(trade(price=number, qty=number))).trades["MATIC/USD"]
    assert (trades.price, trades.size) == ([number], [number])
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    assert reasons == {}
    assert Fraction(int(batch.price[0]), 10**batch.price_scale) == Fraction(number)


@pytest.mark.parametrize("number", ["1e400", "1e-400", "1e99999999999", "9" * 5000, "0", "-1"])
def test_a_number_beyond_all_bounds_is_refused_when_checked(number: str) -> None:
    for name in ("price", "qty"):
        trades = parse(frame(trade(1, **{name: number}), trade(2))).trades["MATIC/USD"]
        batch, reasons = trades.checked(latest_ns=LATEST_NS)
        assert (list(reasons), batch.ids.tolist()) == ([0], [2])


@pytest.mark.parametrize("name", ["price", "qty"])
def test_a_number_that_is_no_utf_8_is_refused_when_checked(name: str) -> None:
    """The decoder leaves such a field as it stands."""
    text = frame(trade(1, **{name: '"?"'}), trade(2)).replace(b"?", b"\xff")
    batch, reasons = parse(text).trades["MATIC/USD"].checked(latest_ns=LATEST_NS)
    assert (list(reasons), batch.ids.tolist()) == ([0], [2])


def test_times_are_exact_to_the_nanosecond() -> None:
    trades = parse(frame(trade(1, timestamp='"2023-09-25T07:48:36.123456789Z"'))).trades["MATIC/USD"]
    assert trades.ts_ns.tolist() == [AT_NS - 925_533_000 + 123_456_789]


def test_trades_of_several_symbols_in_one_frame_are_kept_apart_with_their_raw_frames() -> None:
    frames = [frame(trade(1), trade(7, symbol='"BTC/USD"'), trade(2)), frame(trade(3))]
    parsed = parse(*frames, symbols=("MATIC/USD", "BTC/USD"))
    assert (found(parsed, "MATIC/USD"), found(parsed, "BTC/USD")) == ([1, 2, 3], [7])
    assert parsed.raws("MATIC/USD")(2) == (frames[1].decode(), "kraken websocket")


# --- other frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b'{"channel":"heartbeat"}',
        b'{"channel":"status","type":"update","data":[{"version":"2.0.0","system":"online","api_version":"v2"}]}',
        b'{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}',
        b'{"method":"subscribe","result":{"channel":"trade","snapshot":true,"symbol":"MATIC/USD"},"success":true}',
        b'{"channel":"trade","type":"snapshot","data":[]}',
    ],
)
def test_a_frame_that_is_no_trade_is_counted_and_not_refused(text: bytes) -> None:
    parsed = parse(frame(trade(1)), text, frame(trade(2)))
    assert (found(parsed, "MATIC/USD"), parsed.rejects, parsed.other) == ([1, 2], [], 1)


def test_a_refused_subscription_is_told_with_its_symbol() -> None:
    told = b'{"method":"subscribe","success":false,"error":"Currency pair not supported NO/SUCH","symbol":"NO/SUCH"}'
    parsed = parse(told, frame(trade(1)), symbols=("MATIC/USD", "NO/SUCH"))
    assert parsed.refusals == [Refusal("NO/SUCH", "Currency pair not supported NO/SUCH")]
    assert (found(parsed, "MATIC/USD"), parsed.rejects) == ([1], [])


def test_a_refused_message_is_a_refusal_of_the_whole_connection() -> None:
    assert parse(b'{"error":"Malformed request","success":false}').refusals == [Refusal("", "Malformed request")]


# --- bad frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", broken(frame(trade())))
def test_a_broken_frame_is_refused_and_the_others_are_kept(what: str) -> None:
    parsed = parse(frame(trade(1)), broken(frame(trade()))[what], frame(trade(2)))
    assert (found(parsed, "MATIC/USD"), len(parsed.rejects), parsed.other) == ([1, 2], 1, 0)


@pytest.mark.parametrize("name", FIELDS)
def test_of_a_frame_with_a_trade_that_lacks_a_field_the_others_are_kept(name: str) -> None:
    bad = "{" + ",".join(f'"{key}":{value}' for key, value in TRADE.items() if key != name) + "}"
    text = frame(bad, trade(1), trade(3))
    parsed = parse(text, frame(trade(4)), symbols=("MATIC/USD", "BTC/USD"))
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where) == ("MATIC/USD", text.decode(), "kraken websocket")
    assert found(parsed, "MATIC/USD") == [1, 3, 4]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:12])
def test_a_value_of_a_wrong_type_never_becomes_a_trade(name: str, value: Any) -> None:
    if (name in ("price", "qty") and value in (1.5, 7, 2**63) and value is not True) or (name, value) == ("trade_id", 7):
        return  # these are right
    parsed = parse(frame(trade(1), trade(9, **{name: json.dumps(value)})), frame(trade(2)))
    batch, reasons = parsed.trades["MATIC/USD"].checked(latest_ns=LATEST_NS)
    assert batch.ids.tolist() == [1, 2]
    assert len(parsed.rejects) + len(reasons) == 1


@pytest.mark.parametrize("data", ["null", "{}", '"x"', "7", "[7]", "[[]]", "[null]"])
def test_data_that_are_no_trades_are_refused(data: str) -> None:
    text = f'{{"channel":"trade","type":"update","data":{data}}}'.encode()
    ((symbol, reject),) = parse(text).rejects
    assert (symbol, reject.raw) == ("MATIC/USD", text.decode())


def test_a_symbol_never_asked_for_is_refused_and_those_asked_for_are_kept() -> None:
    parsed = parse(frame(trade(7, symbol='"EVIL"'), trade(1)), symbols=("MATIC/USD", "BTC/USD"))
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.reason) == ("", "symbol 'EVIL' was never asked for")
    assert found(parsed, "MATIC/USD") == [1]


def test_frames_with_a_few_bytes_changed_are_never_an_exception() -> None:
    for text in mutants(frame(trade(1), trade(2))):
        parsed = parse(frame(trade(3)), text)
        for trades in parsed.trades.values():
            trades.checked(latest_ns=LATEST_NS)


# --- what is sent ---------------------------------------------------------------------------------------------------------


def test_all_pairs_are_subscribed_to_with_their_latest_trades() -> None:
    (message,) = KRAKEN.subscriptions(["BTC/USD", "MATIC/USD"])
    params = {"channel": "trade", "symbol": ["BTC/USD", "MATIC/USD"], "snapshot": True}
    assert json.loads(message) == {"method": "subscribe", "params": params}


def test_the_venue_is_known_by_its_name_with_the_rule_that_the_pipeline_knows() -> None:
    assert venue_of("kraken") is KRAKEN
    assert KRAKEN.ids is id_rule("kraken") is IdRule.CONTIGUOUS


# --- history --------------------------------------------------------------------------------------------------------------


def test_the_documented_history_is_read() -> None:
    parsed = KRAKEN.parse_history("BTC/USD", HISTORY)
    assert list(rows(parsed.trades["BTC/USD"])) == [
        (61044952, 1_688_669_597_827_736_900, Decimal("30243.4"), Decimal("0.34507674"), 1),
        (61044953, 1_688_669_598_280_411_200, Decimal("30243.3"), Decimal("0.00376960"), -1),
        (61044956, 1_688_669_602_698_379_000, Decimal("30243.3"), Decimal("0.01235716"), -1),
    ]


@pytest.mark.parametrize("bad", [b'"x"', b'"\xff"', b"1e400", b"-5", b"null", b"[]"])
def test_a_row_without_a_time_is_refused_when_checked(bad: bytes) -> None:
    trades = KRAKEN.parse_history("BTC/USD", HISTORY.replace(b"1688669598.2804112", bad)).trades["BTC/USD"]
    assert trades.checked(latest_ns=LATEST_NS)[1] == {1: "no time: it can't be placed in a minute"}


def test_a_bad_row_is_refused_and_the_others_are_kept() -> None:
    parsed = KRAKEN.parse_history("BTC/USD", HISTORY.replace(b"61044953", b'"x"'))
    ((symbol, reject),) = parsed.rejects
    assert (found(parsed, "BTC/USD"), symbol) == ([61044952, 61044956], "BTC/USD")
    assert reject.raw == '["30243.30000", "0.00376960", 1688669598.2804112, "s", "l", "", "x"]'


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        ("EQuery:Unknown asset pair", True),
        ("EGeneral:Invalid arguments", True),
        ("EGeneral:Too many requests", False),
        ("EAPI:Rate limit exceeded", False),
        ("EService:Unavailable", False),
    ],
)
def test_a_refused_request_is_an_error_and_fatal_where_asking_again_would_not_help(error: str, fatal: bool) -> None:
    body = json.dumps({"error": [error]}).encode()
    with pytest.raises(VenueError, match=f"kraken BTC/USD history: refused: {error}") as caught:
        KRAKEN.parse_history("BTC/USD", body)
    assert caught.value.fatal is fatal
    with pytest.raises(VenueError, match=error):
        KRAKEN.parse_klines(body)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"<html>", b"{}", b"\xff", b"[" * 10_000 + b"]" * 10_000),
        *(b'{"error":[],"result":{"last":"1"}}', b'{"error":[],"result":{"A":[],"B":[]}}', b'{"error":[],"result":{"A":7}}'),
    ],
)
def test_a_body_without_rows_is_an_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="kraken BTC/USD history: expected"):
        KRAKEN.parse_history("BTC/USD", body)


NEWEST = 5000
FIRST_S = 1_688_000_000


def at(number: int) -> Decimal:
    """When the trade of that id was: two in each quarter of a second."""
    return FIRST_S + Decimal(number // 2) / 4


def serve(where: str, query: dict[str, str]) -> bytes:
    """The history of a pair whose newest trade is `NEWEST`: up to `count` trades later than `since`."""
    assert (where, query["pair"]) == ("/0/public/Trades", "BTC/USD")
    later = [i for i in range(1, NEWEST + 1) if at(i) * 10**9 > int(query["since"])][: int(query["count"])]
    told = ",".join(f'["1.5","2",{at(i)},"b","m","",{i}]' for i in later)
    return f'{{"error":[],"result":{{"XXBTZUSD":[{told}],"last":"{query["since"]}"}}}}'.encode()


@pytest.mark.parametrize(
    ("first", "last", "pages"), [(100, 102, 1), (1, 1, 1), (7, 3500, 4), (4900, None, 2), (1, None, 7), (NEWEST, None, 2)]
)
def test_a_hole_is_walked_by_the_times_at_its_edges(first: int, last: int | None, pages: int) -> None:
    margin_ns = 2 * 10**9
    until_ns = None if last is None else int(at(last) * 10**9) + margin_ns
    span = Span(first, last, int(at(first) * 10**9) - margin_ns, until_ns)
    ids, asked = walk(KRAKEN, "BTC/USD", span, serve)
    assert ids == list(range(first, (last or NEWEST) + 1))
    assert asked <= pages


# --- klines ---------------------------------------------------------------------------------------------------------------


def test_klines_are_asked_for_from_the_first_minute_on() -> None:
    where, query = split(KRAKEN.klines_path("BTC/USD", 27_000_000, 10) or "")
    assert (where, query) == ("/0/public/OHLC", {"pair": "BTC/USD", "interval": "1", "since": str(27_000_000 * 60 - 1)})


def test_klines_are_exact_and_count_their_trades() -> None:
    """Rows as in docs.kraken.com/api/docs/rest-api/get-ohlc-data."""
    body = b"""{"error": [], "result": {"XXBTZUSD": [
        [1688671200, "30306.1", "30306.2", "30305.7", "30305.7", "30306.1", "3.39243896", 23],
        [1688671260, "30304.5", "30304.5", "30300.0", "30300.0", "30300.0", "0.30000000000000004", 18]], "last": 1688671200}}"""
    assert KRAKEN.parse_klines(body) == [
        Kline(1688671200 // 60, Decimal("3.39243896"), trade_count=23),
        Kline(1688671260 // 60, Decimal("0.30000000000000004"), trade_count=18),
    ]


@pytest.mark.parametrize("volume", [b'"NaN"', b'"1e400"', b'""', b"1", b"null"])
def test_klines_whose_volume_is_no_text_of_a_number_are_an_error(volume: bytes) -> None:
    with pytest.raises(VenueError, match="kraken klines: expected a list of rows"):
        KRAKEN.parse_klines(b'{"error":[],"result":{"X":[[60,"1","1","1","1","1",' + volume + b',1]],"last":1}}')
