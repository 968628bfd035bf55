"""A ledger with something of everything in it, for what must carry all of it somewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from pipeline.instrument import Instrument
from pipeline.minute import Gap
from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.condition import Condition
from pipeline.trading.minute_ref import MinuteRef
from pipeline.trading.money import Money
from pipeline.trading.order import Order
from pipeline.trading.performance import PerformanceMetrics
from pipeline.trading.position import Position
from pipeline.trading.strategy import Strategy
from pipeline.trading.trade import Trade
from pipeline.trading.transaction import Transaction
from sinks.ledger.database import Database
from sinks.ledger.dump import batches
from sinks.ledger.ledger import Ledger

E = TypeVar("E")
START = datetime(2024, 10, 23, 14, 30, tzinfo=UTC)
BTC = Instrument("binance", "BTCUSDT")
SMALLEST = "0.000000000000000001"
SEEN = ("binance", "BTCUSDT", "2024-10-23T14:29", 1, "abc")
NAUGHTY = "=cmd|' /C calc'!A0; DROP TABLE accounts; --\u00fc"


def fill(ledger: Ledger, transactions: int = 5) -> None:
    """Writes a few rows into every table."""
    with ledger.transaction():
        ledger.accounts.save(Account(account_id="acc_001", name=NAUGHTY, balance=Balance()))
        for n in range(transactions):
            at = START + timedelta(minutes=n)
            ledger.transactions.post(deposit("0.1" if n % 2 else SMALLEST, "USDT", NAUGHTY, occurred_at=at), "acc_001")
        ledger.transactions.post(deposit("1000000000000", "BTC"), "acc_001")
        ledger.strategies.save(strategy())
        ledger.conditions.save(condition())
        ledger.orders.save(order())
        ledger.trades.save(trade())
        ledger.positions.save(position())
        ledger.decisions.save_decision(decision("d1"), [made(MinuteRef, *SEEN)])
        ledger.performance.save(day(date(2024, 10, 23)))
        ledger.gaps.found(BTC, [Gap(1, 5, 10, 20)], 30)


def made(entity: Callable[..., E], *args: Any, **fields: Any) -> E:
    """An entity, made of what it takes beside its fields' own types."""
    return entity(*args, **fields)


def deposit(amount: str | int, currency: str, description: str = "", **more: Any) -> Transaction:
    return made(Transaction, transaction_type="deposit", amount=Money(amount, currency), description=description, **more)


def strategy(key: str = "s1") -> Strategy:
    return Strategy(strategy_id=key, name="one", parameters={"fast": 1.5, "big": 2**60}, instruments=["BTCUSDT"])


def condition(key: str = "c1", **more: Any) -> Condition:
    return made(Condition, condition_id=key, symbol="BTCUSDT", comparison="above", value=60000, **more)


def order(key: str = "o1", **more: Any) -> Order:
    fields = {"symbol": "BTCUSDT", "side": "buy", "order_type": "limit", "quantity": "1.5", "price": 45000}
    return made(Order, order_id=key, account_id="acc_001", **fields | more)


def trade(key: str = "t1", **more: Any) -> Trade:
    fields = {"order_id": "o1", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.5", "price": 45100, "executed_at": START}
    return made(Trade, trade_id=key, **fields | more)


def position(key: str = "p1", **more: Any) -> Position:
    fields = {"symbol": "BTCUSDT", "strategy_id": "s1", "quantity": "0.5", "average_entry_price": 45100}
    return made(Position, position_id=key, **fields | more)


def day(at: date, **more: Any) -> PerformanceMetrics:
    fields = {"total_value_usd": 15000, "pnl_daily": "-0.1", "pnl_total": 2000}
    return made(PerformanceMetrics, account_id="acc_001", date=at, **fields | more)


def decision(key: str, **more: Any) -> dict[str, Any]:
    told = {"timestamp": "2024-10-23T14:30:00.000000", "asset_pair": "BTCUSD", "action": "BUY", "confidence": 0.85}
    return {"id": key, **told, "why": [1.10, None], **more}


def content(database: Database) -> dict[str, list[Any]]:
    """All that a ledger holds, by table."""
    found: dict[str, list[Any]] = {}
    with database.reading() as connection:
        for table, _, rows in batches(connection):
            found.setdefault(str(table.name), []).extend(rows)
    return found
