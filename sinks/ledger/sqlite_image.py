"""A SQLite ledger as it is at one moment, in a file of its own; and such a file in the place of a ledger that is in use.

Both by SQLite's own backup. To those who have the ledger open, a restore is one commit: they read on what they read, and see
the new content in their next transaction. A process that dies half-way leaves a log without its commit, which is nothing.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import StorageError
from sinks.ledger.dump import Told
from sinks.ledger.exact_functions import with_exact_functions
from sinks.ledger.plain_rows import BY_NAME

PAGES = 2048  # copied at once, between two words about how far it is
BUSY_S = 30.0  # how long a foreign writer is waited for


def save(database: Path, target: Path, told: Told) -> dict[str, int]:
    """Copies a ledger, at one moment, to a file that is empty; its rows by table. Others write on meanwhile."""
    with closing(_to_read(database)) as source, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.execute("BEGIN")
        counts = row_counts(source)  # from here on it is this moment
        copy.execute("PRAGMA synchronous = OFF")  # who calls makes it durable, once
        source.backup(copy, pages=PAGES, progress=lambda status, left, total: told("pages", total - left, total))
        copy.execute("PRAGMA journal_mode = DELETE")  # a single file
    return counts


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each of the ledger's tables has, of those that are there."""
    made = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in BY_NAME if name in made}


def counts_of(path: Path) -> dict[str, int]:
    """The same of a file that nobody writes."""
    with closing(_immutable(path)) as connection:
        return row_counts(connection)


def damage(path: Path) -> str:
    """What is wrong with a SQLite file that nobody writes; empty for nothing."""
    try:
        with closing(with_exact_functions(_immutable(path))) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            broken = [f"{row[0]} points to nothing in {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")]
    except sqlite3.Error as error:
        return str(error)
    return "; ".join([] if found == ["ok"] else found) or "; ".join(broken[:3])


def replace(database: Path, content: Path, told: Told) -> None:
    """Puts a file's content in the place of a ledger's. Only for who holds off all other writers."""
    deadline = time.monotonic() + BUSY_S

    def progress(status: int, left: int, total: int) -> None:
        told("pages", total - left, total)
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise StorageError(f"{database}: is locked by another process for more than {BUSY_S:g} s")

    with closing(_immutable(content)) as source, closing(sqlite3.connect(database, isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("PRAGMA synchronous = FULL")
        source.backup(live, pages=PAGES, progress=progress)
        live.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None)


def _immutable(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True, isolation_level=None)
