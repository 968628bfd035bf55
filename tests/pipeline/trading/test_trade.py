"""Our own fills: what they are worth, and what is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given

from pipeline.errors import BadValue
from pipeline.trading.money import Currency
from pipeline.trading.trade import Liquidity, Trade, TradeSide
from tests.pipeline.trading.moves import AT, NO_NUMBERS, decimals


def trade(**fields: Any) -> Trade:
    plain: dict[str, Any] = {
        "trade_id": "t1",
        "order_id": "ord_001",
        "symbol": "BTCUSDT",
        "side": "buy",
        "quantity": 2,
        "price": 100,
    }
    return Trade(**plain | {"executed_at": AT} | fields)


@given(decimals("1e-18", "1e9"), decimals("1e-18", "1e9"), decimals("-5", "5"))
def test_values_are_exact_and_the_commission_counts_against_us(quantity: Decimal, price: Decimal, commission: Decimal) -> None:
    gross = Fraction(quantity) * Fraction(price)
    for side, sign in (("buy", 1), ("sell", -1)):
        made = trade(side=side, quantity=quantity, price=price, commission=commission)
        assert Fraction(made.gross_value) == gross
        assert Fraction(made.net_value) == gross + sign * Fraction(commission)


def test_texts_become_members() -> None:
    made = trade(side="sell", liquidity="maker", commission_currency="BNB")
    assert made.side is TradeSide.SELL
    assert made.liquidity is Liquidity.MAKER
    assert made.commission_currency is Currency.BNB


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"trade_id": ""}, "trade_id"),
        ({"order_id": "../../x"}, "order_id"),
        ({"symbol": " "}, "symbol"),
        ({"side": "hold"}, "trade side 'hold'"),
        ({"quantity": 0}, "quantity 0: expected more than 0"),
        ({"price": -1}, "price -1: expected more than 0"),
        ({"strategy_id": ""}, "strategy_id"),
        ({"account_id": ""}, "account_id"),
        ({"commission_currency": "usd"}, "currency 'usd'"),
        ({"realized_pnl": "x"}, "realized_pnl"),
        ({"exchange_trade_id": ""}, "exchange_trade_id"),
        ({"execution_venue": ""}, "execution_venue"),
        ({"liquidity": "both"}, "liquidity 'both': expected one of maker, taker"),
        ({"executed_at": None}, "executed_at"),
        ({"executed_at": datetime(2024, 1, 1)}, "executed_at"),
        ({"created_at": datetime(2024, 1, 1)}, "created_at"),
        ({"notes": "\0"}, "notes"),
    ],
)
def test_what_can_be_no_trade_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^trade .*{why}"):
        trade(**fields)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["quantity", "price", "commission"])
def test_every_number_is_checked(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=field):
        trade(**{field: value})


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        trade().price = Decimal(1)  # type: ignore[misc]  # that is what is tested
