"""What the trader's programs import: `from spillway.ledger import open_ledger, Account, Money, Currency`."""

from __future__ import annotations

from pipeline.errors import (
    AlreadyExists,
    BadValue,
    CurrencyMismatch,
    DiskFull,
    InUse,
    LedgerConflict,
    Missing,
    NotAllowed,
    RedisUnavailable,
    SpillwayError,
    Stale,
    StorageError,
)
from pipeline.trading.account import Account, AccountType
from pipeline.trading.balance import Balance
from pipeline.trading.condition import Comparison, Condition, ConditionStatus, ConditionType
from pipeline.trading.decision import Decision, DecisionAction
from pipeline.trading.minute_ref import MinuteRef
from pipeline.trading.money import Currency, Money
from pipeline.trading.names import new_id
from pipeline.trading.order import Order, OrderSide, OrderStatus, OrderType, TimeInForce
from pipeline.trading.performance import PerformanceMetrics
from pipeline.trading.position import Position
from pipeline.trading.service import ServiceInfo, ServiceStatus
from pipeline.trading.strategy import Strategy, StrategyStatus, StrategyType
from pipeline.trading.trade import Liquidity, Trade, TradeSide
from pipeline.trading.transaction import Transaction, TransactionType
from sinks.ledger.aio import AsyncLedger, AsyncShared, aopen_ledger, aopen_shared
from sinks.ledger.changes import Change
from sinks.ledger.fills import Fill
from sinks.ledger.ledger import Ledger, open_ledger, read_ledger
from sinks.ledger.manager import DatabaseManager
from sinks.ledger.open_conditions import open_conditions
from sinks.ledger.performance import AverageMetrics
from sinks.ledger.redis.cache import FOREVER
from sinks.ledger.redis.shared import Shared, open_shared
from spillway.trading_adapter import TradingDataAdapter
from spillway.trading_config import AdapterConfig

__all__ = [
    "FOREVER",
    "Account",
    "AccountType",
    "AdapterConfig",
    "AlreadyExists",
    "AsyncLedger",
    "AsyncShared",
    "AverageMetrics",
    "BadValue",
    "Balance",
    "Change",
    "Comparison",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Currency",
    "CurrencyMismatch",
    "DatabaseManager",
    "Decision",
    "DecisionAction",
    "DiskFull",
    "Fill",
    "InUse",
    "Ledger",
    "LedgerConflict",
    "Liquidity",
    "MinuteRef",
    "Missing",
    "Money",
    "NotAllowed",
    "Order",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "PerformanceMetrics",
    "Position",
    "RedisUnavailable",
    "ServiceInfo",
    "ServiceStatus",
    "Shared",
    "SpillwayError",
    "Stale",
    "StorageError",
    "Strategy",
    "StrategyStatus",
    "StrategyType",
    "TimeInForce",
    "Trade",
    "TradeSide",
    "TradingDataAdapter",
    "Transaction",
    "TransactionType",
    "aopen_ledger",
    "aopen_shared",
    "new_id",
    "open_conditions",
    "open_ledger",
    "open_shared",
    "read_ledger",
]
