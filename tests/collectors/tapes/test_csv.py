from __future__ import annotations

import csv
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.chunks import Chunk
from collectors.tapes.csv import CsvReader
from collectors.tapes.layout import layout_of
from tests.collectors.tapes.checks import Reading

HEADER = "time,id,price,size,side\n"
NS = 1_516_488_365_673_000_000


def read(text: str | bytes, size: int = 10**6, symbol: str | None = None, **given: str) -> Reading:
    """A csv read in chunks of whole lines, of about `size` bytes."""
    data = text.encode() if isinstance(text, str) else text
    layout = layout_of(data, given, "tape.csv")
    assert layout is not None
    return Reading().take(CsvReader(replace(layout, symbol=symbol), "tape.csv").blocks(chunks(data, size)))


def chunks(data: bytes, size: int) -> list[Chunk]:
    found, held = [], b""
    for line in (
        data.splitlines(keepends=True) if b"\r" not in data else [x + b"\n" for x in data.removesuffix(b"\n").split(b"\n")]
    ):
        held += line
        if len(held) >= size:
            found.append(Chunk(held, 0))
            held = b""
    return [*found, Chunk(held, 0)] if held else found


def rows(*which: int) -> str:
    return "".join(f"{1516488365673 + n},{n},{n}.5,0.{n},{'buy' if n % 2 else 'sell'}\n" for n in which)


def trade(n: int) -> tuple[int, int, Decimal, Decimal, int, int]:
    return n, NS + n * 10**6, Decimal(f"{n}.5"), Decimal(f"0.{n}"), 1 if n % 2 else -1, 1


BAD = [
    ("yesterday,9,1,1,buy", "time 'yesterday' can't be read"),
    (",9,1,1,buy", "no time: it can't be placed in a minute"),
    ("1547286031000000,9,1,1,buy", "time in the future"),  # the year 51000 in ms
    ("1200000000000,9,1,1,buy", "time before 2009"),
    ("1516488365673,9,abc,1,buy", "price 'abc' is not a decimal number"),
    ("1516488365673,9,0x10,1,buy", "price '0x10' is not a decimal number"),
    ("1516488365673,9,1,-1,buy", "size not more than 0"),
    ("1516488365673,9,0,1,buy", "price not more than 0"),
    ("1516488365673,9,,1,buy", "price '' is not a decimal number"),
    ("1516488365673,,1,1,buy", "trade id '' can't be read"),
    ("1516488365673,nine,1,1,buy", "trade id 'nine' can't be read"),
    ("1516488365673,9,1,1,sideways", "side 'sideways': expected buy, sell or nothing"),
    ("1516488365673,9,1,1", "4 cells: expected 5, as in the header"),
    ("1516488365673,9,1,1,buy,more", "6 cells: expected 5, as in the header"),
    ("one cell", "1 cells: expected 5, as in the header"),
    ("1516488365673,9,1\0,1,buy", "a NUL byte in it"),
    ('1516488365673,9,"1,1,buy', "a quote that is not closed on its line"),
    ("1516488365673,9,1\r,1,buy", "a carriage return inside it"),
    (f"1516488365673,9,{2**128 + 1},1,buy", None),  # 39 digits: Arrow alone would make it 1
]


@pytest.mark.parametrize("size", [1, 60, 10**6])
@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_row_is_refused_with_its_line_and_its_text_and_costs_no_other(line: str, reason: str | None, size: int) -> None:
    found = read(HEADER + rows(1, 2) + line + "\n" + rows(3, 4), size)
    if reason is None:
        assert found.trades[2][2] == 2**128 + 1
        return
    assert found.refused == [("tape.csv:4", reason)]
    assert found.rejects[0].raw == line
    assert found.trades == [trade(n) for n in (1, 2, 3, 4)]


def test_bad_utf8_is_refused_with_its_line_and_costs_no_other() -> None:
    found = read(HEADER.encode() + rows(1).encode() + b"1516488365673,9,\xff1,1,buy\n" + rows(2).encode())
    assert found.refused == [("tape.csv:3", "not valid UTF-8")]
    assert found.trades == [trade(1), trade(2)]


@given(
    st.lists(st.one_of(st.integers(1, 9), st.sampled_from([line for line, _ in BAD[:-1]] + ["", "\r"])), max_size=60),
    st.integers(1, 400),
)
def test_good_and_bad_rows_in_any_order_are_told_apart_by_line_whatever_the_chunks(parts: list[int | str], size: int) -> None:
    text = HEADER + rows(1) * 5 + "".join(rows(part) if isinstance(part, int) else part + "\n" for part in parts)
    found = read(text, size)
    assert found.trades == [trade(1)] * 5 + [trade(part) for part in parts if isinstance(part, int)]
    bad = [(f"tape.csv:{7 + n}", part) for n, part in enumerate(parts) if isinstance(part, str) and part.strip()]
    assert [(r.where, r.raw) for r in found.rejects] == bad
    reasons = dict(BAD)
    assert [r.reason for r in found.rejects] == [reasons[part] for _, part in bad]


def test_a_quoted_line_end_makes_its_chunk_slow_but_loses_nothing() -> None:
    odd = '1516488365673,9,a"b,"1,buy\n'  # quotes in pairs, yet the second opens a cell that its line doesn't close
    found = read(HEADER + rows(1, 2) + odd + rows(3) + "\n" + rows(4))
    assert found.trades == [trade(n) for n in (1, 2, 3, 4)]
    assert [where for where, _ in found.refused] == ["tape.csv:4"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_line_ends_quotes_and_delimiters_of_all_sorts_are_read(newline: str, quoting: int, delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=newline)  # type: ignore[arg-type]
    writer.writerows([["time", "note", "id", "price", "size", "side"]])
    writer.writerows([[line[0], f'"n{delimiter}', *line[1:]] for line in csv.reader(rows(1, 2, 3).splitlines())])
    assert read(out.getvalue()).trades == [trade(n) for n in (1, 2, 3)]


def test_spaces_after_the_delimiter_are_not_part_of_the_cells() -> None:
    assert read((HEADER + rows(1, 2)).replace(",", ", ")).trades == [trade(1), trade(2)]


def test_prices_and_sizes_stay_exact_to_the_last_digit() -> None:
    cells = [
        "0.1",
        "0.2",
        "123456789012345678.123456789012",
        "1e-7",
        "0.000000000000000001",
        "99999999999999999999",
        ".5",
        "5.",
    ]
    found = read(HEADER + "".join(f"1516488365673,{n},{cell},{cell},\n" for n, cell in enumerate(cells * 20)))
    assert [t[2] for t in found.trades] == [t[3] for t in found.trades] == [Decimal(cell) for cell in cells] * 20


def test_the_flag_that_the_buyer_made_the_market_means_a_sell() -> None:
    found = read("T,a,p,q,f,l,m\n1516488365673,1,1,1,5,7,true\n1516488365673,2,1,1,8,8,False\n1516488365673,3,1,1,9,9,\n")
    assert [t[4:] for t in found.trades] == [(-1, 3), (1, 1)]
    assert found.refused == [("tape.csv:4", "buyer-is-maker '': expected true or false")]


def test_a_range_of_fills_that_makes_no_sense_is_refused() -> None:
    found = read("T,a,p,q,f,l,m\n1516488365673,1,1,1,7,5,true\n1516488365673,2,1,1,x,8,true\n")
    assert [reason for _, reason in found.refused] == ["trade count less than 1", "first trade id 'x' can't be read"]


def test_ids_may_be_names() -> None:
    found = read(
        HEADER + "1516488365673,b5-a,1,1,buy\n1516488365673,,1,1,buy\n1516488365673,17,1,1,buy\n1516488365673,x,1,1,buy\n"
    )
    assert [t[0] for t in found.trades] == ["b5-a", "17", "x"]
    assert found.refused == [("tape.csv:3", "no trade id")]


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_without_ids_they_are_made_from_what_the_rows_say_the_same_each_time(size: int) -> None:
    text = "time,price,size,side\n" + "1516488365673,1.0,2,buy\n" * 3 + "1516488365673,1.0,2,sell\n"
    found = read(text, size, id="-")
    assert [t[0] for t in found.trades] == [f"{NS}_1.0_2_1_{n}" for n in range(3)] + [f"{NS}_1.0_2_-1_0"]


def test_without_a_side_all_trades_are_without_one() -> None:
    assert [t[4] for t in read("time,id,price,size\n1516488365673,1,1,1\n", side="-").trades] == [0]


@pytest.mark.parametrize("size", [1, 10**6])
def test_only_rows_of_the_symbol_are_taken_and_the_others_counted(size: int) -> None:
    lines = [f"1516488365673,{n},{symbol},1,1,buy\n" for n, symbol in enumerate(["A", "B", "A", "A", "B"])]
    found = read("time,id,symbol,price,size,side\n" + "".join(lines) + "abc,9,A,1,1,buy\nabc,9,B,1,1,buy\n", size, symbol="A")
    assert [t[0] for t in found.trades] == [0, 2, 3]
    assert found.skipped == 3
    assert found.refused == [("tape.csv:7", "time 'abc' can't be read")]


def test_all_symbols_of_a_tape_can_be_listed() -> None:
    data = b"time,id,symbol,price,size,side\n1,1,A,1,1,buy\n2,2,B,1,1,buy\nbroken\n3,3,A,1,1,buy\n"
    layout = layout_of(data, {}, "tape.csv")
    assert layout is not None
    assert CsvReader(replace(layout, columns={"symbol": 2}), "tape.csv").symbols(chunks(data, 40)) == {"A", "B"}


def test_a_header_alone_is_a_tape_without_trades() -> None:
    assert read(HEADER) == Reading()
    assert read(HEADER + "\n\n").trades == []


def test_many_bad_rows_in_a_large_block_keep_their_line_numbers() -> None:
    lines = rows(*[1] * 20_000).splitlines()
    for at in range(0, 20_000, 777):
        lines[at] = "1516488365673,9,abc,1,buy" if at % 2 else "too,short"
    found = read(HEADER + "\n".join(lines) + "\n")
    assert [where for where, _ in found.refused] == [f"tape.csv:{at + 2}" for at in range(0, 20_000, 777)]
    assert len(found.trades) == 20_000 - len(found.refused)
