"""Transactions: which way the money goes, and what is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pipeline.errors import BadValue
from pipeline.trading.money import Currency, Money
from pipeline.trading.transaction import Transaction, TransactionType
from tests.pipeline.trading.moves import AT

USDT = Currency.USDT
ADDS = {"deposit", "sell", "interest", "rebate", "transfer_in"}
TAKES = {"withdrawal", "buy", "fee", "transfer_out"}
EITHER = {kind.value for kind in TransactionType} - ADDS - TAKES


def transaction(**fields: Any) -> Transaction:
    plain: dict[str, Any] = {"transaction_type": "deposit", "amount": Money(100.0, USDT)}
    return Transaction(**plain | fields)


def test_each_type_adds_takes_or_goes_by_the_amounts_own_sign() -> None:
    assert {"funding", "realized_pnl", "adjustment"} <= EITHER
    for kind in TransactionType:
        effect = transaction(transaction_type=kind, amount=Money("0.1", USDT)).effect()
        assert effect == (Money("-0.1", USDT) if kind in TAKES else Money("0.1", USDT))
        assert kind.sign == (1 if kind in ADDS else -1 if kind in TAKES else 0)


@pytest.mark.parametrize("kind", TransactionType)
@pytest.mark.parametrize("amount", [0, "-0.000000000000000001"])
def test_an_amount_is_more_than_zero_unless_its_own_sign_counts(kind: TransactionType, amount: Any) -> None:
    money = Money(amount, USDT)
    if kind in EITHER:
        assert transaction(transaction_type=kind, amount=money).effect() == money
        return
    with pytest.raises(BadValue, match=f"^transaction .*{kind} of .* USDT: expected more than 0$"):
        transaction(transaction_type=kind, amount=money)


def test_it_gets_an_id_of_its_own_that_sorts_by_time() -> None:
    first, second = transaction(), transaction()
    assert first.transaction_id != second.transaction_id
    assert first.transaction_id[:8] <= second.transaction_id[:8]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"transaction_type": "gift"}, "transaction type 'gift': expected one of deposit, "),
        ({"amount": 100.0}, "amount 100.0: expected Money"),
        ({"amount": None}, "amount None: expected Money"),
        ({"description": "a\0b"}, "description"),
        ({"description": None}, "description"),
        ({"transaction_id": ""}, "transaction_id"),
        ({"account_id": "../../x"}, "account_id"),
        ({"reference": "a b"}, "reference"),
        ({"occurred_at": datetime(2024, 1, 1)}, "occurred_at .*expected a time zone"),
        ({"created_at": datetime(2024, 1, 1)}, "created_at .*expected a time zone"),
    ],
)
def test_what_can_be_no_transaction_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^transaction .*{why}"):
        transaction(**fields)


def test_its_time_is_kept_in_utc() -> None:
    made = transaction(occurred_at=AT.astimezone(timezone(timedelta(hours=9))))
    assert str(made.occurred_at) == str(AT)


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        transaction().description = "another"  # type: ignore[misc]  # that is what is tested
