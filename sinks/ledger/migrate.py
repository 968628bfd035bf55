"""Numbered migrations, forward only: `migrations/<engine>/0001_name.sql`, applied and recorded in one transaction."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from sqlalchemy import Connection, inspect

from pipeline.errors import StorageError

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_RECORD = "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_ns BIGINT NOT NULL)"


@dataclass(frozen=True, slots=True, order=True)
class Migration:
    """One step of the schema, in one engine's SQL."""

    version: int
    name: str
    sql: str

    def statements(self) -> Iterator[str]:
        """Its statements, one by one: SQLite's driver takes no more at once."""
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement.strip()
                statement = ""
        if statement.strip():
            raise ValueError(f"migration {self.version}: its last statement has no end")


def migrations(engine: str) -> list[Migration]:
    """All that this version knows, in order. `engine`: sqlite or postgresql."""
    return sorted(
        Migration(int(name[1]), name[2], file.read_text("utf-8"))
        for file in (files("sinks.ledger") / "migrations" / engine).iterdir()
        if (name := _NAME.fullmatch(file.name))
    )


def version(connection: Connection) -> int:
    """The schema's version; 0 for one that was never made."""
    if not inspect(connection).has_table("schema_migrations"):
        return 0
    return int(connection.exec_driver_sql("SELECT coalesce(max(version), 0) FROM schema_migrations").scalar_one())


def newest(known: Sequence[Migration]) -> int:
    """The version that they lead to."""
    return max((step.version for step in known), default=0)


def require_known(found: int, known: Sequence[Migration], where: str) -> None:
    """StorageError for a schema that a newer Spillway made."""
    if found > newest(known):
        raise StorageError(
            f"{where}: its schema has version {found}, and this Spillway knows none above {newest(known)}: use a newer one"
        )


def migrate(connection: Connection, known: Sequence[Migration], where: str, now_ns: int) -> None:
    """Brings the schema up to date, within the caller's transaction, which must hold others off."""
    found = version(connection)
    require_known(found, known, where)
    direct = connection.execution_options(no_parameters=True)
    if not found:
        direct.exec_driver_sql(_RECORD)
    for step in known:
        if step.version > found:
            for statement in step.statements() if connection.dialect.name == "sqlite" else [step.sql]:
                direct.exec_driver_sql(statement)
            record = (
                f"INSERT INTO schema_migrations (version, name, applied_ns) VALUES ({step.version}, '{step.name}', {now_ns})"
            )
            direct.exec_driver_sql(record)
