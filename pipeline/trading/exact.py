"""Exact numbers of the trading domain: what is taken as one, and arithmetic that never rounds unseen.

Every operation runs under a context of ours: what a program sets with `decimal.setcontext` changes nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_05UP, Context, Decimal, DecimalException, DivisionByZero, Inexact, InvalidOperation, Overflow, Rounded
from functools import reduce
from numbers import Integral
from typing import TypeAlias

from pipeline.errors import BadValue

Number: TypeAlias = Decimal | int | str | float

MAX_DECIMALS = 18
MAX_DIGITS = 38
ZERO = Decimal(0)

_LONGEST_TEXT = 100
_TEXT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_EXPECTED = f"expected a number of at most {MAX_DECIMALS} decimals and {MAX_DIGITS} digits"
_STEP = Decimal(1).scaleb(-MAX_DECIMALS)

# Wide enough for the product of any two numbers, and for sums of such products; what would round raises.
EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
# Rounding to 05UP first, a later rounding to fewer digits gives what one rounding of the exact quotient would have given.
_QUOTIENT = Context(prec=200, rounding=ROUND_05UP, traps=[InvalidOperation, DivisionByZero, Overflow])
_WIDE = Context(prec=400, traps=[InvalidOperation, DivisionByZero, Overflow])

_TRAPS = [Inexact, Rounded, InvalidOperation, Overflow]
# A number of at most 19 digits and 18 decimals is representable here, and any other raises. One operation checks it all, as
# construction from the store has no time for more; hardly a number is longer.
_is_short = Context(prec=MAX_DECIMALS + 1, Emin=0, Emax=MAX_DIGITS - 1, traps=_TRAPS).plus
# The same up to 38 digits, for numbers moved down by 19.
_moved = Context(prec=MAX_DIGITS, Emin=0, Emax=MAX_DECIMALS, traps=_TRAPS).scaleb
_DOWN = Decimal(MAX_DECIMALS - MAX_DIGITS + 1)

add = EXACT.add
subtract = EXACT.subtract
multiply = EXACT.multiply


def number(value: Number, what: str = "number") -> Decimal:
    """The exact decimal that `value` stands for; a float stands for its shortest decimal text, so 0.1 is 0.1.

    BadValue for NaN, infinity, a bool, what is no number, more than 18 decimals, more than 38 digits.
    """
    exact = value if type(value) is Decimal else _decimal(value, what)
    if not exact.is_finite():
        raise BadValue(f"{what} {exact}: {_EXPECTED}")
    if not exact:
        return ZERO  # there is no minus zero here
    try:
        _is_short(exact)
    except DecimalException:
        return _long(exact, what)
    return exact


def positive(value: Number, what: str) -> Decimal:
    """A number that is more than 0."""
    exact = number(value, what)
    if exact <= ZERO:
        raise BadValue(f"{what} {text(exact)}: expected more than 0")
    return exact


def not_negative(value: Number, what: str) -> Decimal:
    """A number that is 0 or more."""
    exact = number(value, what)
    if exact < ZERO:
        raise BadValue(f"{what} {text(exact)}: expected 0 or more")
    return exact


def ratio(value: Number, what: str) -> Decimal:
    """A computed ratio, such as a Sharpe ratio: a float with more than 18 decimals is rounded half even to 18."""
    if isinstance(value, float):
        return number(rounded(_decimal(value, what)), what)
    return number(value, what)


def total(values: Iterable[Decimal]) -> Decimal:
    """The exact sum; 0 of none."""
    return reduce(add, values, ZERO)


def divided(dividend: Decimal, divisor: Decimal) -> Decimal:
    """The quotient, rounded half even at 18 decimals."""
    return rounded(_QUOTIENT.divide(dividend, divisor))


def rounded(value: Decimal) -> Decimal:
    """The number rounded half even at 18 decimals; unchanged if it has no more."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -MAX_DECIMALS:
        return value
    return _WIDE.normalize(_WIDE.quantize(value, _STEP)) or ZERO


def text(value: Decimal) -> str:
    """The shortest plain decimal text: 100.5, 0.00000001, 1000000."""
    plain = format(value, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def _long(value: Decimal, what: str) -> Decimal:
    """A number of more digits than most; if only zeros at its end are too many, without those."""
    if _fits(value):
        return value
    shortest = _WIDE.normalize(value) if len(value.as_tuple().digits) <= _WIDE.prec else value
    if not _fits(shortest):
        raise BadValue(f"{what} {_brief(value)}: {_EXPECTED}")
    return shortest


def _fits(value: Decimal) -> bool:
    try:
        _moved(value, _DOWN)
    except DecimalException:
        return False
    return True


def _decimal(value: object, what: str) -> Decimal:
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and _TEXT.fullmatch(value):
        return Decimal(value)
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, float):  # numpy's float64 is one, and its own repr is no number
        return Decimal(float.__repr__(value))
    if isinstance(value, Integral) and not isinstance(value, bool):
        return _whole(int(value), what)
    raise BadValue(f"{what} {_brief(value)}: {_EXPECTED}")


def _whole(value: int, what: str) -> Decimal:
    if abs(value) >= 10**MAX_DIGITS:
        raise BadValue(f"{what} of {value.bit_length()} bits: {_EXPECTED}")
    return Decimal(value)


def _brief(value: object) -> str:
    shown = str(value) if isinstance(value, Decimal) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
