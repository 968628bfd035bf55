"""An account's day: exact values, computed ratios."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline.errors import BadValue
from pipeline.trading.performance import PerformanceMetrics
from tests.pipeline.trading.moves import NO_NUMBERS, seen

DAY = date(2024, 10, 23)


def metrics(**fields: Any) -> PerformanceMetrics:
    plain: dict[str, Any] = {
        "account_id": "acc_001",
        "date": DAY,
        "total_value_usd": 15000.0,
        "pnl_daily": 500.0,
        "pnl_total": -0.1,
    }
    return PerformanceMetrics(**plain | fields)


def test_values_are_exact_and_ratios_may_lack() -> None:
    made = metrics()
    assert seen(made.total_value_usd, made.pnl_daily, made.pnl_total) == (15000, 500, Decimal("-0.1"))
    assert (made.sharpe_ratio, made.sortino_ratio, made.max_drawdown, made.win_rate, made.profit_factor) == (None,) * 5


@pytest.mark.parametrize("field", ["sharpe_ratio", "sortino_ratio", "win_rate", "profit_factor"])
def test_a_computed_ratio_keeps_18_decimals(field: str) -> None:
    assert getattr(metrics(**{field: 0.00012345678901234567}), field) == Decimal("0.000123456789012346")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"account_id": "../../x"}, "account_id"),
        ({"date": datetime(2024, 10, 23)}, "date .*expected a date, without a time"),
        ({"date": "2024-10-23"}, "date '2024-10-23'"),
        ({"sharpe_ratio": float("nan")}, "sharpe_ratio"),
        ({"sortino_ratio": float("inf")}, "sortino_ratio"),
        ({"max_drawdown": 0.15}, "max_drawdown 0.15: expected 0 or less"),
        ({"win_rate": 60}, "win_rate 60: expected 0 to 1"),
        ({"win_rate": -0.1}, "win_rate -0.1: expected 0 to 1"),
        ({"profit_factor": -1}, "profit_factor -1: expected 0 or more"),
        ({"trades_count": -1}, "trades_count -1"),
        ({"trades_count": 1.5}, "trades_count 1.5"),
    ],
)
def test_what_can_be_no_day_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^performance of .*{why}"):
        metrics(**fields)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["total_value_usd", "pnl_daily", "pnl_total"])
def test_every_number_is_checked(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=f"performance of acc_001 on 2024-10-23: {field}"):
        metrics(**{field: value})


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        metrics().pnl_daily = Decimal(1)  # type: ignore[misc]  # that is what is tested
