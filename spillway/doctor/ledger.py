"""The ledger: whether it can be read, fits this program, and is whole; and how old its newest backup is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipeline.errors import SpillwayError
from pipeline.trade import NS_PER_S
from sinks.ledger import integrity
from sinks.ledger.backups import newest_made
from sinks.ledger.database import Database
from sinks.ledger.migrate import version
from spillway.doctor.finding import Finding, note, ok, warning, wrong
from spillway.settings import Settings, masked

LIMIT_S = 30.0
FIRST_SOUND_SQLITE = (3, 51, 3)  # https://www.sqlite.org/wal.html, "The WAL-reset bug"
_HOUR_S = 3600
_LEDGER, _BACKUP, _SQLITE = "ledger", "ledger backup", "SQLite version"


def look(settings: Settings) -> Iterator[Finding]:
    """The ledger itself. Nothing is made or changed."""
    where = masked(settings.ledger_url)
    try:
        with closing(Database(settings.ledger_url, read_only=True)) as database:
            yield from _findings(database)
    except SpillwayError as error:
        yield wrong(_LEDGER, str(error), f"see whether {where} is the right address, and its server runs")


def _is_made(settings: Settings) -> bool:
    scheme, _, path = settings.ledger_url.partition(":///")
    return scheme != "sqlite" or Path(path).exists()


def _findings(database: Database) -> Iterator[Finding]:
    if not database.engine.exists:
        yield note(_LEDGER, f"{database.where}: isn't there yet; the first `spillway run` makes it")
        return
    with database.reading() as connection:
        found = version(connection)
    if found != database.schema:
        yield of_schema(database.where, found, database.schema)
        return
    damages = integrity.problems(database)
    todo = "stop who writes it, then `spillway ledger restore` the newest backup"
    yield from (wrong(_LEDGER, f"{database.where}: {damage}", todo) for damage in damages)
    if not damages:
        yield ok(_LEDGER, f"{database.where}: whole, schema {found} as this program's")
    if database.engine.name == "sqlite":
        yield of_sqlite(sqlite3.sqlite_version_info, sqlite3.sqlite_version)


def of_schema(where: str, found: int, known: int) -> Finding:
    """The finding about a ledger whose schema is another version's."""
    told = f"{where}: its schema has version {found}, this program's has {known}"
    if found > known:
        return wrong(_LEDGER, told, "use the newer Spillway that made it: this one can't read it")
    return warning(_LEDGER, told, "`spillway ledger migrate` makes a backup and brings it up to date")


def of_sqlite(number: tuple[int, ...], text: str) -> Finding:
    """The finding about the SQLite library that this Python has."""
    if number >= FIRST_SOUND_SQLITE:
        return ok(_SQLITE, text)
    told = f"{text}: before 3.51.3 two connections that write and checkpoint at once can damage the file (WAL-reset bug)"
    return note(_SQLITE, told, "Spillway's processes take turns, which rules it out: let no other program write to the ledger")


def backup(settings: Settings, now_ns: int) -> Iterator[Finding]:
    """The newest backup's age against how often one is to be made."""
    every_hours, made_ns = settings.ledger.backup_every_hours, newest_made(settings.backup_dir)
    if not every_hours:
        yield note(_BACKUP, "ledger.backup_every_hours is 0: none is made", "unless another program does, set it")
        return
    age_hours = (now_ns - made_ns) / NS_PER_S / _HOUR_S
    todo = "`spillway ledger backup`; `spillway run` makes one when it is due"
    if not made_ns and not _is_made(settings):
        yield note(_BACKUP, "there is no ledger yet")
    elif not made_ns:
        yield warning(_BACKUP, f"there is none in {settings.backup_dir}", todo)
    elif age_hours > 2 * every_hours:
        yield warning(_BACKUP, f"the newest is {age_hours:,.0f} h old, and one is due every {every_hours:g} h", todo)
    else:
        yield ok(_BACKUP, f"the newest is {age_hours:,.1f} h old")
