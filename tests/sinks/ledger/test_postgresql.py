"""What is different with PostgreSQL; all else is in the tests that run on both engines."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
from sqlalchemy import inspect

from pipeline.errors import AlreadyExists, BadValue, Missing, StorageError
from pipeline.instrument import Instrument
from pipeline.trading.account import Account
from pipeline.trading.money import Currency, Money
from pipeline.trading.transaction import Transaction, TransactionType
from sinks.ledger.database import Database
from sinks.ledger.ledger import open_ledger, read_ledger
from sinks.ledger.migrate import migrations, newest
from sinks.ledger.tables import METADATA
from tests.sinks.ledger.test_database import OPENER

BTC = Instrument("binance", "BTCUSDT")


def test_the_tables_are_those_of_the_migrations_in_a_schema_of_their_own(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.reading() as connection:
        made = inspect(connection)
        for table in METADATA.tables.values():
            columns = {c["name"]: c["nullable"] for c in made.get_columns(table.name, schema="trading")}
            assert columns == {c.name: c.nullable for c in table.columns}
        assert set(made.get_table_names(schema="trading")) == {*METADATA.tables, "schema_migrations"}
        assert made.get_table_names(schema="public") == []
    database.close()


def test_several_processes_start_at_once_and_write_beside_each_other(postgres_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", OPENER, postgres_url, str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for n in range(3)
    ]
    errors = [process.communicate(b"go\n")[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors
    with open_ledger(postgres_url) as ledger:
        assert ledger.gaps.sums()[BTC].open == 3 * 20


def test_a_schema_of_a_newer_version_is_refused(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO schema_migrations VALUES (77, 'future', 0)")
    database.close()
    for refused in (open_ledger, read_ledger):
        with pytest.raises(StorageError, match="version 77"):
            refused(postgres_url)


def test_to_read_nothing_is_made(postgres_url: str) -> None:
    assert read_ledger(postgres_url) is None
    open_ledger(postgres_url).close()
    reader = read_ledger(postgres_url)
    assert reader is not None
    reader.close()


def test_each_migration_is_recorded_once(postgres_url: str) -> None:
    for _ in range(2):
        database = Database(postgres_url)
        with database.reading() as connection:
            found = connection.exec_driver_sql("SELECT count(*), max(version) FROM schema_migrations").one()
        database.close()
        assert tuple(found) == (newest(migrations("postgresql")),) * 2


def test_a_server_that_is_not_there_or_a_driver_that_is_missing_is_told_of_without_the_password() -> None:
    with pytest.raises((StorageError, BadValue), match=r"127\.0\.0\.1") as refused:
        open_ledger("postgresql://u:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(refused.value)
    assert isinstance(refused.value, StorageError) == bool(find_spec("psycopg"))


def test_many_rows_go_in_one_stream_and_are_refused_as_few_are(postgres_url: str) -> None:
    with open_ledger(postgres_url) as ledger:
        ledger.accounts.save(Account(account_id="acc", name="many"))
        many = [
            Transaction(
                transaction_type=TransactionType.DEPOSIT, amount=Money(f"0.{n:018d}", Currency.USDT), description="\t\\N'"
            )
            for n in range(1, 101)
        ]
        ledger.transactions.save_many(many, "acc")
        assert {t.transaction_id: (t.amount, t.description) for t in ledger.transactions.find_by_account("acc")} == {
            t.transaction_id: (t.amount, t.description) for t in many
        }
        new = [replace(t, transaction_id=f"new{n}") for n, t in enumerate(many)]
        with pytest.raises(AlreadyExists, match=f"transaction '{many[7].transaction_id}' is stored already"):
            ledger.transactions.save_many([*new, many[7]], "acc")
        with pytest.raises(Missing, match="account_id 'nobody' isn't stored"):
            ledger.transactions.save_many(new, "nobody")
        assert ledger.transactions.count() == 100
