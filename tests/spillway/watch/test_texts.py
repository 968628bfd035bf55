"""Numbers as the live view writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spillway.watch.texts import bytes_text, cut, exact, lag_text, signed, sized


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"), ("0.00000000", "0"), ("1", "1"), ("-1.5000", "-1.5"), ("0.0021", "0.0021"), ("0.00000123", "1e-6"),
        ("12.344", "12.34"), ("123.44", "123.4"), ("9999.4", "9999.4"), ("12345", "12.35k"), ("-123456", "-123.5k"),
        ("1234567", "1.235M"), ("98765432100", "98.77G"),
    ],
)  # fmt: skip
def test_a_size_is_short(value: str, text: str) -> None:
    assert sized(Decimal(value)) == text


@given(st.decimals("-1e14", "1e14", allow_nan=False))
def test_a_size_never_takes_more_than_its_cell(value: Decimal) -> None:
    assert len(sized(abs(value))) <= 7


def test_what_was_bought_more_has_a_plus() -> None:
    assert [signed(Decimal(text)) for text in ("2", "-2", "0")] == ["+2", "-2", "0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("60123.40000000", "60,123.40"),
        ("60123.12345678", "60,123.12345678"),
        ("0.5", "0.5"),
        ("1000", "1,000"),
        ("3.10", "3.10"),
    ],
)
def test_a_price_is_whole_without_the_zeros_that_say_nothing(value: str, text: str) -> None:
    assert exact(Decimal(value)) == text


def test_times_and_bytes_have_units_that_fit() -> None:
    assert [lag_text(s) for s in (0.04, -0.3, 9.94, 45, 200, 7300, 200_000)] == [
        "0.0 s", "-0.3 s", "9.9 s", "45 s", "3 m", "2 h", "2 d",
    ]  # fmt: skip
    assert [bytes_text(n) for n in (0, 1500, 31_200_000, 2_000_000_000)] == ["0 kB", "2 kB", "31.2 MB", "2.0 GB"]


@given(st.text(max_size=30), st.integers(1, 20))
def test_what_is_cut_fits(text: str, width: int) -> None:
    from rich.cells import cell_len

    assert cell_len(cut(text, width)) <= width
