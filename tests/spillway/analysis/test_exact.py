"""Decimals in floats, as the integers that they stand for."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway.analysis import exact


@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1, max_size=50), st.integers(0, 15))
def test_every_decimal_of_15_digits_comes_back_from_its_float(numbers: list[int], decimals: int) -> None:
    texts = [Decimal(n).scaleb(-decimals) for n in numbers]
    values = np.array([float(t) for t in texts])
    scale = exact.scale_of(values, "x")
    assert scale == max(exact.decimals_of(t) for t in texts)
    found = exact.integers(values, scale, "x")
    assert found.tolist() == [int(t.scaleb(scale)) for t in texts]
    assert exact.floats(found, scale).tolist() == values.tolist()


def test_the_scale_is_that_of_the_one_row_in_a_million_that_needs_it() -> None:
    values = np.full(1_000_000, 0.5)
    values[777_777] = 0.12345678
    assert exact.scale_of(values, "x") == 8


def test_a_number_that_is_no_short_decimal_is_refused_by_its_name() -> None:
    with pytest.raises(BadValue, match=r"price: 0.30000000000000004 has more digits"):
        exact.scale_of(np.array([0.3, 0.1 + 0.2]), "price")
    with pytest.raises(BadValue, match="can't be summed exactly"):
        exact.integers(np.full(5000, 9e14), 0, "size") + exact.integers(np.full(6_000, 9e14), 0, "size")


@given(st.decimals(1, 100, places=4), st.lists(st.integers(0, 2**60), max_size=20))
def test_a_share_of_integers_is_rounded_down_exactly(percent: Decimal, values: list[int]) -> None:
    share = exact.Share.of_percent(percent, least=1, most=100)
    found = share.floor(np.array(values, dtype=np.int64))
    assert found.tolist() == [int(v * Fraction(percent) / 100) for v in values]


@pytest.mark.parametrize("percent", [0, 101, "70.00001", "most", float("nan")])
def test_a_percentage_that_is_none_is_refused(percent: float | str) -> None:
    with pytest.raises(BadValue, match="percent"):
        exact.Share.of_percent(percent, least=1, most=100)


@given(st.lists(st.integers(0, 2**61), min_size=1, max_size=20), st.integers(1, 2**40))
def test_values_too_large_to_compute_with_are_ranked_in_the_same_order(values: list[int], times: int) -> None:
    found = exact.fitting(np.array(values, dtype=np.int64), times)
    assert int(found.max()) * times < exact.ROOM or int(found.max()) < len(values)
    order = [(a < b) for a in values for b in values]
    assert [(a < b) for a in found.tolist() for b in found.tolist()] == order
