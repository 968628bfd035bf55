"""The ledger's database: how it is opened, who may write it when, and what its errors say."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect

from pipeline.errors import BadValue, DiskFull, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import Gap
from sinks.ledger import sqlite
from sinks.ledger.database import Database
from sinks.ledger.ledger import open_ledger, read_ledger
from sinks.ledger.migrate import Migration, migrations, newest
from sinks.ledger.tables import METADATA

BTC = Instrument("binance", "BTCUSDT")
COLUMNS = "venue, symbol, kind, first_id, last_id, found_ns, state, how"


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


def answer(path: Path, sql: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def test_a_commit_is_durable_and_the_log_is_written_ahead(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path))
    with database.writing() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("synchronous", "foreign_keys")}
    database.close()
    assert pragmas == {"synchronous": 2, "foreign_keys": 1}
    assert answer(tmp_path / "ledger.db", "PRAGMA journal_mode") == "wal"


def test_the_folder_is_made_and_the_file_is_not_for_everyone(tmp_path: Path) -> None:
    open_ledger(url_of(tmp_path / "a" / "b")).close()
    assert (tmp_path / "a" / "b" / "ledger.db").stat().st_mode & 0o007 == 0


def test_the_tables_are_those_of_the_migrations(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path))
    with database.reading() as connection:
        made = inspect(connection)
        for table in METADATA.tables.values():
            columns = {c["name"]: c["nullable"] for c in made.get_columns(table.name)}
            assert columns == {c.name: c.nullable for c in table.columns}
            assert made.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
        assert set(made.get_table_names()) == {*METADATA.tables, "schema_migrations"}
    database.close()


def test_both_engines_have_the_same_migrations_without_a_hole() -> None:
    lite, postgres = ([(m.version, m.name) for m in migrations(name)] for name in ("sqlite", "postgresql"))
    assert lite == postgres
    assert [version for version, _ in lite] == list(range(1, len(lite) + 1))


def test_a_migration_is_cut_at_the_ends_of_its_statements() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM b;\n  DELETE FROM c;\nEND;"
    step = Migration(1, "x", f"-- why; for this\nCREATE TABLE a (x TEXT DEFAULT ';');\n{trigger}\n")
    assert [s.splitlines()[-1] for s in step.statements()] == ["CREATE TABLE a (x TEXT DEFAULT ';');", "END;"]
    with pytest.raises(ValueError, match="no end"):
        list(Migration(1, "x", "CREATE TABLE a (x TEXT)").statements())


def test_each_migration_is_recorded_once(tmp_path: Path) -> None:
    for clock in (11, 22):
        Database(url_of(tmp_path), clock_ns=lambda clock=clock: clock).close()  # type: ignore[misc]
    count = answer(tmp_path / "ledger.db", "SELECT count(*) FROM schema_migrations")
    assert count == newest(migrations("sqlite"))
    assert answer(tmp_path / "ledger.db", "SELECT max(applied_ns) FROM schema_migrations") == 11


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [*migrations("sqlite"), Migration(99, "bad", "CREATE TABLE half (x TEXT);\nCREATE TABLE gaps (x TEXT);")]
    with monkeypatch.context() as patch:
        patch.setattr("sinks.ledger.database.migrations", lambda _: bad)
        with pytest.raises(StorageError, match=r"ledger\.db: table gaps already exists"):
            Database(url_of(tmp_path))
    assert answer(tmp_path / "ledger.db", "SELECT count(*) FROM sqlite_master") == 0


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_ledger(url_of(tmp_path)).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (77, 'future', 0)")
    connection.close()
    for refused in (open_ledger, read_ledger):
        with pytest.raises(StorageError, match=r"ledger\.db: its schema has version 77, and this Spillway knows none above"):
            refused(url_of(tmp_path))


def test_to_read_a_database_of_an_older_version_it_must_be_brought_up_to_date_first(tmp_path: Path) -> None:
    open_ledger(url_of(tmp_path)).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version > 1")
    connection.close()
    with pytest.raises(StorageError, match=r"version 1.*spillway run"):
        read_ledger(url_of(tmp_path))


def test_to_read_nothing_is_made(tmp_path: Path) -> None:
    assert read_ledger(url_of(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "ledger.db").touch()  # another process is about to make it
    assert read_ledger(url_of(tmp_path)) is None


def test_what_is_read_is_what_was_committed_while_the_writer_goes_on(tmp_path: Path) -> None:
    with open_ledger(url_of(tmp_path)) as writer:
        reader = read_ledger(url_of(tmp_path))
        assert reader is not None
        with reader:
            assert reader.gaps.find() == []
            writer.gaps.found(BTC, [Gap(1, 5, 10, 20)], 30)
            assert [row.ids for row in reader.gaps.find()] == [5]
            with pytest.raises(StorageError, match="readonly"), reader.gaps._database.reading() as connection:
                connection.exec_driver_sql("DELETE FROM gaps")


KILLED = """
import os, signal, sys
from sinks.ledger.ledger import open_ledger
from tests.sinks.ledger.test_database import BTC
from pipeline.minute import Gap

ledger = open_ledger(sys.argv[1])
ledger.gaps.found(BTC, [Gap(1, 5, 10, 20)], 30)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_in_its_log_can_be_read(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, url_of(tmp_path)], check=False)
    assert (tmp_path / "ledger.db-wal").stat().st_size
    reader = read_ledger(url_of(tmp_path))
    assert reader is not None
    with reader:
        assert [row.ids for row in reader.gaps.find()] == [5]


OPENER = """
import sys
from sinks.ledger.ledger import open_ledger
from tests.sinks.ledger.test_database import BTC
from pipeline.minute import Gap

sys.stdin.readline()
n = int(sys.argv[2])
with open_ledger(sys.argv[1]) as ledger:
    for i in range(20):
        ledger.gaps.found(BTC, [Gap(n * 1000 + 2 * i, n * 1000 + 2 * i, 1, 2)], 3)
"""


def test_several_processes_start_at_once_and_write_beside_each_other(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, url_of(tmp_path), str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    with open_ledger(url_of(tmp_path)) as ledger:
        assert ledger.gaps.sums()[BTC].open == 4 * 20
    assert answer(tmp_path / "ledger.db", "PRAGMA integrity_check") == "ok"


def test_threads_share_a_ledger(tmp_path: Path) -> None:
    with open_ledger(url_of(tmp_path)) as ledger:

        def write(n: int) -> None:
            for i in range(10):
                ledger.gaps.found(BTC, [Gap(n * 100 + 2 * i, n * 100 + 2 * i, 1, 2)], 3)
                ledger.gaps.find(limit=3)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.gaps.sums()[BTC].open == 50


def test_a_transaction_is_undone_whole(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path))
    with pytest.raises(RuntimeError, match="half"), database.writing() as connection:
        connection.exec_driver_sql(f"INSERT INTO gaps ({COLUMNS}) VALUES ('v', 's', 'ids', 1, 2, 3, 'open', '')")
        raise RuntimeError("half")
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM gaps").scalar_one() == 0
    database.close()


def test_a_writer_that_holds_it_for_too_long_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(url_of(tmp_path)) as first:
        monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
        with first.gaps._database.writing(), pytest.raises(StorageError, match=r"ledger\.db: another process is writing"):
            open_ledger(url_of(tmp_path))


def test_a_foreign_writer_that_holds_it_for_too_long_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(url_of(tmp_path)).close()
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    foreign = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"ledger\.db: is locked by another process"):
        open_ledger(url_of(tmp_path))
    foreign.close()


@pytest.mark.parametrize("content", [b"this is no database, but a letter" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    for refused in (open_ledger, read_ledger):
        with pytest.raises(StorageError, match=r"ledger\.db: is damaged, or no SQLite database"):
            refused(url_of(tmp_path))
    assert path.read_bytes() == content


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(StorageError, match=r"ledger\.db"):
        open_ledger(url_of(tmp_path))


@pytest.mark.privileged
def test_a_full_disk_is_told_of_and_what_was_committed_stays(small_disk: Callable[..., Path]) -> None:
    folder = small_disk("2m")
    with open_ledger(url_of(folder)) as ledger:
        kept = 0
        with pytest.raises(DiskFull, match=r"ledger\.db"):
            for n in range(100_000):
                ledger.gaps.found(BTC, [Gap(2 * n + 1, 2 * n + 1, 1, 2)], 3)
                kept += 1
        assert kept
        assert ledger.gaps.sums()[BTC].open == kept
    assert answer(folder / "ledger.db", "PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_url_that_cannot_be_a_ledgers_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadValue, match="ledger's URL") as refused:
        open_ledger(url)
    assert "hunter2" not in str(refused.value)
