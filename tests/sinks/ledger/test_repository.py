"""What all repositories do alike, on each engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC
from typing import Any

import pytest

from pipeline.errors import AlreadyExists, BadValue, InUse, Missing, NotAllowed, Stale
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.repository import Repository
from tests.sinks.ledger import made
from tests.sinks.ledger.made import START, later, store_order

MAKE: dict[str, Callable[..., Any]] = {
    "accounts": made.account,
    "strategies": made.strategy,
    "conditions": made.condition,
    "decisions": made.decision,
    "orders": made.order,
    "positions": made.position,
    "transactions": made.transaction,
    "trades": made.trade,
}
CHANGING = [name for name in MAKE if name not in ("transactions", "trades")]
CHANGED: dict[str, Callable[[Any], None]] = {
    "accounts": lambda entity: entity.deactivate(START),
    "strategies": lambda entity: entity.start(START),
    "conditions": lambda entity: entity.pause(START),
    "decisions": lambda entity: setattr(entity, "action", "SELL"),
    "orders": lambda entity: entity.submit(START),
    "positions": lambda entity: entity.mark("45000.5", START),
}
every_kind = pytest.mark.parametrize("kind", list(MAKE))
each_that_changes = pytest.mark.parametrize("kind", CHANGING)


def of(ledger: Ledger, kind: str) -> Repository[Any]:
    """A kind's repository, with the rows that its entities point to."""
    if kind == "transactions":
        ledger.accounts.save(made.account())
    if kind == "trades":
        store_order(ledger)
    repository = getattr(ledger, kind)
    assert isinstance(repository, Repository)
    return repository


def key(entity: Any) -> Any:
    return getattr(entity, entity.ID)


@every_kind
def test_what_is_stored_comes_back_equal_in_every_field(books: Ledger, kind: str) -> None:
    repository, entity = of(books, kind), MAKE[kind]("x1")
    assert repository.find_by_id("x1") is None
    assert (repository.exists("x1"), repository.count()) == (False, 0)
    repository.save(entity)
    found = repository.find_by_id("x1")
    assert found is not None
    for name in (f.name for f in fields(entity)):
        if name not in ("created_at", "occurred_at", "updated_at", "version"):
            assert getattr(found, name) == getattr(entity, name), name
    assert found.created_at.tzinfo is UTC
    assert repository.find_all() == [found]
    assert (repository.exists("x1"), repository.count()) == (True, 1)
    if kind in CHANGING:
        assert entity == found, "the one that was stored knows what the store knows of it"


@every_kind
def test_what_is_deleted_is_gone(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    repository.save_many([MAKE[kind]("x1"), MAKE[kind]("x2")])
    assert repository.delete("x1") is True
    assert repository.delete("x1") is False
    assert (repository.find_by_id("x1"), repository.exists("x1"), repository.count()) == (None, False, 1)


@every_kind
def test_a_key_that_is_taken_is_told_and_nothing_of_the_batch_is_written(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    repository.create(MAKE[kind]("x1"))
    with pytest.raises(AlreadyExists, match="'x1' is stored already"):
        repository.save_many([MAKE[kind]("x2"), MAKE[kind]("x1"), MAKE[kind]("x3")])
    with pytest.raises(AlreadyExists, match="'x1' is stored already"):
        repository.create(MAKE[kind]("x1"))
    assert [key(entity) for entity in repository.find_all()] == ["x1"]


@each_that_changes
def test_each_save_is_one_version_more(books: Ledger, kind: str) -> None:
    repository, entity = of(books, kind), MAKE[kind]("x1")
    repository.create(entity)
    first = entity.created_at
    assert entity.version == 1
    with pytest.raises(AlreadyExists, match="update it"):
        repository.create(entity)
    CHANGED[kind](entity)
    repository.update(entity)
    found = repository.find_by_id("x1")
    assert found == entity
    assert (entity.version, entity.created_at) == (2, first)
    assert found != replace(MAKE[kind]("x1"), version=2, created_at=first, updated_at=entity.updated_at), "nothing was changed"


@each_that_changes
def test_what_another_process_wrote_is_never_overwritten_unseen(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    repository.save(MAKE[kind]("x1"))
    mine, theirs = repository.find_by_id("x1"), repository.find_by_id("x1")
    CHANGED[kind](theirs)
    repository.save(theirs)
    CHANGED[kind](mine)
    with pytest.raises(Stale, match="'x1' was changed by another process"):
        repository.save(mine)
    assert repository.find_by_id("x1") == theirs
    repository.delete("x1")
    with pytest.raises(Missing, match="'x1' was deleted"):
        repository.save(theirs)


def test_two_ledgers_on_one_database_do_not_overwrite_each_other(ledger_url: str) -> None:
    with open_ledger(ledger_url) as one, open_ledger(ledger_url) as other:
        one.orders.save(made.order())
        mine, theirs = one.orders.find_by_id("o1"), other.orders.find_by_id("o1")
        assert mine is not None and theirs is not None
        theirs.cancel(START)
        other.orders.save(theirs)
        mine.execute(45000, at=START)
        with pytest.raises(Stale, match="order 'o1' was changed by another process"):
            one.orders.save(mine)
        with pytest.raises(NotAllowed, match="is cancelled"):
            one.orders.change("o1", lambda order: order.execute(45000, at=START))
        assert one.orders.find_by_id("o1") == theirs


@each_that_changes
def test_an_update_of_what_was_never_stored_is_refused(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    with pytest.raises(Missing, match="'x1' isn't stored: create it"):
        repository.update(MAKE[kind]("x1"))
    with pytest.raises(Missing, match="'x1' isn't stored"):
        repository.change("x1", CHANGED[kind])
    assert repository.count() == 0


@pytest.mark.parametrize("kind", ["transactions", "trades"])
def test_what_was_recorded_is_never_changed(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    repository.save(MAKE[kind]("x1"))
    with pytest.raises(BadValue, match="never changed"):
        repository.update(MAKE[kind]("x1"))


@each_that_changes
def test_what_a_failed_transaction_wrote_is_as_if_it_never_was(books: Ledger, kind: str) -> None:
    repository, entity = of(books, kind), MAKE[kind]("x1")
    with pytest.raises(RuntimeError, match="half"), books.transaction():
        repository.save(entity)
        CHANGED[kind](entity)
        repository.save(entity)
        raise RuntimeError("half")
    assert (entity.version, entity.created_at) == (0, None)
    assert repository.count() == 0
    repository.save(entity)
    assert repository.find_by_id("x1") == entity


@every_kind
def test_lists_are_cut_by_limit_and_offset(books: Ledger, kind: str) -> None:
    repository = of(books, kind)
    repository.save_many([MAKE[kind](f"x{n}") for n in range(5)])
    everything = repository.find_all()
    assert {key(entity) for entity in everything} == {f"x{n}" for n in range(5)}
    assert repository.find_all(limit=2) == everything[:2]
    assert repository.find_all(limit=2, offset=3) == everything[3:]
    assert repository.find_all(offset=4) == everything[4:]
    assert repository.find_all(limit=0) == []
    for wrong in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(BadValue, match="expected 0 or more"):
            repository.find_all(**wrong)


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("transactions", {"account_id": "nobody"}),
        ("conditions", {"strategy_id": "nobody"}),
        ("orders", {"account_id": "nobody"}),
        ("orders", {"strategy_id": "nobody"}),
        ("trades", {"order_id": "nobody"}),
        ("positions", {"account_id": "nobody"}),
        ("positions", {"strategy_id": "nobody"}),
    ],
)
def test_what_points_to_nothing_is_refused_and_named(books: Ledger, kind: str, points: dict[str, str]) -> None:
    (name,) = points
    with pytest.raises(Missing, match=f"'x1': {name} 'nobody' isn't stored"):
        getattr(books, kind).save(MAKE[kind]("x1", **points))
    assert getattr(books, kind).count() == 0


def test_what_belongs_to_an_account_goes_with_it(books: Ledger) -> None:
    store_order(books)
    books.accounts.save(made.account("other", "7 USDT"))
    own = {"account_id": "acc_001"}
    books.transactions.post(made.transaction("x1", "100"))
    books.trades.save(made.trade(**own))
    books.positions.save(made.position(**own))
    books.performance.save(made.day(1))
    assert books.balances.count() == 2
    assert books.accounts.delete("acc_001")
    counts = {name: getattr(books, name).count() for name in ("transactions", "orders", "trades", "positions", "performance")}
    assert set(counts.values()) == {0}, counts
    assert (books.balances.count(), books.strategies.count()) == (1, 1)


def test_the_fills_of_an_order_go_with_it(books: Ledger) -> None:
    store_order(books)
    books.trades.save(made.trade())
    assert books.orders.delete("o1")
    assert books.trades.count() == 0


@pytest.mark.parametrize("kind", ["orders", "positions", "conditions", "trades"])
def test_a_strategy_that_something_points_to_stays(books: Ledger, kind: str) -> None:
    of(books, kind)
    if kind != "trades":
        books.strategies.save(made.strategy())
    getattr(books, kind).save(MAKE[kind]("x1", strategy_id="s1"))
    with pytest.raises(InUse, match=f"strategy 's1' can't be deleted: .*{kind}.* still point"):
        books.strategies.delete("s1")
    assert books.strategies.exists("s1")
    getattr(books, kind).delete("x1")
    if kind == "trades":
        books.orders.delete("o1")
    assert books.strategies.delete("s1")


def test_reads_in_a_snapshot_are_of_one_moment(ledger_url: str) -> None:
    with open_ledger(ledger_url) as reader, open_ledger(ledger_url) as writer:
        writer.accounts.save(made.account())
        with reader.snapshot():
            before = reader.accounts.count()
            writer.accounts.save(made.account("other"))
            assert (before, reader.accounts.count()) == (1, 1)
        assert reader.accounts.count() == 2


def test_the_order_of_lists_is_that_of_time_then_of_keys(books: Ledger) -> None:
    books.orders.save_many([made.order(f"x{n}", created_at=later(n // 2)) for n in (3, 0, 2, 1)])
    assert [key(o) for o in books.orders.find_all()] == ["x3", "x2", "x1", "x0"]
    assert [key(o) for o in books.orders.find(newest_first=False)] == ["x0", "x1", "x2", "x3"]
    assert [key(o) for o in books.orders.find(limit=1, offset=1)] == ["x2"]
