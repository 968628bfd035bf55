"""Decisions come back as they were given, with what they saw."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from pipeline.trading.decision import Decision, DecisionAction
from pipeline.trading.minute_ref import MinuteRef
from tests.pipeline.trading.test_plain import texts, values

SEED = {
    "id": "decision_uuid",
    "timestamp": "2024-12-29T10:30:00.000000",
    "asset_pair": "BTCUSD",
    "action": "BUY",
    "confidence": 0.85,
    "reasoning": 'momentum; it\'s "clear"',
    "indicators": {"rsi": 61.5, "levels": [1, 2.0, None, True]},
}
MINUTE = {"venue": "binance", "symbol": "BTCUSDT", "minute": 28_828_230, "revision": 2, "checksum": "0a1b"}
REF = MinuteRef(**MINUTE)  # type: ignore[arg-type]


def test_the_seeds_decision_comes_back_as_it_was_given() -> None:
    made = Decision.from_dict(SEED)
    assert (made.decision_id, made.asset_pair, made.action, made.confidence) == (
        "decision_uuid",
        "BTCUSD",
        DecisionAction.BUY,
        0.85,
    )
    assert made.at == datetime(2024, 12, 29, 10, 30, tzinfo=UTC)
    assert made.to_dict() == SEED
    assert type(made.to_dict()["action"]) is str


known = st.fixed_dictionaries(
    {"id": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,20}", fullmatch=True)},
    optional={
        "timestamp": st.none() | st.datetimes().map(lambda at: at.isoformat()),
        "asset_pair": st.sampled_from([None, "BTCUSD", "BTC/USD"]),
        "action": st.sampled_from([None, "BUY", "SELL", "HOLD"]),
        "confidence": st.none() | st.integers(0, 100) | st.floats(0, 1),
        "minutes": st.sampled_from(
            [None, 15, [], [1], "x", [MINUTE], [MINUTE | {"minute": "2024-10-23T14:30"}], [{"venue": 1}]]
        ),
    },
)


@given(known, st.dictionaries(texts, values, max_size=5))
def test_any_decision_comes_back_as_it_was_given(told: dict[str, Any], extra: dict[str, Any]) -> None:
    given_ = {
        key: value
        for key, value in extra.items()
        if key not in {"id", "timestamp", "asset_pair", "action", "confidence", "minutes"}
    }
    given_ |= told
    back = Decision.from_dict(copy.deepcopy(given_)).to_dict()
    assert back == given_
    assert json.dumps(back, sort_keys=True) == json.dumps(given_, sort_keys=True)
    assert Decision.from_dict(back) == Decision.from_dict(given_)


def test_the_record_shares_nothing_with_the_dict() -> None:
    given_ = copy.deepcopy(SEED)
    made = Decision.from_dict(given_)
    given_["indicators"]["levels"].append(5)  # type: ignore[index]
    made.to_dict()["indicators"]["rsi"] = 0  # type: ignore[index, call-overload]
    assert made.to_dict() == SEED


@pytest.mark.parametrize(
    "decision",
    [
        Decision.from_dict(SEED, minutes=[REF]),
        Decision.from_dict(SEED | {"minutes": [REF]}),
        Decision.from_dict(SEED | {"minutes": (MINUTE,)}),
        Decision.from_dict(SEED | {"minutes": [MINUTE]}),
    ],
)
def test_the_minutes_that_it_saw_are_kept(decision: Decision) -> None:
    assert decision.minutes == (REF,)
    assert decision.to_dict() == SEED | {"minutes": [MINUTE]}
    assert Decision.from_dict(decision.to_dict()) == decision


def test_minutes_written_as_text_are_understood_and_given_back_as_text() -> None:
    given_ = SEED | {"minutes": [MINUTE | {"minute": "2024-10-23T14:30"}]}
    made = Decision.from_dict(given_)
    assert made.minutes == (REF,)
    assert made.to_dict() == given_


@pytest.mark.parametrize("value", [15, "1h", [1, 2], [], [{"venue": "binance"}]])
def test_a_key_named_minutes_that_means_something_else_is_kept_as_it_is(value: Any) -> None:
    made = Decision.from_dict(SEED | {"minutes": value})
    assert made.minutes == ()
    assert made.to_dict()["minutes"] == value


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": None}, "expected a dict with an id"),
        ({"id": "../../x"}, "id '../../x'"),
        ({"timestamp": "soon"}, "timestamp 'soon': expected ISO text"),
        ({"timestamp": 1735468200}, "timestamp 1735468200: expected ISO text"),
        ({"timestamp": datetime(2024, 12, 29, tzinfo=UTC)}, "timestamp datetime"),
        ({"asset_pair": ""}, "asset_pair ''"),
        ({"asset_pair": 5}, "asset_pair 5"),
        ({"action": "PANIC"}, "decision action 'PANIC': expected one of BUY, SELL, HOLD"),
        ({"confidence": float("nan")}, "confidence nan"),
        ({"confidence": True}, "confidence True: expected a number"),
        ({"confidence": "high"}, "confidence 'high': expected a number"),
        ({"extra": float("inf")}, r"decision\.extra inf"),
        ({"extra": {1, 2}}, r"decision\.extra"),
        ({5: 1}, "key 5: expected text"),
        ({"minutes": [MINUTE | {"revision": 0}]}, "revision 0"),
    ],
)
def test_what_can_be_no_decision_is_refused_by_name(change: dict[Any, Any], why: str) -> None:
    with pytest.raises(BadValue, match=why):
        Decision.from_dict(SEED | change)


def test_what_is_no_dict_or_has_no_id_is_refused() -> None:
    nothings: list[Any] = [{}, {"action": "BUY"}, None, [], "x"]
    for nothing in nothings:
        with pytest.raises(BadValue, match="expected a dict with an id"):
            Decision.from_dict(nothing)


@pytest.mark.parametrize("extra", [{"id": "other"}, {"id": None}, {"action": "BUY"}, {"timestamp": "2024-01-01"}])
def test_extra_keys_can_not_contradict_the_fields(extra: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match="expected none of the fields' own"):
        Decision(decision_id="d1", extra=extra)
