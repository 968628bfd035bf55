from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from collectors.tapes.chunks import Chunk
from collectors.tapes.frames import FramesReader, looks_like_frames, survey
from pipeline.instrument import Instrument
from tests.collectors.tapes.checks import Reading

MS = 1_723_161_255_342
SPOT, FUTURES = Instrument("binance", "BTCUSDT"), Instrument("binance-usdm", "BTCUSDT")
DEPTH = '1723161254 {"stream":"btcusdt@depth","data":{"e":"depthUpdate","s":"BTCUSDT","b":[["1","2"]],"a":[["3","4"]]}}'
TICKER = '1723161254 {"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"1","B":"3","a":"4","A":"1"}}'


def line(event: dict[str, Any], *, raw: bool = False, stamp: str = "1723161254087896568") -> str:
    frame = event if raw else {"stream": f"{event['s'].lower()}@{event['e']}", "data": event}
    return f"{stamp} {json.dumps(frame, separators=(',', ':'))}"


def trade(n: int, **other: Any) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": 1,
        "s": "BTCUSDT",
        "t": n,
        "p": f"{n}.10",
        "q": "0.02",
        "T": MS + n,
        "m": n % 2 == 0,
        "M": True,
    } | other


def agg(n: int, **other: Any) -> dict[str, Any]:
    event = {
        "e": "aggTrade",
        "E": 1,
        "s": "BTCUSDT",
        "a": n,
        "p": f"{n}.10",
        "q": "0.02",
        "f": 3 * n,
        "l": 3 * n + 2,
        "T": MS + n,
    }
    return event | {"m": n % 2 == 0} | other


def expected(*which: int, count: int = 1) -> list[tuple[Any, ...]]:
    return [(n, (MS + n) * 10**6, Decimal(f"{n}.10"), Decimal("0.02"), -1 if n % 2 == 0 else 1, count) for n in which]


def read(lines: list[str], instrument: Instrument = SPOT, size: int = 10**6) -> Reading:
    def chunks() -> Iterator[Chunk]:
        held = b""
        for text in lines:
            held += text.encode("utf-8", "surrogateescape") + b"\n"
            if len(held) >= size:
                yield Chunk(held, 0)
                held = b""
        if held:
            yield Chunk(held, 0)

    return Reading().take(FramesReader(instrument, survey(chunks(), instrument, "tape"), "tape").blocks(chunks()))


@pytest.mark.parametrize("size", [1, 300, 10**6])
@pytest.mark.parametrize("raw", [False, True])
def test_trades_are_read_from_single_and_combined_streams(raw: bool, size: int) -> None:
    lines = [DEPTH, line(trade(1), raw=raw), TICKER, line(trade(2), raw=raw), line(trade(3, s="ETHUSDT"), raw=raw)]
    found = read(lines, size=size)
    assert found.trades == expected(1, 2)
    assert (found.skipped, found.refused) == (3, [])


def test_aggregated_trades_count_their_fills() -> None:
    assert read([line(agg(1)), line(agg(2))]).trades == expected(1, 2, count=3)


def test_of_both_kinds_spot_reads_trades_and_futures_aggregated_ones() -> None:
    lines = [line(trade(1)), line(agg(7)), line(trade(2)), line(agg(8))]
    assert read(lines).trades == expected(1, 2)
    assert read(lines, FUTURES).trades == expected(7, 8, count=3)
    assert read(lines).skipped == 2


def test_the_kind_that_there_is_is_read_and_its_ids_are_named() -> None:
    for events, stream in (([trade(1)], "trade"), ([agg(1)], "agg"), ([trade(1), agg(1)], "agg")):
        seen = survey([Chunk("".join(line(e) + "\n" for e in events).encode(), 0)], FUTURES, "tape")
        assert FramesReader(FUTURES, seen, "tape").stream == stream


def test_trades_of_a_kind_that_the_tape_did_not_begin_with_are_never_passed_over_silently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collectors.tapes.frames.LEAST_SURVEY", 1)
    found = read([line(trade(1)), line(agg(1))], FUTURES, size=1)
    assert found.trades == expected(1)
    assert found.refused == [("tape:2", "the tape began with trade frames alone, this is the other kind")]


def test_a_recorders_own_lines_are_passed_over() -> None:
    lines = [
        "wss://stream.binance.com:9443/stream?streams=btcusdt@trade <-> 1633998511.159679",
        'wss://stream.binance.com:9443/stream <- 1633998511.2: {"method":"SUBSCRIBE","params":["btcusdt@trade"]}',
        '1633998511.3: {"result":null,"id":1}',
        line(trade(1), stamp="1633998512.0633569:"),
        "",
    ]
    found = read(lines)
    assert found.trades == expected(1)
    assert found.refused == []


def test_microseconds_are_told_by_their_magnitude() -> None:
    assert [t[1] for t in read([line(trade(1, T=MS * 1000 + 7))]).trades] == [(MS * 1000 + 7) * 1000]


BAD = [
    (line(trade(9))[:-1], "broken frame: Input data was truncated"),
    (line(trade(9))[:60], "broken frame: Input data was truncated"),
    (DEPTH[:-1], "broken frame: Input data was truncated"),
    ('1723161254 {"stream":"x","data":{,}}', "broken frame: JSON is malformed"),
    ("1723161254", "broken frame: Input data was truncated"),
    (line(trade(9)) + "," + line(trade(9)).partition(" ")[2], "broken frame: JSON is malformed"),
    (line(trade(9, p=5.5)), "broken frame: Expected `str`, got `float`"),
    (line(trade(9, p="abc")), "price 'abc' is not a decimal number"),
    (line(trade(9, p="0")), "price not more than 0"),
    (line(trade(9, q="-1")), "size not more than 0"),
    (line(trade(9, T=MS * 1000)), "time in the future"),
    (line(trade(9, T=10**30)), "broken frame: Expected `int` <= 9223372036854775807"),
    (line(trade(9, t=None)), "no trade id"),
    (line(trade(9, m=None)), "no buyer-is-maker flag"),
    (line(trade(9, s="BTC\udcffUSDT")).replace("\\udcff", "\udcff"), "broken frame: 'utf-8' codec can't decode byte 0xff"),
    ("1723161254 " + "[" * 100_000, "broken frame: maximum recursion depth exceeded"),
]


@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_frame_is_refused_with_its_line_and_costs_no_other(bad: str, reason: str, size: int) -> None:
    found = read([line(trade(1)), DEPTH, bad, line(trade(2))], size=size)
    assert found.trades == expected(1, 2)
    assert [where for where, _ in found.refused] == ["tape:3"]
    assert found.refused[0][1].startswith(reason)


def test_a_bad_count_of_fills_is_refused() -> None:
    found = read([line(agg(1)), line(agg(2, l=1))])
    assert found.refused == [("tape:2", "trade count less than 1")]


@pytest.mark.parametrize(
    ("head", "yes"),
    [
        (b'1723161254087896568 {"e":1}', True),
        (b'\n1633998512.06: [{"e":1}]', True),
        (b"wss://stream.binance.com <-> 1633998511.1", True),
        (b"time,price\n1723161254,1", False),
        (b'{"e":"trade"}', False),
        (b"", False),
    ],
)
def test_frames_are_told_by_their_first_lines(head: bytes, yes: bool) -> None:
    assert looks_like_frames(head) is yes


def test_a_survey_goes_on_until_it_finds_a_trade_and_knows_whether_the_symbol_is_named_at_all() -> None:
    def chunk(*lines: str) -> Chunk:
        return Chunk("".join(text + "\n" for text in lines).encode(), 0)

    late = survey([chunk(DEPTH)] * 5 + [chunk(line(trade(1)))], SPOT, "tape")
    assert (dict(late.kinds), late.named) == ({"trade": 1}, True)
    other = survey([chunk(line(trade(1, s="ETHUSDT")))], SPOT, "tape")
    assert (dict(other.kinds), other.named, other.symbols) == ({}, False, {"ETHUSDT"})
    quiet = survey([chunk(TICKER)], SPOT, "tape")
    assert (dict(quiet.kinds), quiet.named) == ({}, True)
