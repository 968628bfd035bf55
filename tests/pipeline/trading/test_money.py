"""Money is exact, and currencies don't mix."""

from __future__ import annotations

import copy
import operator
import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue, CurrencyMismatch
from pipeline.trading.money import Currency, Money
from tests.pipeline.trading.moves import NO_NUMBERS, decimals

AMOUNTS = decimals("-1e17", "1e17")
USDT = Currency.USDT


def test_a_float_amount_stands_for_its_text() -> None:
    assert Money(10000.0, Currency.USDT) == Money(Decimal(10000), "USDT")
    assert str(Money(0.1, USDT) + Money(0.2, USDT)) == "0.3 USDT"
    assert str(Money("100.50", USDT)) == "100.5 USDT"
    assert str(Money(10**12, USDT) + Money("0.000000000000000001", USDT)) == "1000000000000.000000000000000001 USDT"


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_an_amount_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^amount "):
        Money(value, USDT)


@given(AMOUNTS, AMOUNTS)
def test_sums_are_those_of_fractions(a: Decimal, b: Decimal) -> None:
    one, other = Money(a, USDT), Money(b, USDT)
    assert Fraction((one + other).amount) == Fraction(a) + Fraction(b)
    assert Fraction((one - other).amount) == Fraction(a) - Fraction(b)
    assert Fraction((-one).amount) == -Fraction(a)
    assert Fraction(abs(one).amount) == abs(Fraction(a))
    assert (one < other, one <= other, one > other, one >= other, one == other) == (a < b, a <= b, a > b, a >= b, a == b)
    assert (one.is_zero, one.is_negative) == (a == 0, a < 0)


@given(decimals("-1e9", "1e9", places=9), decimals("-1e9", "1e9", places=9))
def test_a_multiple_is_exact(amount: Decimal, factor: Decimal) -> None:
    assert Fraction((Money(amount, USDT) * factor).amount) == Fraction(amount) * Fraction(factor)
    assert factor * Money(amount, USDT) == Money(amount, USDT) * factor


def test_a_result_that_would_need_more_decimals_is_refused_and_not_rounded() -> None:
    with pytest.raises(BadValue, match="at most 18 decimals"):
        Money("0.000000000000000001", USDT) * Decimal("0.5")
    with pytest.raises(BadValue, match="38 digits"):
        Money(10**38 - 1, USDT) + Money(1, USDT)


MIXED: list[Callable[[Any, Any], Any]] = [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("mix", MIXED)
def test_different_currencies_do_not_mix(mix: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(CurrencyMismatch, match=r"^1 USDT and 1 USD: expected the same currency$"):
        mix(Money(1, USDT), Money(1, Currency.USD))


@pytest.mark.parametrize("mix", [*MIXED, operator.mul])
def test_money_does_not_mix_with_what_is_none(mix: Callable[[Any, Any], Any]) -> None:
    for other in [1, "1"] if mix is not operator.mul else [Money(1, USDT)]:
        with pytest.raises(TypeError):
            mix(Money(1, USDT), other)


def test_equal_money_is_one_entry_of_a_set_and_other_currencies_are_unequal() -> None:
    assert len({Money(1, USDT), Money("1.00", USDT), Money(1.0, "USDT")}) == 1
    assert Money(1, USDT) != Money(1, Currency.USD)


def test_money_is_frozen_and_survives_copies_and_pickling() -> None:
    money = Money("1.5", Currency("PEPE"))
    with pytest.raises(AttributeError):
        money.amount = Decimal(2)  # type: ignore[misc]  # that is what is tested
    for same in (copy.deepcopy(money), pickle.loads(pickle.dumps(money))):
        assert same == money
        assert same.currency is Currency("PEPE")


def test_the_set_of_currencies_is_open_and_iteration_gives_the_common_ones() -> None:
    common = list(Currency)
    shib = Currency("SHIB1000")
    assert (shib, shib.name, shib.value, type(shib)) == ("SHIB1000", "SHIB1000", "SHIB1000", Currency)
    assert Currency("SHIB1000") is shib
    assert list(Currency) == common
    assert {Currency.USD, Currency.EUR, Currency.USDT, Currency.BTC} <= set(common)
    assert f"{shib} {Currency.BTC}" == "SHIB1000 BTC"


@pytest.mark.parametrize("value", ["", "usdt", "US D", "USD\n", "É", "X" * 21, None, 1, "US-D"])
def test_a_code_of_anything_but_capitals_and_digits_is_refused(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^currency .*expected 1 to 20 capital letters and digits$"):
        Currency(value)
    with pytest.raises(BadValue, match=r"^currency "):
        Money(1, value)


def test_threads_get_the_same_member_of_a_new_code() -> None:
    start, got = threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        got.append([Currency(f"NEW{i}") for i in range(200)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert all(len({id(members[i]) for members in got}) == 1 for i in range(200))


@given(st.lists(AMOUNTS, max_size=20))
def test_the_order_of_a_sum_does_not_matter(amounts: list[Decimal]) -> None:
    def summed(values: list[Decimal]) -> Money:
        return sum((Money(value, USDT) for value in values), Money(0, USDT))

    assert summed(amounts) == summed(amounts[::-1]) == summed(sorted(amounts))
