"""What tells a program that follows the changes that there may be new ones. The table is the truth, this is only the bell.

SQLite: the file's `data_version`, looked at every few milliseconds. PostgreSQL: `LISTEN`. Redis, where the writers announce:
a channel. A ring that is lost costs as long as it takes until the table is asked anyway.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from sinks.ledger.postgresql import PostgresEngine
from sinks.ledger.redis.connection import CHANGES, TIMEOUT_S, SharedRedis
from sinks.ledger.sqlite import SqliteEngine

POSTGRES_CHANNEL = "trading_changes"
SQLITE_POLL_S = 0.01  # one look takes some microseconds
ANYWAY_S = 1.0  # the table is asked after that, rung or not
_STOP_S = 0.1  # how long a wait that can't be cut short lasts at most


class Bell(Protocol):
    """Rings no later than when something was committed after it was made, or after its last ring."""

    def wait(self, stop: threading.Event) -> None:
        """Returns when it rings, when the table should be asked anyway, or when `stop` is set."""

    def close(self) -> None:
        """Lets go of its connection."""


def bell_of(engine: SqliteEngine | PostgresEngine, redis: SharedRedis | None = None) -> Bell:
    """The bell of a database, or that in Redis, where all who write the database announce what they wrote."""
    if redis is not None:
        return RedisBell(redis)
    return PostgresBell(engine) if isinstance(engine, PostgresEngine) else SqliteBell(engine)


class SqliteBell:
    """Another connection's commit changes what `PRAGMA data_version` says."""

    def __init__(self, engine: SqliteEngine, poll_s: float = SQLITE_POLL_S) -> None:
        self._engine = engine
        self._connection = _own_connection(engine)
        self._poll_s = poll_s
        self._seen = self._version()

    def wait(self, stop: threading.Event) -> None:
        """Looks again and again."""
        while (version := self._version()) == self._seen:
            if stop.wait(self._poll_s):
                return
        self._seen = version

    def close(self) -> None:
        """Lets go of its connection."""
        self._connection.close()

    def _version(self) -> int:
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise self._engine.failure(error) from error


class PostgresBell:
    """PostgreSQL tells who listens, with the commit."""

    def __init__(self, engine: PostgresEngine) -> None:
        self._engine = engine
        self._connection = _own_connection(engine)
        self._error = engine.reader.dialect.loaded_dbapi.Error
        try:
            self._connection.rollback()  # the pool's own question whether it lives
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {POSTGRES_CHANNEL}")
        except self._error as error:
            self._connection.close()
            raise engine.failure(error) from error

    def wait(self, stop: threading.Event) -> None:
        """Listens."""
        try:
            _wait(stop, lambda: any(True for _ in self._connection.notifies(timeout=_STOP_S, stop_after=1)))
        except self._error as error:
            raise self._engine.failure(error) from error

    def close(self) -> None:
        """Lets go of its connection."""
        self._connection.close()


class RedisBell:
    """Who has written says so on a channel."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        with redis.explained():
            self._listening = redis.once.pubsub(ignore_subscribe_messages=True)
            self._listening.subscribe(CHANGES)
            self._listening.get_message(timeout=TIMEOUT_S, ignore_subscribe_messages=False)  # that it is subscribed

    def wait(self, stop: threading.Event) -> None:
        """Listens."""
        with self._redis.explained():
            _wait(stop, lambda: self._listening.get_message(timeout=_STOP_S) is not None)

    def close(self) -> None:
        """Lets go of its connection."""
        self._listening.close()


def _wait(stop: threading.Event, rings: Callable[[], bool]) -> None:
    end = time.monotonic() + ANYWAY_S
    while not stop.is_set() and not rings() and time.monotonic() < end:
        pass


def _own_connection(engine: SqliteEngine | PostgresEngine) -> Any:
    """A connection of the driver's that the pool knows nothing of any more."""
    pooled = engine.reader.raw_connection()
    driver: Any = pooled.driver_connection
    pooled.detach()
    return driver
