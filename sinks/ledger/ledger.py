"""A ledger: one database, an attribute for each repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sinks.ledger.accounts import Accounts
from sinks.ledger.balances import Balances
from sinks.ledger.changes import Changes
from sinks.ledger.conditions import Conditions
from sinks.ledger.database import Database
from sinks.ledger.decisions import Decisions
from sinks.ledger.gaps import GapBook
from sinks.ledger.klines import KlineBook
from sinks.ledger.orders import Orders
from sinks.ledger.performance import Performance
from sinks.ledger.positions import Positions
from sinks.ledger.postgresql import POOL_SIZE
from sinks.ledger.redis.announcer import Announcer
from sinks.ledger.redis.connection import SharedRedis
from sinks.ledger.strategies import Strategies
from sinks.ledger.trades import Trades
from sinks.ledger.transactions import Transactions


class Ledger:
    """Close it, or use it in a `with` block."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.where = database.where
        self.gaps = GapBook(database)
        self.klines = KlineBook(database)
        self.accounts = Accounts(database)
        self.balances = Balances(database, self.accounts)
        self.transactions = Transactions(database, self.accounts)
        self.strategies = Strategies(database)
        self.conditions = Conditions(database)
        self.decisions = Decisions(database)
        self.trades = Trades(database)
        self.positions = Positions(database)
        self.orders = Orders(database, self.trades, self.positions, self.transactions)
        self.performance = Performance(database)
        self.changes = Changes(database)
        self._announcer: Announcer | None = None

    @property
    def database(self) -> Database:
        """What its repositories lie in: for its upkeep."""
        return self._database

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that this thread writes in the block is written together, or nothing of it."""
        with self._database.writing():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that this thread reads in the block is of one moment."""
        with self._database.reading():
            yield

    def announce(self, redis: SharedRedis) -> None:
        """Tells all who follow the changes on this Redis whenever this ledger wrote something. Ends with `close`."""
        if self._announcer is None:
            self._announcer = Announcer(redis)
            self._database.when_written(self._announcer.ring)

    def close(self) -> None:
        """Closes the database, once what was written is announced."""
        self._database.close()
        if self._announcer:
            self._announcer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_ledger(url: str, *, pool_size: int = POOL_SIZE) -> Ledger:
    """A ledger to write and read, made and brought up to date where need be. BadValue, StorageError.

    `pool_size`: connections to PostgreSQL at most.
    """
    return Ledger(Database(url, pool_size=pool_size))


def read_ledger(url: str) -> Ledger | None:
    """A ledger to read only, also while others write it; None where there is none yet. Nothing is made or changed."""
    database = Database(url, read_only=True)
    try:
        made = database.is_made()
    except BaseException:
        database.close()
        raise
    if not made:
        database.close()
        return None
    return Ledger(database)
