"""The ledger: durable commits, many rows at once, reads and sums, against Python's sqlite3 on the same table and disk.

The peer has the same schema, indexes, constraints and durability (WAL, `synchronous=FULL`), and gives and takes bare rows: what
ours costs beyond it is locks between processes, checked entities and exact types. PostgreSQL stands beside, with no target.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.context import Context
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError
from pipeline.trading.account import Account
from pipeline.trading.exact import text
from pipeline.trading.money import Currency, Money
from pipeline.trading.transaction import Transaction, TransactionType
from sinks.ledger.aio import aopen_ledger
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger.postgres_server import find_binaries, make_database, running

ACCOUNT = "acc_001"
START = datetime(2026, 1, 1, tzinfo=UTC)
MANY, QUICK_MANY = 1_000_000, 20_000  # transactions in the ledger that is read
BULK, QUICK_BULK = 100_000, 5_000
FOR_S, QUICK_FOR_S = 1.0, 0.1  # how long single commits and reads are counted
CALLERS = 16  # threads, or tasks of asyncio times four
LAST = 100
_COLUMNS = "transaction_id, account_id, transaction_type, amount, currency, description, reference, occurred_at, created_at"
_INSERT = f"INSERT INTO transactions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BY_ID = f"SELECT {_COLUMNS} FROM transactions WHERE transaction_id = ?"
_LAST = f"SELECT {_COLUMNS} FROM transactions WHERE account_id = ? ORDER BY occurred_at DESC, transaction_id DESC LIMIT {LAST}"
_SUM = "SELECT sum(CAST(amount AS REAL)) FROM transactions WHERE account_id = ? AND transaction_type = ? AND currency = ?"


def transactions(number: int) -> list[Transaction]:
    """Deposits of a hundredth more each time, a second apart."""
    return [
        Transaction(
            transaction_type=TransactionType.DEPOSIT,
            amount=Money(f"{n // 100}.{n % 100:02d}1", Currency.USDT),
            account_id=ACCOUNT,
            occurred_at=START + timedelta(seconds=n),
        )
        for n in range(1, number + 1)
    ]


def bare(many: Sequence[Transaction]) -> list[tuple[str | None, ...]]:
    """The same as the rows that sqlite3 gets."""
    return [
        (
            t.transaction_id,
            ACCOUNT,
            str(t.transaction_type),
            text(t.amount.amount),
            str(t.amount.currency),
            t.description,
            t.reference,
            *[f"{t.occurred_at:%Y-%m-%dT%H:%M:%S.%fZ}"] * 2,
        )
        for t in many
    ]


@dataclass(frozen=True, slots=True)
class Side:
    """A ledger, and how long to count."""

    ledger: Ledger
    url: str
    for_s: float

    def commits(self) -> float:
        """Single durable commits a second, of one caller."""
        return _rate(self.for_s, self._save)

    def commits_of_threads(self) -> float:
        """The same of several threads at once."""
        with ThreadPoolExecutor(CALLERS) as pool:
            return sum(pool.map(lambda _: self.commits(), range(CALLERS)))

    def commits_of_tasks(self) -> float:
        """The same of many tasks of asyncio."""
        return asyncio.run(self._tasks())

    def reads(self) -> float:
        """Single transactions found by id, a second."""
        ids = [t.transaction_id for t in self.ledger.transactions.find_by_account(ACCOUNT, limit=1000)]
        return _rate(self.for_s, lambda n: self.ledger.transactions.find_by_id(ids[n % len(ids)]))

    def bulk(self, number: int) -> float:
        """Rows a second, many in one transaction."""
        many = transactions(number)
        began = time.perf_counter()
        self.ledger.transactions.save_many(many)
        return number / (time.perf_counter() - began)

    def last(self) -> float:
        """Seconds for the last hundred transactions."""
        return 1 / _rate(self.for_s, lambda n: self.ledger.transactions.find_by_account(ACCOUNT, limit=LAST))

    def sum(self) -> float:
        """Seconds for the exact sum of all."""
        began = time.perf_counter()
        self.ledger.transactions.get_sum_by_type(ACCOUNT, TransactionType.DEPOSIT, Currency.USDT)
        return time.perf_counter() - began

    def _save(self, number: int) -> None:
        self.ledger.transactions.save(_one(), ACCOUNT)

    async def _tasks(self) -> float:
        async with aopen_ledger(self.url) as ledger:
            until, done = time.perf_counter() + self.for_s, 0

            async def write() -> None:
                nonlocal done
                while time.perf_counter() < until:
                    await ledger.transactions.save(_one(), ACCOUNT)
                    done += 1

            began = time.perf_counter()
            await asyncio.gather(*[write() for _ in range(4 * CALLERS)])
            return done / (time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Raw:
    """The same work by sqlite3 alone."""

    connection: sqlite3.Connection
    for_s: float

    def commits(self) -> float:
        """Single durable commits a second."""

        def save(number: int) -> None:
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.execute(_INSERT, bare([_one()])[0])
            self.connection.execute("COMMIT")

        return _rate(self.for_s, save)

    def reads(self) -> float:
        """Single rows found by id, a second."""
        ids = [row[0] for row in self.connection.execute("SELECT transaction_id FROM transactions LIMIT 1000")]
        return _rate(self.for_s, lambda n: self.connection.execute(_BY_ID, (ids[n % len(ids)],)).fetchone())

    def bulk(self, number: int) -> float:
        """Rows a second, many in one transaction."""
        rows = bare(transactions(number))
        began = time.perf_counter()
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(_INSERT, rows)
        self.connection.execute("COMMIT")
        return number / (time.perf_counter() - began)

    def last(self) -> float:
        """Seconds for the last hundred rows."""
        return 1 / _rate(self.for_s, lambda n: self.connection.execute(_LAST, (ACCOUNT,)).fetchall())

    def sum(self) -> float:
        """Seconds for the sum of all, in binary floats."""
        began = time.perf_counter()
        self.connection.execute(_SUM, (ACCOUNT, "deposit", "USDT")).fetchone()
        return time.perf_counter() - began


def rows(context: Context) -> list[Row]:
    """Each operation on SQLite against sqlite3, and then on PostgreSQL."""
    with ExitStack() as stack:
        side, raw = _sqlite(context, stack)
        found = _against_sqlite3(context, side, raw)
        binaries = find_binaries()
        if binaries is not None:
            server = stack.enter_context(running(binaries, durable=True))
            url = make_database(server, "bench")
            found += _postgresql(context, _filled(context, url, stack))
    return found


def _against_sqlite3(context: Context, side: Side, raw: Raw) -> list[Row]:
    number = QUICK_BULK if context.quick else BULK
    singles = [Samples("ours", Unit.RATE), Samples("threads", Unit.RATE), Samples("tasks", Unit.RATE)]
    alone = Samples("sqlite3", Unit.RATE)
    take_turns(
        context.runs,
        (singles[0], side.commits),
        (singles[1], side.commits_of_threads),
        (singles[2], side.commits_of_tasks),
        (alone, raw.commits),
    )
    asked = Target(3_000, absolute=Unit.RATE)
    by = "those who wait share a commit; the disk's fsync decides the rest"
    return [
        Row("ledger, SQLite: durable single commits, one caller", singles[0], alone, asked, by),
        Row(f"the same of {CALLERS} threads", singles[1], alone, asked),
        Row(f"the same of {4 * CALLERS} tasks of asyncio", singles[2], alone, asked),
        _pair(context, "rows in one transaction", lambda: side.bulk(number), lambda: raw.bulk(number), 200_000),
        _pair(context, "reads by id", side.reads, raw.reads, 20_000),
        _pair(context, f"the last {LAST} of {_many(context):,} transactions", side.last, raw.last, None),
        _pair(context, "the exact sum of all of them (sqlite3's is of binary floats)", side.sum, raw.sum, None),
    ]


def _pair(context: Context, work: str, ours: Callable[[], float], peer: Callable[[], float], least: int | None) -> Row:
    unit = Unit.SECONDS if least is None else Unit.RATE
    mine, theirs = Samples("ours", unit), Samples("sqlite3", unit)
    take_turns(context.runs, (mine, ours), (theirs, peer))
    return Row(work, mine, theirs, Target(least, absolute=Unit.RATE) if least else None)


def _postgresql(context: Context, side: Side) -> list[Row]:
    number = QUICK_BULK if context.quick else BULK
    work: list[tuple[str, Unit, Callable[[], float]]] = [
        ("durable single commits, one caller", Unit.RATE, side.commits),
        (f"the same of {CALLERS} threads", Unit.RATE, side.commits_of_threads),
        (f"the same of {4 * CALLERS} tasks of asyncio", Unit.RATE, side.commits_of_tasks),
        ("rows in one transaction", Unit.RATE, lambda: side.bulk(number)),
        ("reads by id", Unit.RATE, side.reads),
        (f"the last {LAST} of {_many(context):,} transactions", Unit.SECONDS, side.last),
        ("the exact sum of all of them", Unit.SECONDS, side.sum),
    ]
    found = []
    for name, unit, measured in work:
        samples = Samples("ours", unit)
        take_turns(context.runs, (samples, measured))
        found.append(Row(f"ledger, PostgreSQL: {name}", samples, None, None))
    return found


def _sqlite(context: Context, stack: ExitStack) -> tuple[Side, Raw]:
    """Two databases alike, each with its many transactions."""
    side = _filled(context, f"sqlite:///{context.folder('ledger') / 'ledger.db'}", stack)
    path = context.folder("raw") / "ledger.db"
    _filled(context, f"sqlite:///{path}", stack).ledger.close()
    connection = stack.enter_context(_connected(path))
    if connection.execute("SELECT count(*) FROM transactions").fetchone()[0] != _many(context):
        raise BenchError("the two ledgers differ")
    return side, Raw(connection, side.for_s)


def _filled(context: Context, url: str, stack: ExitStack) -> Side:
    ledger = stack.enter_context(open_ledger(url))
    ledger.accounts.save(Account(account_id=ACCOUNT, name="bench"))
    ledger.transactions.save_many(transactions(_many(context)))
    return Side(ledger, url, QUICK_FOR_S if context.quick else FOR_S)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def _many(context: Context) -> int:
    return QUICK_MANY if context.quick else MANY


def _one() -> Transaction:
    kind, amount = TransactionType.DEPOSIT, Money("0.001", Currency.USDT)
    return Transaction(transaction_type=kind, amount=amount, account_id=ACCOUNT, occurred_at=datetime.now(UTC))


def _rate(for_s: float, work: Callable[[int], object]) -> float:
    """How often `work` is done in a second."""
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < for_s:
        work(number)
        number += 1
    return number / (time.perf_counter() - began)
