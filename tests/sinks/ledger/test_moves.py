"""A ledger taken into another one: all of it, once, exactly, and nothing that differs without being told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import LedgerConflict
from pipeline.minute import Gap
from pipeline.trading.minute_ref import MinuteRef
from pipeline.trading.money import Money
from sinks.ledger import moves, plain_rows
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.moves import Moved, move
from sinks.ledger.types import instant_text
from tests.sinks.ledger.filled import BTC, content, decision, deposit, fill, order


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'source.db'}") as opened:
        fill(opened, transactions=30)
        yield opened


@pytest.fixture
def target() -> Iterator[Ledger]:
    with open_ledger("memory://") as opened:
        yield opened


def test_from_sqlite_to_postgresql_and_back_all_is_the_same(source: Ledger, postgres_url: str, target: Ledger) -> None:
    before = content(source._database)
    with open_ledger(postgres_url) as postgres:
        there = move(source._database, postgres._database)
        assert content(postgres._database) == before
        back = move(postgres._database, target._database)
    assert content(target._database) == before
    assert there == back
    assert there.tables["transactions"] == Moved(rows=31, added=31)
    assert there.sums["transactions.amount"] == "1000000000001.500000000000000015"
    assert there.sums["balances.available"] == there.sums["transactions.amount"]


def test_taken_again_nothing_changes_and_what_is_new_is_added(source: Ledger, target: Ledger) -> None:
    move(source._database, target._database)
    before = content(target._database)
    again = move(source._database, target._database)
    assert content(target._database) == before
    assert {(m.added, m.replaced) for m in again.tables.values()} == {(0, 0)}
    source.gaps.found(BTC, [Gap(10, 11, 30, 40)], 50)
    source.decisions.save_decision(decision("d2"), [MinuteRef("kraken", "BTC/USD", 5, 1, "x")])
    more = move(source._database, target._database)
    assert (more.tables["gaps"].added, more.tables["decisions"].added) == (1, 1)
    assert content(target._database) == content(source._database)


def test_what_differs_is_named_and_stays_before_anything_is_written(source: Ledger, target: Ledger) -> None:
    move(source._database, target._database)
    stored = target.orders.find_by_id("o1")
    assert stored is not None
    stored.execute(executed_price=45100)
    target.orders.save(stored)
    source.conditions.delete("c1")
    source.orders.save(order("o2"))
    before = content(target._database)
    with pytest.raises(LedgerConflict, match=r"orders: 1 are stored with another content \(o1\).*--replace"):
        move(source._database, target._database)
    assert content(target._database) == before
    done = move(source._database, target._database, replace=True)
    assert (done.tables["orders"].replaced, done.tables["orders"].added) == (1, 1)
    assert target.orders.find_by_id("o1") == source.orders.find_by_id("o1")
    assert target.conditions.find_by_id("c1") is not None  # what only the target holds stays
    assert target.trades.find_by_id("t1") is not None


def test_a_part_that_only_one_has_makes_the_whole_differ(source: Ledger, target: Ledger) -> None:
    move(source._database, target._database)
    target.transactions.post(deposit(5, "EUR"), "acc_001")
    account, theirs = target.accounts.find_by_id("acc_001"), source.accounts.find_by_id("acc_001")
    assert account is not None
    assert theirs is not None
    assert theirs.updated_at is not None
    with target._database.writing() as connection:  # the row is the same again, its balance is not
        connection.exec_driver_sql(
            "UPDATE accounts SET version = ?, updated_at = (SELECT created_at FROM accounts)", (theirs.version,)
        )
        connection.exec_driver_sql("UPDATE accounts SET updated_at = ?", (instant_text(theirs.updated_at),))
    with pytest.raises(LedgerConflict, match=r"accounts: 1 are stored .*acc_001"):
        move(source._database, target._database)
    move(source._database, target._database, replace=True)
    found = target.accounts.find_by_id("acc_001")
    assert found is not None
    assert found.balance == theirs.balance
    assert found.balance.available("EUR") == Money(0, "EUR")


def test_a_gap_that_was_repaired_meanwhile_differs(source: Ledger, target: Ledger) -> None:
    move(source._database, target._database)
    with source._database.writing() as connection:
        connection.exec_driver_sql("UPDATE gaps SET state = 'repaired', ended_ns = 77, how = 'asked'")
    with pytest.raises(LedgerConflict, match="gaps: 1 are"):
        move(source._database, target._database)
    assert move(source._database, target._database, replace=True).tables["gaps"].replaced == 1
    assert content(target._database)["gaps"] == content(source._database)["gaps"]


def test_stopped_half_way_it_goes_on_where_it_was(source: Ledger, target: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_rows, "AT_ONCE", 7)

    def stop(what: str, done: int, total: int) -> None:
        if 0 < target.transactions.count() < 31:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(source._database, target._database, told=stop)
    begun = len(content(target._database)["transactions"])
    assert 0 < begun < 31
    rest = move(source._database, target._database)
    assert rest.tables["transactions"] == Moved(rows=31, added=31 - begun, same=begun)
    assert content(target._database) == content(source._database)


def test_a_row_that_did_not_arrive_as_it_was_is_told_of(
    source: Ledger, target: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = moves._insert

    def lose(connection: object, table: object, rows: list[object]) -> None:
        insert(connection, table, rows if str(table) != "trades" else [])  # type: ignore[arg-type]

    monkeypatch.setattr(moves, "_insert", lose)
    with pytest.raises(moves.StorageError, match="trades t1 is not there as it was written"):  # type: ignore[attr-defined]
        move(source._database, target._database)
