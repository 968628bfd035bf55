"""A ledger's database: transactions for its repositories. What goes wrong in one leaves as StorageError or DiskFull.

Synchronous and thread-safe: writers take turns, readers go on beside them and see what was committed.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, Executable, Insert, Row, Select, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from pipeline.errors import BadValue, NotAllowed, SpillwayError, StorageError
from pipeline.histogram import Histogram
from sinks.ledger.commits import Commits
from sinks.ledger.migrate import migrate, migrations, newest, require_known, version
from sinks.ledger.postgresql import POOL_SIZE, PostgresEngine
from sinks.ledger.prepared import Addition, Question
from sinks.ledger.redis.connection import SharedRedis
from sinks.ledger.sqlite import MemoryEngine, SqliteEngine, driver_of
from sinks.ledger.wakeups import Bell, bell_of

MEMORY = "memory://"
Adding: TypeAlias = Callable[[Connection, Mapping[str, Sequence[Any]]], None]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUCH_AS = "sqlite:///data/ledger.db, postgresql://user@host/db or memory://"


class Database:
    """A database with our schema. Opened to write, it is made and brought up to date; opened to read, nothing is changed."""

    def __init__(
        self,
        url: str,
        *,
        read_only: bool = False,
        clock_ns: Callable[[], int] = time.time_ns,
        pool_size: int = POOL_SIZE,
    ) -> None:
        self._engine = _engine(url, read_only, pool_size)
        self._to_tell: list[Callable[[], None]] = []
        self._commits = Commits(self._engine)
        self._here = threading.local()
        self._known = migrations(self._engine.name)
        self.clock_ns = clock_ns
        self.write_seconds, self.read_seconds = Histogram(), Histogram()  # of whole transactions, and of single questions
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
        """A transaction that writes: committed at the end, and then durable; rolled back whole on any error.

        Within another one of the same thread it is a part of that.
        """
        outer = self._inside()
        if outer is not None:
            with self._explained(), self._part(outer):
                yield outer
            return
        self._here.undo = []
        try:
            with self._explained(), self.write_seconds.timed(), self._commits.writing() as connection:
                self._here.connection = connection
                try:
                    yield connection
                finally:
                    self._here.connection = None
        except BaseException:  # also one of the commit
            self._undo(0)
            raise
        for told in self._to_tell:
            told()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment's state; within one that writes, that one's."""
        outer = self._inside() or self._reader()
        if outer is not None:
            yield outer
            return
        with self._explained(), self.read_seconds.timed(), self._engine.reader.begin() as connection:
            self._here.reader = connection
            try:
                yield connection
            finally:
                self._here.reader = None

    def answer(self, question: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of a single question: what `reading` sees, for less."""
        outer = self._inside() or self._reader()
        with self._explained():
            if outer is not None:
                return outer.execute(question, dict(values or {})).all()
            with self.read_seconds.timed():
                return self._engine.answer(question, dict(values or {}))

    def prepare(self, select: Select[Any]) -> Callable[[Mapping[str, Any]], Sequence[Sequence[Any]]]:
        """A question that is asked again and again: given its values it gives all rows, as `answer` does, for less."""
        if isinstance(self._engine, PostgresEngine):
            return lambda values: self.answer(select, values)
        return partial(self._rows, self._engine, Question(select))

    def _rows(self, engine: SqliteEngine, question: Question, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        outer = self._inside() or self._reader()
        try:
            if outer is not None:
                return question.rows(driver_of(outer), values)
            with self.read_seconds.timed():
                return engine.rows(question, values)
        except sqlite3.Error as error:
            raise engine.failure(error) from error

    def prepare_insert(
        self, insert: Insert, columns: Sequence[str]
    ) -> Callable[[Connection, Mapping[str, Sequence[Any]]], None]:
        """An insert of many rows: given a connection and the values by column it adds them all."""
        if isinstance(self._engine, PostgresEngine):
            engine = self._engine
            return lambda connection, values: engine.add(connection, insert, values)
        addition = Addition(insert, columns)
        return lambda connection, values: addition.add(driver_of(connection), values)

    @contextmanager
    def alone(self) -> Iterator[SqliteEngine | PostgresEngine]:
        """Holds off all other writers, of this process and of others: for who replaces the database itself."""
        if self._inside() is not None:
            raise NotAllowed(f"{self.where}: within a transaction it can't be had alone")
        with self._explained(), self._commits.alone(), self._engine.exclusive():
            yield self._engine

    @property
    def engine(self) -> SqliteEngine | PostgresEngine:
        """What speaks to the database."""
        return self._engine

    @property
    def schema(self) -> int:
        """The version of the schema that this Spillway makes."""
        return newest(self._known)

    def when_written(self, tell: Callable[[], None]) -> None:
        """Has `tell` called after each commit. It must neither fail nor take long."""
        self._to_tell.append(tell)

    def bell(self, redis: SharedRedis | None = None) -> Bell:
        """What rings when anyone commits: see `wakeups.py`."""
        with self._explained():
            return bell_of(self._engine, redis)

    def when_undone(self, undo: Callable[[], None]) -> None:
        """Has `undo` called if the transaction that this thread is in, if any, is rolled back."""
        if self._inside() is not None:
            self._here.undo.append(undo)

    def now(self) -> datetime:
        """The clock's time, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.clock_ns() // 1_000)

    def close(self) -> None:
        """Closes all connections."""
        with self._commits.alone(), self._explained():
            self._engine.close()

    def _inside(self) -> Connection | None:
        """The connection of the transaction that this thread writes in."""
        return getattr(self._here, "connection", None)

    def _reader(self) -> Connection | None:
        """The connection of the moment that this thread reads."""
        return getattr(self._here, "reader", None)

    @contextmanager
    def _part(self, outer: Connection) -> Iterator[None]:
        """A part of a transaction, undone by itself where it raises."""
        known = len(self._here.undo)
        self._engine.begin_part(outer)
        try:
            yield
        except BaseException:
            self._undo(known)
            if self._engine.is_open(outer):
                self._engine.undo_part(outer)
            raise
        self._engine.keep_part(outer)

    def _undo(self, known: int) -> None:
        """Has all undone that was noted since there were so many notes."""
        notes = self._here.undo
        while len(notes) > known:
            notes.pop()()

    def _migrate(self, now_ns: int) -> None:
        with self.writing() as connection:
            self._engine.make_schema(connection)
            migrate(connection, self._known, self.where, now_ns)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise self._engine.refused(error.orig or error) from error
        except sqlite3.IntegrityError as error:  # of what is prepared
            raise self._engine.refused(error) from error
        except DBAPIError as error:
            raise self._engine.failure(error.orig or error) from error
        except SQLAlchemyError as error:
            if isinstance(refused := getattr(error, "orig", None), SpillwayError):  # by a column's type
                raise refused from None
            raise StorageError(f"{self.where}: {str(error).splitlines()[0]}") from error
        except sqlite3.Error as error:
            raise self._engine.failure(error) from error


def _engine(url: str, read_only: bool, pool_size: int) -> SqliteEngine | PostgresEngine:
    if url == MEMORY:
        return MemoryEngine()
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadValue(f"the ledger's URL: expected such as {_SUCH_AS}") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return SqliteEngine(Path(str(parsed.database)), read_only=read_only)
    if kind == "postgresql":
        return PostgresEngine(parsed, pool_size=pool_size)
    shown = parsed.render_as_string(hide_password=True)
    raise BadValue(f"the ledger's URL {shown}: expected such as {_SUCH_AS}")
