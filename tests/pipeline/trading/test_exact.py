"""Numbers are taken exactly or not at all, and arithmetic doesn't round unseen."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from pipeline.trading import exact
from tests.pipeline.trading.moves import LAST_DECIMAL, NO_NUMBERS, decimals, half_even


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, "0.1"),
        (10000.0, "10000"),
        (1e-18, "0.000000000000000001"),
        (-0.0, "0"),
        (Decimal("-0.00"), "0"),
        (7, "7"),
        (10**12, "1000000000000"),
        ("0.20", "0.2"),
        ("+.5", "0.5"),
        ("5.", "5"),
        ("1e-8", "0.00000001"),
        (Decimal("0.123456789012345678"), "0.123456789012345678"),
        (Decimal("12345678901234567890.123456789012345678"), "12345678901234567890.123456789012345678"),
        (10**38 - 1, "9" * 38),
        (Decimal("1E+37"), "1" + "0" * 37),
        (Decimal("1." + "0" * 60), "1"),
        ("1" + "0" * 30 + "." + "0" * 40, "1" + "0" * 30),
        (np.float64(0.1), "0.1"),
        (np.int64(-3), "-3"),
    ],
)
def test_a_number_is_taken_at_its_shortest_decimal_text(value: Any, expected: str) -> None:
    taken = exact.number(value)
    assert type(taken) is Decimal
    assert taken == Decimal(expected)
    assert exact.text(taken) == expected
    assert taken.is_signed() is expected.startswith("-")  # there is no minus zero


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "int")
def test_what_is_no_number_or_too_long_is_refused_by_name_in_a_short_line(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^price .*expected a number of at most 18 decimals and 38 digits$") as told:
        exact.number(value, "price")
    assert len(str(told.value)) < 140


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15).map(lambda x: round(x, 6)))
def test_a_float_is_what_it_prints_as(value: float) -> None:
    assert float(exact.number(value)) == value
    assert exact.number(value) == Decimal(repr(value))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e45"), max_value=Decimal("1e45")))
def test_what_fits_is_kept_whole_and_all_else_refused(value: Decimal) -> None:
    scaled = Fraction(value) * 10**18
    whole = abs(scaled.numerator)
    fits = scaled.denominator == 1 and whole < 10**56 and len(str(whole).rstrip("0").lstrip("0")) <= 38
    if fits and abs(value) >= 1 and value == int(value):
        fits = abs(value) < 10**38
    elif fits:
        fits = len(value.normalize(decimal.Context(prec=99)).as_tuple().digits) <= 38
    if fits:
        assert exact.number(value) == value
    else:
        with pytest.raises(BadValue):
            exact.number(value)


def test_zero_and_signs_are_told_apart() -> None:
    assert exact.positive("0.000000000000000001", "size") > 0
    assert exact.not_negative(0, "size") == 0
    for value in (0, "-0", -1):
        with pytest.raises(BadValue, match=r"size -?\d: expected more than 0"):
            exact.positive(value, "size")
    with pytest.raises(BadValue, match="size -1: expected 0 or more"):
        exact.not_negative(-1, "size")


def test_a_computed_ratio_keeps_18_decimals_and_a_given_one_must_fit() -> None:
    assert exact.ratio(0.00012345678901234567, "sharpe") == Decimal("0.000123456789012346")
    assert exact.ratio("0.5", "sharpe") == Decimal("0.5")
    assert exact.ratio(1e-300, "sharpe") == 0
    for value in ("0.00012345678901234567", float("nan"), float("inf"), 1e200):
        with pytest.raises(BadValue, match="sharpe"):
            exact.ratio(value, "sharpe")


NUMBERS = decimals("-1e19", "1e19")


@given(NUMBERS, NUMBERS)
def test_sums_and_products_are_exact_whatever_the_program_set_for_itself(a: Decimal, b: Decimal) -> None:
    with decimal.localcontext(decimal.Context(prec=2)):
        assert Fraction(exact.add(a, b)) == Fraction(a) + Fraction(b)
        assert Fraction(exact.subtract(a, b)) == Fraction(a) - Fraction(b)
        assert Fraction(exact.multiply(a, b)) == Fraction(a) * Fraction(b)
        assert exact.number(a) == a
        assert Decimal(exact.text(a)) == a


@given(st.lists(NUMBERS, max_size=30))
def test_a_total_is_exact(values: list[Decimal]) -> None:
    assert Fraction(exact.total(values)) == sum((Fraction(value) for value in values), Fraction(0))


@given(NUMBERS, NUMBERS.filter(bool))
def test_a_quotient_is_rounded_once_half_even_at_18_decimals(a: Decimal, b: Decimal) -> None:
    assert Fraction(exact.divided(a, b)) == half_even(Fraction(a) / Fraction(b))


@given(decimals("-1e19", "1e19", places=36))
def test_rounding_is_half_even_at_18_decimals(value: Decimal) -> None:
    rounded = Fraction(exact.rounded(value))
    assert rounded == half_even(Fraction(value))
    assert abs(rounded - Fraction(value)) <= LAST_DECIMAL / 2


@pytest.mark.parametrize(
    ("value", "expected"), [("0.5e-18", "0"), ("1.5e-18", "2e-18"), ("2.5e-18", "2e-18"), ("-1.5e-18", "-2e-18")]
)
def test_a_half_goes_to_the_even_neighbour(value: str, expected: str) -> None:
    assert exact.rounded(Decimal(value)) == Decimal(expected)
    assert exact.divided(Decimal(value), Decimal(1)) == Decimal(expected)


def test_one_tenth_and_two_tenths_are_three_tenths() -> None:
    assert exact.text(exact.add(exact.number(0.1), exact.number(0.2))) == "0.3"
