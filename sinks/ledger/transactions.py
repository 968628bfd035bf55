"""Every amount that came to an account or left it: only added, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, select

from pipeline.errors import BadValue, Missing
from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.money import Currency, Money
from pipeline.trading.transaction import Transaction, TransactionType
from sinks.ledger.accounts import Accounts
from sinks.ledger.database import Database
from sinks.ledger.filters import among, by_time, equal, within
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import TRANSACTIONS as T
from sinks.ledger.types import exact_sum

_NEWEST = by_time(T.c.occurred_at, T.c.transaction_id)


class Transactions(Repository[Transaction]):
    """Transactions of accounts. `limit`: the newest so many; they stand newest first."""

    kind = Kind(Transaction, T, "transaction", "transaction_id", _NEWEST)

    def __init__(self, database: Database, accounts: Accounts) -> None:
        super().__init__(database)
        self._accounts = accounts
        of_type = and_(
            T.c.account_id == bindparam("account_id"),
            T.c.transaction_type == bindparam("transaction_type"),
            T.c.currency == bindparam("currency"),
        )
        self._sum_by_type = database.prepare(select(exact_sum(T.c.amount)).where(of_type))
        recent = self._select.where(T.c.account_id == bindparam("account_id")).order_by(*_NEWEST)
        self._recent = database.prepare(recent.limit(bindparam("limit")).offset(bindparam("offset")))

    # --- in -------------------------------------------------------------------------------------------------------------

    def save(self, entity: Transaction, account_id: str | None = None) -> None:
        """Records a transaction of an account. The account's balance is not touched: `post` does both.

        AlreadyExists, Missing (the account), BadValue, StorageError: nothing is written.
        """
        self.save_many([entity], account_id)

    def save_many(self, entities: Iterable[Transaction], account_id: str | None = None) -> None:
        """Records all of them, or none."""
        super().save_many(_owned(entity, account_id) for entity in entities)

    def post(self, transaction: Transaction, account_id: str | None = None) -> Account:
        """Records a transaction and brings it into the account's balance, both or neither; the account as it is then.

        NotAllowed where the account holds too little.
        """
        owned = _owned(transaction, account_id)
        with self._database.writing():
            account = self._accounts.change(str(owned.account_id), lambda stored: _apply(owned.effect(), stored.balance))
            self.save(owned)
        return account

    # --- out ------------------------------------------------------------------------------------------------------------

    def find_by_account(self, account_id: str, limit: int = 100, offset: int = 0) -> list[Transaction]:
        """The newest of an account."""
        if limit < 0 or offset < 0:
            raise BadValue(f"limit {limit}, offset {offset}: expected 0 or more")
        values = {"account_id": account_id, "limit": limit, "offset": offset}
        return self._read(self._recent(values))

    def find(
        self,
        *,
        account_id: str | None = None,
        transaction_type: TransactionType | str | None = None,
        currency: Currency | str | None = None,
        reference: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Transaction]:
        """Those that fit all that is given, by when they occurred. `start` up to, and without, `end`."""
        code = None if currency is None else str(Currency(currency))
        where = [
            *equal(T, account_id=account_id, currency=code, reference=reference),
            *among(T.c.transaction_type, TransactionType, transaction_type),
            *within(T.c.occurred_at, start, end),
        ]
        return self._find(*where, order=by_time(T.c.occurred_at, T.c.transaction_id, newest_first), limit=limit, offset=offset)

    def find_by_type(self, account_id: str, transaction_type: TransactionType, limit: int | None = None) -> list[Transaction]:
        """Those of one type."""
        return self._find(_of(account_id), T.c.transaction_type == TransactionType(transaction_type), limit=limit)

    def find_by_currency(self, account_id: str, currency: Currency | str, limit: int | None = None) -> list[Transaction]:
        """Those of one currency."""
        return self._find(_of(account_id), T.c.currency == str(Currency(currency)), limit=limit)

    def find_by_period(self, account_id: str, start: datetime, end: datetime, limit: int | None = None) -> list[Transaction]:
        """Those from `start` up to, and without, `end`."""
        return self._find(_of(account_id), *within(T.c.occurred_at, start, end), limit=limit)

    def get_sum_by_type(self, account_id: str, transaction_type: TransactionType, currency: Currency | str) -> Money:
        """The exact sum of an account's amounts of one type and currency."""
        known = Currency(currency)
        values = {
            "account_id": account_id,
            "transaction_type": TransactionType(transaction_type),
            "currency": str(known),
        }
        return Money(self._sum_by_type(values)[0][0] or 0, known)

    def get_sum_by_currency(self, account_id: str, currency: Currency | str) -> Money:
        """What an account's transactions of a currency come to: what came less what left."""
        known = Currency(currency)
        return self.get_sums(account_id).get(known, Money(0, known))

    def get_sums(self, account_id: str) -> dict[Currency, Money]:
        """What an account's transactions come to, by currency."""
        question = (
            select(T.c.transaction_type, T.c.currency, exact_sum(T.c.amount))
            .where(_of(account_id))
            .group_by(T.c.transaction_type, T.c.currency)
        )
        sums: dict[Currency, Money] = {}
        for row in self._database.answer(question):
            kind, code, amount = list(row)
            money = Money(amount, Currency(code))
            sums[money.currency] = sums.get(money.currency, Money(0, money.currency)) + (-money if kind.sign < 0 else money)
        return sums

    def count_by_account(self, account_id: str) -> int:
        """How many an account has."""
        return int(self._value(select(func.count()).select_from(T).where(_of(account_id))))

    # --- to files -------------------------------------------------------------------------------------------------------

    def export_to_csv(self, account_id: str, path: str | Path) -> int:
        """Writes an account's transactions to a csv file, the oldest first; how many. Missing (the account), StorageError."""
        return self._export(account_id, Path(path), ".csv")

    def export_to_json(self, account_id: str, path: str | Path) -> int:
        """The same to a JSON list, with amounts as texts, which stay exact."""
        return self._export(account_id, Path(path), ".json")

    def _export(self, account_id: str, path: Path, form: str) -> int:
        from sinks.ledger.exports import export_table

        if not self._accounts.exists(account_id):
            raise Missing(f"account {account_id!r} isn't stored")
        own, oldest = {"account_id": account_id}, ("occurred_at", "transaction_id")
        return export_table(self._database, "transactions", path, where=own, order=oldest, form=form)

    # --- a transaction and its row --------------------------------------------------------------------------------------

    def _columns_of_entity(self) -> list[Any]:
        return [*super()._columns_of_entity(), T.c.currency]

    def _entities(self, rows: Sequence[Sequence[Any]]) -> list[Transaction]:
        found, at = [], self._names.index("amount")
        for row in rows:
            values = dict(zip(self._names, row, strict=False))
            values["amount"] = Money(row[at], Currency(row[-1]))
            found.append(Transaction(**values))
        return found

    def _row(self, entity: Transaction) -> dict[str, Any]:
        amount = entity.amount
        row = {name: getattr(entity, name) for name in self._names}
        return row | {"amount": amount.amount, "currency": str(amount.currency)}

    def _first_values(self, entities: Sequence[Transaction], now: datetime) -> dict[str, Sequence[Any]]:
        """Column by column, without a row in between: they come by the hundred thousand."""
        amounts = [e.amount for e in entities]
        values = {name: [getattr(e, name) for e in entities] for name in self._names if name != "amount"}
        values |= {"amount": [m.amount for m in amounts], "currency": [m.currency.value for m in amounts]}
        return values | {name: [at or now for at in values[name]] for name in ("occurred_at", "created_at")}


def _apply(effect: Money, balance: Balance) -> None:
    if effect.is_negative:
        balance.remove_available(-effect)
    else:
        balance.add_available(effect)


def _of(account_id: str) -> ColumnElement[bool]:
    return T.c.account_id == account_id


def _owned(transaction: Transaction, account_id: str | None) -> Transaction:
    if account_id is None or account_id == transaction.account_id:
        if transaction.account_id is None:
            raise BadValue(f"transaction {transaction.transaction_id!r} names no account: expected an account_id")
        return transaction
    if transaction.account_id is not None:
        named = f"transaction {transaction.transaction_id!r}"
        raise BadValue(f"{named} is of account {transaction.account_id!r}, not {account_id!r}")
    return replace(transaction, account_id=account_id)
