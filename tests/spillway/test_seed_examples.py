"""The usage examples of seeds 001 (decisions) and 004, as they stand there, with our API."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spillway.ledger import (
    Account,
    Balance,
    Currency,
    Ledger,
    Money,
    Order,
    OrderSide,
    OrderStatus,
    OrderType,
    PerformanceMetrics,
    Transaction,
    TransactionType,
    open_ledger,
)

EXAMPLE: dict[str, Any] = {
    "id": "decision_uuid",
    "timestamp": "2024-12-29T10:30:00.000000",
    "asset_pair": "BTCUSD",
    "action": "BUY",
    "confidence": 0.85,
    "reasoning": "additional decision metadata",
}


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'data' / 'jarvis_trading.db'}"
    with open_ledger(url) as opened:
        yield opened


def main_account() -> Account:
    return Account(account_id="acc_001", name="Main Trading Account", balance=Balance())


# --- seed 004 ---------------------------------------------------------------------------------------------------------


def test_account_management(ledger: Ledger) -> None:
    repo = ledger.accounts

    # Create account
    account = Account(
        account_id="acc_001",
        name="Main Trading Account",
        balance=Balance(),
    )

    # Add balance
    money = Money(10000.0, Currency.USDT)
    account.balance.add_available(money)

    # Save
    repo.save(account)

    # Find
    found = repo.find_by_id("acc_001")
    assert found is not None
    assert f"Account: {found.name}, Balance: {found.balance}" == "Account: Main Trading Account, Balance: 10000 USDT"

    # List all; find active only
    repo.save(Account(account_id="acc_002", name="Asleep", active=False))
    assert [a.account_id for a in repo.find_all()] == ["acc_001", "acc_002"]
    assert [a.account_id for a in repo.find_all_active()] == ["acc_001"]

    # Delete
    assert repo.delete("acc_001")
    assert repo.find_by_id("acc_001") is None


def test_transaction_audit_trail(ledger: Ledger, tmp_path: Path) -> None:
    ledger.accounts.save(main_account())
    repo = ledger.transactions

    # Record transaction
    money = Money(100.0, Currency.USDT)
    tx = Transaction(
        transaction_type=TransactionType.DEPOSIT,
        amount=money,
        description="Initial deposit",
    )
    repo.save(tx, "acc_001")

    # Query recent
    (recent,) = repo.find_by_account("acc_001", limit=100)
    assert (recent.transaction_id, recent.amount, recent.description) == (tx.transaction_id, money, "Initial deposit")

    # Query by type
    assert repo.find_by_type("acc_001", TransactionType.DEPOSIT) == [recent]
    assert repo.find_by_type("acc_001", TransactionType.WITHDRAWAL) == []

    # Analytics
    repo.save(Transaction(transaction_type=TransactionType.DEPOSIT, amount=Money(0.1, Currency.USDT)), "acc_001")
    total_deposits = repo.get_sum_by_type(
        "acc_001",
        TransactionType.DEPOSIT,
        Currency.USDT,
    )
    assert total_deposits == Money("100.1", Currency.USDT)

    # Export
    repo.export_to_csv("acc_001", tmp_path / "transactions.csv")
    repo.export_to_json("acc_001", tmp_path / "transactions.json")
    with open(tmp_path / "transactions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["amount"], row["currency"]) for row in rows] == [("100", "USDT"), ("0.1", "USDT")]
    told = json.loads((tmp_path / "transactions.json").read_text())
    assert [row["amount"] for row in told] == ["100", "0.1"]


def test_paper_trading_orders(ledger: Ledger) -> None:
    ledger.accounts.save(main_account())
    repo = ledger.orders

    # Create order
    order = Order(
        order_id="ord_001",
        account_id="acc_001",
        symbol="BTCUSDT",
        side=OrderSide.BUY,
        order_type=OrderType.LIMIT,
        quantity=1.5,  # type: ignore[arg-type]  # as in the seed: a float stands for its shortest text
        price=45000.0,  # type: ignore[arg-type]
    )

    # Save
    repo.save(order)
    assert [o.order_id for o in repo.get_pending_orders("acc_001")] == ["ord_001"]
    assert repo.get_filled_orders("acc_001") == []

    # Execute
    order.execute(executed_price=45100.0)
    repo.save(order)

    # Query
    assert repo.get_pending_orders("acc_001") == []
    (filled,) = repo.get_filled_orders("acc_001")
    assert (filled.status, filled.average_fill_price) == (OrderStatus.FILLED, Decimal(45100))
    assert filled.remaining_quantity == 0

    # By status
    assert repo.find_by_status("acc_001", OrderStatus.FILLED) == [filled]

    # By symbol
    assert repo.find_by_symbol("acc_001", "BTCUSDT") == [filled]


def test_performance_analytics(ledger: Ledger, tmp_path: Path) -> None:
    ledger.accounts.save(main_account())
    repo = ledger.performance

    # Record daily metrics
    today = datetime.now(UTC).date()
    metrics = PerformanceMetrics(
        account_id="acc_001",
        date=today,
        total_value_usd=15000.0,  # type: ignore[arg-type]
        pnl_daily=500.0,  # type: ignore[arg-type]
        pnl_total=2000.0,  # type: ignore[arg-type]
        sharpe_ratio=1.5,  # type: ignore[arg-type]
        sortino_ratio=1.2,  # type: ignore[arg-type]
        max_drawdown=-0.15,  # type: ignore[arg-type]
        win_rate=0.60,  # type: ignore[arg-type]
        profit_factor=2.5,  # type: ignore[arg-type]
        trades_count=5,
    )
    repo.save(metrics)
    yesterday = of_yesterday(today)
    repo.save(yesterday)

    # Query historical
    found = repo.find_by_date("acc_001", today)
    assert found == metrics

    # Range queries
    start = today - timedelta(days=30)
    end = today
    range_data = repo.find_range("acc_001", start, end)
    assert range_data == [yesterday, metrics]

    # Analytics
    assert repo.get_best_day("acc_001") == metrics
    assert repo.get_worst_day("acc_001") == yesterday
    assert repo.get_total_pnl("acc_001") == Decimal("299.9")
    avg_metrics = repo.get_average_metrics("acc_001", days=30)
    assert avg_metrics is not None
    assert (avg_metrics.days, avg_metrics.pnl_daily, avg_metrics.sharpe_ratio) == (2, Decimal("149.95"), Decimal("1.5"))

    # Export
    repo.export_to_csv("acc_001", tmp_path / "performance.csv")
    with open(tmp_path / "performance.csv", newline="") as file:
        assert [row["pnl_daily"] for row in csv.DictReader(file)] == ["-200.1", "500"]


def of_yesterday(today: date) -> PerformanceMetrics:
    return PerformanceMetrics(
        account_id="acc_001",
        date=today - timedelta(days=1),
        total_value_usd=Decimal(14500),
        pnl_daily=Decimal("-200.1"),
        pnl_total=Decimal(1500),
    )


def test_automatic_transaction_handling(ledger: Ledger) -> None:
    # Auto-committed on exit
    with ledger.transaction():
        ledger.accounts.save(main_account())
        ledger.transactions.save(deposit("one"), "acc_001")
    assert ledger.transactions.count() == 1

    # Auto-rolled back on exception
    with pytest.raises(RuntimeError), ledger.transaction():
        ledger.transactions.save(deposit("two"), "acc_001")
        ledger.accounts.delete("acc_001")
        raise RuntimeError
    assert (ledger.accounts.exists("acc_001"), ledger.transactions.exists("one"), ledger.transactions.count()) == (
        True,
        True,
        1,
    )


def deposit(key: str) -> Transaction:
    return Transaction(transaction_id=key, transaction_type=TransactionType.DEPOSIT, amount=Money(1, Currency.USDT))


def test_deleting_an_account_cascades(ledger: Ledger) -> None:
    ledger.accounts.save(main_account())
    ledger.transactions.post(deposit("one"), "acc_001")
    ledger.accounts.delete("acc_001")
    assert (ledger.transactions.count(), ledger.balances.count()) == (0, 0)


# --- seed 001: what its `DecisionStore` does --------------------------------------------------------------------------


def test_decisions_are_saved_and_retrieved(ledger: Ledger) -> None:
    store = ledger.decisions
    store.save_decision(EXAMPLE)
    assert store.get_decision_by_id("decision_uuid") == EXAMPLE
    assert store.get_decision_by_id("another") is None
    assert store.get_decision_count() == 1


def test_decisions_are_filtered_by_pair_newest_first(ledger: Ledger) -> None:
    store = ledger.decisions
    for n, pair in enumerate(["BTCUSD", "ETHUSD", "BTCUSD"]):
        store.save_decision({"id": f"d{n}", "timestamp": f"2024-12-29T10:3{n}:00", "asset_pair": pair, "action": "HOLD"})
    assert [d["id"] for d in store.get_decisions()] == ["d2", "d1", "d0"]
    assert [d["id"] for d in store.get_decisions(asset_pair="BTCUSD", limit=1)] == ["d2"]
    assert [d["id"] for d in store.get_recent_decisions(limit=2)] == ["d2", "d1"]
    assert [d["id"] for d in store.get_recent_decisions(limit=5, asset_pair="ETHUSD")] == ["d1"]


def test_decisions_are_updated_or_saved_as_new(ledger: Ledger) -> None:
    store = ledger.decisions
    store.update_decision(EXAMPLE)
    store.update_decision(EXAMPLE | {"outcome": {"pnl": 12.5}})
    assert store.get_decision_by_id("decision_uuid") == EXAMPLE | {"outcome": {"pnl": 12.5}}
    assert store.get_decision_count() == 1


def test_decisions_are_deleted_cleaned_up_and_wiped(ledger: Ledger) -> None:
    store = ledger.decisions
    now = datetime.now(UTC)
    for key, age in (("new", 1), ("old", 31), ("gone", 2)):
        store.save_decision({"id": key, "timestamp": (now - timedelta(days=age)).isoformat()})
    assert (store.delete_decision("gone"), store.delete_decision("gone")) == (True, False)
    assert store.cleanup_old_decisions(days=30) == 1
    assert [d["id"] for d in store.get_decisions()] == ["new"]
    assert store.wipe_all_decisions() == 1
    assert store.get_decision_count() == 0
