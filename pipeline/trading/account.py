"""An account: a name, a balance, and whether it may be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.balance import Balance
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity, checked_version
from pipeline.trading.moments import utc, utc_or_none
from pipeline.trading.names import checked_id, checked_name


class AccountType(Choice):
    """Whether the money is real."""

    PAPER = "paper"
    LIVE = "live"


MOVES = {
    "deactivate": frozenset({"active"}),
    "activate": frozenset({"inactive"}),
    "close": frozenset({"active", "inactive"}),
}


@dataclass(slots=True, kw_only=True)
class Account(Entity):
    """An account with money of several currencies. Closed for good once `closed_at` is set; that needs an empty balance."""

    ID: ClassVar[str] = "account_id"
    account_id: str
    name: str
    balance: Balance = field(default_factory=Balance)
    account_type: AccountType = AccountType.PAPER
    active: bool = True
    created_at: datetime | None = None
    updated_at: datetime | None = None
    closed_at: datetime | None = None
    version: int = 0

    def _check(self) -> None:
        self.account_id = checked_id(self.account_id, "account_id")
        self.name = checked_name(self.name, "name")
        if not isinstance(self.balance, Balance):
            raise BadValue(f"balance of type {type(self.balance).__name__}: expected a Balance")
        if type(self.account_type) is not AccountType:
            self.account_type = AccountType(self.account_type)
        if type(self.active) is not bool:
            raise BadValue(f"active {self.active!r}: expected True or False")
        self.created_at = utc_or_none(self.created_at, "created_at")
        self.updated_at = utc_or_none(self.updated_at, "updated_at")
        self.closed_at = utc_or_none(self.closed_at, "closed_at")
        self.version = checked_version(self.version)
        if self.closed_at is not None and (self.active or not self.balance.is_empty):
            raise BadValue("closed, yet active or with money in it: expected an inactive and empty account")

    @property
    def is_closed(self) -> bool:
        """Whether it was closed for good."""
        return self.closed_at is not None

    @property
    def state(self) -> str:
        """`active`, `inactive` or `closed`."""
        return "closed" if self.is_closed else "active" if self.active else "inactive"

    def deactivate(self, at: datetime | None = None) -> None:
        """It is not used for now; its money stays."""
        self._allow("deactivate", self.state, MOVES)
        self.updated_at, self.active = utc_or_none(at, "at"), False

    def activate(self, at: datetime | None = None) -> None:
        """It is used again."""
        self._allow("activate", self.state, MOVES)
        self.updated_at, self.active = utc_or_none(at, "at"), True

    def close(self, at: datetime) -> None:
        """It is closed for good; refused while there is money in it."""
        self._allow("close", self.state, MOVES)
        if not self.balance.is_empty:
            raise NotAllowed(f"{self.label} holds {self.balance}: it can't close; expected an empty balance")
        self.closed_at = self.updated_at = utc(at, "at")
        self.active = False
