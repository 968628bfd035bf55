"""Whether a ledger's books agree: balances with transactions, fills with orders and positions. All sums are exact.

A difference is not damage: an account, an order or a position may also be saved directly, and then its history is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import Connection, Select, func, select

from pipeline.trading.exact import ZERO, add, subtract
from pipeline.trading.trade import TradeSide
from sinks.ledger.database import Database
from sinks.ledger.trading_tables import BALANCES, ORDERS, POSITIONS, TRADES, TRANSACTIONS
from sinks.ledger.types import exact_sum, plain

Totals: TypeAlias = dict[Any, Decimal]


@dataclass(slots=True)
class Audit:
    """What was compared, and where it differs, a line each."""

    balances: int = 0  # accounts' currencies
    orders: int = 0  # that have trades
    positions: int = 0  # symbols of a strategy and account that have both trades and positions
    differences: list[str] = field(default_factory=list)


def audit(database: Database) -> Audit:
    """Compares the books, all at one moment."""
    found = Audit()
    with database.reading() as connection:
        _balances(connection, found)
        _orders(connection, found)
        _positions(connection, found)
    return found


def _balances(connection: Connection, found: Audit) -> None:
    t, b = TRANSACTIONS.c, BALANCES.c
    posted = select(t.account_id, t.currency, t.transaction_type, exact_sum(t.amount)).group_by(
        t.account_id, t.currency, t.transaction_type
    )
    came = _totals(connection, posted, lambda row: -row[3] if row[2].sign < 0 else row[3], 2)
    held = _totals(connection, select(b.account_id, b.currency, b.available, b.locked), lambda row: add(row[2], row[3]), 2)
    for key in sorted({*came, *held}):
        there, told = held.get(key, ZERO), came.get(key, ZERO)
        found.balances += 1
        if there != told:
            found.differences.append(
                f"account {key[0]}: its balance is {plain(there)} {key[1]}, its transactions come to {plain(told)}: "
                f"{plain(subtract(there, told))} came or went without one"
            )


def _orders(connection: Connection, found: Audit) -> None:
    traded = (
        select(TRADES.c.order_id, exact_sum(TRADES.c.quantity).label("quantity"), func.count().label("trades"))
        .group_by(TRADES.c.order_id)
        .subquery()
    )
    asked = select(ORDERS.c.order_id, ORDERS.c.filled_quantity, traded.c.quantity, traded.c.trades)
    for order_id, filled, quantity, trades in connection.execute(
        asked.join(traded, traded.c.order_id == ORDERS.c.order_id).order_by(ORDERS.c.order_id)
    ):
        found.orders += 1
        if filled != quantity:
            found.differences.append(
                f"order {order_id}: {plain(filled)} of it is filled, its {trades:,} trades come to {plain(quantity)}"
            )


def _positions(connection: Connection, found: Audit) -> None:
    t, p = TRADES.c, POSITIONS.c
    traded = select(t.symbol, t.strategy_id, t.account_id, t.side, exact_sum(t.quantity)).group_by(
        t.symbol, t.strategy_id, t.account_id, t.side
    )
    held = select(p.symbol, p.strategy_id, p.account_id, exact_sum(p.quantity)).group_by(p.symbol, p.strategy_id, p.account_id)
    came = _totals(connection, traded, lambda row: row[4] if row[3] == TradeSide.BUY else -row[4], 3)
    there = _totals(connection, held, lambda row: row[3], 3)
    for key in sorted(came.keys() & there.keys(), key=str):
        found.positions += 1
        if came[key] != there[key]:
            found.differences.append(
                f"positions of {_owner(*key)}: {plain(there[key])} is held, its trades come to {plain(came[key])}"
            )


def _totals(connection: Connection, asked: Select[Any], amount: Callable[[Any], Decimal], keys: int) -> Totals:
    totals: Totals = {}
    for row in connection.execute(asked):
        key = tuple(row[:keys])
        totals[key] = add(totals.get(key, ZERO), amount(row))
    return totals


def _owner(symbol: str, strategy_id: str | None, account_id: str | None) -> str:
    of = [f"strategy {strategy_id}" if strategy_id else "", f"account {account_id}" if account_id else ""]
    return f"{symbol} ({', '.join(filter(None, of)) or 'of no strategy or account'})"
