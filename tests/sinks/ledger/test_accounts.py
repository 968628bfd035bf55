"""Accounts and their balances."""

from __future__ import annotations

import pytest

from pipeline.errors import BadValue, Missing, NotAllowed, Stale
from pipeline.trading.account import AccountType
from pipeline.trading.money import Currency, Money
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.made import START, account, later

USDT = Currency.USDT


def test_an_account_comes_back_with_all_its_currencies(books: Ledger) -> None:
    saved = account(held="10000.5 USDT, 0.000000000000000001 BTC, 7 PEPE", account_type="live")
    saved.balance.lock(Money("0.5", USDT))
    books.accounts.save(saved)
    found = books.accounts.find_by_id("acc_001")
    assert found == saved
    assert found is not None
    assert (found.account_type, found.balance.locked(USDT)) == (AccountType.LIVE, Money("0.5", USDT))
    assert str(found.balance) == "0.000000000000000001 BTC, 7 PEPE, 10000 USDT (and 0.5 locked)"


def test_a_currency_that_is_spent_leaves_no_row(books: Ledger) -> None:
    saved = account(held="5 USDT, 1 BTC")
    books.accounts.save(saved)
    saved.balance.remove_available(Money(5, USDT))
    books.accounts.save(saved)
    assert books.balances.count() == 1
    assert books.accounts.find_by_id("acc_001") == saved


def test_accounts_are_found_by_name_activity_and_currency(books: Ledger) -> None:
    named = [
        account("a1", "1 USDT", name="O'Brien; DROP TABLE accounts; --", created_at=START),
        account("a2", "2 BTC", created_at=later(1)),
        account("a3", name="Main", active=False, created_at=later(2)),
    ]
    books.accounts.save_many(named)
    accounts = books.accounts
    assert accounts.find_by_name("O'Brien; DROP TABLE accounts; --") == named[0]
    assert accounts.find_by_name("Main") == named[1], "the oldest"
    assert accounts.find_by_name("main") is None
    assert accounts.find_all_active() == named[:2]
    assert accounts.find_by_currency("BTC") == [named[1]]
    assert accounts.find_all() == named
    with pytest.raises(BadValue, match="currency"):
        accounts.find_by_currency("usdt'; --")


def test_what_all_accounts_hold_is_summed_exactly(books: Ledger) -> None:
    first = account("a1", "0.1 USDT")
    first.balance.lock(Money("0.05", USDT))
    books.accounts.save_many([first, account("a2", "0.2 USDT"), account("a3", "5 BTC")])
    assert books.accounts.total("USDT") == books.balances.total(USDT) == Money("0.3", USDT)
    assert books.accounts.total("ETH") == Money(0, "ETH")


def test_a_closed_account_takes_no_money(books: Ledger) -> None:
    books.accounts.save(account())
    books.accounts.change("acc_001", lambda stored: stored.close(START))
    with pytest.raises(BadValue, match="expected an inactive and empty account"):
        books.balances.add_available("acc_001", Money(1, USDT))
    assert books.balances.find_by_id("acc_001") == account().balance


def test_balances_change_a_step_at_a_time(books: Ledger) -> None:
    balances = books.balances
    books.accounts.save(account())
    balances.add_available("acc_001", Money("100.3", USDT))
    balances.remove_available("acc_001", Money("0.1", USDT))
    balances.lock("acc_001", Money(50, USDT))
    balances.unlock("acc_001", Money("0.2", USDT))
    held = balances.spend_locked("acc_001", Money("9.8", USDT))
    assert (held.available(USDT), held.locked(USDT)) == (Money("50.4", USDT), Money(40, USDT))
    assert balances.find_by_id("acc_001") == held
    assert (balances.available("acc_001", "USDT"), balances.locked("acc_001", USDT)) == (Money("50.4", USDT), Money(40, USDT))
    with pytest.raises(NotAllowed, match=r"insufficient: 50\.4 USDT available"):
        balances.lock("acc_001", Money("50.41", USDT))
    assert balances.find_by_id("acc_001") == held
    stored = books.accounts.find_by_id("acc_001")
    assert stored is not None
    assert stored.version == 6


def test_a_step_makes_an_account_that_was_read_before_stale(books: Ledger) -> None:
    read = account(held="5 USDT")
    books.accounts.save(read)
    books.balances.add_available("acc_001", Money(1, USDT))
    read.balance.add_available(Money(1, USDT))
    with pytest.raises(Stale):
        books.accounts.save(read)
    assert books.balances.available("acc_001", USDT) == Money(6, USDT)


def test_balances_are_viewed_set_and_emptied(books: Ledger) -> None:
    balances = books.balances
    books.accounts.save_many([account("a1", "5 USDT, 1 BTC", created_at=START), account("a2", created_at=later(1))])
    assert balances.find_all() == {"a1": account(held="5 USDT, 1 BTC").balance, "a2": account().balance}
    assert balances.find_by_currency("BTC") == {"a1": Money(1, "BTC")}
    assert (balances.exists("a1"), balances.exists("a2"), balances.exists("a3"), balances.count()) == (True, False, False, 2)
    balances.save("a2", account(held="3 ETH").balance)
    assert balances.find_by_id("a2") == account(held="3 ETH").balance
    assert (balances.delete("a1"), balances.delete("a1"), balances.delete("a3")) == (True, False, False)
    assert balances.find_by_id("a1") == account().balance
    assert balances.find_by_id("a3") is None


def test_the_balance_of_nobody_is_missing(books: Ledger) -> None:
    for ask in (
        lambda: books.balances.available("nobody", "USDT"),
        lambda: books.balances.lock("nobody", Money(1, USDT)),
        lambda: books.balances.save("nobody", account().balance),
    ):
        with pytest.raises(Missing, match="account 'nobody' isn't stored"):
            ask()
