"""A statement for SQLite that SQLAlchemy compiles once and the driver then runs by itself: for what happens thousands of times
a second. SQLAlchemy's way to a row takes five times as long as SQLite's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Insert, Select
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.types import TypeEngine

_DIALECT = SQLiteDialect_pysqlite(paramstyle="qmark")
_Process = Callable[[Any], Any] | None


class Question:
    """A select."""

    def __init__(self, select: Select[Any]) -> None:
        self._sql, self._binds = _compiled(select)
        processes = [_result(column.type) for column in select.selected_columns]
        self._results = [(at, process) for at, process in enumerate(processes) if process]

    def rows(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> list[Sequence[Any]]:
        """All rows, their values as the columns' types have them."""
        bound = [process(values[name]) if process else values[name] for name, process in self._binds]
        found: list[Sequence[Any]] = []
        for row in connection.execute(self._sql, bound).fetchall():
            typed = list(row)
            for at, process in self._results:
                typed[at] = process(row[at])
            found.append(typed)
        return found


class Addition:
    """An insert of many rows."""

    def __init__(self, insert: Insert, columns: Sequence[str]) -> None:
        self._sql, self._binds = _compiled(insert, list(columns))

    def add(self, connection: sqlite3.Connection, columns: Mapping[str, Sequence[Any]]) -> None:
        """Adds the rows of these columns. A value that stands many times in a row is converted once."""
        values = [_converted(columns[name], process) if process else columns[name] for name, process in self._binds]
        connection.executemany(self._sql, zip(*values, strict=True))


def _compiled(statement: Select[Any] | Insert, columns: list[str] | None = None) -> tuple[str, list[tuple[str, _Process]]]:
    compiled: Any = statement.compile(dialect=_DIALECT, column_keys=columns)
    return str(compiled), [(name, _bind(compiled.binds[name].type)) for name in compiled.positiontup]


def _bind(kind: TypeEngine[Any]) -> _Process:
    return kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)


def _result(kind: TypeEngine[Any]) -> _Process:
    return kind.dialect_impl(_DIALECT).result_processor(_DIALECT, None)


def _converted(values: Sequence[Any], process: Callable[[Any], Any]) -> list[Any]:
    converted: list[Any] = []
    last, made = object(), None
    for value in values:
        if value is not last:
            last, made = value, process(value)
        converted.append(made)
    return converted
