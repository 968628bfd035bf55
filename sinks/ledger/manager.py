"""`DatabaseManager`: a ledger's database by itself, for programs that ask it in SQL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import BadValue, NotAllowed, StorageError
from pipeline.trading.moments import utc
from sinks.ledger import backups, integrity
from sinks.ledger.database import Database
from sinks.ledger.integrity import Statistics
from sinks.ledger.ledger import Ledger
from sinks.ledger.sql import Row, SqlConnection
from sinks.ledger.trading_tables import CHANGES

WAIT_S = 30.0  # for a connection, when all are taken


class DatabaseManager:
    """A SQLite file or a database by URL, with up to `max_connections` that read at once; writers take turns. Thread-safe.

    `initialize` it first; close it, or use it in a `with` block, which does both. Errors are StorageError, AlreadyExists,
    Missing and BadValue; NotAllowed before it is initialised.
    """

    def __init__(self, db_path_or_url: str | Path, max_connections: int = 5) -> None:
        if type(max_connections) is not int or max_connections < 1:
            raise BadValue(f"max_connections {max_connections!r}: expected a whole number, 1 or more")
        given = str(db_path_or_url)
        self.url = given if "://" in given else f"sqlite:///{given}"
        self.max_connections = max_connections
        self._free = threading.BoundedSemaphore(max_connections)
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None
        self._opened: Database | None = None

    def initialize(self) -> None:
        """Opens the database; makes its schema, or brings it up to date. Once more does nothing."""
        with self._opening:
            if self._opened is None:
                self._opened = Database(self.url)
                self._ledger = Ledger(self._opened)

    @property
    def ledger(self) -> Ledger:
        """The repositories of this database."""
        if self._ledger is None:
            raise NotAllowed(self._unopened())
        return self._ledger

    # --- SQL ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def get_connection(self) -> Iterator[SqlConnection]:
        """A connection to read with: all that it reads in the block is of one moment."""
        database = self._database
        if not self._free.acquire(timeout=WAIT_S):
            raise StorageError(f"{database.where}: all {self.max_connections} connections are taken for more than {WAIT_S:g} s")
        try:
            with database.reading() as connection:
                yield SqlConnection(connection)
        finally:
            self._free.release()

    @contextmanager
    def transaction(self) -> Iterator[SqlConnection]:
        """A connection to write with: committed at the end of the block, and then durable; rolled back whole on any error."""
        with self._database.writing() as connection:
            yield SqlConnection(connection)

    def execute_query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query; each `?` in it stands for one of `params`."""
        with self.get_connection() as connection:
            return connection.execute(sql, params).fetchall()

    def execute_update(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Runs a statement that writes, in a transaction of its own; how many rows it changed."""
        with self.transaction() as connection:
            return connection.execute(sql, params).rowcount

    def execute_many(self, sql: str, params_list: Iterable[Sequence[Any]]) -> int:
        """Runs it for each of these, in one transaction; how many rows that changed."""
        with self.transaction() as connection:
            return connection.executemany(sql, params_list).rowcount

    # --- upkeep ---------------------------------------------------------------------------------------------------------

    def backup(self, backup_path: str | Path) -> None:
        """Saves all of it to a file, while others go on: verified, and there whole or not at all."""
        backups.write(self._database, Path(backup_path))

    def restore(self, backup_path: str | Path) -> Path:
        """Puts a backup in the place of all that there is, once that is saved beside it; gives that file.

        StorageError for a backup that is damaged, something else, or of a newer schema: nothing has changed then.
        """
        path = Path(backup_path)
        return backups.restore(self._database, path, path.absolute().parent)

    def check(self) -> list[str]:
        """What is wrong with the database, a line each; empty where nothing is."""
        return integrity.problems(self._database)

    def statistics(self) -> Statistics:
        """Rows by table, sizes, the schema's version."""
        return integrity.statistics(self._database)

    def cleanup(self, older_than: datetime) -> int:
        """Forgets the notes of changes from before that, which programs follow to hear of them; how many. Nothing else goes."""
        before = utc(older_than, "older_than")
        with self._database.writing() as connection:
            return int(connection.execute(CHANGES.delete().where(CHANGES.c.changed_at < before)).rowcount)

    def vacuum(self) -> None:
        """Gives back what deleted rows took. Writers wait as long."""
        with self._database.alone() as engine:
            try:
                engine.vacuum()
            except sqlite3.Error as error:
                raise engine.failure(error) from error

    def close(self) -> None:
        """Closes all connections. `initialize` opens it again."""
        with self._opening:
            opened, self._opened, self._ledger = self._opened, None, None
            if opened is not None:
                opened.close()

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _database(self) -> Database:
        if self._opened is None:
            raise NotAllowed(self._unopened())
        return self._opened

    def _unopened(self) -> str:
        return "the ledger's database isn't open: call initialize() first"
