from __future__ import annotations

import pytest

from collectors.tapes.layout import Layout, layout_of
from collectors.tapes.time import Clock

ROW = b"1516488365673,7,1.5,2,buy\n"


def layout(head: bytes, **given: str) -> Layout:
    found = layout_of(head, given, "tape.csv")
    assert found is not None
    return found


def test_the_header_may_have_a_byte_order_mark_and_blank_lines_before_it() -> None:
    found = layout(b"\xef\xbb\xbf\r\n\ntime,id,price,size,side\r\n" + ROW)
    assert found.header_lines == 3
    assert found.header_bytes == 3 + 2 + 1 + 25
    assert found.columns == {"time": 0, "id": 1, "price": 2, "size": 3, "side": 4}


def test_units_and_kinds_of_ids_are_what_most_of_the_first_rows_say() -> None:
    head = b"time,id,price,size,side\n"
    assert layout(head + ROW * 3 + b"2018-01-01,abc,1,1,buy\n").clock is Clock.MILLISECONDS
    assert not layout(head + ROW * 3 + b"2018-01-01,abc,1,1,buy\n").named_ids
    assert layout(head + b"2018-01-01,abc,1,1,buy\n" * 3 + ROW).named_ids
    assert layout(head + b"2018-01-01,abc,1,1,buy\n" * 3 + ROW).clock is Clock.ISO
    assert layout(b"time,price,size,side\n", id="-").named_ids


def test_a_row_cut_by_the_heads_end_counts_for_nothing() -> None:
    assert layout(b"time,id,symbol,price,size,side\n1,1,BTC,1,1,buy\n2,2,BT").symbols == {"BTC"}


def test_a_bitflyer_tape_is_known_by_its_header() -> None:
    header = b"domain,product_code,loaded,id,exec_date,side,price,size,buy_child_order_acceptance_id\n"
    found = layout(header + b"x,BTC_JPY,,1,2018-01-21T07:46:05.673+09:00,BUY,1,1,\n")
    assert (found.kind, found.stream, found.symbols) == ("bitflyer-csv", "trade", frozenset(("BTC_JPY",)))
    assert found.columns == {"time": 4, "id": 3, "price": 6, "size": 7, "side": 5, "symbol": 1}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n",
        b"hello world\n",
        b"one,two\n1,2\n",
        b"\xff\xfea,b,c\n",
        b"a,b\0,c\n",
        b"a,b\rc,d\n",
        b'{"a":1,"b":2,"c":3}\n',
    ],
)
def test_what_is_no_csv_is_left_to_others(head: bytes) -> None:
    assert layout_of(head, {}, "tape.csv") is None
