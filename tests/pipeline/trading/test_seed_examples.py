"""The examples of the seed (SQLite persistence), as far as they touch entities, as they are written there."""

# mypy: disable-error-code="arg-type"
# A field's type tells how a number is kept (Decimal); it is taken as a float, too, as the seed does.

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.money import Currency, Money
from pipeline.trading.order import Order, OrderSide, OrderStatus, OrderType
from pipeline.trading.performance import PerformanceMetrics
from pipeline.trading.transaction import Transaction, TransactionType
from tests.pipeline.trading.moves import seen


def test_an_account_with_a_balance() -> None:
    account = Account(
        account_id="acc_001",
        name="Main Trading Account",
        balance=Balance(),
    )
    money = Money(10000.0, Currency.USDT)
    account.balance.add_available(money)
    assert f"Account: {account.name}, Balance: {account.balance}" == "Account: Main Trading Account, Balance: 10000 USDT"


def test_a_deposit() -> None:
    money = Money(100.0, Currency.USDT)
    tx = Transaction(
        transaction_type=TransactionType.DEPOSIT,
        amount=money,
        description="Initial deposit",
    )
    assert tx.effect() == money


def test_an_order_that_is_executed() -> None:
    order = Order(
        order_id="ord_001",
        account_id="acc_001",
        symbol="BTCUSDT",
        side=OrderSide.BUY,
        order_type=OrderType.LIMIT,
        quantity=1.5,
        price=45000.0,
    )
    order.execute(executed_price=45100.0)
    assert order.status is OrderStatus.FILLED
    assert seen(order.filled_quantity, order.average_fill_price, order.price) == (Decimal("1.5"), 45100, 45000)


def test_a_days_performance() -> None:
    metrics = PerformanceMetrics(
        account_id="acc_001",
        date=date.today(),
        total_value_usd=15000.0,
        pnl_daily=500.0,
        pnl_total=2000.0,
        sharpe_ratio=1.5,
        sortino_ratio=1.2,
        max_drawdown=-0.15,
        win_rate=0.60,
        profit_factor=2.5,
        trades_count=5,
    )
    assert (metrics.max_drawdown, metrics.win_rate, metrics.trades_count) == (Decimal("-0.15"), Decimal("0.6"), 5)
