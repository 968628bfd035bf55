"""The schema: the same on both engines, and no row in it that the domain would refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, inspect
from sqlalchemy.engine.reflection import Inspector

from pipeline.errors import BadValue, Stale
from sinks.ledger.database import Database
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger import made
from tests.sinks.ledger.postgres_server import make_database

OF_THE_DATABASE = {"schema_migrations"}
VERSIONED = ["accounts", "strategies", "conditions", "decisions", "orders", "positions"]


@pytest.fixture(scope="module")
def both(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    lite = Database(f"sqlite:///{tmp_path_factory.mktemp('schema') / 'ledger.db'}")
    postgresql = Database(make_database(postgres, "schema_of_both"))
    yield lite, postgresql
    lite.close()
    postgresql.close()


def columns_of(made: Inspector, table: str) -> Any:
    return [(c["name"], c["nullable"]) for c in made.get_columns(table)]


def key_of(made: Inspector, table: str) -> Any:
    return made.get_pk_constraint(table)["constrained_columns"]


def foreign_keys_of(made: Inspector, table: str) -> Any:
    return sorted(
        (k["constrained_columns"], k["referred_table"], k["referred_columns"], k["options"].get("ondelete"))
        for k in made.get_foreign_keys(table)
    )


def indexes_of(made: Inspector, table: str) -> Any:
    found = [(str(i["name"]), i["column_names"], bool(i["unique"]), bool(_condition(i))) for i in made.get_indexes(table)]
    return sorted(found)


def _condition(index: Any) -> Any:
    options = index.get("dialect_options", {})
    return options.get("sqlite_where") is not None or options.get("postgresql_where") is not None


@pytest.mark.parametrize("part", [columns_of, key_of, foreign_keys_of, indexes_of])
def test_both_engines_have_the_same_tables(both: tuple[Database, Database], part: Any) -> None:
    with both[0].reading() as lite, both[1].reading() as postgresql:
        one, other = inspect(lite), inspect(postgresql)
        names = set(one.get_table_names())
        assert names == set(other.get_table_names())
        for table in sorted(names - OF_THE_DATABASE):
            assert part(one, table) == part(other, table), table


def checks(database: Database, table: str) -> set[str]:
    """What a table's rules are about: the columns, and the words that are allowed."""
    with database.reading() as connection:
        if connection.dialect.name == "sqlite":
            sql = connection.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE name = '{table}'").scalar_one()
            return {_about(rule) for rule in _rules(str(sql))} - {None}  # type: ignore[return-value]
        found = connection.exec_driver_sql(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid = %s::regclass", (table,)
        )
        return {about for (rule,) in found if (about := _about(str(rule)))}


def _rules(sql: str) -> list[str]:
    """The texts in the parentheses of each CHECK."""
    found = []
    for match in re.finditer(r"CHECK \(", sql):
        depth, at = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[at], 0)
            at += 1
        found.append(sql[match.end() : at - 1])
    return found


ENGINES_OWN = re.compile(r"length\(|closed_at GLOB|date GLOB|active IN")  # SQLite has no type for a moment or a truth
WORDS = re.compile(r"'[a-z_]+'(?!::regclass)")


def _about(rule: str) -> str | None:
    if ENGINES_OWN.search(rule):
        return None
    plain = re.sub(r"'[^']*'(::\w+)?", " ", rule)
    names = set(re.findall(r"\b[a-z_]{3,}\b", plain)) - {"text", "numeric", "real", "not", "and"}
    words = {word for word in WORDS.findall(rule) if word not in ("'infinity'",)}
    return " ".join(sorted(names) + sorted(words))


def test_both_engines_have_the_same_rules(both: tuple[Database, Database]) -> None:
    with both[0].reading() as connection:
        names = set(inspect(connection).get_table_names()) - OF_THE_DATABASE
    known = {table: (checks(both[0], table), checks(both[1], table)) for table in sorted(names)}
    for table, (lite, postgresql) in known.items():
        assert lite == postgresql, table
    assert sum(len(lite) for lite, _ in known.values()) > 60


def test_both_engines_watch_the_same_tables(both: tuple[Database, Database]) -> None:
    lite_sql = "SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'trigger'"
    other_sql = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    with both[0].reading() as lite, both[1].reading() as postgresql:
        watched = [{row[0] for row in c.exec_driver_sql(sql)} for c, sql in ((lite, lite_sql), (postgresql, other_sql))]
    assert watched[0] == watched[1] == {*VERSIONED, "performance_metrics"}


# --- what no program can write, whatever it is -------------------------------------------------------------------------------

WRONG = [
    ("accounts", "closed_at = created_at"),
    ("accounts", "account_type = 'demo'"),
    ("accounts", "version = 0"),
    ("balances", "available = '-1'"),
    ("balances", "locked = 'NaN'"),
    ("transactions", "amount = '0'"),
    ("transactions", "amount = '-1'"),
    ("transactions", "amount = 'Infinity'"),
    ("transactions", "transaction_type = 'gift'"),
    ("strategies", "max_leverage = '0'"),
    ("strategies", "total_trades = -1"),
    ("conditions", "comparison = NULL"),
    ("conditions", "status = 'asleep'"),
    ("orders", "quantity = '0'"),
    ("orders", "price = NULL"),
    ("orders", "price = '-1'"),
    ("orders", "stop_price = '1'"),
    ("orders", "status = 'filled'"),
    ("orders", "status = 'partially_filled'"),
    ("orders", "filled_quantity = '0.5'"),
    ("orders", "filled_quantity = '0.5', average_fill_price = '1'"),
    ("orders", "filled_quantity = '2', average_fill_price = '1', status = 'cancelled'"),
    ("orders", "filled_quantity = quantity, average_fill_price = '1', status = 'cancelled'"),
    ("trades", "price = '0'"),
    ("trades", "quantity = '-0.5'"),
    ("positions", "quantity = '1'"),
    ("positions", "average_entry_price = '-1', quantity = '1'"),
    ("positions", "current_price = '0'"),
    ("positions", "quantity = '1', average_entry_price = '1', closed_at = created_at"),
    ("performance_metrics", "win_rate = '1.01'"),
    ("performance_metrics", "max_drawdown = '0.01'"),
    ("performance_metrics", "profit_factor = '-1'"),
    ("performance_metrics", "trades_count = -1"),
    ("decision_minutes", "revision = 0"),
    ("decision_minutes", "minute = -1"),
]


@pytest.fixture
def full(books: Ledger) -> Ledger:
    """A row in each table."""
    made.store_order(books)
    books.transactions.post(made.transaction("x1"))
    books.conditions.save(made.condition())
    books.trades.save(made.trade())
    books.positions.save(made.position())
    books.performance.save(made.day(1))
    books.decisions.save_decision({"id": "d1", "minutes": [dict(zip(MINUTE, ("v", "s", 5, 1, "x"), strict=True))]})
    return books


MINUTE = ("venue", "symbol", "minute", "revision", "checksum")


def run(ledger: Ledger, sql: str) -> Any:
    with ledger.orders._database.writing() as connection:
        return connection.exec_driver_sql(sql)


def test_the_rules_let_through_what_they_should(full: Ledger) -> None:
    for statement in (
        "UPDATE accounts SET active = (1 = 0), closed_at = created_at",
        "UPDATE transactions SET amount = '-1', transaction_type = 'adjustment'",
        "UPDATE orders SET filled_quantity = '0.5', average_fill_price = '0.000000000000000001', status = 'cancelled'",
        "UPDATE orders SET filled_quantity = quantity, status = 'filled'",
        "UPDATE positions SET quantity = '-1', average_entry_price = '1'",
        "UPDATE performance_metrics SET win_rate = '1', max_drawdown = '0', profit_factor = '0'",
    ):
        run(full, statement)


@pytest.mark.parametrize(("table", "change"), WRONG)
def test_a_row_that_cannot_be_is_refused_whoever_writes_it(full: Ledger, table: str, change: str) -> None:
    with pytest.raises(BadValue):
        run(full, f"UPDATE {table} SET {change}")


# --- what a hand changed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", VERSIONED)
def test_who_changes_a_row_by_hand_makes_it_newer(full: Ledger, table: str) -> None:
    repository = getattr(full, table)
    (read,) = repository.find_all()
    column = {"decisions": "action", "orders": "error_message", "positions": "notes", "conditions": "action"}.get(table, "name")
    run(full, f"UPDATE {table} SET {column} = {column}")
    (found,) = repository.find_all()
    assert found.version == read.version + 1
    assert found.updated_at > read.updated_at
    with pytest.raises(Stale):
        repository.save(read)
    run(full, f"UPDATE {table} SET updated_at = created_at")
    (found,) = repository.find_all()
    assert (found.version, found.updated_at) == (read.version + 2, read.created_at), "what it says of the time counts"


def test_a_day_changed_by_hand_is_newer(full: Ledger) -> None:
    read = run(full, "SELECT updated_at FROM performance_metrics").scalar_one()
    run(full, "UPDATE performance_metrics SET trades_count = 3")
    assert run(full, "SELECT updated_at FROM performance_metrics").scalar_one() > read


def test_every_change_of_an_order_is_noted_once_however_it_is_made(full: Ledger) -> None:
    full.orders.cancel("o1")
    run(full, "UPDATE orders SET error_message = 'by hand'")
    run(full, "UPDATE orders SET error_message = 'again', version = version + 1")
    full.orders.delete("o1")
    sql = "SELECT version, change FROM changes WHERE entity = 'order' AND entity_id = 'o1' ORDER BY change_id"
    noted = [tuple(row) for row in run(full, sql)]
    assert noted == [(1, "created"), (2, "updated"), (3, "updated"), (4, "updated"), (4, "deleted")]


# --- indexes -----------------------------------------------------------------------------------------------------------------

BY_KEYS: dict[str, Any] = {
    "orders.find_by_id": lambda ledger: ledger.orders.find_by_id("x"),
    "orders.find_by_account": lambda ledger: ledger.orders.find_by_account("x", limit=10),
    "orders.find_by_strategy": lambda ledger: ledger.orders.find_by_strategy("x"),
    "orders.find_by_status": lambda ledger: ledger.orders.find_by_status("x", "filled"),
    "orders.find_by_symbol": lambda ledger: ledger.orders.find_by_symbol("x", "y"),
    "orders.find_by_instrument": lambda ledger: ledger.orders.find_by_instrument("x", "filled"),
    "orders.find_by_exchange_order_id": lambda ledger: ledger.orders.find_by_exchange_order_id("x"),
    "orders.find_active": lambda ledger: ledger.orders.find_active(),
    "orders.find_active of a strategy": lambda ledger: ledger.orders.find_active("x"),
    "orders.get_pending_orders": lambda ledger: ledger.orders.get_pending_orders("x"),
    "orders.count_by_status": lambda ledger: ledger.orders.count_by_status("x"),
    "orders.find in a range": lambda ledger: ledger.orders.find(start=made.START, limit=10),
    "orders.find the last": lambda ledger: ledger.orders.find(limit=10),
    "trades.find_by_order": lambda ledger: ledger.trades.find_by_order("x"),
    "trades.find_by_strategy": lambda ledger: ledger.trades.find_by_strategy("x", made.START),
    "trades.find_by_instrument": lambda ledger: ledger.trades.find_by_instrument("x"),
    "trades.find_by_account": lambda ledger: ledger.trades.find_by_account("x"),
    "trades.find_by_exchange_trade_id": lambda ledger: ledger.trades.find_by_exchange_trade_id("x"),
    "trades.get_daily_trades": lambda ledger: ledger.trades.get_daily_trades("x", made.START.date()),
    "trades.total_pnl": lambda ledger: ledger.trades.total_pnl("x", made.START),
    "trades.total_value": lambda ledger: ledger.trades.total_value(symbol="x"),
    "trades.total_commission": lambda ledger: ledger.trades.total_commission(account_id="x"),
    "trades.pnl_by_strategy": lambda ledger: ledger.trades.pnl_by_strategy(made.START),
    "trades.find the last": lambda ledger: ledger.trades.find(limit=10),
    "transactions.find_by_account": lambda ledger: ledger.transactions.find_by_account("x"),
    "transactions.find_by_type": lambda ledger: ledger.transactions.find_by_type("x", "deposit"),
    "transactions.find_by_currency": lambda ledger: ledger.transactions.find_by_currency("x", "USDT"),
    "transactions.find_by_period": lambda ledger: ledger.transactions.find_by_period("x", made.START, made.later(1)),
    "transactions.get_sum_by_type": lambda ledger: ledger.transactions.get_sum_by_type("x", "deposit", "USDT"),
    "transactions.get_sums": lambda ledger: ledger.transactions.get_sums("x"),
    "positions.find_open": lambda ledger: ledger.positions.find_open(),
    "positions.find_by_instrument": lambda ledger: ledger.positions.find_by_instrument("x", "y"),
    "positions.find_to_fill": lambda ledger: ledger.positions.find_to_fill("x", None, "y"),
    "positions.find_by_account": lambda ledger: ledger.positions.find_by_account("x"),
    "positions.find the last": lambda ledger: ledger.positions.find(limit=10),
    "conditions.find_active": lambda ledger: ledger.conditions.find_active("x"),
    "conditions.find_by_strategy": lambda ledger: ledger.conditions.find_by_strategy("x"),
    "conditions.expire_due": lambda ledger: ledger.conditions.expire_due(made.START),
    "conditions.find the last": lambda ledger: ledger.conditions.find(limit=10),
    "strategies.find_active": lambda ledger: ledger.strategies.find_active(),
    "strategies.find_by_type": lambda ledger: ledger.strategies.find_by_type("custom"),
    "accounts.find_by_name": lambda ledger: ledger.accounts.find_by_name("x"),
    "decisions.get_decisions": lambda ledger: ledger.decisions.get_decisions(),
    "decisions.get_decisions of a pair": lambda ledger: ledger.decisions.get_decisions("x"),
    "decisions.cleanup": lambda ledger: ledger.decisions.cleanup_old_decisions(),
    "decisions.find_by_minute": lambda ledger: ledger.decisions.find_by_minute("x", "y", 5),
    "performance.find_range": lambda ledger: ledger.performance.find_range("x"),
    "performance.get_best_day": lambda ledger: ledger.performance.get_best_day("x"),
    "strategies.delete": lambda ledger: ledger.strategies.delete("x"),
    "accounts.delete": lambda ledger: ledger.accounts.delete("x"),
}


@pytest.mark.parametrize("what", list(BY_KEYS))
def test_each_query_has_an_index(what: str) -> None:
    asked: list[str] = []
    with open_ledger("memory://") as ledger, ledger.orders._database.writing() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.set_trace_callback(asked.append)
        BY_KEYS[what](ledger)
        driver.set_trace_callback(None)
        plans = [(sql, plan) for sql in asked if sql.startswith(("SELECT", "DELETE")) for plan in plan_of(connection, sql)]
    assert plans
    if what in THROUGH_AN_INDEX:
        plans = [(sql, plan) for sql, plan in plans if not re.search(f"USING (COVERING )?INDEX {THROUGH_AN_INDEX[what]}", plan)]
        plans = [(sql, "SCAN" if plan == "USE TEMP B-TREE FOR ORDER BY" else plan) for sql, plan in plans]
    assert not [(sql, plan) for sql, plan in plans if plan.startswith("SCAN")]


THROUGH_AN_INDEX = {  # in its order, so that the last few of all, or all of a kind, are not looked for
    "orders.find the last": "orders_by_time",
    "trades.find the last": "trades_by_time",
    "positions.find the last": "positions_by_time",
    "conditions.find the last": "conditions_by_time",
    "decisions.get_decisions": "decisions_by_time",
    "positions.find_open": "positions_open",
    "trades.pnl_by_strategy": "trades_by_strategy",
}


def plan_of(connection: Connection, sql: str) -> list[str]:
    return [str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
