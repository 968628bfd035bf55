"""A transaction: one change of an account's money, for ever as it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from pipeline.errors import BadValue
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity
from pipeline.trading.moments import utc_or_none
from pipeline.trading.money import Money
from pipeline.trading.names import checked_id, checked_text, new_id


class TransactionType(Choice):
    """What changed the money."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    BUY = "buy"
    SELL = "sell"
    FEE = "fee"
    FUNDING = "funding"
    INTEREST = "interest"
    REBATE = "rebate"
    TRANSFER_IN = "transfer_in"
    TRANSFER_OUT = "transfer_out"
    REALIZED_PNL = "realized_pnl"
    ADJUSTMENT = "adjustment"
    TRADE = "trade"  # the base currency of a spot fill: what a buy brings and a sell takes

    @property
    def sign(self) -> int:
        """+1 where it adds to the account, -1 where it takes from it, 0 where the amount's own sign says."""
        return _SIGNS[self]


_SIGNS = {
    TransactionType.DEPOSIT: 1,
    TransactionType.WITHDRAWAL: -1,
    TransactionType.BUY: -1,
    TransactionType.SELL: 1,
    TransactionType.FEE: -1,
    TransactionType.FUNDING: 0,
    TransactionType.INTEREST: 1,
    TransactionType.REBATE: 1,
    TransactionType.TRANSFER_IN: 1,
    TransactionType.TRANSFER_OUT: -1,
    TransactionType.REALIZED_PNL: 0,
    TransactionType.ADJUSTMENT: 0,
    TransactionType.TRADE: 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction(Entity):
    """One change of an account's money. The amount is more than 0 where the type says which way it goes.

    `reference` is the id of the order or trade that it belongs to. The account is told when it is saved.
    """

    ID: ClassVar[str] = "transaction_id"
    transaction_type: TransactionType
    amount: Money
    description: str = ""
    transaction_id: str = field(default_factory=new_id)
    account_id: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    created_at: datetime | None = None

    def _check(self) -> None:
        put = object.__setattr__
        put(self, "transaction_id", checked_id(self.transaction_id, "transaction_id"))
        if type(self.transaction_type) is not TransactionType:
            put(self, "transaction_type", TransactionType(self.transaction_type))
        if type(self.amount) is not Money:
            raise BadValue(f"amount {self.amount!r}: expected Money")
        if _SIGNS[self.transaction_type] and self.amount.amount <= 0:
            raise BadValue(f"{self.transaction_type} of {self.amount}: expected more than 0")
        if self.description != "":
            checked_text(self.description, "description")
        if self.account_id is not None:
            put(self, "account_id", checked_id(self.account_id, "account_id"))
        if self.reference is not None:
            put(self, "reference", checked_id(self.reference, "reference"))
        put(self, "occurred_at", utc_or_none(self.occurred_at, "occurred_at"))
        put(self, "created_at", utc_or_none(self.created_at, "created_at"))

    def effect(self) -> Money:
        """What it adds to the account; negative where it takes from it."""
        return -self.amount if self.transaction_type.sign < 0 else self.amount
