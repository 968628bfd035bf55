"""Column types that keep what the domain keeps: exact decimals, moments in UTC, enums, JSON. One for both engines.

SQLite has no decimals: there they are plain text, shortest form, and sums of them are taken by a function of ours
(`sinks/ledger/sqlite.py`). PostgreSQL has NUMERIC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Boolean, ColumnElement, DateTime, Dialect, Numeric, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine

from pipeline.errors import BadValue, StorageError
from pipeline.trading.moments import utc
from pipeline.trading.names import brief

E = TypeVar("E", bound=StrEnum)
Processor = Callable[[Any], Any]
_SQLITE = "sqlite"


class Exact(TypeDecorator[Decimal]):
    """An exact decimal."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String() if dialect.name == _SQLITE else Numeric(asdecimal=True)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name != _SQLITE else plain(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        try:
            return None if value is None else Decimal(value)
        except ArithmeticError:
            raise _is_none(value, "a decimal") from None


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond. On SQLite text that sorts as time does: 2024-10-23T14:30:00.000000Z."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String() if dialect.name == _SQLITE else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return instant_text(utc(value)) if dialect.name == _SQLITE else utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != _SQLITE:
            return None if value is None else value.astimezone(UTC)
        try:
            return utc(datetime.fromisoformat(value))
        except (ValueError, BadValue):
            raise _is_none(value, "a moment") from None


class OneOf(TypeDecorator[E]):
    """One of an enum's values. StorageError for a stored one that this version doesn't know."""

    impl = String
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum
        self._known: dict[str, E] = {str(member): member for member in enum}

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(self.enum(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        if value is None:
            return None
        try:
            return self._known.get(value) or self.enum(value)
        except (ValueError, BadValue):
            known = ", ".join(self._known)
            raise StorageError(f"{self.enum.__name__} {value!r} is stored, and this Spillway knows only {known}") from None


class Json(TypeDecorator[Any]):
    """A value that JSON holds, as text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        try:
            return None if value is None else msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise _is_none(value, "JSON") from None


class exact_sum(GenericFunction[Decimal]):
    """The exact sum of a column of decimals; None of no rows."""

    type = Exact()
    inherit_cache = True


@compiles(exact_sum, "postgresql")
def _sum_of_numerics(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


class exact_order(GenericFunction[Any]):
    """What a column of decimals is ordered and compared by."""

    inherit_cache = True


@compiles(exact_order, "postgresql")
def _order_of_numerics(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


class exact_product(GenericFunction[Decimal]):
    """The exact product of two columns of decimals."""

    type = Exact()
    inherit_cache = True


@compiles(exact_product, "postgresql")
def _product_of_numerics(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    one, other = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({one} * {other})"


class exact_magnitude(GenericFunction[Decimal]):
    """A decimal without its sign."""

    type = Exact()
    inherit_cache = True


@compiles(exact_magnitude, "postgresql")
def _magnitude_of_numeric(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"abs({compiler.process(element.clauses, **options)})"


@compiles(exact_magnitude, "sqlite")
def _magnitude_of_text(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"ltrim({compiler.process(element.clauses, **options)}, '-')"


class holds_text(GenericFunction[bool]):
    """Whether a JSON list of texts has one that is equal."""

    type = Boolean()
    inherit_cache = True


@compiles(holds_text, "postgresql")
def _json_holds_text(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    column, text = (compiler.process(clause, **options) for clause in element.clauses)
    return f"jsonb_exists(CAST({column} AS jsonb), CAST({text} AS text))"


@compiles(holds_text, "sqlite")
def _list_holds_text(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    column, text = (compiler.process(clause, **options) for clause in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE json_each.value = {text})"


def ordered(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column of decimals as `ORDER BY` and comparisons take it, on both engines."""
    return exact_order(column)


def plain(value: Decimal) -> str:
    """The shortest plain text of a decimal: no exponent, no zeros at the end of its decimals."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _is_none(value: object, what: str) -> StorageError:
    return StorageError(f"{brief(value)} is stored: expected {what}")


def instant_text(moment: datetime) -> str:
    """A moment as SQLite keeps it: of one length, so that texts sort as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
