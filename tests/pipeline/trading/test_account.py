"""Accounts: what they may be, and every step from every state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.account import Account, AccountType
from pipeline.trading.balance import Balance
from pipeline.trading.money import Currency, Money
from tests.pipeline.trading.moves import AT, LATER, content, refused


def account(state: str = "active", **fields: Any) -> Account:
    shapes: dict[str, dict[str, Any]] = {
        "active": {},
        "inactive": {"active": False},
        "closed": {"active": False, "closed_at": AT},
    }
    return Account(**{"account_id": "acc_001", "name": "Main"} | shapes[state] | fields)


# state -> step -> the state after it; what is not here is not allowed
ALLOWED = {
    "active": {"deactivate": "inactive", "close": "closed"},
    "inactive": {"activate": "active", "close": "closed"},
    "closed": {},
}


@pytest.mark.parametrize("state", ALLOWED)
@pytest.mark.parametrize("step", ["deactivate", "activate", "close"])
def test_each_step_from_each_state_is_allowed_or_changes_nothing(state: str, step: str) -> None:
    made = account(state)
    after = ALLOWED[state].get(step)
    if after is None:
        refused(
            NotAllowed,
            made,
            lambda: getattr(made, step)(LATER),
            says=f"^account acc_001 is {state}: it can't {step}; allowed: ",
        )
        return
    getattr(made, step)(LATER)
    assert (made.state, made.active, made.updated_at) == (after, after == "active", LATER)
    assert (made.closed_at, made.is_closed) == ((LATER, True) if after == "closed" else (None, False))


@pytest.mark.parametrize("state", ["active", "inactive"])
@pytest.mark.parametrize("step", ["deactivate", "activate", "close"])
def test_a_naive_time_changes_nothing(state: str, step: str) -> None:
    made = account(state)
    if step in ALLOWED[state]:
        refused(BadValue, made, lambda: getattr(made, step)(datetime(2024, 1, 1)), says="expected a time zone")


def test_an_account_with_money_can_not_close_even_if_all_is_locked() -> None:
    made = account()
    made.balance.add_available(Money(1, Currency.BTC))
    made.balance.lock(Money(1, Currency.BTC))
    refused(NotAllowed, made, lambda: made.close(AT), says=r"holds 0 BTC \(and 1 locked\): it can't close")
    made.balance.spend_locked(Money(1, Currency.BTC))
    made.close(AT)
    assert made.is_closed


def test_each_account_has_a_balance_of_its_own() -> None:
    one, other = account(), account()
    one.balance.add_available(Money(1, Currency.BTC))
    assert other.balance.is_empty


def test_the_type_may_be_given_as_text() -> None:
    assert account(account_type="live").account_type is AccountType.LIVE


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"account_id": "../../x"}, "account_id"),
        ({"name": " Main"}, "name"),
        ({"name": ""}, "name"),
        ({"balance": {"USDT": 1}}, "balance of type dict: expected a Balance"),
        ({"account_type": "demo"}, "account type 'demo': expected one of paper, live"),
        ({"active": 1}, "active 1: expected True or False"),
        ({"created_at": datetime(2024, 1, 1)}, "created_at"),
        ({"updated_at": datetime(2024, 1, 1)}, "updated_at"),
        ({"closed_at": datetime(2024, 1, 1)}, "closed_at"),
        ({"closed_at": AT}, "closed, yet active"),
        ({"closed_at": AT, "active": False, "balance": Balance.of([(Currency.BTC, 1, 0)])}, "money in it"),  # type: ignore[list-item]
        ({"version": -1}, "version -1"),
        ({"version": True}, "version True"),
    ],
)
def test_what_can_be_no_account_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^account .*{why}"):
        account(**fields)


def test_a_name_with_quotes_and_semicolons_is_kept() -> None:
    name = "O'Hara's; \"main\" -- account"
    assert content(account(name=name))["name"] == name
