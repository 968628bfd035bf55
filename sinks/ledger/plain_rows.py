"""Rows as plain values, the same from each engine: what dumps, moves between ledgers and exports are made of.

Decimals are their shortest plain text, moments ISO text in UTC, JSON and enums their stored text: nothing is interpreted, so
nothing changes on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import Column, Connection, Date, Dialect, MetaData, Select, String, Table, select
from sqlalchemy.types import TypeDecorator, TypeEngine

from sinks.ledger.tables import METADATA
from sinks.ledger.trading_tables import BALANCES, CHANGES, DECISION_MINUTES
from sinks.ledger.types import Exact, Instant, Json, OneOf, instant_text, plain

Value: TypeAlias = str | int | bool | None
Values: TypeAlias = tuple[Value, ...]

AT_ONCE = 2000  # rows
_GIVEN_BY_THE_DATABASE = {("gaps", "gap_id")}  # numbers of rows, which nothing points to


def _mirror(table: Table) -> Table:
    kept = [c for c in table.c if (table.name, c.name) not in _GIVEN_BY_THE_DATABASE]
    return Table(table.name, MetaData(), *(Column(c.name, _raw(c.type), primary_key=c.primary_key) for c in kept))


def _raw(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(kind, Exact | Instant | Date):
        return Plain(type(kind))
    return String() if isinstance(kind, OneOf | Json) else kind


class Plain(TypeDecorator[str]):
    """What SQLite keeps as text, as that text on PostgreSQL too: a decimal, a moment or a date."""

    impl = String
    cache_ok = True

    def __init__(self, of: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return String()
        of = self.of()
        return of.load_dialect_impl(dialect) if isinstance(of, TypeDecorator) else of

    def bind_processor(self, dialect: Dialect) -> Any:
        if dialect.name == "sqlite":
            return None
        make = _MAKERS[self.of]
        return lambda text: None if text is None else make(text)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        if dialect.name == "sqlite":
            return _shortest if self.of is Exact else None
        return _text


# Parents before those that point to them. `changes` is left out: it announces writes, and those of a restore are its own.
TABLES = tuple(_mirror(table) for table in METADATA.sorted_tables if table is not CHANGES)
BY_NAME = {str(table.name): table for table in TABLES}
# Rows that are a part of another one: by the column that says of which.
PARTS = {"accounts": BY_NAME[BALANCES.name], "decisions": BY_NAME[DECISION_MINUTES.name]}


def is_exact(column: Column[Any]) -> bool:
    """Whether it holds decimals."""
    return is_of(column, Exact)


def is_of(column: Column[Any], kind: type[TypeEngine[Any]]) -> bool:
    """Whether its text stands for such a value."""
    return isinstance(column.type, Plain) and column.type.of is kind


def names_of(table: Table) -> list[str]:
    """Its columns' names, in order."""
    return list(map(str, table.c.keys()))


def question(table: Table) -> Select[Any]:
    """All rows of a table, in the order of their keys."""
    return select(table).order_by(*(key_columns(table)))


def key_columns(table: Table) -> list[Column[Any]]:
    """What tells a row from others. A gap's is what its unique indexes are made of."""
    if table.name == "gaps":
        return [table.c[name] for name in ("venue", "symbol", "kind", "first_id", "before_ns")]
    return list(table.primary_key)


def rows_of(connection: Connection, asked: Select[Any]) -> Iterator[list[Values]]:
    """The answer, some rows at a time."""
    found = connection.execute(asked, execution_options={"stream_results": True, "yield_per": AT_ONCE})
    for rows in found.partitions():
        yield [tuple(row) for row in rows]


def to_insert(columns: Sequence[str], rows: Sequence[Values]) -> list[dict[str, Value]]:
    """Plain rows as an insert takes them."""
    return [dict(zip(columns, row, strict=True)) for row in rows]


def by_key(table: Table, rows: Sequence[Values]) -> Mapping[Values, Values]:
    """Rows by their keys."""
    names = names_of(table)
    if table.name == "gaps":
        return {_gap_key(dict(zip(names, row, strict=True))): row for row in rows}
    at = [names.index(column.name) for column in key_columns(table)]
    return {tuple(row[i] for i in at): row for row in rows}


def _gap_key(row: Mapping[str, Value]) -> Values:
    return row["venue"], row["symbol"], row["kind"], row["first_id"] if row["kind"] == "ids" else row["before_ns"]


def _shortest(text: str | None) -> str | None:
    """A decimal's text as ours are, also where another program wrote it."""
    return text if text is None or _is_shortest(text) else plain(Decimal(text))


def _text(value: Decimal | datetime | date | None) -> str | None:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return instant_text(value)
    return None if value is None else value.isoformat()


_is_shortest = re.compile(r"0|-?[1-9]\d*|-?(?:0|[1-9]\d*)\.\d*[1-9]", re.ASCII).fullmatch
_MAKERS: dict[type[Any], Any] = {Exact: Decimal, Instant: datetime.fromisoformat, Date: date.fromisoformat}
