"""Transactions: the trail of all money, and the balances that it leads to."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from pipeline.errors import AlreadyExists, BadValue, Missing, NotAllowed
from pipeline.trading.money import Currency, Money
from pipeline.trading.transaction import Transaction, TransactionType
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.made import START, account, later, transaction

USDT, BTC = Currency.USDT, Currency.BTC


def ids(found: list[Transaction]) -> list[str]:
    return [each.transaction_id for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    """Two accounts, one with a few transactions, five minutes apart."""
    books.accounts.save_many([account(), account("other")])
    few = [
        transaction("x0", "0.1", occurred_at=later(0)),
        transaction("x1", "0.2", occurred_at=later(5)),
        transaction("x2", "3", "BTC", occurred_at=later(10), reference="o1"),
        transaction("x3", "0.05", kind="fee", occurred_at=later(15)),
        transaction("x4", "-7", kind="realized_pnl", occurred_at=later(20)),
    ]
    books.transactions.save_many(few)
    books.transactions.save(transaction("y0", "100", account_id=None), "other")
    return books


def test_an_accounts_transactions_are_found_newest_first(kept: Ledger) -> None:
    assert ids(kept.transactions.find_by_account("acc_001")) == ["x4", "x3", "x2", "x1", "x0"]
    assert ids(kept.transactions.find_by_account("acc_001", limit=2, offset=1)) == ["x3", "x2"]
    assert kept.transactions.find_by_account("nobody") == []
    assert (kept.transactions.count_by_account("acc_001"), kept.transactions.count()) == (5, 6)
    with pytest.raises(BadValue, match="limit -1"):
        kept.transactions.find_by_account("acc_001", limit=-1)


def test_transactions_are_found_by_type_currency_and_period(kept: Ledger) -> None:
    found = kept.transactions
    assert ids(found.find_by_type("acc_001", TransactionType.DEPOSIT)) == ["x2", "x1", "x0"]
    assert ids(found.find_by_type("acc_001", TransactionType.DEPOSIT, limit=1)) == ["x2"]
    assert ids(found.find_by_currency("acc_001", BTC)) == ["x2"]
    assert ids(found.find_by_period("acc_001", later(5), later(15))) == ["x2", "x1"], "the end is not in it"
    for start, end in ((datetime(2024, 1, 1), later(1)), (later(1), datetime(2024, 1, 1))):
        with pytest.raises(BadValue, match="expected a time zone"):
            found.find_by_period("acc_001", start, end)


def test_transactions_are_found_by_all_that_is_given(kept: Ledger) -> None:
    find = kept.transactions.find
    assert ids(find(account_id="acc_001", transaction_type="deposit", currency="USDT")) == ["x1", "x0"]
    assert ids(find(account_id="acc_001", start=later(10), newest_first=False)) == ["x2", "x3", "x4"]
    assert ids(find(account_id="acc_001", reference="o1")) == ["x2"]
    assert ids(find(account_id="acc_001", limit=1, offset=1)) == ["x3"]
    assert len(find()) == 6
    with pytest.raises(BadValue, match="transaction type 'gift'"):
        find(transaction_type="gift")


def test_sums_are_exact_and_signed_by_what_the_types_mean(kept: Ledger) -> None:
    sums = kept.transactions
    assert sums.get_sum_by_type("acc_001", TransactionType.DEPOSIT, USDT) == Money("0.3", USDT)
    assert sums.get_sum_by_type("acc_001", TransactionType.FUNDING, USDT) == Money(0, USDT)
    assert sums.get_sum_by_currency("acc_001", USDT) == Money("-6.75", USDT)
    assert sums.get_sum_by_currency("acc_001", "ETH") == Money(0, "ETH")
    assert sums.get_sums("acc_001") == {USDT: Money("-6.75", USDT), BTC: Money(3, BTC)}
    assert sums.get_sums("nobody") == {}


def test_a_transaction_belongs_to_one_account(kept: Ledger) -> None:
    with pytest.raises(BadValue, match="names no account"):
        kept.transactions.save(transaction("x9", account_id=None))
    with pytest.raises(BadValue, match="is of account 'acc_001', not 'other'"):
        kept.transactions.save(transaction("x9"), "other")
    with pytest.raises(Missing, match="account_id 'nobody' isn't stored"):
        kept.transactions.save(transaction("x9", account_id=None), "nobody")
    assert not kept.transactions.exists("x9")


def test_without_a_time_it_occurred_when_it_was_stored(books: Ledger) -> None:
    books.accounts.save(account())
    books.transactions.save(transaction("x1"))
    (found,) = books.transactions.find_by_account("acc_001")
    assert found.occurred_at == found.created_at is not None


def test_what_is_posted_is_in_the_balance(books: Ledger) -> None:
    books.accounts.save(account())
    post = books.transactions.post
    post(transaction("x1", "100"))
    post(transaction("x2", "0.1", kind="fee"))
    post(transaction("x3", "-9.9", kind="realized_pnl", account_id=None), "acc_001")
    after = post(transaction("x4", "10", kind="withdrawal"))
    assert after == books.accounts.find_by_id("acc_001")
    assert after.balance.available(USDT) == Money(80, USDT) == books.transactions.get_sum_by_currency("acc_001", USDT)


@pytest.mark.parametrize(
    ("kind", "amount", "error"),
    [("withdrawal", "100.000000000000000001", NotAllowed), ("realized_pnl", "-101", NotAllowed), ("deposit", "1e37", BadValue)],
)
def test_what_cannot_be_posted_changes_nothing(books: Ledger, kind: str, amount: str, error: type[Exception]) -> None:
    books.accounts.save(account(held=f"100 USDT, {'9' * 38} BTC"))
    currency = "BTC" if kind == "deposit" else "USDT"
    with pytest.raises(error):
        books.transactions.post(transaction("x1", amount, currency, kind))
    assert books.transactions.count() == 0
    assert books.accounts.total("USDT") == Money(100, USDT)


def test_what_is_posted_twice_is_counted_once(books: Ledger) -> None:
    books.accounts.save(account())
    books.transactions.post(transaction("x1", "100"))
    with pytest.raises(AlreadyExists, match="transaction 'x1'"):
        books.transactions.post(transaction("x1", "100"))
    assert books.balances.available("acc_001", USDT).amount == Decimal(100)
    with pytest.raises(Missing, match="account 'nobody'"):
        books.transactions.post(transaction("x2", account_id="nobody"))


def test_many_at_once_are_all_there(books: Ledger) -> None:
    books.accounts.save(account())
    books.transactions.save_many(transaction(f"x{n}", "0.1", occurred_at=START) for n in range(1500))
    assert books.transactions.get_sum_by_currency("acc_001", USDT) == Money(150, USDT)
    assert len(books.transactions.find_all()) == 1500
