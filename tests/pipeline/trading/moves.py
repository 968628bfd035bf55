"""What the tests of entities share: an entity's whole content, moves that must be refused, and numbers to try."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st

from pipeline.errors import SpillwayError

AT = datetime(2024, 10, 23, 14, 30, 15, 123456, tzinfo=UTC)
LATER = datetime(2024, 10, 24, tzinfo=UTC)
LAST_DECIMAL = Fraction(1, 10**18)

# What can be no number anywhere in the domain.
NO_NUMBERS: list[Any] = [
    float("nan"), float("inf"), float("-inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), "NaN", "inf", "", " 1",
    "1_000", "٣", "0x10", True, None, [], 1j, "0.0000000000000000001", Decimal("1E-19"), 10**38, "1e38", Decimal("1E+999999"),
    10**6000, "9" * 101, Decimal("1234567890123456789012345678901234567.89"),
]  # fmt: skip


def content(entity: Any) -> dict[str, Any]:
    """Every field, as a deep copy."""
    return {field.name: deepcopy(getattr(entity, field.name)) for field in fields(entity)}


def refused(error: type[SpillwayError], entity: Any, move: Callable[[], Any], *, says: str = ".") -> None:
    """`move` raises `error` in one line that holds `says`, and nothing of the entity was changed."""
    before = content(entity)
    with pytest.raises(error, match=says) as told:
        move()
    assert content(entity) == before
    assert "\n" not in str(told.value)


def seen(*values: Any) -> tuple[Any, ...]:
    """Values to be compared with a tuple: of decimals with plain numbers, and of enums with their texts."""
    return values


def decimals(least: str, most: str, places: int = 18) -> st.SearchStrategy[Decimal]:
    """Decimals between two texts."""
    return st.decimals(least, most, places=places, allow_nan=False, allow_infinity=False)


def half_even(value: Fraction) -> Fraction:
    """Rounded half even at 18 decimals, the slow way."""
    return Fraction(round(value * 10**18), 10**18)
