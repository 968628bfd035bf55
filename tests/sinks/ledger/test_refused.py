"""What no ledger takes, and what it does not take for good: errors that say so, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from pipeline.errors import BadValue, StorageError
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger import made
from tests.sinks.ledger.made import START
from tests.sinks.ledger.test_repository import MAKE, every_kind, of


def assign(name: str, value: object) -> Callable[[Any], None]:
    return lambda entity: setattr(entity, name, value)


@pytest.mark.parametrize(
    ("kind", "name", "value", "told"),
    [
        ("orders", "quantity", float("nan"), "quantity NaN: expected"),
        ("orders", "quantity", -1, "quantity -1: expected more than 0"),
        ("orders", "status", "filled", "expected a status that fits"),
        ("strategies", "max_leverage", float("inf"), "max_leverage Infinity: expected"),
        ("strategies", "status", "sleeping", "expected one of inactive"),
        ("accounts", "closed_at", START, "expected an inactive and empty account"),
        ("conditions", "expires_at", datetime(2024, 1, 1), "expected a time zone"),
        ("positions", "quantity", 1, "expected an average_entry_price"),
    ],
)
def test_a_field_that_was_assigned_is_checked_before_it_is_stored(
    books: Ledger, kind: str, name: str, value: object, told: str
) -> None:
    repository = of(books, kind)
    repository.save(MAKE[kind]("x1"))
    with pytest.raises(BadValue, match=told):
        repository.change("x1", assign(name, value))
    assert [entity.version for entity in repository.find_all()] == [1]


def test_a_float_that_was_assigned_is_stored_as_its_shortest_text(books: Ledger) -> None:
    books.strategies.save(made.strategy())
    books.strategies.change("s1", assign("max_daily_loss", 1e-9))
    found = books.strategies.find_by_id("s1")
    assert found is not None
    assert format(found.max_daily_loss, "f") == "0.000000001"


BROKEN = [
    ("orders", "UPDATE orders SET status = 'asleep'", "OrderStatus 'asleep' is stored, and this Spillway knows only pending"),
    ("orders", "UPDATE orders SET quantity = 'lots'", "'lots' is stored: expected a decimal"),
    ("orders", "UPDATE orders SET quantity = 'NaN'", "what is stored can't be: order x1: quantity NaN"),
    ("orders", "UPDATE orders SET status = 'filled'", "what is stored can't be: order x1: status filled"),
    ("strategies", "UPDATE strategies SET parameters = '{'", "'{' is stored: expected JSON"),
    ("strategies", "UPDATE strategies SET started_at = 'yesterday'", "'yesterday' is stored: expected a moment"),
    ("conditions", "UPDATE conditions SET condition_type = 'magic'", "ConditionType 'magic' is stored"),
    ("transactions", "UPDATE transactions SET transaction_type = 'gift'", "TransactionType 'gift' is stored"),
]


@pytest.mark.parametrize(("kind", "sql", "told"), BROKEN)
def test_what_an_old_database_holds_and_this_version_does_not_know_is_an_error(kind: str, sql: str, told: str) -> None:
    with open_ledger("memory://") as ledger:
        repository = of(ledger, kind)
        repository.save(MAKE[kind]("x1"))
        with repository._database.writing() as connection:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            connection.exec_driver_sql(sql)
        for read in (lambda: repository.find_by_id("x1"), repository.find_all):
            with pytest.raises(StorageError) as refused:
                read()
            assert told in str(refused.value)


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    *((kind, {MAKE[kind]("x1").ID: "../../x"}, "'../../x': expected 1 to 128 letters") for kind in MAKE),
    ("orders", {"quantity": float("nan")}, "quantity NaN"),
    ("orders", {"quantity": "-1"}, "quantity -1: expected more than 0"),
    ("orders", {"price": float("inf")}, "price Infinity"),
    ("orders", {"submitted_at": datetime(2024, 1, 1)}, "submitted_at 2024-01-01T00:00:00: expected a time zone"),
    ("orders", {"side": "hold"}, "order side 'hold': expected one of buy, sell"),
    ("trades", {"quantity": 0}, "quantity 0: expected more than 0"),
    ("trades", {"executed_at": datetime(2024, 1, 1)}, "expected a time zone"),
    ("positions", {"realized_pnl": "0.0000000000000000001"}, "expected a number of at most 18 decimals"),
    ("transactions", {"occurred_at": datetime(2024, 1, 1)}, "expected a time zone"),
    ("strategies", {"parameters": {"x": float("nan")}}, "parameters.x nan"),
]


@pytest.mark.parametrize(("kind", "given", "told"), HOSTILE)
def test_what_cannot_be_is_refused_before_anything_is_written(
    books: Ledger, kind: str, given: dict[str, Any], told: str
) -> None:
    repository = of(books, kind)
    with pytest.raises(BadValue) as refused:
        repository.save_many([MAKE[kind]("good"), MAKE[kind]("x1", **given)])
    assert told in str(refused.value)
    assert repository.count() == 0


@every_kind
def test_a_hostile_key_is_a_key_that_nothing_has(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    repository.save(MAKE[kind]("x1"))
    for hostile in ("../../x", "x1' OR '1'='1", "%", "x1; DROP TABLE orders; --", ""):
        assert (repository.find_by_id(hostile), repository.exists(hostile), repository.delete(hostile)) == (None, False, False)
    assert repository.count() == 1


@pytest.mark.parametrize("name", ["O'Brien", 'the "best"; DROP TABLE accounts; --', "%_\\", "日本 ½ 🙂", "=1+1"])
def test_names_are_kept_as_they_are(books: Ledger, name: str) -> None:
    books.accounts.save(made.account(name=name))
    books.strategies.save(made.strategy(name=name, parameters={name: [name]}))
    books.conditions.save(made.condition(action=name))
    account, strategy = books.accounts.find_by_name(name), books.strategies.find_by_id("s1")
    assert account is not None and strategy is not None
    assert (account.name, strategy.name, strategy.parameters) == (name, name, {name: [name]})
    assert books.conditions.find_all()[0].action == name
