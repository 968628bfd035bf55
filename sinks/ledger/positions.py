"""Positions, with exposure and P&L."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from pipeline.errors import NotAllowed
from pipeline.trading import exact
from pipeline.trading.exact import Number
from pipeline.trading.position import Position
from sinks.ledger.filters import between, by_time, equal, within
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import POSITIONS as T
from sinks.ledger.types import exact_magnitude, exact_product

_EXPOSURE = exact_magnitude(exact_product(T.c.quantity, T.c.current_price))
_OPEN = T.c.closed_at.is_(None)


class Positions(Repository[Position]):
    """Positions, the one that was made last first. Open is what was not closed, whether or not anything is held now."""

    kind = Kind(Position, T, "position", "position_id", by_time(T.c.created_at, T.c.position_id))

    def find(
        self,
        *,
        strategy_id: str | None = None,
        account_id: str | None = None,
        symbol: str | None = None,
        is_open: bool | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        min_value: Number | None = None,
        max_value: Number | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Position]:
        """Those that fit all that is given, by when they were made. `min_value` and `max_value` (both included) are of
        |quantity| x current price."""
        where = [
            *equal(T, strategy_id=strategy_id, account_id=account_id, symbol=symbol),
            *within(T.c.created_at, start, end),
            *between(_EXPOSURE, min_value, max_value),
        ]
        if is_open is not None:
            where.append(_OPEN if is_open else T.c.closed_at.is_not(None))
        return self._find(*where, order=by_time(T.c.created_at, T.c.position_id, newest_first), limit=limit, offset=offset)

    def find_by_strategy(self, strategy_id: str) -> list[Position]:
        """A strategy's, open and closed."""
        return self._find(T.c.strategy_id == strategy_id)

    def find_by_account(self, account_id: str) -> list[Position]:
        """An account's, open and closed."""
        return self._find(T.c.account_id == account_id)

    def find_by_symbol(self, symbol: str) -> list[Position]:
        """An instrument's, open and closed."""
        return self._find(T.c.symbol == symbol)

    def find_open(
        self, strategy_id: str | None = None, account_id: str | None = None, symbol: str | None = None
    ) -> list[Position]:
        """Those that are open, of what is given."""
        return self._find(*equal(T, strategy_id=strategy_id, account_id=account_id, symbol=symbol), _OPEN)

    def find_by_instrument(self, strategy_id: str, symbol: str) -> Position | None:
        """A strategy's open position in an instrument, or None: of several the one that was made first."""
        oldest = by_time(T.c.created_at, T.c.position_id, newest_first=False)
        return next(iter(self._find(T.c.strategy_id == strategy_id, T.c.symbol == symbol, _OPEN, order=oldest, limit=1)), None)

    def find_to_fill(self, symbol: str, strategy_id: str | None, account_id: str | None) -> Position | None:
        """The open position that a fill belongs to: of just this strategy and account (None: of none), made first."""
        same = (T.c.strategy_id.is_not_distinct_from(strategy_id), T.c.account_id.is_not_distinct_from(account_id))
        oldest = by_time(T.c.created_at, T.c.position_id, newest_first=False)
        return next(iter(self._find(T.c.symbol == symbol, *same, _OPEN, order=oldest, limit=1)), None)

    # --- changes: read and written in one transaction -------------------------------------------------------------------

    def update_market_data(self, position_id: str, price: Number, at: datetime | None = None) -> Position:
        """Marks it at the market's price; as it is then. NotAllowed where it is closed, Missing."""
        return self.change(position_id, lambda position: position.mark(price, at))

    def mark_to_market(
        self,
        prices: Mapping[str, Number],
        strategy_id: str | None = None,
        account_id: str | None = None,
        at: datetime | None = None,
    ) -> list[Position]:
        """Marks all open ones, of what is given, whose symbol has a price: all or none. Those, as they are then."""
        with self._database.writing():
            found = [p for p in self.find_open(strategy_id, account_id) if p.symbol in prices]
            for position in found:
                position.mark(prices[position.symbol], at)
            self.save_many(found)
        return found

    def close(self, position_id: str, at: datetime | None = None) -> Position:
        """Closes it for good; as it is then. NotAllowed while anything is held, Missing."""
        return self.change(position_id, lambda position: position.close(at or self._database.now()))

    # --- sums, of those open, by the formulas of `Position` -------------------------------------------------------------

    def total_exposure(
        self, strategy_id: str | None = None, account_id: str | None = None, symbol: str | None = None
    ) -> Decimal:
        """The sum of |quantity| x current price. NotAllowed where one was never marked: its exposure is not known."""
        return exact.total(_known(p, p.exposure) for p in self.find_open(strategy_id, account_id, symbol))

    def total_unrealized_pnl(
        self, strategy_id: str | None = None, account_id: str | None = None, symbol: str | None = None
    ) -> Decimal:
        """The sum of (current - average price) x quantity. NotAllowed where one was never marked."""
        return exact.total(_known(p, p.unrealized_pnl) for p in self.find_open(strategy_id, account_id, symbol))

    def total_realized_pnl(
        self, strategy_id: str | None = None, account_id: str | None = None, symbol: str | None = None
    ) -> Decimal:
        """The sum of what was realised, by open and closed ones."""
        return exact.total(p.realized_pnl for p in self.find(strategy_id=strategy_id, account_id=account_id, symbol=symbol))


def _known(position: Position, value: Decimal | None) -> Decimal:
    if value is None:
        raise NotAllowed(f"{position.label} was never marked: its value isn't known; expected mark_to_market first")
    return value
