"""Accounts with their balances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select

from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.money import Currency, Money
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import ACCOUNTS, BALANCES

_BALANCES = select(BALANCES.c.account_id, BALANCES.c.currency, BALANCES.c.available, BALANCES.c.locked)
_SOME = 500  # accounts whose balances are asked for at once


class Accounts(Repository[Account]):
    """Accounts. An account and its balance are one: they are read and saved together."""

    kind = Kind(Account, ACCOUNTS, "account", "account_id", (ACCOUNTS.c.created_at, ACCOUNTS.c.account_id))

    def find_by_name(self, name: str) -> Account | None:
        """The oldest account of that name, or None."""
        return next(iter(self._find(ACCOUNTS.c.name == name, limit=1)), None)

    def find_all_active(self) -> list[Account]:
        """Those that may be used."""
        return self._find(ACCOUNTS.c.active)

    def find_by_currency(self, currency: Currency | str) -> list[Account]:
        """Those that hold any of a currency."""
        held = select(BALANCES.c.account_id).where(BALANCES.c.currency == str(Currency(currency)))
        return self._find(ACCOUNTS.c.account_id.in_(held))

    def total(self, currency: Currency | str) -> Money:
        """What all accounts hold of a currency, available and locked."""
        known = Currency(currency)
        rows = self._database.answer(_BALANCES.where(BALANCES.c.currency == str(known)))
        return sum((Money(r.available, known) + Money(r.locked, known) for r in rows), Money(0, known))

    def find_by_id(self, key: str) -> Account | None:
        """The account of an id, or None."""
        with self._database.reading():  # its balance must be of the same moment
            return super().find_by_id(key)

    # --- an account and its rows ----------------------------------------------------------------------------------------

    def _find(self, *where: ColumnElement[bool], **how: Any) -> list[Account]:
        with self._database.reading():
            return super()._find(*where, **how)

    def _columns_of_entity(self) -> list[Any]:
        self._names.remove("balance")
        return super()._columns_of_entity()

    def _entities(self, rows: Sequence[Sequence[Any]]) -> list[Account]:
        balances = self._balances([row[0] for row in rows])
        accounts = [dict(zip(self._names, row, strict=True)) for row in rows]
        return [Account(**each, balance=balances.get(each["account_id"], Balance())) for each in accounts]

    def _balances(self, ids: Sequence[str]) -> dict[str, Balance]:
        found: dict[str, list[tuple[Currency, Any, Any]]] = {}
        wanted = _BALANCES.where(BALANCES.c.account_id.in_(bindparam("ids", expanding=True)))
        for at in range(0, len(ids), _SOME):
            for row in self._database.answer(wanted, {"ids": list(ids[at : at + _SOME])}):
                found.setdefault(row.account_id, []).append((Currency(row.currency), row.available, row.locked))
        return {key: Balance.of(amounts) for key, amounts in found.items()}

    def _write_more(self, connection: Connection, entities: Sequence[Account], now: datetime) -> None:
        write_balances(connection, entities)


def write_balances(connection: Connection, accounts: Iterable[Account]) -> None:
    """Brings the rows of balances to what the accounts hold."""
    for account in accounts:
        connection.execute(delete(BALANCES).where(BALANCES.c.account_id == account.account_id))
        rows = [
            {"account_id": account.account_id, "currency": str(c), "available": available, "locked": locked}
            for c, available, locked in account.balance.rows()
        ]
        if rows:
            connection.execute(insert(BALANCES), rows)
