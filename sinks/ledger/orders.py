"""Orders, from sent to done, and their fills."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from pipeline.errors import BadValue, Missing
from pipeline.trading.exact import Number
from pipeline.trading.money import Currency
from pipeline.trading.names import new_id
from pipeline.trading.order import ACTIVE, Order, OrderSide, OrderStatus, OrderType
from pipeline.trading.position import Position
from pipeline.trading.trade import Trade
from sinks.ledger.database import Database
from sinks.ledger.fills import Fill, fill, settlement
from sinks.ledger.filters import among, by_time, equal, within
from sinks.ledger.positions import Positions
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trades import Trades
from sinks.ledger.trading_tables import ORDERS as T
from sinks.ledger.transactions import Transactions

_ACTIVE = T.c.status.in_(sorted(ACTIVE))
_FILLS = (OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED)


class Orders(Repository[Order]):
    """Orders, newest first. `start` is included and `end` is not, wherever a range is asked for."""

    kind = Kind(Order, T, "order", "order_id", by_time(T.c.created_at, T.c.order_id))

    def __init__(self, database: Database, trades: Trades, positions: Positions, transactions: Transactions) -> None:
        super().__init__(database)
        self._trades, self._positions, self._transactions = trades, positions, transactions

    def find(
        self,
        *,
        account_id: str | None = None,
        strategy_id: str | None = None,
        symbol: str | None = None,
        side: OrderSide | str | None = None,
        order_type: OrderType | str | None = None,
        status: OrderStatus | str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Order]:
        """Those that fit all that is given, by when they were made."""
        where = [
            *equal(T, account_id=account_id, strategy_id=strategy_id, symbol=symbol),
            *among(T.c.side, OrderSide, side),
            *among(T.c.order_type, OrderType, order_type),
            *among(T.c.status, OrderStatus, status),
            *within(T.c.created_at, start, end),
        ]
        return self._find(*where, order=by_time(T.c.created_at, T.c.order_id, newest_first), limit=limit, offset=offset)

    def find_by_account(self, account_id: str, limit: int | None = None, offset: int = 0) -> list[Order]:
        """An account's."""
        return self._find(T.c.account_id == account_id, limit=limit, offset=offset)

    def find_by_strategy(self, strategy_id: str, status: OrderStatus | str | None = None) -> list[Order]:
        """A strategy's."""
        return self._find(T.c.strategy_id == strategy_id, *among(T.c.status, OrderStatus, status))

    def find_by_status(self, account_id: str, status: OrderStatus | str) -> list[Order]:
        """An account's of a status."""
        return self._find(T.c.account_id == account_id, T.c.status == OrderStatus(status))

    def find_by_symbol(self, account_id: str, symbol: str) -> list[Order]:
        """An account's of a symbol."""
        return self._find(T.c.account_id == account_id, T.c.symbol == symbol)

    def find_by_instrument(self, symbol: str, status: OrderStatus | str | None = None) -> list[Order]:
        """All of a symbol, whosoever."""
        return self._find(T.c.symbol == symbol, *among(T.c.status, OrderStatus, status))

    def find_by_exchange_order_id(self, exchange_order_id: str) -> Order | None:
        """The newest that the venue calls so, or None."""
        return next(iter(self._find(T.c.exchange_order_id == exchange_order_id, limit=1)), None)

    def find_active(self, strategy_id: str | None = None, account_id: str | None = None) -> list[Order]:
        """Those that may still be filled, of what is given."""
        return self._find(*equal(T, strategy_id=strategy_id, account_id=account_id), _ACTIVE)

    def get_pending_orders(self, account_id: str) -> list[Order]:
        """An account's that may still be filled: pending, submitted, accepted and partially filled ones."""
        return self.find_active(account_id=account_id)

    def get_filled_orders(self, account_id: str) -> list[Order]:
        """An account's that are filled whole."""
        return self.find_by_status(account_id, OrderStatus.FILLED)

    def count_by_status(self, account_id: str) -> dict[OrderStatus, int]:
        """How many orders of each status an account has."""
        question = select(T.c.status, func.count()).where(T.c.account_id == account_id).group_by(T.c.status)
        return dict(map(tuple, self._database.answer(question)))

    # --- changes: read and written in one transaction, so that of two processes each builds on what the other did --------

    def update_status(
        self,
        order_id: str,
        status: OrderStatus | str,
        at: datetime | None = None,
        *,
        reason: str | None = None,
        exchange_order_id: str | None = None,
    ) -> Order:
        """Submits, accepts, cancels, rejects or expires an order; as it is then. NotAllowed, Missing.

        A fill has a price, and so a way of its own: `update_fill`, or `record_fill`.
        """
        wanted = OrderStatus(status)
        if wanted in _FILLS or wanted is OrderStatus.PENDING:
            raise BadValue(f"order {order_id}: status {wanted}: expected update_fill or record_fill for fills, and no way back")
        moment = at or self._database.now()
        return self.change(order_id, lambda order: _move(order, wanted, moment, reason, exchange_order_id))

    def update_fill(
        self, order_id: str, filled_quantity: Number, average_fill_price: Number, at: datetime | None = None
    ) -> Order:
        """Sets what is filled in all, and at what average price, as the venue tells; as it is then. NotAllowed, Missing."""
        moment = at or self._database.now()
        return self.change(order_id, lambda order: order.fill_to(filled_quantity, average_fill_price, moment))

    def cancel(self, order_id: str, at: datetime | None = None, reason: str | None = None) -> Order:
        """Cancels what remains of it; as it is then. NotAllowed where it is done, Missing."""
        return self.update_status(order_id, OrderStatus.CANCELLED, at, reason=reason)

    def record_fill(
        self,
        trade: Trade,
        *,
        base: Currency | str | None = None,
        quote: Currency | str | None = None,
        position_id: str | None = None,
    ) -> Fill:
        """Records a fill of a stored order in all books, or in none: they always agree.

        The order is executed, the position filled (that of `position_id`; else the open one of its symbol, strategy and
        account, or a new one), and the trade stored with the P&L that it realised. With `quote` (a currency) the account is
        settled too: in cash, by P&L and commission; with `base` as well in full, as on a spot market. Amounts are rounded half
        even at 18 decimals. A commission of another currency than the quote's counts for the account only.
        AlreadyExists for a trade that is recorded already; Missing, NotAllowed, BadValue: nothing is written.
        """
        base, quote = (None if code is None else Currency(code) for code in (base, quote))
        with self._database.writing():
            order = self._stored_order(trade)
            position = self._position(position_id, order)
            whole = fill(order, position, trade, quote)
            self.save(order)
            self._positions.save(position)
            self._trades.save(whole)
            settled = settlement(whole, base, quote)
            for transaction in settled:
                self._transactions.post(transaction)
        return Fill(order, whole, position, tuple(settled))

    def _stored_order(self, trade: Trade) -> Order:
        order = self.find_by_id(trade.order_id)
        if order is None:
            raise Missing(f"{trade.label}: order {trade.order_id!r} isn't stored")
        return order

    def _position(self, position_id: str | None, order: Order) -> Position:
        if position_id is None:
            found = self._positions.find_to_fill(order.symbol, order.strategy_id, order.account_id)
            return found or Position(
                position_id=new_id(), symbol=order.symbol, strategy_id=order.strategy_id, account_id=order.account_id
            )
        position = self._positions.find_by_id(position_id)
        if position is None:
            raise Missing(f"position {position_id!r} isn't stored")
        return position


def _move(order: Order, to: OrderStatus, at: datetime, reason: str | None, exchange_order_id: str | None) -> None:
    if to is OrderStatus.SUBMITTED:
        order.submit(at, exchange_order_id)
    elif to is OrderStatus.ACCEPTED:
        order.accept(at, exchange_order_id)
    elif to is OrderStatus.CANCELLED:
        order.cancel(at, reason)
    elif to is OrderStatus.REJECTED:
        order.reject(reason or "", at)
    else:
        order.expire(at)
