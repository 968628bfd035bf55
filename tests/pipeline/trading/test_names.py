"""Ids, symbols and texts: what may stand in them, and ids that sort by time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from pipeline.trading.names import checked_id, checked_name, checked_symbol, checked_text, new_id


@pytest.mark.parametrize("value", ["a", "acc_001", "ord:2024-10-23.1@binance", "0" * 128])
def test_an_id_of_letters_digits_and_a_few_signs_is_kept(value: str) -> None:
    assert checked_id(value, "order_id") == value


BAD_IDS: list[Any] = ["", "../../x", "a/b", "_a", ".a", "a b", "a\n", "a;b", "a'b", "é", "x" * 129, None, 7, b"a"]


@pytest.mark.parametrize("value", BAD_IDS)
def test_any_other_id_is_refused_by_name(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^order_id .*expected 1 to 128 letters"):
        checked_id(value, "order_id")


def test_a_uuid_becomes_its_text() -> None:
    assert checked_id(UUID(int=1), "condition_id") == "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize("value", ["BTCUSDT", "BTC/USD", "BTC-USD", "1000PEPE", "比特币", "a b"])
def test_a_symbol_is_what_the_venue_calls_it(value: str) -> None:
    assert checked_symbol(value) == value


BAD_LINES: list[Any] = ["", " BTC", "BTC ", "\tBTC", "B\nTC", "B\0", "\ud800", None, 5, "x" * 201]


@pytest.mark.parametrize("value", BAD_LINES)
def test_lines_are_printable_short_and_have_no_blank_at_an_end(value: Any) -> None:
    with pytest.raises(BadValue, match="symbol"):
        checked_symbol(value)
    with pytest.raises(BadValue, match="account name"):
        checked_name(value, "account name")


def test_a_name_may_hold_quotes_and_semicolons() -> None:
    name = """Robert'); DROP TABLE accounts;-- "quoted" `x` %s ?"""
    assert checked_name(name, "name") == name


def test_a_note_may_have_lines_and_tabs_and_may_be_empty() -> None:
    assert checked_text("a\n\tb; 'c'", "notes") == "a\n\tb; 'c'"
    assert checked_text("", "notes") == ""


BAD_NOTES: list[Any] = ["a\0b", "\ud800", "\x1b[31m", "x" * 10_001, None, 1]


@pytest.mark.parametrize("value", BAD_NOTES)
def test_a_note_has_no_control_characters_and_an_end(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^notes "):
        checked_text(value, "notes")


TIMES_NS = st.integers(0, 4_000_000_000_000_000_000)
BITS = st.integers(0, 2**62 - 1)


@given(TIMES_NS, BITS)
def test_a_new_id_is_a_uuid_of_version_7_that_tells_its_millisecond(time_ns: int, bits: int) -> None:
    made = UUID(new_id(time_ns, bits))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == time_ns // 1_000_000
    assert made.int & (2**62 - 1) == bits
    assert checked_id(new_id(time_ns, bits), "id") == str(made)


@given(TIMES_NS, st.integers(245, 10**15), BITS, BITS)
def test_a_later_id_sorts_behind(time_ns: int, later_ns: int, first: int, second: int) -> None:
    # 245 ns is one step of the 12 bits that tell the time within the millisecond.
    assert new_id(time_ns, first) < new_id(time_ns + later_ns, second)


def test_ids_made_one_after_another_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
    assert len({new_id(5) for _ in range(1000)}) == 1000
