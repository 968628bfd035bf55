"""Money: an exact amount of one currency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from pipeline.errors import BadValue, CurrencyMismatch
from pipeline.trading import exact
from pipeline.trading.exact import Number
from pipeline.trading.names import brief

_is_code = re.compile(r"[A-Z0-9]{1,20}", re.ASCII).fullmatch


class Currency(StrEnum):
    """A currency or coin by its code. The set is open: `Currency("PEPE")` is one too; iteration gives the common ones."""

    USD = "USD"
    EUR = "EUR"
    GBP = "GBP"
    JPY = "JPY"
    CHF = "CHF"
    AUD = "AUD"
    CAD = "CAD"
    BRL = "BRL"
    KRW = "KRW"
    TRY = "TRY"
    USDT = "USDT"
    USDC = "USDC"
    FDUSD = "FDUSD"
    DAI = "DAI"
    BTC = "BTC"
    ETH = "ETH"
    BNB = "BNB"
    SOL = "SOL"
    XRP = "XRP"
    ADA = "ADA"
    DOGE = "DOGE"
    AVAX = "AVAX"
    DOT = "DOT"
    LINK = "LINK"
    LTC = "LTC"
    TON = "TON"
    TRX = "TRX"

    @classmethod
    def _missing_(cls, value: object) -> Currency:
        if not isinstance(value, str) or not _is_code(value):
            raise BadValue(f"currency {brief(value)}: expected 1 to 20 capital letters and digits")
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        # The same member for the same code, from any thread; not among the names, so iteration doesn't change.
        known = cls._value2member_map_.setdefault(value, member)
        assert isinstance(known, cls)
        return known


@dataclass(frozen=True, slots=True, init=False)
class Money:
    """An exact amount of a currency, of either sign: `Money("100.5", Currency.USDT)`.

    A float stands for its shortest decimal text. Two of different currencies are equal never, and added, subtracted or
    compared not at all (CurrencyMismatch). BadValue where a result has more than 18 decimals or 38 digits.
    """

    amount: Decimal
    currency: Currency

    def __init__(self, amount: Number, currency: Currency | str) -> None:
        object.__setattr__(self, "amount", exact.number(amount, "amount"))
        object.__setattr__(self, "currency", currency if type(currency) is Currency else Currency(currency))

    @property
    def is_zero(self) -> bool:
        """Whether it is nothing."""
        return not self.amount

    @property
    def is_negative(self) -> bool:
        """Whether it is less than nothing."""
        return self.amount < exact.ZERO

    def __add__(self, other: Money) -> Money:
        return Money(exact.add(self.amount, self._same(other)), self.currency) if isinstance(other, Money) else NotImplemented

    def __sub__(self, other: Money) -> Money:
        return (
            Money(exact.subtract(self.amount, self._same(other)), self.currency) if isinstance(other, Money) else NotImplemented
        )

    def __mul__(self, factor: Number) -> Money:
        if isinstance(factor, Money):
            return NotImplemented  # money times money is none
        return Money(exact.multiply(self.amount, exact.number(factor, "factor")), self.currency)

    __rmul__ = __mul__

    def __neg__(self) -> Money:
        return Money(self.amount.copy_negate(), self.currency)

    def __abs__(self) -> Money:
        return Money(self.amount.copy_abs(), self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other) if isinstance(other, Money) else NotImplemented

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other) if isinstance(other, Money) else NotImplemented

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other) if isinstance(other, Money) else NotImplemented

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other) if isinstance(other, Money) else NotImplemented

    def __str__(self) -> str:
        return f"{exact.text(self.amount)} {self.currency}"

    def _same(self, other: Money) -> Decimal:
        """The other's amount, if that is of this currency."""
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self} and {other}: expected the same currency")
        return other.amount
