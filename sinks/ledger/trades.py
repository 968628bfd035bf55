"""Trades of our own: the fills of our orders, with sums and P&L. Only added, never changed."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, func, select

from pipeline.trading.exact import Number
from pipeline.trading.money import Currency
from pipeline.trading.trade import Trade, TradeSide
from sinks.ledger.filters import Where, among, between, by_time, equal, on_day, within
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import TRADES as T
from sinks.ledger.types import exact_product, exact_sum

_NEWEST = by_time(T.c.executed_at, T.c.trade_id)
_VALUE = exact_product(T.c.quantity, T.c.price)


class Trades(Repository[Trade]):
    """Trades, newest first. `start` is included and `end` is not, wherever a range is asked for.

    Sums are exact, and of realised P&L as the positions' fills told it (average cost: see `Position`); commission is apart.
    """

    kind = Kind(Trade, T, "trade", "trade_id", _NEWEST)

    def find(
        self,
        *,
        strategy_id: str | None = None,
        order_id: str | None = None,
        account_id: str | None = None,
        symbol: str | None = None,
        side: TradeSide | str | None = None,
        venue: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        min_value: Number | None = None,
        max_value: Number | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Trade]:
        """Those that fit all that is given. `min_value` and `max_value` (both included) are of quantity x price."""
        where = [
            *_of(strategy_id, start, end, symbol, account_id),
            *equal(T, order_id=order_id, execution_venue=venue),
            *among(T.c.side, TradeSide, side),
            *between(_VALUE, min_value, max_value),
        ]
        return self._find(*where, order=by_time(T.c.executed_at, T.c.trade_id, newest_first), limit=limit, offset=offset)

    def find_by_order(self, order_id: str) -> list[Trade]:
        """An order's fills, in their order."""
        return self._find(T.c.order_id == order_id, order=by_time(T.c.executed_at, T.c.trade_id, newest_first=False))

    def find_by_strategy(
        self, strategy_id: str, start: datetime | None = None, end: datetime | None = None, limit: int | None = None
    ) -> list[Trade]:
        """A strategy's."""
        return self._find(T.c.strategy_id == strategy_id, *within(T.c.executed_at, start, end), limit=limit)

    def find_by_instrument(
        self, symbol: str, start: datetime | None = None, end: datetime | None = None, limit: int | None = None
    ) -> list[Trade]:
        """An instrument's."""
        return self._find(T.c.symbol == symbol, *within(T.c.executed_at, start, end), limit=limit)

    def find_by_account(
        self, account_id: str, start: datetime | None = None, end: datetime | None = None, limit: int | None = None
    ) -> list[Trade]:
        """An account's."""
        return self._find(T.c.account_id == account_id, *within(T.c.executed_at, start, end), limit=limit)

    def find_by_exchange_trade_id(self, exchange_trade_id: str) -> Trade | None:
        """The newest that the venue calls so, or None."""
        return next(iter(self._find(T.c.exchange_trade_id == exchange_trade_id, limit=1)), None)

    def get_daily_trades(self, strategy_id: str, day: date) -> list[Trade]:
        """A strategy's of a UTC day."""
        return self._find(T.c.strategy_id == strategy_id, *on_day(T.c.executed_at, day))

    # --- sums, of all that fits what is given ---------------------------------------------------------------------------

    def total_volume(
        self,
        strategy_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        symbol: str | None = None,
        account_id: str | None = None,
    ) -> Decimal:
        """The sum of quantities, in the base currency: of one instrument, that is, for it to mean anything."""
        return self._sum(T.c.quantity, _of(strategy_id, start, end, symbol, account_id))

    def total_value(
        self,
        strategy_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        symbol: str | None = None,
        account_id: str | None = None,
    ) -> Decimal:
        """The sum of quantity x price, in the quote currency."""
        return self._sum(_VALUE, _of(strategy_id, start, end, symbol, account_id))

    def total_pnl(
        self,
        strategy_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        symbol: str | None = None,
        account_id: str | None = None,
    ) -> Decimal:
        """The sum of realised P&L, before commission, in the quote currency."""
        return self._sum(T.c.realized_pnl, _of(strategy_id, start, end, symbol, account_id))

    def total_commission(
        self,
        strategy_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        symbol: str | None = None,
        account_id: str | None = None,
    ) -> dict[Currency | None, Decimal]:
        """The sums of commission by currency; under None what trades tell no currency for (the quote currency)."""
        where = _of(strategy_id, start, end, symbol, account_id)
        return {
            None if code is None else Currency(code): paid
            for code, paid in self._sums(T.c.commission_currency, T.c.commission, where)
        }

    def pnl_by_strategy(self, start: datetime | None = None, end: datetime | None = None) -> dict[str | None, Decimal]:
        """The sum of realised P&L of each strategy that traded; under None, of trades without one."""
        return dict(self._sums(T.c.strategy_id, T.c.realized_pnl, within(T.c.executed_at, start, end)))

    def pnl_by_symbol(
        self, strategy_id: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> dict[str, Decimal]:
        """The sum of realised P&L of each instrument traded, of one strategy or of all."""
        return dict(self._sums(T.c.symbol, T.c.realized_pnl, _of(strategy_id, start, end)))

    def count_by_order(self, order_id: str) -> int:
        """How many fills an order has."""
        return int(self._value(select(func.count()).select_from(T).where(T.c.order_id == order_id)))

    def _sum(self, what: ColumnElement[Any], where: Where) -> Decimal:
        return self._value(select(exact_sum(what)).where(*where)) or Decimal(0)

    def _sums(self, by: ColumnElement[Any], what: ColumnElement[Any], where: Where) -> list[tuple[Any, Decimal]]:
        question = select(by, exact_sum(what)).where(*where).group_by(by).order_by(by)
        rows = [list(row) for row in self._database.answer(question)]
        return [(key, total or Decimal(0)) for key, total in rows]


def _of(
    strategy_id: str | None,
    start: datetime | None,
    end: datetime | None,
    symbol: str | None = None,
    account_id: str | None = None,
) -> Where:
    return [
        *equal(T, strategy_id=strategy_id, symbol=symbol, account_id=account_id),
        *within(T.c.executed_at, start, end),
    ]
