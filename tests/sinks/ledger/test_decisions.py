"""Decisions, as the dicts that they were given as, and the minutes that they were made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import AlreadyExists, BadValue, Stale
from pipeline.trading.decision import Decision
from pipeline.trading.minute_ref import MinuteRef
from sinks.ledger.decisions import Decisions
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.made import START, decision, later

FULL: dict[str, Any] = {
    "id": "decision_uuid",
    "timestamp": "2024-12-29T10:30:00.000000",
    "asset_pair": "BTCUSD",
    "action": "BUY",
    "confidence": 0.85,
    "reasons": ['it\'s "cheap"; -- ', {"rsi": 30.10, "n": 3, "big": 2**70, "tiny": 1e-9, "none": None, "yes": True}],
}


def given_at(key: str, minute: float, pair: str = "BTCUSD", **more: Any) -> dict[str, Any]:
    return {"id": key, "timestamp": later(minute).replace(tzinfo=None).isoformat(), "asset_pair": pair} | more


def saw(minute: int, revision: int = 1, symbol: str = "BTCUSDT") -> MinuteRef:
    return MinuteRef("binance", symbol, minute, revision, f"sum{revision}")


def ids(found: list[Any]) -> list[Any]:
    return [each["id"] if isinstance(each, dict) else each.decision_id for each in found]


@pytest.fixture
def decisions(books: Ledger) -> Decisions:
    return books.decisions


def exactly(value: object) -> str:
    """Equal, and of the same types: 1 is not 1.0, nor True. The order of keys doesn't count."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {exactly(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(exactly, value)) + "]"
    return repr(value)


def test_a_dict_comes_back_as_it_was_given(decisions: Decisions) -> None:
    for n, each in enumerate((FULL, {"id": "bare"}, FULL | {"id": "other", "confidence": 1, "asset_pair": None})):
        decisions.save_decision(each)
        assert exactly(decisions.get_decision_by_id(each["id"])) == exactly(each)
        assert decisions.get_decision_count() == n + 1
    assert decisions.get_decision_by_id("nobody") is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé'\";{ "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(extra=st.dictionaries(st.sampled_from(["a", "b", "minutes", "document", "version"]), JSON, max_size=4))
def test_whatever_json_a_program_adds_is_kept(decisions: Decisions, extra: dict[str, Any]) -> None:
    decisions.wipe_all_decisions()
    decisions.save_decision(FULL | extra, [saw(1), saw(2)])
    found = decisions.find_by_id("decision_uuid")
    assert found is not None
    assert found.minutes == (saw(1), saw(2))
    expected = FULL | {"minutes": [ref.to_dict() for ref in found.minutes]} | extra
    assert exactly(found.to_dict()) == exactly(expected)


def test_the_newest_come_first_by_their_own_time_then_by_when_they_were_stored(decisions: Decisions) -> None:
    for each in (given_at("b", 1), given_at("c", 2), given_at("a", 1), given_at("z", 0, "ETHUSD")):
        decisions.save_decision(each)
    assert ids(decisions.get_decisions()) == ["c", "a", "b", "z"]
    assert ids(decisions.get_decisions("BTCUSD", limit=2)) == ids(decisions.get_recent_decisions(2, "BTCUSD")) == ["c", "a"]
    assert ids(decisions.get_decisions("ETHUSD")) == ["z"]
    assert decisions.get_decisions("btcusd") == []
    decisions.save_decision({"id": "now"})
    assert ids(decisions.get_recent_decisions(limit=1)) == ["now"], "without a time it is as new as its storing"


def test_ten_are_given_if_nothing_else_is_said(decisions: Decisions) -> None:
    for n in range(12):
        decisions.save_decision(given_at(f"d{n}", n))
    assert ids(decisions.get_decisions()) == ids(decisions.get_recent_decisions()) == [f"d{n}" for n in range(11, 1, -1)]
    with pytest.raises(BadValue, match="limit -1"):
        decisions.get_decisions(limit=-1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"asset_pair": "BTCUSD"}, "expected a dict with an id"),
        ({"id": "../../x"}, "id '../../x'"),
        (FULL | {"action": "buy"}, "expected one of BUY, SELL, HOLD"),
        (FULL | {"confidence": float("nan")}, "confidence nan"),
        (FULL | {"deep": [{"why": float("inf")}]}, r"deep\[0\]\.why inf"),
        (FULL | {"timestamp": "yesterday"}, "timestamp 'yesterday'"),
        (FULL | {"seen": {1, 2}}, "seen"),
    ],
)
def test_what_can_be_no_decision_is_refused_not_skipped(decisions: Decisions, given: dict[str, Any], told: str) -> None:
    for store in (decisions.save_decision, decisions.update_decision):
        with pytest.raises(BadValue, match=told):
            store(given)
    assert decisions.get_decision_count() == 0


def test_an_update_replaces_or_stores(decisions: Decisions) -> None:
    decisions.update_decision(FULL)
    with pytest.raises(AlreadyExists, match="decision 'decision_uuid' is stored already: update_decision replaces it"):
        decisions.save_decision(FULL | {"action": "SELL"})
    first = decisions.find_by_id("decision_uuid")
    decisions.update_decision(FULL | {"action": "SELL", "outcome": 1.5})
    second = decisions.find_by_id("decision_uuid")
    assert first is not None and second is not None
    assert second.to_dict() == FULL | {"action": "SELL", "outcome": 1.5}
    assert (second.version, second.created_at, decisions.count()) == (2, first.created_at, 1)
    first.extra["outcome"] = 2
    with pytest.raises(Stale):
        decisions.save(first)


def test_a_decision_is_deleted_once(decisions: Decisions) -> None:
    decisions.save_decision(FULL)
    assert (decisions.delete_decision("decision_uuid"), decisions.delete_decision("decision_uuid")) == (True, False)


def test_old_ones_are_cleaned_up_by_their_own_time(decisions: Decisions) -> None:
    now = datetime.now(UTC)
    for key, age in (("young", 29.9), ("old", 30.1), ("older", 400)):
        decisions.save_decision({"id": key, "timestamp": (now - timedelta(days=age)).isoformat()})
    assert decisions.cleanup_old_decisions() == 2
    assert ids(decisions.get_decisions()) == ["young"]
    assert decisions.cleanup_old_decisions(days=30, at=now + timedelta(days=1)) == 1
    with pytest.raises(BadValue, match="days -1"):
        decisions.cleanup_old_decisions(days=-1)
    with pytest.raises(BadValue, match="expected a time zone"):
        decisions.cleanup_old_decisions(at=datetime(2024, 1, 1))


def test_all_are_wiped_and_their_minutes_with_them(decisions: Decisions) -> None:
    decisions.save_decision({"id": "a"}, [saw(1)])
    decisions.save_decision({"id": "b"})
    assert (decisions.wipe_all_decisions(), decisions.wipe_all_decisions()) == (2, 0)
    assert decisions.minutes_seen() == []


def test_decisions_are_found_by_all_that_is_given(decisions: Decisions) -> None:
    decisions.save_many(
        [
            decision("d1", timestamp=later(1).isoformat(), action="SELL"),
            decision("d2", timestamp=later(2).isoformat(), asset_pair="ETHUSD"),
            decision("d3", timestamp=later(3).isoformat()),
        ]
    )
    assert ids(decisions.find()) == ["d3", "d2", "d1"]
    assert ids(decisions.find(newest_first=False, limit=1, offset=1)) == ["d2"]
    assert ids(decisions.find(asset_pair="BTCUSD", action="BUY")) == ["d3"]
    assert ids(decisions.find(start=later(1), end=later(3))) == ["d2", "d1"]
    with pytest.raises(BadValue, match="decision action 'buy'"):
        decisions.find(action="buy")


def test_a_decision_is_found_by_the_minute_that_it_saw(decisions: Decisions) -> None:
    decisions.save_decision(given_at("a", 1), [saw(10), saw(11, 3)])
    decisions.save_decision(given_at("b", 2) | {"minutes": [saw(11).to_dict(), saw(11, symbol="BTC/USDT").to_dict()]})
    decisions.save_decision(given_at("c", 3))
    assert decisions.minutes_seen() == [
        ("b", saw(11, symbol="BTC/USDT")),
        ("a", saw(10)),
        ("a", saw(11, 3)),
        ("b", saw(11)),
    ]
    assert ids(decisions.find_by_minute("binance", "BTCUSDT", 11)) == ["b", "a"]
    assert ids(decisions.find_by_minute("binance", "BTCUSDT", "1970-01-01T00:10")) == ["a"]
    assert ids(decisions.find_by_minute("binance", "BTCUSDT", datetime(1970, 1, 1, 0, 12, tzinfo=UTC))) == []
    found = decisions.find_by_id("a")
    assert found is not None
    assert found.minutes == (saw(10), saw(11, 3))


def test_an_update_replaces_the_minutes(decisions: Decisions) -> None:
    decisions.save_decision({"id": "a"}, [saw(10), saw(11)])
    decisions.update_decision({"id": "a"}, [saw(11, 2), saw(12)])
    assert decisions.minutes_seen() == [("a", saw(11, 2)), ("a", saw(12))]
    decisions.update_decision({"id": "a"})
    assert decisions.minutes_seen() == []


def test_a_minute_that_stands_twice_is_refused(decisions: Decisions) -> None:
    with pytest.raises(BadValue, match="decision a: a minute stands twice"):
        decisions.save_decision({"id": "a"}, [saw(10), saw(10, 2)])
    assert decisions.count() == 0


def test_references_beside_something_else_of_their_name_are_kept_for_many(decisions: Decisions) -> None:
    batch = [
        Decision(decision_id=f"d{n}", timestamp=START.isoformat(), extra={"minutes": n}, minutes=(saw(n),)) for n in range(600)
    ]
    decisions.save_many(batch)
    assert sorted(found.minutes[0].minute for found in decisions.find_all()) == list(range(600))
