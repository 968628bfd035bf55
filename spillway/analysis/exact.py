"""Decimals that came as float64, as the integers that they stand for. No other module here compares floats.

A decimal of at most 15 digits is the shortest text of its nearest float, so it can be told exactly: 0.1 + 0.2 has no place
here, 0.3 has. Prices become whole ticks, sizes whole multiples of 10**-scale; sums of those are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadValue

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Number: TypeAlias = float | int | str | Decimal

LIMIT = 10.0**15  # 15 digits: a float64's shortest text gives them back
FINEST = 22  # 10**22 is the last power of ten that float64 holds exactly
ROOM = 2**62  # what is computed with stays below it
_SAMPLE = 1000


def scale_of(values: Floats, name: str) -> int:
    """The fewest decimals that show every value. BadValue where one has more than 15 digits, or is no number."""
    if not len(values):
        return 0
    if not np.isfinite(values).all():
        raise BadValue(f"{name}: row {int(np.argmin(np.isfinite(values)))} is no number")
    largest = float(np.abs(values).max())
    scale = 0
    for part in (values[:: max(1, len(values) // _SAMPLE)], values):  # a sample mostly tells, which spares whole passes
        while not _shown(part, scale):
            scale += 1
            if scale > FINEST or largest * 10.0**scale > LIMIT:
                raise BadValue(
                    f"{name}: {_odd_one(part, scale - 1)!r} has more digits than a float64 gives back: round it first"
                )
    return scale


def integers(values: Floats, scale: int, name: str) -> Integers:
    """Values as whole multiples of 10**-scale. BadValue where their sum may not fit in 64 bits, so that none of them wraps."""
    scaled = np.rint(values * 10.0**scale)
    if len(scaled) and (np.abs(scaled).max() > LIMIT or np.abs(scaled).sum() >= ROOM):
        raise BadValue(f"{name}: {scale} decimals on values this large can't be summed exactly")
    return scaled.astype(np.int64)


def floats(values: Integers, scale: int) -> Floats:
    """Whole multiples of 10**-scale as the floats nearest to them."""
    quotient: Floats = values / 10.0**scale
    return quotient


def decimal_of(value: Number, what: str) -> Decimal:
    """A user's number as the decimal that its text says. BadValue for what is none."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise BadValue(f"{what} {value!r}: expected a number")
    return number


def decimals_of(number: Decimal) -> int:
    """How many decimals a number needs."""
    return max(0, -int(number.normalize().as_tuple().exponent))


def ratio(part: Integers, whole: Integers) -> Floats:
    """Part by whole; of nothing it is no number."""
    quotient: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)
    return quotient


def fitting(values: Integers, times: int) -> Integers:
    """Non-negative values, or their ranks where `times` the largest would not fit in 64 bits: in the same order either way."""
    if not len(values) or int(values.max()) * times < ROOM:
        return values
    ranks: Integers = np.unique(values, return_inverse=True)[1]
    return ranks


@dataclass(frozen=True, slots=True)
class Share:
    """A percentage as an exact fraction, with which integers are multiplied without a float or an overflow."""

    top: int
    bottom: int

    @classmethod
    def of_percent(cls, percent: Number, *, least: int, most: int) -> Self:
        """From 70 or "68.27": at most four decimals. BadValue beyond `least` and `most`."""
        number = decimal_of(percent, "percent")
        if not least <= number <= most or decimals_of(number) > 4:
            raise BadValue(f"percent {percent!r}: expected {least} to {most}, with at most four decimals")
        fraction = Fraction(number) / 100
        return cls(fraction.numerator, fraction.denominator)

    def floor(self, values: Integers) -> Integers:
        """The largest integers not above this share of non-negative values; a share of at most 100 %."""
        return values // self.bottom * self.top + values % self.bottom * self.top // self.bottom

    def inverse(self) -> Share:
        """The share of which this one makes a whole."""
        return Share(self.bottom, self.top)


def _shown(values: Floats, scale: int) -> bool:
    factor = 10.0**scale
    return bool((np.rint(values * factor) / factor == values).all())


def _odd_one(values: Floats, scale: int) -> float:
    factor = 10.0**scale
    return float(values[int(np.argmin(np.rint(values * factor) / factor == values))])
