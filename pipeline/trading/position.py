"""A position: how much of an instrument is held, at what average cost, and what it has earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading import exact
from pipeline.trading.entity import Entity, checked_version
from pipeline.trading.exact import Number
from pipeline.trading.moments import utc, utc_or_none
from pipeline.trading.names import checked_id, checked_symbol, checked_text
from pipeline.trading.trade import TradeSide

MOVES = {"fill": frozenset({"open"}), "mark": frozenset({"open"}), "close": frozenset({"open"})}


@dataclass(slots=True, kw_only=True)
class Position(Entity):
    """A position at average cost. `quantity` is signed: more than 0 is long, less is short; money is in the quote currency.

    - A fill that adds: average = (|quantity| x average + size x price) / (|quantity| + size), half even at 18 decimals.
    - A fill that reduces: the average stays, and (price - average) x size is realised, negated for a short.
    - A fill that crosses zero: all is realised, and what is left of the fill opens the other way at its price.
    - unrealized_pnl = (current - average) x quantity; total_pnl = realised + unrealised. Commission is in neither.
    """

    ID: ClassVar[str] = "position_id"
    position_id: str
    symbol: str
    strategy_id: str | None = None
    account_id: str | None = None
    quantity: Decimal = exact.ZERO
    average_entry_price: Decimal = exact.ZERO
    current_price: Decimal | None = None
    realized_pnl: Decimal = exact.ZERO
    commission: Decimal = exact.ZERO
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    notes: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    def _check(self) -> None:
        self._check_names()
        self._check_numbers()
        self.opened_at = utc_or_none(self.opened_at, "opened_at")
        self.closed_at = utc_or_none(self.closed_at, "closed_at")
        self.created_at = utc_or_none(self.created_at, "created_at")
        self.updated_at = utc_or_none(self.updated_at, "updated_at")
        self.version = checked_version(self.version)
        if self.closed_at is not None and self.quantity:
            raise BadValue(f"closed with a quantity of {exact.text(self.quantity)}: expected 0")

    def _check_names(self) -> None:
        self.position_id = checked_id(self.position_id, "position_id")
        checked_symbol(self.symbol)
        if self.strategy_id is not None:
            self.strategy_id = checked_id(self.strategy_id, "strategy_id")
        if self.account_id is not None:
            self.account_id = checked_id(self.account_id, "account_id")
        if self.notes is not None:
            checked_text(self.notes, "notes")

    def _check_numbers(self) -> None:
        self.quantity = exact.number(self.quantity, "quantity")
        self.average_entry_price = exact.not_negative(self.average_entry_price, "average_entry_price")
        if bool(self.quantity) is not bool(self.average_entry_price):
            raise BadValue("expected an average_entry_price if, and only if, the quantity isn't 0")
        if self.current_price is not None:
            self.current_price = exact.positive(self.current_price, "current_price")
        self.realized_pnl = exact.number(self.realized_pnl, "realized_pnl")
        self.commission = exact.number(self.commission, "commission")

    @property
    def is_open(self) -> bool:
        """Whether it was not closed; an open one may be flat for now."""
        return self.closed_at is None

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held."""
        return not self.quantity

    @property
    def cost_basis(self) -> Decimal:
        """|quantity| x average entry price."""
        return exact.multiply(self.quantity.copy_abs(), self.average_entry_price)

    @property
    def market_value(self) -> Decimal | None:
        """quantity x current price: negative for a short. 0 if flat, None if it was never marked."""
        return self._at_current(self.quantity)

    @property
    def exposure(self) -> Decimal | None:
        """|quantity| x current price. 0 if flat, None if it was never marked."""
        return self._at_current(self.quantity.copy_abs())

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """(current price - average entry price) x quantity. 0 if flat, None if it was never marked."""
        value = self.market_value
        return None if value is None else exact.subtract(value, exact.multiply(self.quantity, self.average_entry_price))

    @property
    def total_pnl(self) -> Decimal | None:
        """Realised + unrealised, commission not taken off; None if it holds something and was never marked."""
        unrealized = self.unrealized_pnl
        return None if unrealized is None else exact.add(self.realized_pnl, unrealized)

    def fill(
        self, side: TradeSide | str, quantity: Number, price: Number, commission: Number = 0, at: datetime | None = None
    ) -> Decimal:
        """Takes a fill in and returns the P&L that it realised, rounded half even at 18 decimals; commission adds up apart."""
        self._allow("fill", self.state, MOVES)
        size, paid = exact.positive(quantity, "quantity"), exact.positive(price, "price")
        signed = size if TradeSide(side) is TradeSide.BUY else size.copy_negate()
        held = exact.number(exact.add(self.quantity, signed), "quantity")
        realized = self._realized(signed, paid)
        average = exact.number(self._average(signed, paid, held), "average_entry_price")
        earned = exact.number(exact.add(self.realized_pnl, realized), "realized_pnl")
        cost = exact.number(exact.add(self.commission, exact.number(commission, "commission")), "commission")
        moment = utc_or_none(at, "at")
        self.quantity, self.average_entry_price, self.realized_pnl, self.commission = held, average, earned, cost
        self.opened_at = moment if self.opened_at is None else self.opened_at
        self.updated_at = moment
        return realized

    def mark(self, price: Number, at: datetime | None = None) -> None:
        """The market's price now."""
        self._allow("mark", self.state, MOVES)
        current = exact.positive(price, "price")
        self.updated_at = utc_or_none(at, "at")
        self.current_price = current

    def close(self, at: datetime) -> None:
        """It is done with, for good; refused while something is held."""
        self._allow("close", self.state, MOVES)
        if self.quantity:
            raise NotAllowed(f"{self.label} holds {exact.text(self.quantity)}: it can't close; expected a quantity of 0")
        self.closed_at = self.updated_at = utc(at, "at")

    @property
    def state(self) -> str:
        """`open` or `closed`."""
        return "open" if self.is_open else "closed"

    def _at_current(self, quantity: Decimal) -> Decimal | None:
        if not quantity:
            return exact.ZERO
        return None if self.current_price is None else exact.multiply(quantity, self.current_price)

    def _adds(self, signed: Decimal) -> bool:
        return not self.quantity or self.quantity.is_signed() is signed.is_signed()

    def _realized(self, signed: Decimal, price: Decimal) -> Decimal:
        if self._adds(signed):
            return exact.ZERO
        closing = min(self.quantity.copy_abs(), signed.copy_abs()).copy_sign(self.quantity)
        return exact.rounded(exact.multiply(exact.subtract(price, self.average_entry_price), closing))

    def _average(self, signed: Decimal, price: Decimal, held: Decimal) -> Decimal:
        if not held:
            return exact.ZERO
        if self._adds(signed):
            cost = exact.add(self.cost_basis, exact.multiply(signed.copy_abs(), price))
            return exact.divided(cost, held.copy_abs())
        return self.average_entry_price if held.is_signed() is self.quantity.is_signed() else price
