"""The parsing that venues share: of whatever frames in whatever order, every trade comes once, and all else is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.venues.frames import MAX_SIFTED, FrameParser, Kind, QuotedReader, Shape, Verdict, history_rows, raw_rows
from collectors.venues.parsed import MAX_RAW, Parsed, Refusal
from pipeline.trade import RawTrades


class _Trade(msgspec.Struct):
    i: int
    s: str


class _Frame(msgspec.Struct):
    t: Literal["trades"]
    s: str
    data: list[_Trade]


class _Head(msgspec.Struct):
    t: str
    s: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


def columns(trades: Sequence[Any]) -> RawTrades:
    n = len(trades)
    ids = np.array([trade.i for trade in trades], np.int64)
    return RawTrades(ids, np.ones(n, np.int64), ["1"] * n, ["1"] * n, np.ones(n, np.int8))


def judge(frame: bytes, reason: str) -> Verdict:
    head = msgspec.json.decode(frame, type=_Head)
    kinds = {"trades": Kind.BAD, "no": Kind.REFUSAL, "bye": Kind.RECONNECT}
    return Verdict(kinds.get(head.t, Kind.OTHER), head.s, "" if head.t == "trades" else head.t, raw_rows(head.data))


BY_FRAME: Shape[_Frame, _Trade] = Shape(
    frame=_Frame, trade=_Trade, trades=lambda f: f.data, symbol=lambda f: f.s, columns=columns, judge=judge
)
BY_TRADE: Shape[_Frame, _Trade] = Shape(
    frame=_Frame,
    trade=_Trade,
    trades=lambda f: f.data,
    symbol=None,
    whose=lambda trade: trade.s,
    columns=columns,
    judge=judge,
    quoted=True,
)
SHAPES = pytest.mark.parametrize("shape", [BY_FRAME, BY_TRADE], ids=["by frame", "by trade"])


def frame(symbol: str, *ids: Any) -> bytes:
    return json.dumps({"t": "trades", "s": symbol, "data": [{"i": i, "s": symbol} for i in ids]}).encode()


def parse(shape: Shape[_Frame, _Trade], *frames: bytes, symbols: Sequence[str] = ("A", "B")) -> Parsed:
    return FrameParser("venue", symbols, shape)(frames)


def ids(parsed: Parsed) -> dict[str, list[int]]:
    return {symbol: np.asarray(trades.ids).tolist() for symbol, trades in parsed.trades.items()}


_FRAMES = st.lists(
    st.one_of(
        st.tuples(st.just("good"), st.sampled_from("AB"), st.integers(0, 3)),
        st.tuples(
            st.sampled_from(["other", "stranger", "half bad", "refusal", "reconnect", "not JSON"]), st.just("A"), st.just(2)
        ),
    ),
    max_size=12,
)


@SHAPES
@given(_FRAMES)
def test_each_frame_ends_as_what_it_is_and_trades_keep_their_order(
    shape: Shape[_Frame, _Trade], plan: list[tuple[str, str, int]]
) -> None:
    frames: list[bytes] = []
    expected: dict[str, list[tuple[int, int]]] = {}
    for number, (kind, symbol, n) in enumerate(plan):
        numbers = [100 * number + k for k in range(n)]
        made = {
            "good": frame(symbol, *numbers),
            "other": b'{"t":"heartbeat"}',
            "stranger": frame("EVIL", *numbers),
            "half bad": frame(symbol, *numbers, None, "x"),
            "refusal": b'{"t":"no","s":"B"}',
            "reconnect": b'{"t":"bye"}',
            "not JSON": b"{",
        }
        frames.append(made[kind])
        if kind in ("good", "half bad") and n:
            expected.setdefault(symbol, []).extend((i, number) for i in numbers)
    parsed = parse(shape, *frames)
    kinds = [kind if n else "other" for kind, _, n in plan]
    assert ids(parsed) == {symbol: [i for i, _ in told] for symbol, told in expected.items()}
    assert {s: list(rows) for s, rows in parsed.numbers.items()} == {s: [n for _, n in told] for s, told in expected.items()}
    assert parsed.other == kinds.count("other") + kinds.count("reconnect")
    assert len(parsed.rejects) == sum(kind in ("stranger", "half bad", "not JSON") for kind in kinds)
    assert parsed.refusals == [Refusal("B", "no")] * kinds.count("refusal")
    assert parsed.reconnect is ("reconnect" in kinds)


def test_trades_of_several_symbols_in_one_frame_are_told_apart() -> None:
    told = [{"i": i, "s": s} for i, s in [(1, "A"), (7, "B"), (2, "A"), (9, "EVIL"), (10, "EVIL")]]
    text = json.dumps({"t": "trades", "s": "A", "data": told}).encode()
    parsed = parse(BY_TRADE, text)
    assert ids(parsed) == {"A": [1, 2], "B": [7]}
    assert [(s, r.reason) for s, r in parsed.rejects] == [("", "symbol 'EVIL' was never asked for")]


def test_integers_in_quotes_are_read_where_the_venue_quotes_them() -> None:
    assert ids(parse(BY_TRADE, frame("A", "7", str(2**63 - 1)))) == {"A": [7, 2**63 - 1]}
    assert ids(parse(BY_FRAME, frame("A", "7"))) == {}


@SHAPES
def test_a_frame_with_many_bad_trades_is_one_reject_that_tells_how_many(shape: Shape[_Frame, _Trade]) -> None:
    text = frame("A", *([None] * 500), 1)
    parsed = parse(shape, text)
    ((symbol, reject),) = parsed.rejects
    assert (symbol, reject.raw, reject.where, ids(parsed)) == ("A", text.decode(), "venue websocket", {"A": [1]})
    assert reject.reason.endswith("(and 499 more of its trades)")


@SHAPES
def test_a_giant_that_is_not_good_is_refused_as_a_whole(shape: Shape[_Frame, _Trade]) -> None:
    giant = frame("A", *([None] * (MAX_SIFTED // 15)))
    assert len(giant) > MAX_SIFTED
    ((symbol, reject),) = parse(shape, giant, frame("A", 1)).rejects
    assert symbol == ""
    assert len(reject.raw) <= MAX_RAW
    assert reject.raw.endswith(f"({len(giant)} bytes)")


def test_where_one_symbol_was_asked_for_all_that_is_refused_is_its_own() -> None:
    parsed = parse(BY_FRAME, b"{", frame("EVIL", 1), symbols=("A",))
    assert [symbol for symbol, _ in parsed.rejects] == ["A", "A"]


def test_a_refusal_is_a_symbols_only_where_it_names_one_that_was_asked_for() -> None:
    parsed = parse(BY_FRAME, b'{"t":"no"}', b'{"t":"no","s":"EVIL"}', b'{"t":"no","s":"A"}', symbols=("A",))
    assert [refusal.symbol for refusal in parsed.refusals] == ["", "", "A"]


def test_nothing_gives_nothing() -> None:
    assert parse(BY_FRAME) == Parsed({}, [], 0, (), {}, "venue websocket", [], False)


@pytest.mark.parametrize("text", [b"", b"null", b"{}", b"[1,", b"[" * 10_000 + b"]" * 10_000])
def test_what_is_no_list_has_no_rows(text: bytes) -> None:
    assert raw_rows(text) is None


def test_rows_are_told_apart_by_their_raw_text() -> None:
    assert raw_rows(b'[1e400, {"a":[1, 2]} ,"x"]') == [b"1e400", b'{"a":[1, 2]}', b'"x"']


def test_a_history_keeps_its_good_rows_with_their_raw_text_and_refuses_bad_ones() -> None:
    rows = [b'{"i":1,"s":"A"}', b'{"i":null,"s":"A"}', b'{"i":"3","s":"A"}']
    strict = history_rows("A", rows, "here", _Trade, columns)
    assert (ids(strict), [reject.raw for _, reject in strict.rejects]) == ({"A": [1]}, [rows[1].decode(), rows[2].decode()])
    quoted = history_rows("A", rows, "here", _Trade, columns, quoted=True)
    assert (ids(quoted), quoted.raws("A")(1)) == ({"A": [1, 3]}, (rows[2].decode(), "here"))


def test_a_quoted_reader_takes_no_number_for_a_text() -> None:
    assert QuotedReader(_Trade).read([b'{"i":"1","s":5}'])[0] == []
