"""Exact decimals: what comes as text leaves as text with the same value, whatever its size."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import fixed
from pipeline.errors import BadValue
from tests.pipeline.reference import EXACT, vwap

SCALES = st.integers(0, fixed.MAX_SCALE)
HUGE = st.integers(-(10**40), 10**40)
# Texts that are numbers, nearly so, or nothing of the kind.
TEXTS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**11), max_value=10**11).map(str),
    st.from_regex(r"[+-]?[0-9]{0,25}\.?[0-9]{0,25}(e[+-]?[0-9]{1,3})?", fullmatch=True),
    st.text("0123456789.eE+-_ xnafi\x00\u0663\uff11", max_size=12),
    st.text(max_size=5),
)


def parsed(text: str) -> Decimal | None:
    """What `parse` makes of a text; None where it refuses."""
    try:
        value, scale = fixed.parse(text)
    except BadValue:
        return None
    return EXACT.scaleb(Decimal(value), -scale)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("60000.10", (6000010, 2)),
        ("0.07", (7, 2)),
        (".5", (5, 1)),
        ("5.", (5, 0)),
        ("+1.5", (15, 1)),
        ("-2", (-2, 0)),
        ("1e3", (1000, 0)),
        ("1.5e-7", (15, 8)),
        ("12345678901234567890.123456789", (12345678901234567890123456789, 9)),
        ("1e-30", (1, 30)),
    ],
)
def test_a_decimal_text_is_an_integer_and_a_scale(text: str, number: tuple[int, int]) -> None:
    assert fixed.parse(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "abc", "1 ", " 1", "1\n", "1,5", "1_000", "0x10", "1e", "e5", ".", "-", "--1", "1.2.3", "inf", "nan"),
        *("Infinity", "1e400", "1e-400", "1e31", "1e-31", "9e0x2", "\u0663", "\uff11", "1\x00", "1" * 61),
    ],
)
def test_what_is_not_a_finite_number_of_a_sane_size_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadValue) as refused:
        fixed.parse(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 120


@given(HUGE, SCALES)
def test_a_number_s_text_is_the_same_number(value: int, scale: int) -> None:
    text = fixed.to_text(value, scale)
    assert EXACT.create_decimal(text) == EXACT.scaleb(Decimal(value), -scale) == fixed.to_decimal(value, scale)


@given(HUGE, SCALES, st.integers(0, 10))
def test_a_number_s_text_does_not_depend_on_the_scale_it_is_held_at(value: int, scale: int, wider: int) -> None:
    assert fixed.to_text(fixed.rescale(value, scale, scale + wider), scale + wider) == fixed.to_text(value, scale)


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (60000, 0, "60000.0"),
        (7, 2, "0.07"),
        (-7, 2, "-0.07"),
        (0, 0, "0.0"),
        (0, 5, "0.0"),
        (1500, 3, "1.5"),
        (-1000, 3, "-1.0"),
        (-5, 0, "-5.0"),
    ],
)
def test_a_text_is_the_shortest_that_has_a_point(value: int, scale: int, text: str) -> None:
    assert fixed.to_text(value, scale) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20), st.integers(0, 40))
def test_a_decimal_is_taken_at_a_scale_exactly_or_not_at_all(number: Decimal, scale: int) -> None:
    exact = EXACT.scaleb(number, scale)
    if exact == exact.to_integral_value():
        assert fixed.at_scale(number, scale) == int(exact)
    else:
        with pytest.raises(BadValue):
            fixed.at_scale(number, scale)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_has_no_scale(text: str) -> None:
    with pytest.raises(BadValue):
        fixed.scale_of(Decimal(text))


@pytest.mark.parametrize(("text", "scale"), [("1.50", 2), ("3", 0), ("1E+3", 0), ("1E-7", 7)])
def test_a_decimal_s_scale_is_its_number_of_decimals(text: str, scale: int) -> None:
    assert fixed.scale_of(Decimal(text)) == scale


@given(st.lists(HUGE, max_size=8), SCALES)
def test_the_least_scale_holds_all_values_and_a_smaller_one_does_not(values: list[int], scale: int) -> None:
    least = fixed.least_scale(values, scale)
    by = 10 ** (scale - least)
    assert all(v % by == 0 for v in values)
    assert least == 0 or any(v % (by * 10) for v in values)


@given(st.integers(0, 10**50), st.integers(1, 10**45), st.integers(0, 12))
@example(5, 2, 0).via("a half goes to the even side below")
@example(7, 2, 0).via("and to the even side above")
@example(10**45 * 5 + 1, 10**46, 0).via("a little more than a half goes up")
@example(10**45 * 5 - 1, 10**46, 0).via("a little less goes down")
def test_a_ratio_is_rounded_once_and_half_to_even(numerator: int, denominator: int, decimals: int) -> None:
    got = EXACT.scaleb(Decimal(fixed.ratio(numerator, denominator, decimals)), -decimals)
    assert got == vwap(Decimal(numerator), Decimal(denominator), decimals)


# --- columns ------------------------------------------------------------------------------------------------------------


def check_column(texts: list[str], hint: int) -> None:
    column = fixed.parse_column(texts, hint)
    for row, text in enumerate(texts):
        number = parsed(text)
        assert (row in column.bad) == (number is None), text
        assert EXACT.scaleb(Decimal(int(column.values[row])), -column.scale) == (number or 0), text


@given(st.lists(TEXTS, max_size=6), st.sampled_from([0, 2, 8, 12, 20]), st.booleans())
@example(["9e0x2"], 2, True).via("Arrow reads a hexadecimal exponent")
@example(["57046.000000000000000000000000000050000000000"], 0, True).via("Arrow overflows on long texts")
@example(["1.0000000000000000000000000000000"], 0, True).via("more zeros than we take")
@example(["\ud800"], 2, True).via("a lone surrogate has no UTF-8")
@example(["10E-451"], 0, True).via("zero to Arrow")
def test_many_texts_at_once_give_what_each_gives_alone(texts: list[str], hint: int, many: bool) -> None:
    check_column(texts + ["1.5"] * (fixed.SMALL if many else 0), hint)


@given(st.lists(st.decimals("0.00000001", 10**9, places=8).map(lambda d: format(d, "f")), min_size=50, max_size=80), SCALES)
def test_ordinary_numbers_are_parsed_exactly_in_bulk(texts: list[str], hint: int) -> None:
    check_column(texts, hint)


@pytest.mark.parametrize("count", [1, fixed.SMALL - 1, fixed.SMALL, 500])
def test_a_finer_value_widens_the_column_and_rounds_nothing(count: int) -> None:
    column = fixed.parse_column([*["100.5"] * (count - 1), "0.00000000000007"], 1)
    assert fixed.to_text(int(column.values[-1]), column.scale) == "0.00000000000007"
    assert not column.bad


def test_a_column_may_be_a_slice_of_an_arrow_array() -> None:
    column = fixed.parse_column(pa.array([f"{n}.25" for n in range(200)]).slice(100, 60), 2)
    assert column.values.tolist() == [n * 100 + 25 for n in range(100, 160)]


def test_a_missing_text_is_bad_and_the_rest_of_the_column_good() -> None:
    column = fixed.parse_column(pa.array(["1.5"] * 60 + [None]), 1)
    assert list(column.bad) == [60]
    assert column.values.tolist() == [15] * 60 + [0]


@given(st.lists(HUGE, max_size=5), st.integers(0, 10), st.integers(0, 30))
def test_widening_a_column_keeps_its_numbers_even_beyond_64_bits(values: list[int], scale: int, more: int) -> None:
    widened = fixed.widen(fixed.integers(values), scale, scale + more)
    assert widened.tolist() == [v * 10**more for v in values]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_integers_stay_64_bit_where_they_fit(values: list[int]) -> None:
    column = fixed.integers(values)
    assert column.dtype == np.int64
    assert column.tolist() == values


def test_one_integer_beyond_64_bits_takes_the_column_beyond() -> None:
    assert fixed.integers([1, 2**63]).tolist() == [1, 2**63]
