"""A ledger that is whole, damaged, another version's, or not there; and the age of its backup."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.trade import NS_PER_S
from sinks.ledger.backups import Backups
from sinks.ledger.database import Database
from sinks.ledger.ledger import open_ledger
from spillway.doctor import ledger
from spillway.doctor.finding import Level
from spillway.settings import Ledger, Settings
from tests.sinks.ledger.filled import fill
from tests.spillway.doctor.found import only

HOUR_NS = 3600 * NS_PER_S


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(data_dir=tmp_path / "data")
    with open_ledger(found.ledger_url) as opened:
        fill(opened)
    return found


def test_a_whole_ledger_is_told_with_its_schema(settings: Settings) -> None:
    found = only(ledger.look(settings), "ledger")
    assert found.level is Level.OK
    assert "as this program's" in found.found


def test_a_ledger_that_others_write_can_be_looked_at(settings: Settings) -> None:
    with open_ledger(settings.ledger_url) as opened, opened.transaction():
        assert only(ledger.look(settings), "ledger").level is Level.OK


def test_no_ledger_yet_is_only_noted_and_none_is_made(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    assert only(ledger.look(settings)).level is Level.NOTE
    assert only(ledger.backup(settings, time.time_ns())).level is Level.NOTE
    assert not settings.data_dir.exists()


def test_a_damaged_ledger_is_wrong(settings: Settings) -> None:
    path = settings.data_dir / "ledger.db"
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 3 * 4096)
    found = [f for f in ledger.look(settings) if f.level is Level.WRONG]
    assert found and all(str(path) in f.found for f in found)


def test_what_is_no_database_is_wrong(settings: Settings) -> None:
    (settings.data_dir / "ledger.db").write_bytes(b"not a database, but long enough to be looked at " * 100)
    assert only(ledger.look(settings)).level is Level.WRONG


def test_a_newer_programs_ledger_is_wrong_and_an_older_ones_can_be_brought_up_to_date(settings: Settings) -> None:
    with closing(sqlite3.connect(settings.data_dir / "ledger.db")) as database, database:
        database.execute("INSERT INTO schema_migrations VALUES (9999, 'tomorrow', 0)")
    assert "use the newer Spillway" in only(ledger.look(settings), level=Level.WRONG).todo
    with closing(sqlite3.connect(settings.data_dir / "ledger.db")) as database, database:
        database.execute("DELETE FROM schema_migrations WHERE version > 1")
    assert "spillway ledger migrate" in only(ledger.look(settings), level=Level.WARNING).todo


def test_a_server_that_is_not_there_is_told_without_its_password(settings: Settings) -> None:
    pytest.importorskip("psycopg")
    gone = settings.model_copy(update={"ledger": Ledger(url="postgresql://me:hunter2@127.0.0.1:1/db")})
    found = only(ledger.look(gone))
    assert found.level is Level.WRONG and "hunter2" not in str(found)


def test_a_backup_is_due_when_the_settings_say_so(settings: Settings) -> None:
    assert only(ledger.backup(settings, time.time_ns())).level is Level.WARNING
    with closing(Database(settings.ledger_url)) as database:
        Backups(database, settings.backup_dir).make()
    now_ns = time.time_ns()
    assert only(ledger.backup(settings, now_ns)).level is Level.OK
    assert only(ledger.backup(settings, now_ns + 47 * HOUR_NS)).level is Level.OK
    late = only(ledger.backup(settings, now_ns + 49 * HOUR_NS))
    assert late.level is Level.WARNING and "49 h old" in late.found
    none = settings.model_copy(update={"ledger": Ledger(backup_every_hours=0)})
    assert only(ledger.backup(none, now_ns + 49 * HOUR_NS)).level is Level.NOTE


def test_only_a_sqlite_that_lacks_the_fix_of_its_log_is_noted() -> None:
    assert ledger.of_sqlite((3, 51, 3), "3.51.3").level is Level.OK
    assert ledger.of_sqlite((3, 51, 2), "3.51.2").level is Level.NOTE
