"""Which version a ledger's schema has, and which it would be brought to; without bringing it there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import BadValue
from sinks.ledger.database import Database
from sinks.ledger.migrate import migrations, newest, require_known, version


@dataclass(frozen=True, slots=True)
class Pending:
    """What a ledger's schema lacks."""

    where: str
    found: int  # the version that it has; 0 for none yet
    newest: int
    steps: tuple[str, ...]  # the migrations that are missing, by name


def pending(url: str) -> Pending:
    """What is to be done. StorageError for a schema that a newer Spillway made."""
    database = Database(url, read_only=True)
    try:
        found = _version(database)
        known = migrations(database.engine.name)
        require_known(found, known, database.where)
        steps = tuple(f"{step.version:04d}_{step.name}" for step in known if step.version > found)
        return Pending(database.where, found, newest(known), steps)
    finally:
        database.close()


@contextmanager
def to_read(url: str) -> Iterator[Database]:
    """A ledger that nothing is changed in, not even its schema. BadValue where there is none."""
    database = Database(url, read_only=True)
    try:
        if not _version(database):
            raise BadValue(f"{database.where}: there is no ledger")
        yield database
    finally:
        database.close()


@contextmanager
def to_write(url: str) -> Iterator[Database]:
    """A ledger, made and brought up to date where need be."""
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def _version(database: Database) -> int:
    if not database.engine.exists:
        return 0
    with database.reading() as connection:
        return version(connection)
