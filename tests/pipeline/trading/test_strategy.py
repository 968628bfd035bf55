"""Strategies: every step from every status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.strategy import MOVES, Strategy, StrategyStatus, StrategyType
from tests.pipeline.trading.moves import AT, LATER, NO_NUMBERS, refused


def strategy(status: str = "inactive", **fields: Any) -> Strategy:
    return Strategy(**{"strategy_id": "s1", "name": "Trend", "status": status} | fields)


STEPS: dict[str, Callable[[Strategy], None]] = {
    "start": lambda s: s.start(LATER),
    "pause": lambda s: s.pause(LATER),
    "resume": lambda s: s.resume(LATER),
    "stop": lambda s: s.stop(LATER),
    "fail": lambda s: s.fail("no data", LATER),
}
# status -> step -> the status after it; what is not here is not allowed
ALLOWED: dict[str, dict[str, str]] = {
    "inactive": {"start": "active"},
    "active": {"pause": "paused", "stop": "stopped", "fail": "error"},
    "paused": {"resume": "active", "stop": "stopped", "fail": "error"},
    "stopped": {"start": "active"},
    "error": {"start": "active", "stop": "stopped"},
}


def test_the_table_of_this_test_has_every_status_and_step() -> None:
    assert set(ALLOWED) == set(StrategyStatus)
    assert set(STEPS) == set(MOVES)


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_from_each_status_is_allowed_or_changes_nothing(status: str, step: str) -> None:
    made = strategy(status, started_at=AT)
    after = ALLOWED[status].get(step)
    if after is None:
        says = f"^strategy s1 is {status}: it can't {step}; allowed: {', '.join(m for m in MOVES if m in ALLOWED[status])}$"
        refused(NotAllowed, made, lambda: STEPS[step](made), says=says)
        return
    STEPS[step](made)
    assert (made.status, made.updated_at) == (after, LATER)
    assert type(made.status) is StrategyStatus
    assert made.started_at == (LATER if step == "start" else AT)
    assert made.stopped_at == (LATER if after in {"stopped", "error"} else None)


def test_a_failure_is_told_until_it_starts_again() -> None:
    made = strategy("active")
    made.fail("the venue is gone", AT)
    assert (made.error_message, made.stopped_at) == ("the venue is gone", AT)
    made.start(LATER)
    assert (made.error_message, made.stopped_at, made.started_at) == (None, None, LATER)


@pytest.mark.parametrize(
    "step",
    [
        lambda s: s.fail("\0"),
        lambda s: s.fail(None),
        lambda s: s.fail("why", datetime(2024, 1, 1)),
        lambda s: s.stop(datetime(2024, 1, 1)),
        lambda s: s.record_trade(datetime(2024, 1, 1)),
        lambda s: s.update_pnl(float("nan"), 1),
        lambda s: s.update_pnl(1, float("nan")),
        lambda s: s.update_pnl(1, 1, datetime(2024, 1, 1)),
    ],
)
def test_a_bad_argument_changes_nothing(step: Callable[[Strategy], None]) -> None:
    refused(BadValue, made := strategy("active", started_at=AT), lambda: step(made))


@pytest.mark.parametrize("status", StrategyStatus)
def test_trades_and_profit_are_recorded_in_any_status(status: str) -> None:
    made = strategy(status)
    made.record_trade(AT)
    made.record_trade()
    made.update_pnl(0.1 + 0.2, "-5.5", AT)
    assert (made.total_trades, made.total_pnl, made.daily_pnl) == (2, Decimal("0.30000000000000004"), Decimal("-5.5"))
    assert (made.status, made.updated_at) == (status, AT)


def test_parameters_and_instruments_are_its_own() -> None:
    parameters, instruments = {"window": [1, 2]}, ["BTCUSDT"]
    made = strategy(parameters=parameters, instruments=instruments)
    parameters["window"].append(3)
    instruments.append("ETHUSDT")
    assert (made.parameters, made.instruments) == ({"window": [1, 2]}, ["BTCUSDT"])
    assert strategy().parameters is not strategy().parameters


def test_texts_become_members() -> None:
    assert strategy(strategy_type="market_making").strategy_type is StrategyType.MARKET_MAKING


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"strategy_id": "../../x"}, "strategy_id"),
        ({"name": ""}, "name"),
        ({"strategy_type": "luck"}, "strategy type 'luck'"),
        ({"status": "gone"}, "strategy status 'gone'"),
        ({"parameters": {"a": float("nan")}}, r"parameters\.a nan"),
        ({"parameters": None}, "parameters None: expected a dict"),
        ({"instruments": "BTCUSDT"}, "instruments 'BTCUSDT': expected a list of symbols"),
        ({"instruments": [""]}, "instrument ''"),
        ({"max_position_size": 0}, "max_position_size 0"),
        ({"max_daily_loss": -1}, "max_daily_loss -1"),
        ({"max_leverage": 0}, "max_leverage 0"),
        ({"total_trades": -1}, "total_trades -1"),
        ({"total_trades": 1.0}, "total_trades 1.0"),
        ({"error_message": "\0"}, "error_message"),
        ({"started_at": datetime(2024, 1, 1)}, "started_at"),
        ({"stopped_at": datetime(2024, 1, 1)}, "stopped_at"),
        ({"created_at": datetime(2024, 1, 1)}, "created_at"),
        ({"updated_at": datetime(2024, 1, 1)}, "updated_at"),
        ({"version": None}, "version"),
    ],
)
def test_what_can_be_no_strategy_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^strategy .*{why}"):
        strategy(**fields)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["total_pnl", "daily_pnl"])
def test_every_number_is_checked(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=field):
        strategy(**{field: value})
