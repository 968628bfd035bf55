"""The books of a ledger, held against each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.money import Money
from pipeline.trading.transaction import Transaction
from sinks.ledger.audit import audit
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger.filled import SMALLEST, deposit, made, order, trade


@pytest.fixture(scope="module", params=["memory", "postgresql"])
def opened(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "memory":
        url = "memory://"
    else:
        from tests.sinks.ledger.postgres_server import make_database

        url = make_database(request.getfixturevalue("postgres"), "audited")
    with open_ledger(url) as ledger:
        yield ledger


@pytest.fixture
def books(opened: Ledger) -> Iterator[Ledger]:
    """An account whose books agree; gone again after the test."""
    opened.accounts.save(Account(account_id="acc_001", name="Main", balance=Balance()))
    opened.transactions.post(deposit("1000000", "USDT"), "acc_001")
    for kind in ("fee", "withdrawal", "funding"):
        amount = Money(SMALLEST if kind == "fee" else "-0.1" if kind == "funding" else 1, "USDT")
        opened.transactions.post(made(Transaction, transaction_type=kind, amount=amount), "acc_001")
    opened.orders.save(order())
    for n, size in enumerate(("0.5", "0.3")):
        opened.orders.record_fill(trade(f"t{n}", quantity=size), quote="USDT")
    yield opened
    for position in opened.positions.find_all():
        opened.positions.delete(position.position_id)
    for key in ("t0", "t1", "t2"):
        opened.trades.delete(key)
    opened.orders.delete("o1")
    opened.accounts.delete("acc_001")


def test_books_that_agree_are_counted_and_nothing_is_told(books: Ledger) -> None:
    found = audit(books._database)
    assert found.differences == []
    assert (found.balances, found.orders, found.positions) == (1, 1, 1)


def test_money_that_came_without_a_transaction_is_told_to_the_last_decimal(books: Ledger) -> None:
    books.balances.add_available("acc_001", Money(SMALLEST, "USDT"))
    books.balances.add_available("acc_001", Money(5, "BTC"))
    btc, usdt = audit(books._database).differences
    assert btc.startswith("account acc_001: its balance is 5 BTC, its transactions come to 0: 5 came")
    assert f": {SMALLEST} came or went without one" in usdt


def test_what_is_locked_counts(books: Ledger) -> None:
    books.balances.lock("acc_001", Money(10, "USDT"))
    assert audit(books._database).differences == []


def test_a_fill_that_order_or_position_lacks_is_told(books: Ledger) -> None:
    books.trades.save(trade("t2", quantity="0.2", account_id="acc_001"))
    assert audit(books._database).differences == [
        "order o1: 0.8 of it is filled, its 3 trades come to 1",
        "positions of BTCUSDT (account acc_001): 0.8 is held, its trades come to 1",
    ]


def test_an_empty_ledger_agrees(opened: Ledger) -> None:
    assert audit(opened._database).differences == []
