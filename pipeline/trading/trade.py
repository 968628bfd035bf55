"""A trade of our own: one fill of one of our orders. (What the market trades is `pipeline.trade`.)"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from pipeline.trading import exact
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity
from pipeline.trading.moments import utc, utc_or_none
from pipeline.trading.money import Currency
from pipeline.trading.names import checked_id, checked_name, checked_symbol, checked_text


class TradeSide(Choice):
    """Whether we bought or sold."""

    BUY = "buy"
    SELL = "sell"


class Liquidity(Choice):
    """Whether our order stood in the book, or took from it."""

    MAKER = "maker"
    TAKER = "taker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade(Entity):
    """One fill of our own. Quantity in the base currency, price in the quote currency, both more than 0 and exact.

    The commission (negative: a rebate) is in the quote currency unless `commission_currency` says otherwise.
    """

    ID: ClassVar[str] = "trade_id"
    trade_id: str
    order_id: str
    symbol: str
    side: TradeSide
    quantity: Decimal
    price: Decimal
    strategy_id: str | None = None
    account_id: str | None = None
    commission: Decimal = exact.ZERO
    commission_currency: Currency | None = None
    realized_pnl: Decimal | None = None
    exchange_trade_id: str | None = None
    execution_venue: str | None = None
    liquidity: Liquidity | None = None
    executed_at: datetime
    notes: str | None = None
    created_at: datetime | None = None

    def _check(self) -> None:
        self._check_names()
        self._check_values()
        put = object.__setattr__
        put(self, "executed_at", utc(self.executed_at, "executed_at"))
        put(self, "created_at", utc_or_none(self.created_at, "created_at"))

    def _check_names(self) -> None:
        put = object.__setattr__
        put(self, "trade_id", checked_id(self.trade_id, "trade_id"))
        put(self, "order_id", checked_id(self.order_id, "order_id"))
        checked_symbol(self.symbol)
        if self.strategy_id is not None:
            put(self, "strategy_id", checked_id(self.strategy_id, "strategy_id"))
        if self.account_id is not None:
            put(self, "account_id", checked_id(self.account_id, "account_id"))
        if self.exchange_trade_id is not None:
            checked_name(self.exchange_trade_id, "exchange_trade_id")
        if self.execution_venue is not None:
            checked_name(self.execution_venue, "execution_venue")
        if self.notes is not None:
            checked_text(self.notes, "notes")

    def _check_values(self) -> None:
        put = object.__setattr__
        if type(self.side) is not TradeSide:
            put(self, "side", TradeSide(self.side))
        if self.liquidity is not None and type(self.liquidity) is not Liquidity:
            put(self, "liquidity", Liquidity(self.liquidity))
        put(self, "quantity", exact.positive(self.quantity, "quantity"))
        put(self, "price", exact.positive(self.price, "price"))
        put(self, "commission", exact.number(self.commission, "commission"))
        if self.commission_currency is not None and type(self.commission_currency) is not Currency:
            put(self, "commission_currency", Currency(self.commission_currency))
        if self.realized_pnl is not None:
            put(self, "realized_pnl", exact.number(self.realized_pnl, "realized_pnl"))

    @property
    def gross_value(self) -> Decimal:
        """Quantity x price, exact, in the quote currency."""
        return exact.multiply(self.quantity, self.price)

    @property
    def net_value(self) -> Decimal:
        """What it cost (a buy: gross + commission) or brought (a sell: gross - commission), all in the quote currency."""
        if self.side is TradeSide.BUY:
            return exact.add(self.gross_value, self.commission)
        return exact.subtract(self.gross_value, self.commission)
