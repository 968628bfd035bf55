"""The ledger in PostgreSQL, in the schema `trading`. Writers take turns by an advisory lock, as they do on SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Executable, Row, create_engine

from pipeline.errors import AlreadyExists, BadValue, DiskFull, Missing, SpillwayError, StorageError

SCHEMA = "trading"
CONNECT_S = 5
POOL_SIZE = 10  # connections at most
_TURN = 0x5350494C4C  # "SPILL": what our writers lock
_DISK_FULL = "53100"
_REFUSED: dict[str, type[SpillwayError]] = {"23505": AlreadyExists, "23503": Missing, "23001": Missing}


class PostgresEngine:
    """A PostgreSQL database: engines to read and write with, who holds off whom, and what its errors mean."""

    name = "postgresql"
    exists = True  # what can't be reached is an error, not an empty ledger

    def __init__(self, url: URL, *, pool_size: int = POOL_SIZE) -> None:
        driver = url.set(drivername="postgresql+psycopg")
        self.where = url.render_as_string(hide_password=True)
        options: dict[str, Any] = {"options": f"-csearch_path={SCHEMA}", "connect_timeout": CONNECT_S}
        try:
            self._writer = create_engine(
                driver, connect_args=options, pool_pre_ping=True, pool_size=pool_size, max_overflow=0
            )
            snapshot: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}  # as on SQLite
            self.reader = self._writer.execution_options(**snapshot)
            self._single = self._writer.execution_options(isolation_level="AUTOCOMMIT")
        except ImportError:
            raise BadValue(
                f"{self.where}: a ledger in PostgreSQL needs the package psycopg: pip install 'psycopg[binary]'"
            ) from None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nothing: `begin` waits for the others."""
        yield

    def begin(self) -> Connection:
        """Begins a transaction that writes, once the other writers have ended theirs."""
        connection = self._writer.connect()
        try:
            connection.begin()
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
        except BaseException:
            connection.close()
            raise
        return connection

    def commit(self, connection: Connection) -> None:
        """Makes it durable, and ends it."""
        connection.commit()
        connection.close()

    def rollback(self, connection: Connection) -> None:
        """Undoes it, and ends it, whatever state it is in."""
        connection.close()

    def begin_part(self, connection: Connection) -> None:
        """Begins a part that can be undone by itself."""
        connection.exec_driver_sql("SAVEPOINT part")

    def keep_part(self, connection: Connection) -> None:
        """Ends the part: it counts as the transaction does."""
        connection.exec_driver_sql("RELEASE part")

    def undo_part(self, connection: Connection) -> None:
        """Undoes the part and ends it."""
        connection.exec_driver_sql("ROLLBACK TO part")
        connection.exec_driver_sql("RELEASE part")

    def is_open(self, connection: Connection) -> bool:
        """Whether its transaction still is: only a lost connection undoes all of it."""
        return not connection.closed and not connection.invalidated

    def answer(self, question: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
        """All rows of one question, as of now."""
        with self._single.connect() as connection:
            return connection.execute(question, values).all()

    def make_schema(self, connection: Connection) -> None:
        """Makes the schema, if it isn't there."""
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")

    def refused(self, error: BaseException) -> SpillwayError:
        """What a constraint refused as one of our errors."""
        told = str(error).splitlines()[0]
        return _REFUSED.get(getattr(error, "sqlstate", None) or "", BadValue)(f"{self.where}: {told}")

    def failure(self, error: BaseException) -> StorageError:
        """An error of the driver as one of ours."""
        told = (str(error) or type(error).__name__).splitlines()[0]
        if getattr(error, "sqlstate", None) == _DISK_FULL:
            return DiskFull(f"{self.where}: can't be written: the disk is full")
        return StorageError(f"{self.where}: {told}")

    def vacuum(self) -> None:
        """Gives back what deleted rows took."""
        with self._single.connect() as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")

    def close(self) -> None:
        """Closes all connections."""
        self._writer.dispose()
