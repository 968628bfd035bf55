"""A balance against a slow reference of fractions; it never goes below zero and never changes by half."""

from __future__ import annotations

import copy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.balance import Balance
from pipeline.trading.money import Currency, Money
from tests.pipeline.trading.moves import decimals

USDT, BTC = Currency.USDT, Currency.BTC

# What each step takes from where, and what it brings where.
STEPS = {
    "add_available": (None, "available"),
    "remove_available": ("available", None),
    "lock": ("available", "locked"),
    "unlock": ("locked", "available"),
    "spend_locked": ("locked", None),
}


def held(available: str = "0", locked: str = "0") -> Balance:
    return Balance.of([(USDT, Decimal(available), Decimal(locked))])


def test_a_new_balance_is_empty() -> None:
    balance = Balance()
    assert (str(balance), balance.is_empty, balance.currencies(), balance.rows()) == ("empty", True, (), [])
    assert balance.total(USDT) == Money(0, USDT)


def test_the_steps_of_an_order_lock_then_spend_and_free_the_rest() -> None:
    balance = Balance()
    balance.add_available(Money(10000.0, USDT))
    balance.lock(Money("4510.5", USDT))
    assert str(balance) == "5489.5 USDT (and 4510.5 locked)"
    balance.spend_locked(Money(4510, USDT))
    balance.unlock(Money("0.5", USDT))
    assert balance.rows() == [(USDT, Decimal(5490), Decimal(0))]
    assert balance.available("USDT") == balance.total("USDT") == Money(5490, USDT)
    assert balance.has(Money(5490, USDT))
    assert not balance.has(Money("5490.000000000000000001", USDT))
    assert not balance.has(Money(1, BTC))


steps = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from([USDT, BTC, Currency("PEPE")]), decimals("0", "30", places=18)),
    max_size=40,
)


@given(steps)
def test_any_steps_leave_what_fractions_say_and_a_refused_one_changes_nothing(
    taken: list[tuple[str, Currency, Decimal]],
) -> None:
    balance = Balance()
    reference: dict[tuple[str, Currency], Fraction] = {}
    for step, currency, amount in taken:
        source, target = STEPS[step]
        before = copy.deepcopy(balance)
        if source and reference.get((source, currency), Fraction(0)) < Fraction(amount):
            with pytest.raises(NotAllowed, match="insufficient"):
                getattr(balance, step)(Money(amount, currency))
            assert balance == before
            continue
        getattr(balance, step)(Money(amount, currency))
        for place, sign in ((source, -1), (target, 1)):
            if place:
                reference[place, currency] = reference.get((place, currency), Fraction(0)) + sign * Fraction(amount)
    kept = {(place, c) for (place, c), amount in reference.items() if amount}
    assert set(balance.currencies()) == {c for _, c in kept}
    for (place, currency), expected in reference.items():
        assert Fraction(getattr(balance, place)(currency).amount) == expected
    assert Balance.of(balance.rows()) == balance
    assert balance.is_empty is not bool(kept)


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_negative_amount_is_refused_and_nothing_is_changed(step: str) -> None:
    balance = held("5", "5")
    with pytest.raises(BadValue, match=r"^balance: -1 USDT: expected 0 or more$"):
        getattr(balance, step)(Money(-1, USDT))
    assert balance == held("5", "5")


@pytest.mark.parametrize(("step", "which"), [(s, source) for s, (source, _) in STEPS.items() if source])
def test_what_is_not_there_can_not_be_taken(step: str, which: str) -> None:
    balance = held("5", "5")
    with pytest.raises(NotAllowed, match=f"^balance: insufficient: 5 USDT {which}, 5.1 USDT asked for$"):
        getattr(balance, step)(Money("5.1", USDT))
    with pytest.raises(NotAllowed, match=f"0 BTC {which}"):
        getattr(balance, step)(Money(1, BTC))
    assert balance == held("5", "5")


@pytest.mark.parametrize("step", ["add_available", "lock", "unlock"])
def test_a_sum_too_long_to_keep_is_refused_and_neither_side_changes(step: str) -> None:
    most = "9" * 38
    balance = held(most, "1") if step != "lock" else held("1", most)
    before = copy.deepcopy(balance)
    with pytest.raises(BadValue, match="balance of USDT"):
        getattr(balance, step)(Money(1, USDT))
    assert balance == before


BAD_ROWS: list[list[Any]] = [
    [(USDT, Decimal(-1), Decimal(0))],
    [(USDT, Decimal(0), Decimal(-1))],
    [(USDT, Decimal(1), Decimal(0)), (USDT, Decimal(1), Decimal(0))],
    [("usdt", Decimal(1), Decimal(0))],
    [(USDT, float("nan"), Decimal(0))],
]


@pytest.mark.parametrize("rows", BAD_ROWS)
def test_rows_that_can_be_no_balance_are_refused(rows: list[Any]) -> None:
    with pytest.raises(BadValue):
        Balance.of(rows)


def test_equality_is_by_value_and_a_currency_that_came_and_went_leaves_no_trace() -> None:
    balance = held("1.50")
    balance.add_available(Money(1, BTC))
    assert balance != held("1.5")
    balance.remove_available(Money(1, BTC))
    assert balance == held("1.5")
    assert balance != "1.5 USDT"
    assert repr(balance) == "Balance(1.5 USDT)"
    with pytest.raises(TypeError):
        hash(balance)
