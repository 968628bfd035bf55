"""Binance's frames and history: what real ones say, and that nothing that a venue may send is an exception."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collectors.venues.binance import SPOT, USDM
from collectors.venues.history import Span
from collectors.venues.parsed import MAX_RAW, Parsed
from collectors.venues.venue import VENUES, venue_of
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import id_rule
from pipeline.trade import RawTrades

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "frames"
LATEST_NS = 2_000_000_000 * 10**9
MS = 1_723_161_255_342

SPOT_TRADE: dict[str, Any] = {
    **{"e": "trade", "E": MS, "s": "BTCUSDT", "t": 7, "p": "61837.63000000", "q": "0.02000000", "T": MS, "m": True, "M": True}
}
AGG_TRADE: dict[str, Any] = {
    **{"e": "aggTrade", "E": MS, "s": "BTCUSDT", "a": 7, "p": "61800.30", "q": "0.006", "nq": "0.006"},
    **{"f": 100, "l": 104, "T": MS, "m": False},
}


def frame(event: dict[str, Any], **changes: Any) -> bytes:
    data = {**event, **changes}
    return json.dumps({"stream": f"btcusdt@{event['e']}", "data": data}).encode()


def spot(*frames: bytes, symbols: tuple[str, ...] = ("BTCUSDT",)) -> Parsed:
    return SPOT.parser(symbols)(frames)


def ids(parsed: Parsed, symbol: str = "BTCUSDT") -> list[int]:
    trades = parsed.trades.get(symbol)
    return [int(i) for i in trades.ids] if trades else []


def rows(trades: RawTrades) -> Iterator[tuple[Any, ...]]:
    """Each row as plain, exact values."""
    counts = [1] * len(trades.ts_ns) if trades.count is None else trades.count.tolist()
    columns = (list(map(int, trades.ids)), trades.ts_ns.tolist(), trades.price, trades.size, trades.side.tolist(), counts)
    for i, t, p, q, side, count in zip(*columns, strict=True):
        yield i, t, Decimal(p), Decimal(q), side, count


def recorded(name: str) -> list[bytes]:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"no recorded frames in {RECORDED}")
    with gzip.open(path) as lines:
        return [line.rstrip(b"\n").partition(b" ")[2] for line in lines if not line.startswith(b"wss://")]


def read_slowly(frames: list[bytes], kind: str, symbol: str) -> list[tuple[Any, ...]]:
    events = [json.loads(text).get("data", {}) for text in frames]
    trades = [e for e in events if e.get("e") == kind and e["s"] == symbol]
    return [
        (
            e["a"] if kind == "aggTrade" else e["t"],
            e["T"] * 1_000_000,
            Decimal(e["p"]),
            Decimal(e["q"]),
            -1 if e["m"] else 1,
            e["l"] - e["f"] + 1 if kind == "aggTrade" else 1,
        )
        for e in trades
    ]


# --- real frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", ["20240808", "20240809"])
def test_recorded_spot_frames_parse_to_what_an_independent_reading_gives(day: str) -> None:
    frames = recorded(f"binance_spot_btcusdt_{day}.gz")
    parsed = spot(*frames)
    expected = read_slowly(frames, "trade", "BTCUSDT")
    assert list(rows(parsed.trades["BTCUSDT"])) == expected
    assert len(expected) > 9_000
    assert parsed.rejects == []
    assert parsed.other == len(frames) - len(expected)


def test_recorded_aggregates_of_several_futures_parse_to_what_an_independent_reading_gives() -> None:
    frames = recorded("recorded_BINANCE_FUTURES.ws.1.0.gz")
    symbols = {event["s"] for event in (json.loads(f)["data"] for f in frames) if event["e"] == "aggTrade"}
    parsed = USDM.parser(symbols)(frames)
    assert {s: list(rows(t)) for s, t in parsed.trades.items()} == {s: read_slowly(frames, "aggTrade", s) for s in symbols}
    assert parsed.rejects == []


def test_single_trades_of_futures_are_not_taken_for_aggregates() -> None:
    frames = recorded("binance_usdm_btcusdt_20240808.gz")
    parsed = USDM.parser(["BTCUSDT"])(frames)
    assert (parsed.trades, parsed.rejects, parsed.other) == ({}, [], len(frames))


def test_recorded_rows_are_all_fit_to_be_trades() -> None:
    trades = spot(*recorded("binance_spot_btcusdt_20240808.gz")).trades["BTCUSDT"]
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    assert reasons == {}
    assert len(batch) == len(trades.ts_ns)


# --- fields ---------------------------------------------------------------------------------------------------------------


def test_a_trade_whose_buyer_was_the_maker_is_a_sell() -> None:
    parsed = spot(frame(SPOT_TRADE, t=1, m=True), frame(SPOT_TRADE, t=2, m=False))
    assert parsed.trades["BTCUSDT"].side.tolist() == [-1, 1]


def test_prices_and_sizes_stay_the_venues_texts() -> None:
    trades = spot(frame(SPOT_TRADE, p="0.10000000000000000000000001", q="100000000000000000.5")).trades["BTCUSDT"]
    assert (trades.price, trades.size) == (["0.10000000000000000000000001"], ["100000000000000000.5"])


def test_an_aggregate_counts_its_fills() -> None:
    trades = USDM.parser(["BTCUSDT"])([frame(AGG_TRADE), frame(AGG_TRADE, a=8, f=105, l=105)]).trades["BTCUSDT"]
    assert trades.count is not None
    assert (list(trades.ids), trades.count.tolist(), trades.side.tolist()) == ([7, 8], [5, 1], [1, 1])


def test_an_aggregate_whose_fills_run_backwards_is_refused_when_checked() -> None:
    trades = USDM.parser(["BTCUSDT"])([frame(AGG_TRADE, f=9, l=3)]).trades["BTCUSDT"]
    _, reasons = trades.checked(latest_ns=LATEST_NS)
    assert reasons == {0: "trade count less than 1"}


def test_times_in_microseconds_are_told_by_their_magnitude_even_beside_milliseconds() -> None:
    parsed = spot(frame(SPOT_TRADE, t=1, T=MS), frame(SPOT_TRADE, t=2, T=MS * 1000 + 7))
    assert parsed.trades["BTCUSDT"].ts_ns.tolist() == [MS * 10**6, MS * 10**6 + 7000]
    only_us = spot(frame(SPOT_TRADE, T=MS * 1000 + 7))
    assert only_us.trades["BTCUSDT"].ts_ns.tolist() == [MS * 10**6 + 7000]


@pytest.mark.parametrize(("stamp", "why"), [(0, "no time"), (10**13, "future"), (2**63 - 1, "future"), (5, "before 2009")])
def test_an_absurd_time_is_refused_when_checked(stamp: int, why: str) -> None:
    trades = spot(frame(SPOT_TRADE, T=stamp), frame(SPOT_TRADE, t=8)).trades["BTCUSDT"]
    batch, reasons = trades.checked(latest_ns=LATEST_NS)
    assert why in reasons[0]
    assert batch.ids.tolist() == [8]


def test_trades_of_several_symbols_are_kept_apart_with_their_raw_frames() -> None:
    eth = {**SPOT_TRADE, "s": "ETHUSDT"}
    frames = [frame(SPOT_TRADE, t=1), frame(eth, t=10), frame(SPOT_TRADE, t=2), frame(eth, t=11)]
    parsed = spot(*frames, symbols=("BTCUSDT", "ETHUSDT"))
    assert (ids(parsed), ids(parsed, "ETHUSDT")) == ([1, 2], [10, 11])
    assert parsed.raws("ETHUSDT")(1) == (frames[3].decode(), "binance websocket")
    assert parsed.raws("BTCUSDT")(1) == (frames[2].decode(), "binance websocket")


def test_raw_stream_frames_parse_like_combined_ones() -> None:
    parsed = spot(json.dumps(SPOT_TRADE).encode(), frame(SPOT_TRADE, t=8))
    assert (ids(parsed), parsed.rejects, parsed.other) == ([7, 8], [], 0)


def test_nothing_gives_nothing() -> None:
    assert spot().trades == {}


# --- other frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"result":null,"id":1}',
        '{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}',
        '{"e":"serverShutdown","E":1770123456789}',
        '{"stream":"btcusdt@blockTrade","data":{"e":"blockTrade","s":"BTCUSDT","t":7,"p":"1","q":"1","T":1,"m":true}}',
        "{}",
    ],
)
def test_a_frame_that_is_no_trade_is_counted_and_not_refused(text: str) -> None:
    parsed = spot(text.encode(), frame(SPOT_TRADE))
    assert (ids(parsed), parsed.rejects, parsed.other) == ([7], [], 1)


@pytest.mark.parametrize("text", ['{"code":2,"msg":"Invalid request"}', '{"error":{"code":2,"msg":"no"},"id":1}'])
def test_a_refused_request_is_shown(text: str) -> None:
    ((_, reject),) = spot(text.encode()).rejects
    assert (reject.raw, reject.reason) == (text, "the venue refused a request")


# --- bad frames -----------------------------------------------------------------------------------------------------------

WRONG: list[Any] = [None, True, 1.5, -1, "x", [], {}, [1], {"a": 1}, 2**63, 10**400]
FITS = {"s": str, "p": str, "q": str, "e": str}


@pytest.mark.parametrize("field", ["e", "s", "t", "p", "q", "T", "m"])
@pytest.mark.parametrize("value", WRONG, ids=lambda v: json.dumps(v)[:12])
def test_a_wrong_type_in_any_field_refuses_that_frame_and_no_other(field: str, value: Any) -> None:
    if isinstance(value, FITS.get(field, bool if field == "m" else ())):
        value = [value]
    bad = frame(SPOT_TRADE, **{field: value})
    parsed = spot(frame(SPOT_TRADE, t=1), bad, frame(SPOT_TRADE, t=3))
    assert ids(parsed) == [1, 3]
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where) == ("BTCUSDT", bad.decode(), "binance websocket")
    assert reject.reason


@pytest.mark.parametrize("field", ["e", "s", "t", "p", "q", "T", "m"])
def test_a_missing_field_refuses_the_frame(field: str) -> None:
    data = {key: value for key, value in SPOT_TRADE.items() if key != field}
    parsed = spot(json.dumps({"stream": "btcusdt@trade", "data": data}).encode())
    assert (ids(parsed), len(parsed.rejects), parsed.other) == ([], 1, 0)


def test_a_wrong_type_in_a_raw_stream_frame_is_named() -> None:
    ((_, reject),) = spot(json.dumps({**SPOT_TRADE, "t": "7"}).encode()).rejects
    assert reject.reason == "Expected `int`, got `str` - at `$.t`"


BROKEN = {
    "empty": b"",
    "not json": b"hello",
    "cut": b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1',
    "not utf-8": frame(SPOT_TRADE).replace(b"61837", b"\xff\xfe"),
    "bare NaN": frame(SPOT_TRADE).replace(b'"61837.63000000"', b"NaN"),
    "an array": b"[" + frame(SPOT_TRADE) + b"]",
    "a number": b"5",
    "null": b"null",
    "two values with a comma": frame(SPOT_TRADE, t=5) + b"," + frame(SPOT_TRADE, t=6),
    "two values": frame(SPOT_TRADE, t=5) + frame(SPOT_TRADE, t=6),
    "arrays nested 10,000 deep": b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects nested 10,000 deep": b'{"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "deep in a trade": frame(SPOT_TRADE)[:-2] + b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    "a lone surrogate": frame(SPOT_TRADE).replace(b"61837.63000000", b"\\ud800"),
    "an integer with leading zeros": frame(SPOT_TRADE).replace(b'"t": 7', b'"t": 007'),
}


@pytest.mark.parametrize("bad", BROKEN.values(), ids=BROKEN)
def test_a_broken_frame_is_refused_with_a_reason_and_the_others_go_on(bad: bytes) -> None:
    parsed = spot(frame(SPOT_TRADE, t=1), bad, frame(SPOT_TRADE, t=3))
    assert ids(parsed) == [1, 3]
    ((_, reject),) = parsed.rejects
    assert reject.reason
    assert parsed.raws("BTCUSDT")(1)[0] == frame(SPOT_TRADE, t=3).decode()


@pytest.mark.parametrize("price", ["NaN", "Infinity", "1e400", "abc", "", "-1", "0", "1,5", "\u0661"])
def test_a_price_that_is_a_text_but_no_number_is_refused_when_checked(price: str) -> None:
    parsed = spot(frame(SPOT_TRADE, t=1, p=price), frame(SPOT_TRADE, t=2))
    batch, reasons = parsed.trades["BTCUSDT"].checked(latest_ns=LATEST_NS)
    assert batch.ids.tolist() == [2]
    assert list(reasons) == [0]


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
def test_a_symbol_never_asked_for_is_refused(symbols: tuple[str, ...]) -> None:
    parsed = spot(frame(SPOT_TRADE, t=1), frame({**SPOT_TRADE, "s": "../../etc/passwd"}), symbols=symbols)
    assert (list(parsed.trades), ids(parsed)) == (["BTCUSDT"], [1])
    ((symbol, reject),) = parsed.rejects
    assert symbol in {"", "BTCUSDT"}
    assert reject.reason == "symbol '../../etc/passwd' was never asked for"


def test_a_huge_frame_is_refused_and_kept_in_part() -> None:
    huge = b'{"x":"' + b"y" * (15 << 20) + b'"'
    ((_, reject),) = spot(huge).rejects
    assert len(reject.raw) <= MAX_RAW
    assert reject.raw.endswith(f"({len(huge)} bytes)")


def test_no_mutation_of_a_frame_is_an_exception_or_touches_its_neighbours() -> None:
    rng = random.Random(7)
    good = frame(SPOT_TRADE, t=1)
    for _ in range(3_000):
        bad = bytearray(frame(SPOT_TRADE, t=5))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(bad))
            bad[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 2)) or b'"'
        parsed = spot(good, bytes(bad), frame(SPOT_TRADE, t=9))
        found = ids(parsed)
        assert (found[0], found[-1]) == (1, 9)
        assert len(found) + len(parsed.rejects) + parsed.other == 3


# --- history --------------------------------------------------------------------------------------------------------------

SPOT_ROW = {"id": 28457, "price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.000012", "time": MS, "isBuyerMaker": True}
AGG_ROW = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27783, "T": MS, "m": False}


def test_history_rows_are_trades_like_those_of_the_stream() -> None:
    spot_page = SPOT.parse_history("BTCUSDT", json.dumps([{**SPOT_ROW, "isBestMatch": True}]).encode())
    agg_page = USDM.parse_history("BTCUSDT", json.dumps([AGG_ROW]).encode())
    expected = (28457, MS * 10**6, Decimal("4.000001"), Decimal(12), -1, 1)
    assert list(rows(spot_page.trades["BTCUSDT"])) == [expected]
    assert list(rows(agg_page.trades["BTCUSDT"])) == [(26129, MS * 10**6, Decimal("0.01633102"), Decimal("4.70443515"), 1, 3)]


def test_a_bad_history_row_is_refused_and_the_others_go_on() -> None:
    page = SPOT.parse_history("BTCUSDT", json.dumps([SPOT_ROW, {**SPOT_ROW, "price": 4.0}, {**SPOT_ROW, "id": 28459}]).encode())
    assert ids(page) == [28457, 28459]
    ((symbol, reject),) = page.rejects
    assert (symbol, reject.where) == ("BTCUSDT", "binance BTCUSDT history")
    assert "Expected `str`" in reject.reason
    assert json.loads(page.raws("BTCUSDT")(1)[0])["id"] == 28459


def test_an_empty_history_page_has_no_trades() -> None:
    assert ids(SPOT.parse_history("BTCUSDT", b"[]")) == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"code":-1121,"msg":"Invalid symbol."}', b"<html>", b"[" * 100_000, b"[1,"])
def test_a_history_answer_that_is_no_list_is_a_venue_error(body: bytes) -> None:
    with pytest.raises(VenueError, match="binance BTCUSDT history: expected a list of trades"):
        SPOT.parse_history("BTCUSDT", body)


def test_a_page_can_be_cut_to_a_range_of_ids() -> None:
    page = SPOT.parse_history("BTCUSDT", json.dumps([{**SPOT_ROW, "id": i} for i in range(10)]).encode())
    cut = page.within("BTCUSDT", Span(3, 5))
    assert ids(cut) == [3, 4, 5]
    assert len(cut.trades["BTCUSDT"].price) == 3
    assert json.loads(cut.raws("BTCUSDT")(2)[0])["id"] == 5
    assert page.within("BTCUSDT", Span(0, 99)) is page


# --- addresses ------------------------------------------------------------------------------------------------------------


def test_paths_are_the_venues_own() -> None:
    assert SPOT.ws_path(["BTCUSDT", "ETHUSDT"]) == "/stream?streams=btcusdt@trade/ethusdt@trade"
    assert USDM.ws_path(["BTCUSDT"]) == "/stream?streams=btcusdt@aggTrade"
    assert SPOT.history_path("BTCUSDT", Span(5), None) == "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=1000"
    assert USDM.history_path("BTCUSDT", Span(5, 14), None) == "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=5&limit=10"


def test_a_symbol_can_not_change_the_path_that_it_is_put_into() -> None:
    assert SPOT.ws_path(["a/b?c&d#e"]) == "/stream?streams=a%2Fb%3Fc%26d%23e@trade"
    assert "symbol=A%26limit%3D1&" in str(SPOT.history_path("A&limit=1", Span(5, 10), None))


def test_the_longest_subscription_fits_a_url() -> None:
    longest = [f"1000000SYMBOL{n:03d}USDT_260925" for n in range(SPOT.limits.symbols_per_connection)]
    assert len(USDM.ws_path(longest)) < 8_000


def test_each_venue_is_known_by_its_name_with_the_rule_that_the_pipeline_knows() -> None:
    assert {name: venue.name for name, venue in VENUES.items()} == {name: name for name in VENUES}
    assert all(venue.ids is id_rule(name) for name, venue in VENUES.items())
    assert venue_of("binance") is SPOT
    with pytest.raises(BadValue, match="venue 'mtgox' is unknown; there are binance, binance-usdm"):
        venue_of("mtgox")
