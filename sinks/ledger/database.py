"""A ledger's database: transactions for its repositories. What goes wrong in one leaves as StorageError or DiskFull.

Synchronous and thread-safe: writers take turns, readers go on beside them and see what was committed.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from pipeline.errors import BadValue, StorageError
from sinks.ledger.migrate import migrate, migrations, newest, require_known, version
from sinks.ledger.postgresql import PostgresEngine
from sinks.ledger.sqlite import SqliteEngine


class Database:
    """A database with our schema. Opened to write, it is made and brought up to date; opened to read, nothing is changed."""

    def __init__(self, url: str, *, read_only: bool = False, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._turn = threading.Lock()
        self._engine = _engine(url, read_only)
        self._known = migrations(self._engine.name)
        self.where = self._engine.where
        try:
            if not read_only:
                self._migrate(clock_ns())
        except BaseException:
            self._engine.close()
            raise

    def is_made(self) -> bool:
        """Whether there is anything to read. StorageError where another version of Spillway made it."""
        if not self._engine.exists:
            return False
        with self.reading() as connection:
            found = version(connection)
        require_known(found, self._known, self.where)
        if 0 < found < newest(self._known):
            raise StorageError(
                f"{self.where}: its schema has version {found}, and this Spillway reads version {newest(self._known)}: "
                "start `spillway run` once, it brings the schema up to date"
            )
        return found > 0

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, and then durable; rolled back whole on any error."""
        with self._turn, self._engine.exclusive(), self._explained(), self._engine.writer.begin() as connection:
            self._engine.start(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment's state."""
        with self._explained(), self._engine.reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Closes all connections."""
        with self._turn, self._explained():
            self._engine.close()

    def _migrate(self, now_ns: int) -> None:
        with self.writing() as connection:
            self._engine.make_schema(connection)
            migrate(connection, self._known, self.where, now_ns)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._engine.failure(error.orig or error) from error
        except SQLAlchemyError as error:
            raise StorageError(f"{self.where}: {str(error).splitlines()[0]}") from error
        except sqlite3.Error as error:
            raise self._engine.failure(error) from error


def _engine(url: str, read_only: bool) -> SqliteEngine | PostgresEngine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadValue("the ledger's URL: expected such as sqlite:///data/ledger.db or postgresql://user@host/db") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return SqliteEngine(Path(str(parsed.database)), read_only=read_only)
    if kind == "postgresql":
        return PostgresEngine(parsed)
    shown = parsed.render_as_string(hide_password=True)
    raise BadValue(f"the ledger's URL {shown}: expected a SQLite file or PostgreSQL, such as sqlite:///data/ledger.db")
