"""Conditions by URL: the same behaviour in a JSON file, SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import AlreadyExists, BadValue, Missing, NotAllowed, Stale
from pipeline.trading.condition import Comparison, Condition, ConditionStatus, ConditionType
from sinks.ledger.conditions import Conditions
from sinks.ledger.json_conditions import JsonConditions
from sinks.ledger.open_conditions import open_conditions
from tests.sinks.ledger.postgres_server import make_database

START = datetime(2024, 10, 23, 14, 30, tzinfo=UTC)
Store = Conditions | JsonConditions


@pytest.fixture(scope="module")
def _postgres(postgres: str) -> str:
    return make_database(postgres, "conditions")


@pytest.fixture(params=["json", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there are none yet."""
    if request.param != "postgresql":
        return f"{request.param}:///{tmp_path}/conditions"
    server = str(request.getfixturevalue("_postgres"))
    with open_conditions(server) as left:
        for each in left.find_all():
            left.delete(each.condition_id)
    return server


@pytest.fixture
def conditions(url: str) -> Iterator[Store]:
    with open_conditions(url) as opened:
        yield opened


def condition(name: str, minutes: int = 0, **more: Any) -> Condition:
    return Condition(condition_id=name, created_at=START + timedelta(minutes=minutes), **({"symbol": "BTCUSDT"} | more))


def ids(found: list[Condition]) -> list[str]:
    return [each.condition_id for each in found]


def test_a_condition_comes_back_as_it_was(conditions: Store) -> None:
    whole = condition(
        "c1",
        symbol="BTC/USD",
        condition_type="indicator",
        comparison="crosses_above",
        value="60000.100000000000000001",
        action='say "it\'s; done"\n',
        parameters={"p": 0.1, "big": 10**18, "nested": [{"ü": None}], "e": 1e300},
        expires_at=START + timedelta(days=1),
    )
    conditions.save(whole)
    assert whole.version == 1
    found = conditions.find_by_id("c1")
    assert found == whole
    assert repr(found) == repr(whole)
    assert found.value == Decimal("60000.100000000000000001")


def test_what_was_read_may_be_changed_without_changing_what_is_stored(conditions: Store) -> None:
    conditions.save(condition("c1", parameters={"a": [1]}))
    found = conditions.find_by_id("c1")
    assert found
    found.parameters["a"].append(2)  # type: ignore[union-attr]
    found.pause()
    again = conditions.find_by_id("c1")
    assert again and (again.parameters, again.status) == ({"a": [1]}, ConditionStatus.ACTIVE)


def test_a_change_is_saved_over_what_was_read(conditions: Store) -> None:
    one = condition("c1")
    conditions.save(one)
    one.pause(START)
    conditions.update(one)
    assert (one.version, conditions.find_by_id("c1")) == (2, one)
    assert one.updated_at and one.updated_at > START  # the store's clock


def test_what_another_one_changed_is_never_overwritten(conditions: Store) -> None:
    conditions.save(condition("c1"))
    mine, theirs = conditions.find_by_id("c1"), conditions.find_by_id("c1")
    assert mine and theirs
    theirs.pause()
    conditions.save(theirs)
    mine.cancel()
    with pytest.raises(Stale, match="condition 'c1' was changed by another process"):
        conditions.save(mine)
    assert mine.version == 1
    assert conditions.find_by_id("c1") == theirs
    conditions.delete("c1")
    with pytest.raises(Missing, match="condition 'c1' was deleted"):
        conditions.save(theirs)


def test_an_id_is_stored_once(conditions: Store) -> None:
    first = condition("c1")
    conditions.create(first)
    for again in (condition("c1"), first):
        with pytest.raises(AlreadyExists, match="condition 'c1' is stored already"):
            conditions.create(again)
    with pytest.raises(Missing, match="condition 'c2' isn't stored"):
        conditions.update(condition("c2"))
    assert conditions.count() == 1


def test_many_are_saved_all_or_none(conditions: Store) -> None:
    conditions.save_many(condition(f"c{n}", n) for n in range(5))
    batch = [condition("new"), condition("c3")]
    with pytest.raises(AlreadyExists, match="condition 'c3' is stored already"):
        conditions.save_many(batch)
    assert [each.version for each in batch] == [0, 0]
    assert ids(conditions.find_all()) == ["c0", "c1", "c2", "c3", "c4"]
    conditions.save_many([])


def test_they_are_found_in_the_order_that_they_were_made_in(conditions: Store) -> None:
    conditions.save_many([condition("b", 1), condition("a", 1), condition("c", 0)])
    assert ids(conditions.find_all()) == ["c", "a", "b"]
    assert ids(conditions.find_all(limit=2, offset=1)) == ["a", "b"]
    assert ids(conditions.find_all(limit=0)) == []
    assert ids(conditions.find(limit=1)) == ["b"]
    for limit, offset in ((-1, 0), (1, -1)):
        with pytest.raises(BadValue, match="expected 0 or more"):
            conditions.find_all(limit, offset)


def test_they_are_found_by_what_they_are(conditions: Store) -> None:
    conditions.save_many(
        [
            condition("a", 0),
            condition("b", 1, symbol="ETHUSDT"),
            condition("c", 2, condition_type=ConditionType.DELTA),
            condition("d", 3, status="paused"),
        ]
    )
    assert ids(conditions.find_active()) == ["a", "b", "c"]
    assert ids(conditions.find_active("ETHUSDT")) == ["b"]
    assert ids(conditions.find_by_symbol("BTCUSDT")) == ["a", "c", "d"]
    assert ids(conditions.find_by_symbol("BTCUSDT", "paused")) == ["d"]
    assert ids(conditions.find_by_status("paused")) == ["d"]
    assert ids(conditions.find_by_strategy("nobody")) == []
    assert ids(conditions.find(condition_type="delta")) == ["c"]
    minute = timedelta(minutes=1)
    assert ids(conditions.find(start=START + minute, end=START + 3 * minute)) == ["c", "b"]
    with pytest.raises(BadValue, match="expected one of active"):
        conditions.find_by_status("done")
    with pytest.raises(BadValue, match="time zone"):
        conditions.find(start=datetime(2024, 1, 1))


def test_one_is_deleted_once(conditions: Store) -> None:
    conditions.save(condition("c1"))
    assert (conditions.exists("c1"), conditions.count()) == (True, 1)
    assert conditions.delete("c1")
    assert not conditions.delete("c1")
    assert (conditions.exists("c1"), conditions.find_by_id("c1"), conditions.find_all()) == (False, None, [])


def test_the_first_of_several_triggers_it(conditions: Store) -> None:
    conditions.save(condition("c1", comparison=Comparison.ABOVE, value=60_000))
    told: list[str] = []

    def trigger(value: int) -> None:
        try:
            conditions.trigger("c1", value)
            told.append("triggered")
        except NotAllowed:
            told.append("refused")

    threads = [threading.Thread(target=trigger, args=[60_001 + n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["refused", "refused", "refused", "triggered"]
    stored = conditions.find_by_id("c1")
    assert stored and (stored.status, stored.version) == (ConditionStatus.TRIGGERED, 2)


def test_each_step_is_stored(conditions: Store) -> None:
    conditions.save(condition("c1"))
    assert conditions.pause("c1", START).status is ConditionStatus.PAUSED
    assert conditions.resume("c1").status is ConditionStatus.ACTIVE
    cancelled = conditions.cancel("c1")
    assert conditions.find_by_id("c1") == cancelled
    assert cancelled.version == 4
    with pytest.raises(NotAllowed, match="cancelled"):
        conditions.trigger("c1")
    with pytest.raises(Missing, match="condition 'nobody' isn't stored"):
        conditions.trigger("nobody")


def test_those_whose_time_is_over_expire(conditions: Store) -> None:
    late = START + timedelta(hours=1)
    conditions.save_many(
        [
            condition("later", expires_at=late + timedelta(microseconds=1)),
            condition("due", expires_at=late),
            condition("before", expires_at=START, status="paused"),
            condition("never"),
            condition("done", expires_at=START, status="triggered"),
        ]
    )
    assert ids(conditions.expire_due(late)) == ["before", "due"]
    assert ids(conditions.find_by_status("expired")) == ["before", "due"]
    assert conditions.expire_due(late) == []


def test_a_change_that_fails_changes_nothing(conditions: Store) -> None:
    conditions.save(condition("c1"))

    def half(one: Condition) -> None:
        one.pause()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        conditions.change("c1", half)
    stored = conditions.find_by_id("c1")
    assert stored and (stored.status, stored.version) == (ConditionStatus.ACTIVE, 1)


def test_another_one_that_has_it_open_sees_a_change_at_once(url: str) -> None:
    with open_conditions(url) as mine, open_conditions(url) as theirs:
        assert theirs.find_all() == []
        mine.save(condition("c1"))
        for _ in range(10):
            paused = mine.pause("c1")
            assert theirs.find_by_id("c1") == paused
            resumed = theirs.resume("c1")
            assert mine.find_by_id("c1") == resumed
        theirs.delete("c1")
        assert not mine.exists("c1")


def test_they_are_there_when_it_is_opened_again(url: str) -> None:
    with open_conditions(url) as conditions:
        conditions.save(condition("c1"))
    with open_conditions(url) as conditions:
        assert ids(conditions.find_all()) == ["c1"]


@pytest.mark.parametrize("bad", ["json://x", "json:///", "json:///folder/", "json:x", "jsonl:///x", "no url"])
def test_a_url_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(BadValue, match="expected such as"), open_conditions(bad):
        raise AssertionError("opened")
