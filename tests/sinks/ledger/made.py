"""Entities to store, valid as they are; what a test is about it says itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.condition import Condition
from pipeline.trading.decision import Decision
from pipeline.trading.money import Money
from pipeline.trading.order import Order
from pipeline.trading.performance import PerformanceMetrics
from pipeline.trading.position import Position
from pipeline.trading.strategy import Strategy
from pipeline.trading.trade import Trade
from pipeline.trading.transaction import Transaction
from sinks.ledger.ledger import Ledger

START = datetime(2024, 10, 23, 14, 30, tzinfo=UTC)


def later(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def account(key: str = "acc_001", held: str = "", **more: Any) -> Account:
    """`held`: such as "100 USDT, 0.5 BTC"."""
    balance = Balance()
    for part in filter(None, held.split(", ")):
        balance.add_available(Money(*part.split()))
    return Account(**_given(more, account_id=key, name="Main", balance=balance))


def transaction(key: str, amount: str = "1", currency: str = "USDT", kind: str = "deposit", **more: Any) -> Transaction:
    money = Money(amount, currency)
    return Transaction(**_given(more, transaction_id=key, transaction_type=kind, amount=money, account_id="acc_001"))


def strategy(key: str = "s1", **more: Any) -> Strategy:
    return Strategy(**_given(more, strategy_id=key, name="Momentum", instruments=["BTCUSDT"]))


def condition(key: str = "c1", **more: Any) -> Condition:
    return Condition(**_given(more, condition_id=key, symbol="BTCUSDT", comparison="above", value=60000))


def decision(key: str = "d1", **more: Any) -> Decision:
    return Decision(**_given(more, decision_id=key, timestamp="2024-10-23T14:30:00", asset_pair="BTCUSD", action="BUY"))


def order(key: str = "o1", **more: Any) -> Order:
    limit = {"order_type": "limit", "quantity": "1.5", "price": 45000}
    return Order(**_given(more, order_id=key, symbol="BTCUSDT", side="buy", **limit))


def market(key: str = "o1", side: str = "buy", quantity: str = "1", **more: Any) -> Order:
    return Order(**_given(more, order_id=key, symbol="BTCUSDT", side=side, order_type="market", quantity=quantity))


def trade(key: str = "t1", **more: Any) -> Trade:
    done = {"side": "buy", "quantity": "0.5", "price": 45000, "executed_at": START}
    return Trade(**_given(more, trade_id=key, order_id="o1", symbol="BTCUSDT", **done))


def position(key: str = "p1", **more: Any) -> Position:
    return Position(**_given(more, position_id=key, symbol="BTCUSDT"))


def day(number: int, pnl: object = "1.5", key: str = "acc_001", **more: Any) -> PerformanceMetrics:
    on = date(2024, 10, number)
    return PerformanceMetrics(**_given(more, account_id=key, date=on, total_value_usd=15000, pnl_daily=pnl, pnl_total=2000))


def _given(more: dict[str, Any], **values: Any) -> dict[str, Any]:
    return values | more


def store_owners(ledger: Ledger) -> None:
    """What orders, trades and positions may belong to."""
    with ledger.transaction():
        ledger.accounts.save(account())
        ledger.strategies.save(strategy())


def store_order(ledger: Ledger, **more: Any) -> None:
    """The same, and an order of theirs for trades to point to."""
    store_owners(ledger)
    ledger.orders.save(order(**{"account_id": "acc_001", "strategy_id": "s1"} | more))
