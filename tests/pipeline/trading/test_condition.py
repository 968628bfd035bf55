"""Conditions: when they are met, and every step from every status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.condition import MOVES, Comparison, Condition, ConditionStatus, ConditionType
from tests.pipeline.trading.moves import AT, LATER, NO_NUMBERS, decimals, refused


def condition(status: str = "active", **fields: Any) -> Condition:
    plain: dict[str, Any] = {"condition_id": "c1", "symbol": "BTCUSDT", "comparison": "above", "value": 60000, "status": status}
    return Condition(**plain | fields)


STEPS: dict[str, Callable[[Condition], None]] = {
    "trigger": lambda c: c.trigger("60000.5", LATER),
    "pause": lambda c: c.pause(LATER),
    "resume": lambda c: c.resume(LATER),
    "cancel": lambda c: c.cancel(LATER),
    "expire": lambda c: c.expire(LATER),
}
# status -> step -> the status after it; what is not here is not allowed
ALLOWED: dict[str, dict[str, str]] = {
    "active": {"trigger": "triggered", "pause": "paused", "cancel": "cancelled", "expire": "expired"},
    "paused": {"resume": "active", "cancel": "cancelled", "expire": "expired"},
    "triggered": {},
    "expired": {},
    "cancelled": {},
}


def test_the_table_of_this_test_has_every_status_and_step() -> None:
    assert set(ALLOWED) == set(ConditionStatus)
    assert set(STEPS) == set(MOVES)


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_from_each_status_is_allowed_or_changes_nothing(status: str, step: str) -> None:
    made = condition(status)
    after = ALLOWED[status].get(step)
    if after is None:
        allowed = ", ".join(move for move in MOVES if move in ALLOWED[status]) or "nothing more"
        says = f"^condition c1 is {status}: it can't {step}; allowed: {allowed}$"
        refused(NotAllowed, made, lambda: STEPS[step](made), says=says)
        return
    STEPS[step](made)
    assert (made.status, made.updated_at) == (after, LATER)
    assert type(made.status) is ConditionStatus
    triggered = (Decimal("60000.5"), LATER) if step == "trigger" else (None, None)
    assert (made.triggered_value, made.triggered_at) == triggered


def test_it_triggers_until_the_moment_that_it_expires_at() -> None:
    made = condition(expires_at=LATER)
    refused(NotAllowed, made, lambda: made.trigger(1, LATER), says="^condition c1 expired at 2024-10-24T00:00:00")
    just_before = LATER - timedelta(microseconds=1)
    assert (made.is_expired(LATER), made.is_expired(just_before), condition().is_expired(LATER)) == (True, False, False)
    made.trigger(1, just_before)
    assert made.status == "triggered"


@pytest.mark.parametrize(
    "step",
    [
        lambda c: c.trigger(float("nan"), AT),
        lambda c: c.trigger(1, datetime(2024, 1, 1)),
        lambda c: c.pause(datetime(2024, 1, 1)),
        lambda c: c.is_expired(datetime(2024, 1, 1)),
        lambda c: c.is_met(float("nan")),
        lambda c: c.is_met(1, float("nan")),
    ],
)
def test_a_bad_argument_changes_nothing(step: Callable[[Condition], None]) -> None:
    refused(BadValue, made := condition(expires_at=LATER), lambda: step(made))


@pytest.mark.parametrize(
    ("comparison", "met"),
    [
        ("above", (False, False, True)),
        ("at_or_above", (False, True, True)),
        ("below", (True, False, False)),
        ("at_or_below", (True, True, False)),
    ],
)
def test_a_value_is_held_against_the_conditions_own(comparison: str, met: tuple[bool, ...]) -> None:
    made = condition(comparison=comparison, value="0.3")
    last = Decimal("0.000000000000000001")
    values = (Decimal("0.3") - last, Decimal("0.3"), Decimal("0.3") + last)
    assert tuple(made.is_met(value) for value in values) == met
    assert tuple(made.is_met(value, previous=0.3) for value in values) == met


# before, now -> (crosses above, crosses below) of a limit of 10
CROSSINGS = {
    (9, 11): (True, False), (10, 11): (True, False), (11, 12): (False, False), (9, 10): (False, False),
    (11, 9): (False, True), (10, 9): (False, True), (9, 8): (False, False), (11, 10): (False, False),
    (None, 11): (False, False), (None, 9): (False, False),
}  # fmt: skip


@pytest.mark.parametrize(("values", "met"), CROSSINGS.items())
def test_a_crossing_needs_the_value_before_on_the_other_side(values: tuple[Any, int], met: tuple[bool, bool]) -> None:
    before, now = values
    assert condition(comparison="crosses_above", value=10).is_met(now, before) is met[0]
    assert condition(comparison="crosses_below", value=10).is_met(now, before) is met[1]


@given(st.lists(decimals("-2", "2", places=1), min_size=2, max_size=30))
def test_crossings_up_and_down_take_turns(values: list[Decimal]) -> None:
    up, down = condition(comparison="crosses_above", value=0), condition(comparison="crosses_below", value=0)
    crossings = []
    for before, now in pairwise(values):
        met = [c for c in (up, down) if c.is_met(now, before)]
        assert len(met) <= 1
        crossings += met
        if before < 0 < now or now < 0 < before:
            assert met == [up if now > 0 else down]
    assert up.status == down.status == "active"
    assert len(crossings) < len(values)


def test_one_without_a_comparison_is_for_its_strategy_to_judge() -> None:
    made = Condition(symbol="BTCUSDT", condition_type="custom", parameters={"hour": 14})  # type: ignore[arg-type]  # text is taken
    assert made.condition_type is ConditionType.CUSTOM
    refused(NotAllowed, made, lambda: made.is_met(1), says="has no comparison")


def test_it_gets_an_id_or_takes_a_uuid() -> None:
    assert Condition(symbol="X").condition_id != Condition(symbol="X").condition_id
    assert condition(condition_id=UUID(int=5)).condition_id == str(UUID(int=5))
    assert condition().comparison is Comparison.ABOVE


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"condition_id": "../../x"}, "condition_id"),
        ({"symbol": ""}, "symbol"),
        ({"condition_type": "luck"}, "condition type 'luck'"),
        ({"comparison": "near"}, "comparison 'near': expected one of above, "),
        ({"comparison": None}, "expected a comparison and a value, or neither"),
        ({"value": None}, "expected a comparison and a value, or neither"),
        ({"value": float("nan")}, "value"),
        ({"action": "\0"}, "action"),
        ({"action": None}, "action"),
        ({"parameters": {"a": {1}}}, r"parameters\.a"),
        ({"parameters": [1]}, "parameters"),
        ({"strategy_id": ""}, "strategy_id"),
        ({"status": "gone"}, "condition status 'gone'"),
        ({"triggered_value": "x"}, "triggered_value"),
        ({"expires_at": datetime(2024, 1, 1)}, "expires_at"),
        ({"triggered_at": datetime(2024, 1, 1)}, "triggered_at"),
        ({"created_at": datetime(2024, 1, 1)}, "created_at"),
        ({"updated_at": datetime(2024, 1, 1)}, "updated_at"),
        ({"version": -1}, "version"),
    ],
)
def test_what_can_be_no_condition_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^condition .*{why}"):
        condition(**fields)


@pytest.mark.parametrize("value", [v for v in NO_NUMBERS if v is not None], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["value", "triggered_value"])
def test_every_number_is_checked(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=field):
        condition(**{field: value})
