"""What accounts hold, by currency: a view of the accounts, changed a step at a time."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import func, select

from pipeline.errors import Missing
from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.money import Currency, Money
from sinks.ledger.accounts import Accounts
from sinks.ledger.database import Database
from sinks.ledger.trading_tables import BALANCES


class Balances:
    """The balances of stored accounts, by `account_id`.

    Each step reads and writes in one transaction, so that steps of several processes add up; NotAllowed where there is too
    little, Missing where the account isn't stored. No transaction is recorded: `ledger.transactions.post` does both.
    """

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts

    def find_by_id(self, account_id: str) -> Balance | None:
        """What an account holds; None where it isn't stored."""
        account = self._accounts.find_by_id(account_id)
        return None if account is None else account.balance

    def find_all(self) -> dict[str, Balance]:
        """What each account holds, by its id, the oldest account first."""
        return {account.account_id: account.balance for account in self._accounts.find_all()}

    def find_by_currency(self, currency: Currency | str) -> dict[str, Money]:
        """What each account that has any holds of a currency, available and locked together."""
        known = Currency(currency)
        found = self._accounts.find_by_currency(known)
        return {account.account_id: account.balance.total(known) for account in found}

    def available(self, account_id: str, currency: Currency | str) -> Money:
        """What is free to use. Missing."""
        return self._of(account_id).available(currency)

    def locked(self, account_id: str, currency: Currency | str) -> Money:
        """What orders have locked. Missing."""
        return self._of(account_id).locked(currency)

    def total(self, currency: Currency | str) -> Money:
        """What all accounts hold of a currency, available and locked together."""
        return self._accounts.total(currency)

    def exists(self, account_id: str) -> bool:
        """Whether the account holds anything."""
        return bool(self._database.answer(select(BALANCES.c.currency).where(BALANCES.c.account_id == account_id).limit(1)))

    def count(self) -> int:
        """How many balances there are: one for each currency that an account holds."""
        return int(self._database.answer(select(func.count()).select_from(BALANCES))[0][0])

    def save(self, account_id: str, balance: Balance) -> None:
        """Makes this the account's balance, whatever it was."""
        self._step(account_id, lambda account: setattr(account, "balance", Balance.of(balance.rows())))

    def delete(self, account_id: str) -> bool:
        """Empties an account; whether there was anything in it."""
        with self._database.writing():
            held = self.exists(account_id)
            if held:
                self.save(account_id, Balance())
        return held

    def add_available(self, account_id: str, money: Money) -> Balance:
        """Money comes in; the balance then."""
        return self._step(account_id, lambda account: account.balance.add_available(money))

    def remove_available(self, account_id: str, money: Money) -> Balance:
        """Money goes out; the balance then."""
        return self._step(account_id, lambda account: account.balance.remove_available(money))

    def lock(self, account_id: str, money: Money) -> Balance:
        """What was available is set aside, for an order; the balance then."""
        return self._step(account_id, lambda account: account.balance.lock(money))

    def unlock(self, account_id: str, money: Money) -> Balance:
        """What was set aside is available again; the balance then."""
        return self._step(account_id, lambda account: account.balance.unlock(money))

    def spend_locked(self, account_id: str, money: Money) -> Balance:
        """What was set aside goes out; the balance then."""
        return self._step(account_id, lambda account: account.balance.spend_locked(money))

    def _step(self, account_id: str, step: Callable[[Account], object]) -> Balance:
        return self._accounts.change(account_id, step).balance

    def _of(self, account_id: str) -> Balance:
        found = self.find_by_id(account_id)
        if found is None:
            raise Missing(f"account {account_id!r} isn't stored")
        return found
