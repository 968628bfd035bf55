"""`DatabaseManager`: SQL on a ledger, the same on each engine, and its upkeep."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import AlreadyExists, BadValue, NotAllowed, StorageError
from sinks.ledger import manager
from sinks.ledger.manager import DatabaseManager
from sinks.ledger.sql import Row
from sinks.ledger.sqlite import SqliteEngine
from tests.sinks.ledger.filled import NAUGHTY, START, condition, content, fill

INSERT = (
    "INSERT INTO accounts (account_id, name, account_type, active, created_at, updated_at, version) "
    "VALUES (?, ?, 'paper', ?, ?, ?, 1) -- is 100 % a row? yes"
)


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseManager]:
    if request.param == "postgresql":
        where = str(request.getfixturevalue("postgres_url"))
    else:
        where = "memory://" if request.param == "memory" else str(tmp_path / "data" / "jarvis_trading.db")
    with DatabaseManager(where) as opened:
        yield opened


def account(key: str, name: str = "Main") -> tuple[object, ...]:
    return (key, name, True, START, START)


def test_a_transaction_commits_at_its_end_and_undoes_all_on_an_error(db: DatabaseManager) -> None:
    with db.transaction() as conn:
        cursor = conn.cursor()
        cursor.execute(INSERT, account("acc_001"))
        cursor.execute(INSERT, account("acc_002"))
        assert cursor.rowcount == 1
    with pytest.raises(AlreadyExists), db.transaction() as conn:
        conn.execute(INSERT, account("acc_003"))
        conn.execute(INSERT, account("acc_001"))
    assert [row["account_id"] for row in db.execute_query("SELECT account_id FROM accounts ORDER BY 1")] == [
        "acc_001",
        "acc_002",
    ]


def test_a_connection_reads_and_goes_back_to_the_pool(db: DatabaseManager) -> None:
    db.ledger.conditions.save(condition())
    for _ in range(3 * db.max_connections):
        with db.get_connection() as conn:
            cursor = conn.cursor()
            cursor.execute("SELECT symbol, value FROM conditions WHERE condition_id = ?", ("c1",))
            rows = cursor.fetchall()
        assert [(row[0], Decimal(row["value"])) for row in rows] == [("BTCUSDT", Decimal(60000))]
    with pytest.raises(StorageError, match=r"read-?only"), db.get_connection() as conn:
        conn.execute("DELETE FROM conditions")


def test_values_never_become_a_part_of_the_statement(db: DatabaseManager) -> None:
    assert db.execute_update(INSERT, account("acc_001", NAUGHTY)) == 1
    question = "SELECT name AS \"what?\", '?' AS text, 7 % 4 FROM accounts WHERE name = ? /* not ? */ AND name LIKE '%TABLE%'"
    (row,) = db.execute_query(question, [NAUGHTY])
    assert tuple(row) == (NAUGHTY, "?", 3)
    assert row["what?"] == NAUGHTY
    assert row.keys()[:2] == ["what?", "text"]
    assert db.execute_query("SELECT 1 FROM accounts WHERE account_id = ?", ("' OR 1=1 --",)) == []


def test_many_rows_are_written_in_one_transaction_or_none(db: DatabaseManager) -> None:
    assert db.execute_many(INSERT, [account(f"acc_{n:03}") for n in range(7)]) == 7
    assert db.execute_many(INSERT, []) == 0
    with pytest.raises(AlreadyExists):
        db.execute_many(INSERT, [account("new"), account("acc_003")])
    assert db.execute_query("SELECT count(*) FROM accounts")[0][0] == 7
    assert db.execute_update("UPDATE accounts SET name = ? WHERE account_id < ?", ("x", "acc_004")) == 4


def test_decimals_and_moments_are_written_as_the_ledger_keeps_them(db: DatabaseManager) -> None:
    fill(db.ledger)
    db.execute_update(
        "UPDATE trades SET price = ?, executed_at = ? WHERE trade_id = ?",
        (Decimal("0.10"), START + timedelta(microseconds=5), "t1"),
    )
    trade = db.ledger.trades.find_by_id("t1")
    assert trade is not None
    assert (trade.price, trade.executed_at) == (Decimal("0.1"), START + timedelta(microseconds=5))


@pytest.mark.parametrize(
    "sql", ["COMMIT", " rollback;", "/* x */ BEGIN", "-- y\nSAVEPOINT a", "VACUUM", "ATTACH 'x' AS y", "", "--"]
)
def test_what_would_end_or_begin_a_transaction_within_the_block_is_refused(tmp_path: Path, sql: str) -> None:
    with DatabaseManager("memory://") as db, pytest.raises(BadValue, match="within the block's transaction"):
        db.execute_update(sql)


def test_wrong_use_is_named(tmp_path: Path) -> None:
    closed = DatabaseManager(tmp_path / "x.db")
    for use in (lambda: closed.ledger, lambda: closed.execute_query("SELECT 1"), closed.check):
        with pytest.raises(NotAllowed, match=r"initialize\(\)"):
            use()
    closed.close()
    for most in (0, True, "5"):
        with pytest.raises(BadValue, match="max_connections"):
            DatabaseManager(tmp_path / "x.db", most)  # type: ignore[arg-type]
    with DatabaseManager("memory://") as db:
        with pytest.raises(BadValue, match="expected a tuple"):
            db.execute_query("SELECT ?", "text")
        with pytest.raises(StorageError, match="no such table"):
            db.execute_query("SELECT * FROM nowhere")
        with pytest.raises(BadValue, match="nothing to fetch"), db.get_connection() as conn:
            conn.cursor().fetchall()


def test_no_more_connections_than_allowed_are_given_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "WAIT_S", 0.01)
    with DatabaseManager(tmp_path / "x.db", max_connections=1) as db, db.get_connection():
        errors: list[StorageError] = []

        def ask() -> None:
            try:
                db.execute_query("SELECT 1")
            except StorageError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert "all 1 connections are taken" in str(errors[0])


def test_threads_share_a_manager(db: DatabaseManager) -> None:
    def work(n: int) -> None:
        for i in range(5):
            db.execute_update(INSERT, account(f"acc_{n}_{i}"))
            assert db.execute_query("SELECT 1 FROM accounts WHERE account_id = ?", (f"acc_{n}_{i}",))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.execute_query("SELECT count(*) FROM accounts")[0][0] == 40


def test_a_cursor_gives_rows_one_by_one_some_or_all(db: DatabaseManager) -> None:
    with db.get_connection() as conn:
        cursor = conn.execute("SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 ORDER BY 1")
        assert [column[0] for column in cursor.description or []] == ["n"]
        assert cursor.fetchone() == (1,)
        assert cursor.fetchmany(2) == [(2,), (3,)]
        assert list(cursor) == [(4,)]
        assert cursor.fetchone() is None
        cursor.close()
    with pytest.raises(KeyError):
        Row.of((1,), ["n"])["m"]


# --- upkeep -------------------------------------------------------------------------------------------------------------


def test_a_backup_restores_what_was(db: DatabaseManager, tmp_path: Path) -> None:
    fill(db.ledger)
    before = content(db.ledger._database)
    db.backup(tmp_path / "saved")
    db.ledger.performance.delete("acc_001", START.date())
    saved = db.restore(str(tmp_path / "saved"))
    assert content(db.ledger._database) == before
    assert saved.parent == tmp_path
    assert db.check() == []


def test_statistics_count_rows_and_bytes(db: DatabaseManager) -> None:
    fill(db.ledger, transactions=5)
    found = db.statistics()
    assert found.rows["transactions"] == 6
    assert found.rows["balances"] == 2
    assert found.schema_version == db.ledger._database.schema
    assert found.size is not None
    assert found.size >= found.page_count * found.page_size - found.page_size > 0


def test_a_cleanup_forgets_old_notes_of_changes_only(db: DatabaseManager) -> None:
    fill(db.ledger)
    before = content(db.ledger._database)
    assert db.cleanup(START) == 0
    assert db.cleanup(db.ledger._database.now() + timedelta(hours=1)) == 2  # a condition and an order were made
    assert content(db.ledger._database) == before
    with pytest.raises(BadValue):
        db.cleanup(START.replace(tzinfo=None))


def test_a_vacuum_gives_back_what_was_deleted(tmp_path: Path) -> None:
    with DatabaseManager(tmp_path / "x.db") as db:
        fill(db.ledger, transactions=800)
        db.ledger.trades.delete("t1")
        db.ledger.orders.delete("o1")
        db.ledger.accounts.delete("acc_001")
        full = db.statistics()
        assert full.free_pages
        db.vacuum()
        small = db.statistics()
        assert (small.free_pages, small.wal_size) == (0, 0)
        assert (small.size or 0) < (full.size or 0)


def test_a_row_that_points_to_nothing_is_found(db: DatabaseManager) -> None:
    fill(db.ledger)
    engine = db.ledger._database.engine
    if engine.name == "sqlite":
        assert isinstance(engine, SqliteEngine)
        raw = engine._connect()
        raw.execute("PRAGMA foreign_keys = OFF")
        raw.execute("DELETE FROM orders")
        raw.close()
    else:
        with db.transaction() as conn:
            conn.execute("SET LOCAL session_replication_role = replica")
            conn.execute("DELETE FROM orders")
    (line,) = db.check()
    assert line.startswith("trades")
    assert "points to nothing in orders" in line
