"""The ledger in a SQLite file: one connection that writes, others that only read.

SQLite before 3.51.3 can lose pages where one connection writes while another checkpoints. So who writes (and with its commit
may checkpoint) holds a lock file beside the database, and readers open it so that they can't checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

from pipeline.errors import DiskFull, StorageError
from sinks import durable

BUSY_S = 10.0  # how long another connection's transaction, or another process's, is waited for
_WAIT_S = 0.005  # between two looks whether the lock file is free
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class SqliteEngine:
    """A SQLite database: engines to read and write with, who holds off whom, and what its errors mean."""

    name = "sqlite"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.where = str(path)
        self._lock: int | None = None
        if not read_only:
            self._lock = self._prepare()
        self.writer = _engine(lambda: _connect(path), "BEGIN IMMEDIATE", StaticPool)
        self.reader = _engine(lambda: _connect_to_read(path), "BEGIN", QueuePool)

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.path.exists()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds off all other processes that write. StorageError where one holds it for too long."""
        assert self._lock is not None, "opened to read only"
        self._wait_for(self._lock)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def start(self, connection: Connection) -> None:
        """Nothing: the transaction began as the only one that writes."""

    def make_schema(self, connection: Connection) -> None:
        """Nothing: SQLite has one."""

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

    def close(self) -> None:
        """Closes the readers, then the writer: the last one moves its log into the database."""
        self.reader.dispose()
        if self._lock is None:
            return
        with self.exclusive():
            self.writer.dispose()
        os.close(self._lock)
        self._lock = None

    def _prepare(self) -> int:
        """Makes the folder, the file and its lock; returns the lock."""
        durable.make_folder(self.path.parent)
        with durable.explained(self.path, "opened"):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, durable.FILE_MODE))
            lock = self.path.with_name(f".{self.path.name}.lock")
            return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, durable.FILE_MODE)

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + BUSY_S
        while not self._locked(lock):
            if time.monotonic() > deadline:
                raise StorageError(f"{self.where}: another process is writing it for more than {BUSY_S:g} s")
            time.sleep(_WAIT_S)

    def _locked(self, lock: int) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise durable.failure(error, self.path, "locked") from error
        return True


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    where = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sqlite3.connect(where, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)


def _engine(connect: object, begin: str, pool: type[QueuePool] | type[StaticPool]) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=pool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
