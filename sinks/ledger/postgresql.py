"""The ledger in PostgreSQL, in the schema `trading`. Writers take turns by an advisory lock, as they do on SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Executable, Insert, Row, create_engine

from pipeline.errors import AlreadyExists, BadValue, DiskFull, Missing, SpillwayError, StorageError

SCHEMA = "trading"
CONNECT_S = 5
POOL_SIZE = 10  # connections at most
_TURN = 0x5350494C4C  # "SPILL": what our writers lock
_DISK_FULL = "53100"
_WORTH_A_STREAM = 32  # rows
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
            self._writer = create_engine(driver, connect_args=options, pool_pre_ping=True, pool_size=pool_size, max_overflow=0)
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

    def add(self, connection: Connection, insert: Insert, columns: Mapping[str, Sequence[Any]]) -> None:
        """Adds the rows of these columns: many of them in one stream, which takes a tenth of the time."""
        number = len(next(iter(columns.values())))
        if number < _WORTH_A_STREAM:
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            connection.execute(insert, rows)
            return
        table, dialect = insert.table, connection.dialect
        processes = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
        typed = [list(map(p, v)) if p else v for p, v in zip(processes, columns.values(), strict=True)]
        names = ", ".join(f'"{name}"' for name in columns)
        driver: Any = connection.connection.driver_connection
        with self._streamed(), driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in zip(*typed, strict=True):
                copy.write_row(row)

    @contextmanager
    def _streamed(self) -> Iterator[None]:
        """Here the driver's errors come as they are."""
        import psycopg

        try:
            yield
        except psycopg.IntegrityError as error:
            raise self.refused(error) from error
        except psycopg.Error as error:
            raise self.failure(error) from error

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
