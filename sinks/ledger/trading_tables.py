"""What the trader's programs remember, as SQLAlchemy sees it. The migrations make these tables; a test holds that both agree.

A column is named like the entity's field that it keeps.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, ForeignKey, Integer, String, Table

from pipeline.trading.account import AccountType
from pipeline.trading.condition import Comparison, ConditionStatus, ConditionType
from pipeline.trading.order import OrderSide, OrderStatus, OrderType, TimeInForce
from pipeline.trading.strategy import StrategyStatus, StrategyType
from pipeline.trading.trade import Liquidity, TradeSide
from pipeline.trading.transaction import TransactionType
from sinks.ledger.tables import METADATA
from sinks.ledger.types import Exact, Instant, Json, OneOf


def _id(name: str, *, of: str | None = None, key: bool = False, null: bool = False) -> Column[str]:
    points = [ForeignKey(of, ondelete="RESTRICT" if of.startswith("strategies") else "CASCADE")] if of else []
    return Column(name, String, *points, primary_key=key, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, String, nullable=null)


def _exact(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, Exact, nullable=null)


def _instant(name: str, *, null: bool = True) -> Column[Any]:
    return Column(name, Instant, nullable=null)


def _choice(name: str, enum: type[StrEnum], *, null: bool = False) -> Column[Any]:
    return Column(name, OneOf(enum), nullable=null)


def _kept() -> list[Column[Any]]:
    """When it was made and last changed, and how often it was."""
    return [_instant("created_at", null=False), _instant("updated_at", null=False), Column("version", Integer, nullable=False)]


ACCOUNTS = Table(
    "accounts",
    METADATA,
    _id("account_id", key=True),
    _text("name"),
    _choice("account_type", AccountType),
    Column("active", Boolean, nullable=False),
    _instant("closed_at"),
    *_kept(),
)

BALANCES = Table(
    "balances",
    METADATA,
    _id("account_id", of="accounts.account_id", key=True),
    Column("currency", String, primary_key=True),
    _exact("available"),
    _exact("locked"),
)

TRANSACTIONS = Table(
    "transactions",
    METADATA,
    _id("transaction_id", key=True),
    _id("account_id", of="accounts.account_id"),
    _choice("transaction_type", TransactionType),
    _exact("amount"),
    _text("currency"),
    _text("description"),
    _text("reference", null=True),
    _instant("occurred_at", null=False),
    _instant("created_at", null=False),
)

STRATEGIES = Table(
    "strategies",
    METADATA,
    _id("strategy_id", key=True),
    _text("name"),
    _choice("strategy_type", StrategyType),
    _choice("status", StrategyStatus),
    Column("parameters", Json, nullable=False),
    Column("instruments", Json, nullable=False),
    _exact("max_position_size", null=True),
    _exact("max_daily_loss", null=True),
    _exact("max_leverage", null=True),
    _exact("total_pnl"),
    _exact("daily_pnl"),
    Column("total_trades", BigInteger, nullable=False),
    _text("error_message", null=True),
    _instant("started_at"),
    _instant("stopped_at"),
    *_kept(),
)

CONDITIONS = Table(
    "conditions",
    METADATA,
    _id("condition_id", key=True),
    _text("symbol"),
    _choice("condition_type", ConditionType),
    _choice("comparison", Comparison, null=True),
    _exact("value", null=True),
    _text("action"),
    Column("parameters", Json, nullable=False),
    _id("strategy_id", of="strategies.strategy_id", null=True),
    _choice("status", ConditionStatus),
    _instant("expires_at"),
    _instant("triggered_at"),
    _exact("triggered_value", null=True),
    *_kept(),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    _id("decision_id", key=True),
    _instant("timestamp", null=False),
    _text("asset_pair", null=True),
    _text("action", null=True),
    Column("document", Json, nullable=False),  # all of it, as it was given
    *_kept(),
)

DECISION_MINUTES = Table(
    "decision_minutes",
    METADATA,
    _id("decision_id", of="decisions.decision_id", key=True),
    Column("venue", String, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    _text("checksum"),
)

ORDERS = Table(
    "orders",
    METADATA,
    _id("order_id", key=True),
    _text("symbol"),
    _choice("side", OrderSide),
    _choice("order_type", OrderType),
    _exact("quantity"),
    _exact("price", null=True),
    _exact("stop_price", null=True),
    _id("account_id", of="accounts.account_id", null=True),
    _id("strategy_id", of="strategies.strategy_id", null=True),
    _choice("status", OrderStatus),
    _choice("time_in_force", TimeInForce),
    _exact("filled_quantity"),
    _exact("average_fill_price", null=True),
    _exact("commission"),
    _exact("realized_pnl", null=True),
    _text("exchange_order_id", null=True),
    _text("execution_venue", null=True),
    _text("error_message", null=True),
    _instant("submitted_at"),
    _instant("accepted_at"),
    _instant("filled_at"),
    _instant("cancelled_at"),
    *_kept(),
)

TRADES = Table(
    "trades",
    METADATA,
    _id("trade_id", key=True),
    _id("order_id", of="orders.order_id"),
    _text("symbol"),
    _choice("side", TradeSide),
    _exact("quantity"),
    _exact("price"),
    _id("strategy_id", of="strategies.strategy_id", null=True),
    _id("account_id", of="accounts.account_id", null=True),
    _exact("commission"),
    _text("commission_currency", null=True),
    _exact("realized_pnl", null=True),
    _text("exchange_trade_id", null=True),
    _text("execution_venue", null=True),
    _choice("liquidity", Liquidity, null=True),
    _instant("executed_at", null=False),
    _text("notes", null=True),
    _instant("created_at", null=False),
)

POSITIONS = Table(
    "positions",
    METADATA,
    _id("position_id", key=True),
    _text("symbol"),
    _id("strategy_id", of="strategies.strategy_id", null=True),
    _id("account_id", of="accounts.account_id", null=True),
    _exact("quantity"),
    _exact("average_entry_price"),
    _exact("current_price", null=True),
    _exact("realized_pnl"),
    _exact("commission"),
    _instant("opened_at"),
    _instant("closed_at"),
    _text("notes", null=True),
    *_kept(),
)

PERFORMANCE = Table(
    "performance_metrics",
    METADATA,
    _id("account_id", of="accounts.account_id", key=True),
    Column("date", Date, primary_key=True),
    _exact("total_value_usd"),
    _exact("pnl_daily"),
    _exact("pnl_total"),
    _exact("sharpe_ratio", null=True),
    _exact("sortino_ratio", null=True),
    _exact("max_drawdown", null=True),
    _exact("win_rate", null=True),
    _exact("profit_factor", null=True),
    Column("trades_count", BigInteger, nullable=False),
    _instant("created_at", null=False),
    _instant("updated_at", null=False),
)

CHANGES = Table(
    "changes",
    METADATA,
    Column("change_id", BigInteger, primary_key=True),
    _text("entity"),  # condition, order
    _text("entity_id"),
    Column("version", BigInteger, nullable=False),
    _text("change"),  # created, updated, deleted
    _instant("changed_at", null=False),
)
