"""Functions that SQLite lacks: exact sums and products of decimal texts, and an order for them. PostgreSQL has NUMERIC."""

from __future__ import annotations

import sqlite3
from decimal import Context, Decimal

from sinks.ledger.types import plain

_EXACT = Context(prec=1000)
_COMPLEMENT = str.maketrans("0123456789", "9876543210")


class ExactSum:
    """`exact_sum`: adds up decimal texts; null of none."""

    def __init__(self) -> None:
        self._total = Decimal(0)
        self._any = False

    def step(self, text: str | None) -> None:
        """Takes one more."""
        if text is not None:
            self._any = True
            self._total = _EXACT.add(self._total, Decimal(text))

    def finalize(self) -> str | None:
        """The sum's text."""
        return plain(self._total) if self._any else None


def product(one: str | None, other: str | None) -> str | None:
    """`exact_product`: the text of the product of two decimal texts; null of a null."""
    if one is None or other is None:
        return None
    return plain(_EXACT.multiply(Decimal(one), Decimal(other)))


def sort_key(text: str | None) -> str | None:
    """`exact_order`: a text that sorts as the number of a decimal text does. Up to 999 digits before the point."""
    if text is None:
        return None
    whole, _, decimals = text.lstrip("-").partition(".")
    whole, decimals = whole.lstrip("0"), decimals.rstrip("0")
    if not whole and not decimals:
        return "1"
    key = f"{len(whole):03d}{whole}{decimals}"
    return f"0{key.translate(_COMPLEMENT)}~" if text.startswith("-") else f"1{key}"


def with_exact_functions(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, which knows them now."""
    connection.create_aggregate("exact_sum", 1, ExactSum)  # type: ignore[arg-type]
    connection.create_function("exact_order", 1, sort_key, deterministic=True)
    connection.create_function("exact_product", 2, product, deterministic=True)
    return connection
