"""All rows of a ledger in a form of no engine's: lines of JSON, packed with zstd. From one moment, to any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from sqlalchemy import Connection, Table, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.sql import func

from pipeline.errors import StorageError
from pipeline.trading.exact import add
from sinks import durable
from sinks.ledger.plain_rows import AT_ONCE, BY_NAME, TABLES, Values, is_exact, names_of, question, rows_of, to_insert
from sinks.ledger.types import plain

Batch = tuple[Table, Sequence[str], list[Values]]
Told = Callable[[str, int, int], None]


def untold(what: str, done: int, total: int) -> None:
    """For who wants to hear nothing of how far it is."""


@dataclass(slots=True)
class Content:
    """How much is in a ledger: rows by table, and the exact sum of each column of decimals."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BY_NAME, 0))
    totals: dict[str, Decimal] = field(default_factory=dict)

    def count(self, table: Table, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Takes rows in."""
        self.rows[str(table.name)] += len(rows)
        for at, name in enumerate(columns):
            if is_exact(table.c[name]):
                key = f"{table.name}.{name}"
                total = self.totals.get(key, Decimal(0))
                for row in rows:
                    total = add(total, Decimal(str(row[at] or 0)))
                self.totals[key] = total

    @property
    def sums(self) -> dict[str, str]:
        """The sums as text; none of what holds no rows."""
        return {key: plain(total) for key, total in self.totals.items()}


def batches(connection: Connection) -> Iterator[Batch]:
    """All rows of a ledger, parents before those that point to them."""
    for table in TABLES:
        for rows in rows_of(connection, question(table)):
            yield table, names_of(table), rows


def row_counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {str(t.name): int(connection.execute(select(func.count()).select_from(t)).scalar_one()) for t in TABLES}


def write(path: Path, found: Iterator[Batch], total: int, told: Told = untold) -> Content:
    """Writes rows to a file that exists and is empty; what they come to. It isn't durable yet."""
    content, encode, done, last = Content(), msgspec.json.encode, 0, None
    with durable.explained(path, "written"), zstandard.ZstdCompressor(level=6).stream_writer(open(path, "wb")) as packed:
        for table, columns, rows in found:
            if table is not last:
                packed.write(encode({"table": str(table.name), "columns": columns}) + b"\n")
                last = table
            packed.write(b"".join(encode(row) + b"\n" for row in rows))
            content.count(table, columns, rows)
            done += len(rows)
            told("rows", done, total)
    return content


def read(path: Path, size: int) -> Iterator[Batch]:
    """The rows of such a file, of which they are the first `size` bytes. StorageError for what can't be read."""
    table: Table | None = None
    columns: list[str] = []
    rows: list[Values] = []
    for line in _lines(path, size):
        value = msgspec.json.decode(line)
        if isinstance(value, dict):
            if rows and table is not None:
                yield table, columns, rows
            table, columns, rows = _table(path, value), value["columns"], []
        else:
            rows.append(tuple(value))
        if len(rows) >= AT_ONCE and table is not None:
            yield table, columns, rows
            rows = []
    if rows and table is not None:
        yield table, columns, rows


def put(connection: Connection, found: Iterator[Batch], total: int, told: Told = untold) -> Content:
    """Puts these rows in the place of all that the ledger holds, within the caller's transaction; what they come to.

    A row that was changed since they were saved gets a version above both, so that no program that still holds the later one
    writes over it unseen.
    """
    later = {table.name: _versions(connection, table) for table in _versioned()}
    for table in reversed(TABLES):
        connection.execute(table.delete())
    content, done = Content(), 0
    for table, columns, rows in found:
        connection.execute(insert(table), to_insert(columns, rows))
        content.count(table, columns, rows)
        done += len(rows)
        told("rows", done, total)
    for table in _versioned():
        step_over(connection, table, later[table.name])
    return content


def step_over(connection: Connection, table: Table, later: dict[str, int]) -> None:
    """Gives the rows that `later` knows in a later version one above that."""
    key = next(iter(table.primary_key))
    for id_, version in _versions(connection, table).items():
        if later.get(id_, 0) > version:
            connection.execute(sql_update(table).where(key == id_).values(version=later[id_] + 1))


def versions(connection: Connection) -> dict[str, dict[str, int]]:
    """How often each entity was stored, by table and key."""
    return {str(table.name): _versions(connection, table) for table in _versioned()}


def _versioned() -> list[Table]:
    return [table for table in TABLES if "version" in table.c]


def _versions(connection: Connection, table: Table) -> dict[str, int]:
    return {str(id_): int(v) for id_, v in connection.execute(select(next(iter(table.primary_key)), table.c.version))}


def _lines(path: Path, size: int) -> Iterator[bytes]:
    with durable.explained(path, "read"), open(path, "rb") as file:
        unpacker, rest, left = zstandard.ZstdDecompressor().decompressobj(), b"", size
        while left and (chunk := file.read(min(1 << 20, left))):
            left -= len(chunk)
            *lines, rest = (rest + unpacker.decompress(chunk)).split(b"\n")
            yield from lines
    if rest or not unpacker.eof:
        raise StorageError(f"{path}: ends within a row")


def _table(path: Path, told: dict[str, Any]) -> Table:
    table = BY_NAME.get(told.get("table", ""))
    if table is None or not set(told["columns"]) <= set(table.c.keys()):
        raise StorageError(f"{path}: holds {told.get('table')!r} in a form that this Spillway doesn't know")
    return table
