"""Whether a ledger's database is whole, and how much is in it: what each engine can tell of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.errors import StorageError
from sinks.ledger.database import Database
from sinks.ledger.dump import row_counts
from sinks.ledger.migrate import version
from sinks.ledger.plain_rows import TABLES
from sinks.ledger.postgresql import SCHEMA
from sinks.ledger.sqlite import SqliteEngine

_MOST = 10  # problems of one sort that are told
_INVALID = f"""
    SELECT 'constraint ' || conname || ' of ' || conrelid::regclass FROM pg_constraint
    WHERE connamespace = '{SCHEMA}'::regnamespace AND NOT convalidated
    UNION ALL
    SELECT 'index ' || indexrelid::regclass FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = '{SCHEMA}'::regnamespace AND NOT (indisvalid AND indisready)
"""
_SIZE = f"""
    SELECT sum(pg_total_relation_size(oid))::bigint, sum(greatest(relpages, 0))::bigint, current_setting('block_size')::int
    FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind IN ('r', 'i')
"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much is in a ledger. Sizes in bytes; what an engine doesn't tell is None."""

    rows: dict[str, int]  # by table
    schema_version: int
    size: int | None
    wal_size: int | None
    page_size: int
    page_count: int
    free_pages: int | None


def problems(database: Database) -> list[str]:
    """What is wrong with the database, a line each; none of a whole one."""
    try:
        with database.reading() as connection:
            found = _of_sqlite(connection) if database.engine.name == "sqlite" else _of_postgresql(connection)
            at = version(connection)
            if at != database.schema:
                found.append(f"its schema has version {at}, not {database.schema}")
            return found + _unreadable(connection)
    except StorageError as error:
        return [str(error)]


def statistics(database: Database) -> Statistics:
    """How much is in it."""
    with database.reading() as connection:
        rows, at = row_counts(connection), version(connection)
        if database.engine.name == "sqlite":
            page_size, count, free = (int(_pragma(connection, name)) for name in ("page_size", "page_count", "freelist_count"))
            return Statistics(rows, at, page_size * count, _wal_size(database), page_size, count, free)
        size, pages, block = connection.exec_driver_sql(_SIZE).one()
        return Statistics(rows, at, int(size), None, int(block), int(pages), None)


def _of_sqlite(connection: Connection) -> list[str]:
    found = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})")]
    broken: Sequence[tuple[str, int, str, int]] = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MOST)
    return [line for line in found if line != "ok"] + [
        f"{row[0]}, row {row[1]}: points to nothing in {row[2]}" for row in broken
    ]


def _of_postgresql(connection: Connection) -> list[str]:
    found = [f"{row[0]} is not valid" for row in connection.exec_driver_sql(_INVALID).fetchmany(_MOST)]
    return found + [line for table in TABLES for line in _dangling(connection, str(table.name))]


def _dangling(connection: Connection, name: str) -> list[str]:
    """Rows that point to nothing: where triggers were off, or a file was damaged."""
    asked = f"""
        SELECT a.attname, c.confrelid::regclass::text, f.attname FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
        WHERE c.contype = 'f' AND c.conrelid = '{SCHEMA}.{name}'::regclass
    """
    found = []
    for own, target, key in connection.exec_driver_sql(asked).all():
        lost = connection.exec_driver_sql(
            f"SELECT count(*) FROM {SCHEMA}.{name} r WHERE r.{own} IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM {target} t WHERE t.{key} = r.{own})"
        ).scalar_one()
        found += [f"{name}: {lost:,} rows whose {own} points to nothing in {target}"] if lost else []
    return found


def _unreadable(connection: Connection) -> list[str]:
    """Reads every row: a damaged page of PostgreSQL's shows only then."""
    if connection.dialect.name == "sqlite":
        return []  # its own check has read them
    for table in TABLES:
        connection.exec_driver_sql(f"SELECT count(r::text) FROM {SCHEMA}.{table.name} r").all()
    return []


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _wal_size(database: Database) -> int | None:
    assert isinstance(database.engine, SqliteEngine)
    try:
        return database.engine.path.with_name(database.engine.path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0
