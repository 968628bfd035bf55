"""The ledger in a SQLite file: one connection that writes, others that only read.

SQLite before 3.51.3 can lose pages where one connection writes while another checkpoints. So who writes (and with its commit
may checkpoint) holds a lock file beside the database, and readers open it so that they can't checkpoint.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Executable, Row, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

from pipeline.errors import AlreadyExists, BadValue, DiskFull, Missing, SpillwayError, StorageError
from sinks import durable
from sinks.ledger.exact_functions import with_exact_functions
from sinks.ledger.prepared import Question
from sinks.ledger.turns import Turns

BUSY_S = 10.0  # how long another connection's transaction, or another process's, is waited for
_FREE = 16  # connections kept for the next question
_CACHE = "cache_size = -65536"  # KiB at most: many rows at once touch many pages of the indexes
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_REFUSED: dict[str, type[SpillwayError]] = {
    "SQLITE_CONSTRAINT_PRIMARYKEY": AlreadyExists,
    "SQLITE_CONSTRAINT_UNIQUE": AlreadyExists,
    "SQLITE_CONSTRAINT_FOREIGNKEY": Missing,
    "SQLITE_CONSTRAINT_TRIGGER": Missing,
}
_memories = count(1)


class SqliteEngine:
    """A SQLite database: engines to read and write with, who holds off whom, and what its errors mean."""

    name = "sqlite"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.where = str(path)
        self._turns = None if read_only else self._prepare()
        self._writer = _engine(self._connect, StaticPool)
        self._writing: Connection | None = None
        self.reader = _engine(self._connect_to_read, QueuePool, "BEGIN")
        self._single = _engine(self._connect_to_read, QueuePool)
        self._free: list[sqlite3.Connection] = []  # for single questions

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.path.exists()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds off all other processes that write. StorageError where one holds it for too long."""
        if self._turns is None:
            raise StorageError(f"{self.where}: was opened to read only")
        with self._turns.one(BUSY_S):
            yield

    # A transaction is begun and ended by the driver itself: SQLAlchemy's own way there costs more than a row does.

    def begin(self) -> Connection:
        """Begins the transaction that writes, on the one connection that does."""
        if self._writing is None:
            self._writing = self._writer.connect()
        driver_of(self._writing).execute("BEGIN IMMEDIATE")
        return self._writing

    def commit(self, connection: Connection) -> None:
        """Makes it durable, and ends it."""
        driver_of(connection).execute("COMMIT")

    def rollback(self, connection: Connection) -> None:
        """Undoes it, and ends it, whatever state it is in."""
        if self.is_open(connection):
            driver_of(connection).execute("ROLLBACK")

    def begin_part(self, connection: Connection) -> None:
        """Begins a part that can be undone by itself."""
        driver_of(connection).execute("SAVEPOINT part")

    def keep_part(self, connection: Connection) -> None:
        """Ends the part: it counts as the transaction does."""
        driver_of(connection).execute("RELEASE part")

    def undo_part(self, connection: Connection) -> None:
        """Undoes the part and ends it."""
        driver_of(connection).execute("ROLLBACK TO part")
        driver_of(connection).execute("RELEASE part")

    def is_open(self, connection: Connection) -> bool:
        """Whether its transaction still is: a full disk or a failing one undoes all of it."""
        return bool(driver_of(connection).in_transaction)

    def make_schema(self, connection: Connection) -> None:
        """Nothing: SQLite has one."""

    def answer(self, question: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
        """All rows of one question, as of now."""
        with self._single.connect() as connection:
            return connection.execute(question, values).all()

    def rows(self, question: Question, values: Mapping[str, Any]) -> list[Sequence[Any]]:
        """All rows of a prepared question, as of now."""
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._connect_to_read()
        try:
            rows = question.rows(connection, values)
        except BaseException:
            connection.close()
            raise
        if len(self._free) < _FREE:
            self._free.append(connection)
        else:
            connection.close()
        return rows

    def refused(self, error: BaseException) -> SpillwayError:
        """What a constraint refused as one of our errors."""
        return _REFUSED.get(getattr(error, "sqlite_errorname", ""), BadValue)(f"{self.where}: {error}")

    def failure(self, error: BaseException) -> StorageError:
        """An error of the driver as one of ours."""
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith("SQLITE_FULL"):
            return DiskFull(f"{self.where}: can't be written: the disk is full")
        if name.startswith(_BUSY):
            return StorageError(f"{self.where}: is locked by another process for more than {BUSY_S:g} s")
        if name.startswith(_DAMAGED):
            return StorageError(f"{self.where}: is damaged, or no SQLite database ({error})")
        return StorageError(f"{self.where}: {error}")

    def vacuum(self) -> None:
        """Gives back what deleted rows took. Only for who is alone."""
        if self._writing is None:
            self._writing = self._writer.connect()
        for statement in ("VACUUM", "PRAGMA optimize", "PRAGMA wal_checkpoint(TRUNCATE)"):
            driver_of(self._writing).execute(statement).fetchall()

    def close(self) -> None:
        """Closes the readers, then the writer: the last one moves its log into the database."""
        while self._free:
            self._free.pop().close()
        self.reader.dispose()
        self._single.dispose()
        if self._turns is None:
            return
        with self.exclusive():
            self._close_writer()
        self._turns.close()
        self._turns = None

    def _close_writer(self) -> None:
        if self._writing is not None:
            self._writing.close()
        self._writing = None
        self._writer.dispose()

    def _prepare(self) -> Turns:
        """Makes the folder, the file and its locks."""
        durable.make_folder(self.path.parent)
        with durable.explained(self.path, "opened"):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, durable.FILE_MODE))
        return Turns(self.path)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        _set(connection, "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF", _CACHE)
        return with_exact_functions(connection)

    def _connect_to_read(self) -> sqlite3.Connection:
        where = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        connection = sqlite3.connect(where, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        return with_exact_functions(connection)


class MemoryEngine(SqliteEngine):
    """The same in memory, for tests and trials: what is in it goes with the last connection."""

    def __init__(self) -> None:
        self._uri = f"file:/spillway-{os.getpid()}-{next(_memories)}?vfs=memdb"
        super().__init__(Path(":memory:"))
        self.where = "memory"

    @property
    def exists(self) -> bool:
        """It is made with the first connection."""
        return True

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nothing: no other process sees it."""
        yield

    def close(self) -> None:
        """All is gone."""
        while self._free:
            self._free.pop().close()
        self.reader.dispose()
        self._single.dispose()
        self._close_writer()

    def _prepare(self) -> None:  # type: ignore[override]
        """Nothing is on a disk."""

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        _set(connection, "foreign_keys = ON", "trusted_schema = OFF")
        return with_exact_functions(connection)

    def _connect_to_read(self) -> sqlite3.Connection:
        connection = self._connect()
        _set(connection, "query_only = ON")
        return connection


def _set(connection: sqlite3.Connection, *pragmas: str) -> None:
    with closing(connection.cursor()) as cursor:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")


def driver_of(connection: Connection) -> sqlite3.Connection:
    return connection.connection.dbapi_connection  # type: ignore[return-value]


def _engine(connect: Callable[[], sqlite3.Connection], pool: type[Any], begin: str = "") -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=pool)
    if begin:

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

    return engine
