"""What a fill does to its order, its position and its account: pure, so that it can be told without a ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from pipeline.errors import BadValue
from pipeline.trading import exact
from pipeline.trading.money import Currency, Money
from pipeline.trading.order import Order
from pipeline.trading.position import Position
from pipeline.trading.trade import Trade, TradeSide
from pipeline.trading.transaction import Transaction, TransactionType


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill as it was recorded: the order, the position and the trade after it, and what the account was charged."""

    order: Order
    trade: Trade
    position: Position
    transactions: tuple[Transaction, ...]


def fill(order: Order, position: Position, trade: Trade, quote: Currency | None) -> Trade:
    """Executes the order and fills the position; the trade with what it realised. BadValue, NotAllowed."""
    for name in ("symbol", "side", "account_id", "strategy_id"):
        _same(trade, order, name, getattr(trade, name), getattr(order, name))
        if name != "side":
            _same(position, order, name, getattr(position, name), getattr(order, name))
    paid = trade.commission if trade.commission_currency in (None, quote) else exact.ZERO
    order.execute(trade.price, trade.quantity, paid, trade.executed_at)
    realized = position.fill(trade.side, trade.quantity, trade.price, paid, trade.executed_at)
    order.add_realized_pnl(realized)
    return replace(trade, account_id=order.account_id, strategy_id=order.strategy_id, realized_pnl=realized)


def settlement(trade: Trade, base: Currency | None, quote: Currency | None) -> list[Transaction]:
    """What a fill, with what it realised, changes in its account, in the order in which that can be done.

    `quote` alone: in cash, as for margin and futures: the realised P&L and the commission. `base` too: in full, as on a spot
    market: a buy pays quantity x price in the quote currency and brings the quantity in the base currency; a sell the reverse.
    """
    if quote is None:
        if base is not None:
            raise BadValue(f"{trade.label}: base {base} and no quote: expected the currency that it was paid in")
        return []
    if trade.account_id is None:
        raise BadValue(f"{trade.label}: expected an order with an account_id: there is nothing to settle")
    parts = _in_full(trade, base, quote) if base is not None else _in_cash(trade, quote)
    return [_of(trade, kind, amount) for kind, amount in parts + _charge(trade, quote) if not amount.is_zero]


_Part: TypeAlias = tuple[TransactionType, Money]


def _in_full(trade: Trade, base: Currency, quote: Currency) -> list[_Part]:
    value, size = Money(exact.rounded(trade.gross_value), quote), Money(trade.quantity, base)
    if trade.side is TradeSide.BUY:
        return [(TransactionType.BUY, value), (TransactionType.TRADE, size)]
    return [(TransactionType.TRADE, -size), (TransactionType.SELL, value)]


def _in_cash(trade: Trade, quote: Currency) -> list[_Part]:
    return [(TransactionType.REALIZED_PNL, Money(trade.realized_pnl or exact.ZERO, quote))]


def _charge(trade: Trade, quote: Currency) -> list[_Part]:
    """The commission: a fee or, below 0, a rebate."""
    paid = Money(trade.commission, trade.commission_currency or quote)
    return [(TransactionType.REBATE if paid.is_negative else TransactionType.FEE, abs(paid))]


def _of(trade: Trade, kind: TransactionType, amount: Money) -> Transaction:
    return Transaction(
        transaction_type=kind,
        amount=amount,
        description=f"{trade.side} {exact.text(trade.quantity)} {trade.symbol} at {exact.text(trade.price)}",
        account_id=trade.account_id,
        reference=trade.trade_id,
        occurred_at=trade.executed_at,
    )


def _same(one: Trade | Position, order: Order, what: str, found: object, expected: object) -> None:
    """A trade may leave out what its order tells; what it tells must be the same."""
    if found != expected and not (isinstance(one, Trade) and found is None):
        raise BadValue(f"{one.label}: {what} {found}: expected {expected}, as {order.label} has it")
