"""Conditions on each engine. What they have in common with a JSON file is tested with that."""

from __future__ import annotations

import pytest

from pipeline.errors import BadValue, Missing, NotAllowed
from pipeline.trading.condition import Condition, ConditionStatus
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger.made import condition, later, strategy


def ids(found: list[Condition]) -> list[str]:
    return [each.condition_id for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    books.strategies.save(strategy())
    books.conditions.save_many(
        [
            condition("c1", created_at=later(1), strategy_id="s1", expires_at=later(60)),
            condition("c2", created_at=later(2), symbol="ETHUSDT", comparison=None, value=None, condition_type="custom"),
            condition("c3", created_at=later(3), status="paused", expires_at=later(30), value="0.000000000000000001"),
        ]
    )
    return books


def test_conditions_are_found_by_all_that_is_given(kept: Ledger) -> None:
    find = kept.conditions.find
    assert ids(find()) == ["c3", "c2", "c1"]
    assert ids(find(symbol="BTCUSDT", newest_first=False)) == ["c1", "c3"]
    assert ids(find(condition_type="custom", status="active")) == ["c2"]
    assert ids(find(strategy_id="s1")) == ["c1"]
    assert ids(find(start=later(2), limit=1, offset=1)) == ["c2"]
    with pytest.raises(BadValue, match="condition type 'magic'"):
        find(condition_type="magic")


def test_conditions_are_found_by_symbol_status_and_strategy(kept: Ledger) -> None:
    conditions = kept.conditions
    assert ids(conditions.find_active()) == ids(conditions.find_by_status("active")) == ["c1", "c2"]
    assert ids(conditions.find_active("ETHUSDT")) == ["c2"]
    assert ids(conditions.find_by_symbol("BTCUSDT")) == ["c1", "c3"]
    assert ids(conditions.find_by_symbol("BTCUSDT", ConditionStatus.PAUSED)) == ["c3"]
    assert ids(conditions.find_by_strategy("s1")) == ["c1"]
    assert conditions.find_by_strategy("s1", "paused") == []


def test_a_condition_triggers_once(kept: Ledger) -> None:
    done = kept.conditions.trigger("c1", 60000.5, later(5))
    assert (done.status, str(done.triggered_value), done.triggered_at) == (ConditionStatus.TRIGGERED, "60000.5", later(5))
    assert kept.conditions.find_by_id("c1") == done
    with pytest.raises(NotAllowed, match="is triggered: it can't trigger"):
        kept.conditions.trigger("c1", 60001, later(6))
    with pytest.raises(NotAllowed, match="expired at"):
        kept.conditions.trigger(kept.conditions.resume("c3", later(31)).condition_id, 1, later(31))
    with pytest.raises(Missing, match="condition 'c9'"):
        kept.conditions.trigger("c9")


def test_conditions_pause_resume_cancel_and_expire(kept: Ledger) -> None:
    conditions = kept.conditions
    assert conditions.pause("c1").status is ConditionStatus.PAUSED
    assert conditions.resume("c1").status is ConditionStatus.ACTIVE
    assert conditions.cancel("c1").status is ConditionStatus.CANCELLED
    assert conditions.expire("c3").status is ConditionStatus.EXPIRED
    assert ids(conditions.find_active()) == ["c2"]


def test_those_whose_time_has_come_expire(kept: Ledger) -> None:
    assert kept.conditions.expire_due(later(29)) == []
    assert ids(kept.conditions.expire_due(later(30))) == ["c3"]
    assert ids(kept.conditions.expire_due(later(90))) == ["c1"]
    assert kept.conditions.expire_due() == []
    assert ids(kept.conditions.find_by_status("expired")) == ["c1", "c3"]


def test_another_process_sees_a_change_at_once(ledger_url: str) -> None:
    with open_ledger(ledger_url) as one, open_ledger(ledger_url) as other:
        one.conditions.save(condition())
        assert ids(other.conditions.find_active("BTCUSDT")) == ["c1"]
        other.conditions.trigger("c1", 1)
        assert one.conditions.find_active() == []
