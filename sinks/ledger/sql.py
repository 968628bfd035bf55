"""Free SQL on a ledger: connections and cursors as Python's database modules have them, the same on both engines.

Values stand for `?`, and never become a part of the statement. Transactions begin and end with the block that a connection is
had in; what would end or begin one within it is refused, for other threads may share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self, SupportsIndex

from sqlalchemy import Connection, CursorResult

from pipeline.errors import BadValue
from sinks.ledger.types import instant_text, plain

_NOT_HERE = ("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ATTACH", "DETACH", "VACUUM", "START", "ABORT")
_LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_PARTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\?|%", re.DOTALL)


class Row(tuple[Any, ...]):
    """A row, of which a value is told by its place or its column's name."""

    _names: Sequence[str]

    @classmethod
    def of(cls, values: Iterable[Any], names: Sequence[str]) -> Self:
        """A row with its columns' names."""
        row = cls(values)
        row._names = names
        return row

    def keys(self) -> list[str]:
        """The columns' names."""
        return list(self._names)

    def __getitem__(self, at: SupportsIndex | slice | str) -> Any:
        if not isinstance(at, str):
            return super().__getitem__(at)
        try:
            return super().__getitem__(self._names.index(at))
        except ValueError:
            raise KeyError(at) from None


class SqlCursor:
    """Runs statements, and gives what they found."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._result: CursorResult[Any] | None = None
        self._names: list[str] = []
        self.rowcount = -1  # rows that the last statement changed

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Self:
        """Runs a statement; each `?` in it stands for one of `params`. BadValue, and what the ledger's writes raise."""
        return self._took(self._connection.exec_driver_sql(self._checked(sql), self._values(params)))

    def executemany(self, sql: str, params: Iterable[Sequence[Any]]) -> Self:
        """Runs a statement for each of these."""
        rows = [self._values(row) for row in params]
        if not rows:
            self.rowcount = 0
            return self
        return self._took(self._connection.exec_driver_sql(self._checked(sql), rows))

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        row = self._found().fetchone()
        return None if row is None else Row.of(row, self._names)

    def fetchmany(self, size: int = 1) -> list[Row]:
        """The next rows."""
        return [Row.of(row, self._names) for row in self._found().fetchmany(size)]

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return [Row.of(row, self._names) for row in self._found()]

    def __iter__(self) -> Iterator[Row]:
        return (Row.of(row, self._names) for row in self._found())

    @property
    def description(self) -> list[tuple[str, None, None, None, None, None, None]] | None:
        """The columns that were found, by their names."""
        return [(name, None, None, None, None, None, None) for name in self._names] or None

    def close(self) -> None:
        """Lets go of what wasn't fetched."""
        if self._result is not None:
            self._result.close()

    def _took(self, result: CursorResult[Any]) -> Self:
        self._result, self.rowcount = result, result.rowcount
        self._names = list(result.keys()) if result.returns_rows else []
        return self

    def _found(self) -> CursorResult[Any]:
        if self._result is None or not self._names:
            raise BadValue("nothing to fetch: expected a query before")
        return self._result

    def _checked(self, sql: str) -> str:
        words = sql[_LEADING.match(sql).end() :].split(None, 1)  # type: ignore[union-attr]  # it matches nothing, too
        if not words or words[0].upper().rstrip(";") in _NOT_HERE:
            raise BadValue(f"SQL {sql.strip()[:40]!r}: expected a statement within the block's transaction")
        return sql if self._on_sqlite else _with_percents(sql)

    def _values(self, params: Sequence[Any]) -> tuple[Any, ...]:
        if isinstance(params, str) or not isinstance(params, Sequence):
            raise BadValue(f"parameters of type {type(params).__name__}: expected a tuple or a list")
        return tuple(map(_for_sqlite, params)) if self._on_sqlite else tuple(params)

    @property
    def _on_sqlite(self) -> bool:
        return self._connection.dialect.name == "sqlite"


class SqlConnection:
    """A connection to a ledger, as long as its block lasts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> SqlCursor:
        """A new cursor."""
        return SqlCursor(self._connection)

    def execute(self, sql: str, params: Sequence[Any] = ()) -> SqlCursor:
        """Runs a statement on a cursor of its own."""
        return self.cursor().execute(sql, params)

    def executemany(self, sql: str, params: Iterable[Sequence[Any]]) -> SqlCursor:
        """The same for each of these."""
        return self.cursor().executemany(sql, params)


def _with_percents(sql: str) -> str:
    """`?` as psycopg writes it: `%s`. Not within texts, names and comments."""
    return _PARTS.sub(lambda part: "%s" if part[0] == "?" else part[0].replace("%", "%%"), sql)


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadValue(f"{value.isoformat()}: expected a time with its zone")
        return instant_text(value)
    return value.isoformat() if isinstance(value, date) else value
