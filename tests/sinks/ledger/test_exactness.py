"""No digit is lost on the way into a ledger, out of it, or in its sums; whatever the engine."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, insert, literal, select

from pipeline.trading import exact
from pipeline.trading.money import Currency, Money
from sinks.ledger.exact_functions import ExactSum, sort_key
from sinks.ledger.ledger import Ledger
from sinks.ledger.trading_tables import POSITIONS
from sinks.ledger.types import Exact, exact_magnitude, exact_product, exact_sum, ordered, plain
from tests.sinks.ledger.made import START, account, transaction

USDT = Currency.USDT
MANY_DIGITS = [
    "12345678901234567890.123456789012345678",
    "0.000000000000000001",
    "1000000000000",
    "99999999999999999999.999999999999999999",
]
NUMBERS = st.decimals(-(10**20), 10**20, places=18, allow_nan=False) | st.integers(-(10**13), 10**13).map(Decimal)
SOME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def stored(ledger: Ledger, pairs: list[tuple[Decimal, Decimal | None]]) -> None:
    """Rows of two decimals: of columns that no rule of the domain limits."""
    blank = {"symbol": "X", "average_entry_price": Decimal(1), "commission": Decimal(0), "version": 1}
    rows = [
        blank
        | {"position_id": f"p{n:04d}", "quantity": one, "realized_pnl": other, "created_at": START, "updated_at": START}
        | ({} if one else {"average_entry_price": Decimal(0)})
        for n, (one, other) in enumerate(pairs)
    ]
    with ledger.positions._database.writing() as connection:
        connection.execute(POSITIONS.delete())
        if rows:
            connection.execute(insert(POSITIONS), rows)


def answer(ledger: Ledger, *columns: ColumnElement[Any]) -> list[tuple[object, ...]]:
    rows = ledger.positions._database.answer(select(*columns).order_by(POSITIONS.c.position_id))
    return [tuple(row) for row in rows]


ONE, OTHER = POSITIONS.c.quantity, POSITIONS.c.realized_pnl


def test_a_tenth_and_two_tenths_are_three_tenths(books: Ledger) -> None:
    books.accounts.save(account())
    books.transactions.post(transaction("x1", 0.1))  # type: ignore[arg-type]
    books.transactions.post(transaction("x2", 0.2))  # type: ignore[arg-type]
    assert books.transactions.get_sum_by_currency("acc_001", USDT).amount == Decimal("0.3")
    assert str(books.balances.find_by_id("acc_001")) == "0.3 USDT"


@pytest.mark.parametrize("amount", MANY_DIGITS)
def test_many_digits_are_stored_summed_and_told_as_they_are(books: Ledger, amount: str) -> None:
    books.accounts.save(account())
    books.transactions.save(transaction("x1", amount))
    books.transactions.save(transaction("x2", "0.000000000000000001", kind="fee"))
    (found,) = [each for each in books.transactions.find_by_account("acc_001") if each.transaction_id == "x1"]
    assert str(found.amount) == f"{amount} USDT"
    less = exact.subtract(Decimal(amount), Decimal("0.000000000000000001"))
    assert books.transactions.get_sum_by_currency("acc_001", USDT) == Money(less, USDT)


@SOME
@given(st.lists(NUMBERS, max_size=12))
def test_sums_are_those_of_exact_arithmetic(books: Ledger, numbers: list[Decimal]) -> None:
    stored(books, [(number, Decimal(0)) for number in numbers])
    ((total,),) = books.positions._database.answer(select(exact_sum(ONE)))
    assert total == (exact.total(numbers) if numbers else None)
    assert books.positions._database.answer(select(exact_sum(POSITIONS.c.current_price)))[0][0] is None, "of nulls"


@SOME
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_products_and_magnitudes_are_those_of_exact_arithmetic(books: Ledger, pairs: list[tuple[Decimal, Decimal]]) -> None:
    stored(books, list(pairs))
    found = answer(books, exact_product(ONE, OTHER), exact_magnitude(OTHER))
    assert found == [(exact.multiply(one, other), abs(other)) for one, other in pairs]
    ((total,),) = books.positions._database.answer(select(exact_sum(exact_product(ONE, OTHER))))
    assert total == reduce(exact.add, (exact.multiply(one, other) for one, other in pairs))


@SOME
@given(st.lists(NUMBERS, max_size=12))
def test_the_order_is_that_of_numbers(books: Ledger, numbers: list[Decimal]) -> None:
    stored(books, [(number, Decimal(0)) for number in numbers])
    for order, expected in ((ordered(ONE), sorted(numbers)), (ordered(ONE).desc(), sorted(numbers, reverse=True))):
        assert [row[0] for row in books.positions._database.answer(select(ONE).order_by(order))] == expected
    for bound in numbers[:3]:
        least = ordered(ONE) >= ordered(exact_value(bound))
        found = [row[0] for row in books.positions._database.answer(select(ONE).where(least))]
        assert sorted(found) == sorted(number for number in numbers if number >= bound)


def exact_value(value: Decimal) -> ColumnElement[Decimal]:
    return literal(value, Exact)


ANY = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=25)


@given(ANY, ANY)
def test_texts_sort_by_their_keys_as_numbers_do(one: Decimal, other: Decimal) -> None:
    first, second = sort_key(plain(one)), sort_key(plain(other))
    assert first is not None and second is not None
    assert (first < second, first == second) == (one < other, one == other)


@given(st.lists(ANY | st.none()))
def test_texts_are_added_up_exactly_nulls_apart(numbers: list[Decimal | None]) -> None:
    total = ExactSum()
    for number in numbers:
        total.step(None if number is None else plain(number))
    known = [number for number in numbers if number is not None]
    assert total.finalize() == (plain(exact.total(known)) if known else None)


@given(ANY)
def test_the_plain_text_of_a_number_is_the_number_and_the_shortest(number: Decimal) -> None:
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text.upper() and text not in ("-0", "")
    assert not ("." in text and text.endswith(("0", ".")))
