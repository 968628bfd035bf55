"""A balance: what an account holds of each currency, free to use or locked by orders."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TypeAlias

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading import exact
from pipeline.trading.money import Currency, Money

BalanceRow: TypeAlias = tuple[Currency, Decimal, Decimal]  # currency, available, locked


class Balance:
    """Amounts available and locked, per currency; neither is ever below 0. Two of the same amounts are equal.

    A step that would take more than there is raises NotAllowed and changes nothing; a negative amount is a BadValue.
    """

    __slots__ = ("_available", "_locked")
    __hash__ = None  # type: ignore[assignment]  # it changes

    def __init__(self) -> None:
        self._available: dict[Currency, Decimal] = {}
        self._locked: dict[Currency, Decimal] = {}

    @classmethod
    def of(cls, rows: Iterable[BalanceRow]) -> Balance:
        """The balance of (currency, available, locked) rows, as `rows` gives them."""
        balance = cls()
        for currency, available, locked in rows:
            if currency in balance._available or currency in balance._locked:
                raise BadValue(f"balance: {currency} stands twice: expected one row a currency")
            _put(balance._available, Currency(currency), exact.not_negative(available, f"{currency} available"))
            _put(balance._locked, Currency(currency), exact.not_negative(locked, f"{currency} locked"))
        return balance

    def rows(self) -> list[BalanceRow]:
        """(currency, available, locked) of each currency that there is anything of, by code."""
        return [(c, self._available.get(c, exact.ZERO), self._locked.get(c, exact.ZERO)) for c in self.currencies()]

    def currencies(self) -> tuple[Currency, ...]:
        """The currencies that there is anything of, by code."""
        return tuple(sorted(self._available.keys() | self._locked.keys()))

    def available(self, currency: Currency | str) -> Money:
        """What is free to use."""
        known = Currency(currency)
        return Money(self._available.get(known, exact.ZERO), known)

    def locked(self, currency: Currency | str) -> Money:
        """What orders have locked."""
        known = Currency(currency)
        return Money(self._locked.get(known, exact.ZERO), known)

    def total(self, currency: Currency | str) -> Money:
        """Available and locked together."""
        return self.available(currency) + self.locked(currency)

    def has(self, money: Money) -> bool:
        """Whether so much is available."""
        return self._available.get(money.currency, exact.ZERO) >= money.amount

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of any currency."""
        return not (self._available or self._locked)

    def add_available(self, money: Money) -> None:
        """Money comes in."""
        grown = _grown(self._available, money)
        _put(self._available, money.currency, grown)

    def remove_available(self, money: Money) -> None:
        """Money goes out."""
        left = _left(self._available, money, "available")
        _put(self._available, money.currency, left)

    def lock(self, money: Money) -> None:
        """What was available is set aside, for an order."""
        left, grown = _left(self._available, money, "available"), _grown(self._locked, money)
        _put(self._available, money.currency, left)
        _put(self._locked, money.currency, grown)

    def unlock(self, money: Money) -> None:
        """What was set aside is available again."""
        left, grown = _left(self._locked, money, "locked"), _grown(self._available, money)
        _put(self._locked, money.currency, left)
        _put(self._available, money.currency, grown)

    def spend_locked(self, money: Money) -> None:
        """What was set aside goes out."""
        left = _left(self._locked, money, "locked")
        _put(self._locked, money.currency, left)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Balance):
            return NotImplemented
        return self._available == other._available and self._locked == other._locked

    def __str__(self) -> str:
        return ", ".join(_shown(*row) for row in self.rows()) or "empty"

    def __repr__(self) -> str:
        return f"Balance({self})"


def _put(amounts: dict[Currency, Decimal], currency: Currency, amount: Decimal) -> None:
    """Sets an amount; 0 is no entry, so that equal balances have equal entries."""
    if amount:
        amounts[currency] = amount
    else:
        amounts.pop(currency, None)


def _asked(money: Money) -> Decimal:
    if money.is_negative:
        raise BadValue(f"balance: {money}: expected 0 or more")
    return money.amount


def _grown(amounts: dict[Currency, Decimal], money: Money) -> Decimal:
    return exact.number(exact.add(amounts.get(money.currency, exact.ZERO), _asked(money)), f"balance of {money.currency}")


def _left(amounts: dict[Currency, Decimal], money: Money, which: str) -> Decimal:
    there = amounts.get(money.currency, exact.ZERO)
    left = exact.subtract(there, _asked(money))
    if left < exact.ZERO:
        raise NotAllowed(f"balance: insufficient: {Money(there, money.currency)} {which}, {money} asked for")
    return exact.number(left, f"balance of {money.currency}")


def _shown(currency: Currency, available: Decimal, locked: Decimal) -> str:
    plain = str(Money(available, currency))
    return f"{plain} (and {exact.text(locked)} locked)" if locked else plain
