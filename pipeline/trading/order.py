"""An order: what was asked for, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading import exact
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity, checked_version
from pipeline.trading.exact import Number
from pipeline.trading.moments import utc_or_none
from pipeline.trading.names import checked_id, checked_name, checked_symbol, checked_text


class OrderSide(Choice):
    """Whether the order buys or sells."""

    BUY = "buy"
    SELL = "sell"


class OrderType(Choice):
    """At what price, and when, it may trade."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class OrderStatus(Choice):
    """How far it has come."""

    PENDING = "pending"  # made here, and not sent
    SUBMITTED = "submitted"  # sent
    ACCEPTED = "accepted"  # the venue has it
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class TimeInForce(Choice):
    """How long it stands: until cancelled, filled at once or not at all (in part, or whole), or for the day."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    DAY = "day"


_UNFILLED = frozenset({OrderStatus.PENDING, OrderStatus.SUBMITTED, OrderStatus.ACCEPTED})
ACTIVE = _UNFILLED | {OrderStatus.PARTIALLY_FILLED}
DONE = frozenset(OrderStatus) - ACTIVE

MOVES: dict[str, frozenset[str]] = {
    "submit": frozenset({OrderStatus.PENDING}),
    "accept": frozenset({OrderStatus.PENDING, OrderStatus.SUBMITTED}),
    "execute": ACTIVE,
    "cancel": ACTIVE,
    "reject": _UNFILLED,
    "expire": ACTIVE,
}

_NEEDS_PRICE = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_NEEDS_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


@dataclass(slots=True, kw_only=True)
class Order(Entity):
    """An order. Quantities in the base currency, prices and commission in the quote currency, all exact and unsigned
    (a commission may be negative: a rebate). `symbol` is what seed and venues also call the instrument.

    A limit needs a price, a stop a stop price, a stop limit both, and no order takes one that it doesn't need.
    """

    ID: ClassVar[str] = "order_id"
    order_id: str
    symbol: str
    side: OrderSide
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    account_id: str | None = None
    strategy_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    time_in_force: TimeInForce = TimeInForce.GTC
    filled_quantity: Decimal = exact.ZERO
    average_fill_price: Decimal | None = None
    commission: Decimal = exact.ZERO
    realized_pnl: Decimal | None = None
    exchange_order_id: str | None = None
    execution_venue: str | None = None
    error_message: str | None = None
    submitted_at: datetime | None = None
    accepted_at: datetime | None = None
    filled_at: datetime | None = None
    cancelled_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    def _check(self) -> None:
        self._check_names()
        self._check_choices()
        self._check_numbers()
        self._check_times()
        self._check_fill()

    def _check_names(self) -> None:
        self.order_id = checked_id(self.order_id, "order_id")
        checked_symbol(self.symbol)
        if self.account_id is not None:
            self.account_id = checked_id(self.account_id, "account_id")
        if self.strategy_id is not None:
            self.strategy_id = checked_id(self.strategy_id, "strategy_id")
        if self.exchange_order_id is not None:
            checked_name(self.exchange_order_id, "exchange_order_id")
        if self.execution_venue is not None:
            checked_name(self.execution_venue, "execution_venue")
        if self.error_message is not None:
            checked_text(self.error_message, "error_message")

    def _check_choices(self) -> None:
        if type(self.side) is not OrderSide:
            self.side = OrderSide(self.side)
        if type(self.order_type) is not OrderType:
            self.order_type = OrderType(self.order_type)
        if type(self.status) is not OrderStatus:
            self.status = OrderStatus(self.status)
        if type(self.time_in_force) is not TimeInForce:
            self.time_in_force = TimeInForce(self.time_in_force)

    def _check_numbers(self) -> None:
        self.quantity = exact.positive(self.quantity, "quantity")
        if self.price is not None:
            self.price = exact.positive(self.price, "price")
        if self.stop_price is not None:
            self.stop_price = exact.positive(self.stop_price, "stop_price")
        if (self.price is not None) is not (self.order_type in _NEEDS_PRICE):
            raise BadValue(_wanted(self.order_type, "price", self.price))
        if (self.stop_price is not None) is not (self.order_type in _NEEDS_STOP):
            raise BadValue(_wanted(self.order_type, "stop_price", self.stop_price))
        self.commission = exact.number(self.commission, "commission")
        if self.realized_pnl is not None:
            self.realized_pnl = exact.number(self.realized_pnl, "realized_pnl")
        self.version = checked_version(self.version)

    def _check_times(self) -> None:
        self.submitted_at = utc_or_none(self.submitted_at, "submitted_at")
        self.accepted_at = utc_or_none(self.accepted_at, "accepted_at")
        self.filled_at = utc_or_none(self.filled_at, "filled_at")
        self.cancelled_at = utc_or_none(self.cancelled_at, "cancelled_at")
        self.created_at = utc_or_none(self.created_at, "created_at")
        self.updated_at = utc_or_none(self.updated_at, "updated_at")

    def _check_fill(self) -> None:
        """What was filled, its price and the status must tell the same story."""
        self.filled_quantity = filled = exact.not_negative(self.filled_quantity, "filled_quantity")
        if self.average_fill_price is not None:
            self.average_fill_price = exact.positive(self.average_fill_price, "average_fill_price")
        if (self.average_fill_price is not None) is not bool(filled):
            raise BadValue("expected an average_fill_price if, and only if, something is filled")
        if not _tells(self.status, filled, self.quantity):
            shown = f"{exact.text(filled)} of {exact.text(self.quantity)}"
            raise BadValue(f"status {self.status} with {shown} filled: expected a status that fits what is filled")

    @property
    def remaining_quantity(self) -> Decimal:
        """What is not filled, whether or not it still may be."""
        return exact.subtract(self.quantity, self.filled_quantity)

    @property
    def filled_value(self) -> Decimal:
        """Filled quantity x average price, in the quote currency."""
        return exact.multiply(self.filled_quantity, self.average_fill_price or exact.ZERO)

    @property
    def is_active(self) -> bool:
        """Whether it may still be filled."""
        return self.status in ACTIVE

    @property
    def is_done(self) -> bool:
        """Whether nothing more can become of it."""
        return self.status not in ACTIVE

    def submit(self, at: datetime | None = None, exchange_order_id: str | None = None) -> None:
        """It was sent to the venue."""
        self._allow("submit", self.status, MOVES)
        self._sent(at, exchange_order_id)
        self.status, self.submitted_at = OrderStatus.SUBMITTED, self.updated_at

    def accept(self, at: datetime | None = None, exchange_order_id: str | None = None) -> None:
        """The venue has it."""
        self._allow("accept", self.status, MOVES)
        self._sent(at, exchange_order_id)
        self.status, self.accepted_at = OrderStatus.ACCEPTED, self.updated_at

    def execute(
        self, executed_price: Number, quantity: Number | None = None, commission: Number = 0, at: datetime | None = None
    ) -> None:
        """A fill of `quantity` (None: all that remains) at `executed_price`; `commission` adds up.

        The average price is (average x filled + price x quantity) / (filled + quantity), rounded half even at 18 decimals.
        More than what remains is refused (NotAllowed), as is any fill of an order that is done.
        """
        self._allow("execute", self.status, MOVES)
        price = exact.positive(executed_price, "executed_price")
        more = self.remaining_quantity if quantity is None else exact.positive(quantity, "quantity")
        if more > self.remaining_quantity:
            left = exact.text(self.remaining_quantity)
            raise NotAllowed(f"{self.label}: fill of {exact.text(more)}: expected at most {left}, which is what remains")
        filled = exact.add(self.filled_quantity, more)
        value = exact.add(self.filled_value, exact.multiply(price, more))
        paid = exact.number(exact.add(self.commission, exact.number(commission, "commission")), "commission")
        average, moment = exact.number(exact.divided(value, filled), "average_fill_price"), utc_or_none(at, "at")
        self._fill(filled, average, moment)
        self.commission = paid

    def fill_to(self, filled_quantity: Number, average_fill_price: Number, at: datetime | None = None) -> None:
        """What is filled in all, and at what average price, as the venue tells it; told once more it changes nothing.

        NotAllowed for less than is filled already, and for more than the quantity.
        """
        filled = exact.positive(filled_quantity, "filled_quantity")
        average = exact.positive(average_fill_price, "average_fill_price")
        if (filled, average) == (self.filled_quantity, self.average_fill_price):
            return
        self._allow("execute", self.status, MOVES)
        if not self.filled_quantity <= filled <= self.quantity:
            possible = f"{exact.text(self.filled_quantity)} to {exact.text(self.quantity)}"
            raise NotAllowed(f"{self.label}: {exact.text(filled)} filled in all: expected {possible}")
        self._fill(filled, average, utc_or_none(at, "at"))

    def cancel(self, at: datetime | None = None, reason: str | None = None) -> None:
        """What remains is taken back; what was filled stays filled. `reason` becomes the error message."""
        self._allow("cancel", self.status, MOVES)
        self._ended(OrderStatus.CANCELLED, at, reason)
        self.cancelled_at = self.updated_at

    def reject(self, reason: str, at: datetime | None = None) -> None:
        """The venue refuses it. `reason` becomes the error message."""
        self._allow("reject", self.status, MOVES)
        self._ended(OrderStatus.REJECTED, at, checked_text(reason, "reason"))

    def expire(self, at: datetime | None = None) -> None:
        """Its time is over; what was filled stays filled."""
        self._allow("expire", self.status, MOVES)
        self._ended(OrderStatus.EXPIRED, at, None)

    def add_realized_pnl(self, amount: Number) -> None:
        """Adds what a fill of it has realised, as `Position.fill` tells."""
        more = exact.number(amount, "realized_pnl")
        self.realized_pnl = exact.number(exact.add(self.realized_pnl or exact.ZERO, more), "realized_pnl")

    def _fill(self, filled: Decimal, average: Decimal, moment: datetime | None) -> None:
        self.filled_quantity, self.average_fill_price, self.updated_at = filled, average, moment
        self.status = OrderStatus.FILLED if filled == self.quantity else OrderStatus.PARTIALLY_FILLED
        if self.status is OrderStatus.FILLED:
            self.filled_at = moment

    def _sent(self, at: datetime | None, exchange_order_id: str | None) -> None:
        moment = utc_or_none(at, "at")
        if exchange_order_id is not None:
            self.exchange_order_id = checked_name(exchange_order_id, "exchange_order_id")
        self.updated_at = moment

    def _ended(self, status: OrderStatus, at: datetime | None, reason: str | None) -> None:
        moment = utc_or_none(at, "at")
        if reason is not None:
            self.error_message = checked_text(reason, "reason")
        self.status, self.updated_at = status, moment


def _tells(status: OrderStatus, filled: Decimal, quantity: Decimal) -> bool:
    """Whether an order of this status can have so much of its quantity filled."""
    if status is OrderStatus.FILLED:
        return filled == quantity
    if status in _UNFILLED or status is OrderStatus.REJECTED:
        return not filled
    if status is OrderStatus.PARTIALLY_FILLED and not filled:
        return False
    return filled < quantity


def _wanted(order_type: OrderType, what: str, price: Decimal | None) -> str:
    if price is None:
        return f"{order_type} order without {what}: expected one"
    return f"{order_type} order with {what} {exact.text(price)}: expected none"
