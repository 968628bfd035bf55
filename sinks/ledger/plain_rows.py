"""Rows as plain values, the same from each engine: what dumps, moves between ledgers and exports are made of.

Decimals are their shortest plain text, moments ISO text in UTC, JSON and enums their stored text: nothing is interpreted, so
nothing changes on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import Boolean, Column, Connection, Date, MetaData, Select, String, Table, select
from sqlalchemy.types import TypeEngine

from sinks.ledger.tables import METADATA
from sinks.ledger.trading_tables import BALANCES, CHANGES, DECISION_MINUTES
from sinks.ledger.types import Exact, Instant, Json, OneOf, instant_text, plain

Value: TypeAlias = str | int | bool | None
Values: TypeAlias = tuple[Value, ...]

AT_ONCE = 500  # rows
_GIVEN_BY_THE_DATABASE = {("gaps", "gap_id")}  # numbers of rows, which nothing points to


def _mirror(table: Table) -> Table:
    kept = [c for c in table.c if (table.name, c.name) not in _GIVEN_BY_THE_DATABASE]
    return Table(table.name, MetaData(), *(Column(c.name, _raw(c.type), primary_key=c.primary_key) for c in kept))


def _raw(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return String() if isinstance(kind, OneOf | Json) else kind


# Parents before those that point to them. `changes` is left out: it announces writes, and those of a restore are its own.
TABLES = tuple(_mirror(table) for table in METADATA.sorted_tables if table is not CHANGES)
BY_NAME = {str(table.name): table for table in TABLES}
# Rows that are a part of another one: by the column that says of which.
PARTS = {"accounts": BY_NAME[BALANCES.name], "decisions": BY_NAME[DECISION_MINUTES.name]}


def is_exact(column: Column[Any]) -> bool:
    """Whether it holds decimals."""
    return isinstance(column.type, Exact)


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
        yield [tuple(map(to_plain, row)) for row in rows]


def to_plain(value: Any) -> Value:
    """A value of a row as a plain one."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return instant_text(value)
    return value.isoformat() if isinstance(value, date) else value


def from_plain(table: Table, columns: Sequence[str], rows: Sequence[Values]) -> list[dict[str, Any]]:
    """Plain rows as what an insert takes. ValueError for what can't be of its column."""
    makers = [_MAKERS.get(type(table.c[name].type), _same) for name in columns]
    return [
        {name: None if value is None else make(value) for name, make, value in zip(columns, makers, row, strict=True)}
        for row in rows
    ]


def by_key(table: Table, rows: Sequence[Values]) -> Mapping[Values, Values]:
    """Rows by their keys."""
    names = names_of(table)
    if table.name == "gaps":
        return {_gap_key(dict(zip(names, row, strict=True))): row for row in rows}
    at = [names.index(column.name) for column in key_columns(table)]
    return {tuple(row[i] for i in at): row for row in rows}


def _gap_key(row: Mapping[str, Value]) -> Values:
    return row["venue"], row["symbol"], row["kind"], row["first_id"] if row["kind"] == "ids" else row["before_ns"]


def _decimal(value: Any) -> Decimal:
    number = Decimal(value) if isinstance(value, str) else None
    if number is None or not number.is_finite():
        raise ValueError(f"{value!r}: expected a decimal's text")
    return number


def _same(value: Any) -> Any:
    return value


_MAKERS: dict[type[Any], Any] = {Exact: _decimal, Instant: datetime.fromisoformat, Date: date.fromisoformat, Boolean: bool}
