"""Every enum of the domain takes its words and refuses others by name."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pipeline.errors import BadValue
from pipeline.trading.account import AccountType
from pipeline.trading.choice import Choice
from pipeline.trading.condition import Comparison, ConditionStatus, ConditionType
from pipeline.trading.decision import DecisionAction
from pipeline.trading.order import OrderSide, OrderStatus, OrderType, TimeInForce
from pipeline.trading.strategy import StrategyStatus, StrategyType
from pipeline.trading.trade import Liquidity, TradeSide
from pipeline.trading.transaction import TransactionType

ALL: list[type[Choice]] = [
    AccountType, Comparison, ConditionStatus, ConditionType, DecisionAction, Liquidity, OrderSide, OrderStatus, OrderType,
    StrategyStatus, StrategyType, TimeInForce, TradeSide, TransactionType,
]  # fmt: skip


def test_no_enum_of_the_domain_is_forgotten_here() -> None:
    assert set(ALL) == set(Choice.__subclasses__())


@pytest.mark.parametrize("words", ALL)
def test_a_word_is_its_member_equals_its_text_and_survives_pickling(words: type[Choice]) -> None:
    for member in words:
        assert words(member.value) is member
        assert member == member.value
        assert hash(member) == hash(member.value)
        assert pickle.loads(pickle.dumps(member)) is member
        assert member.value in {member.name.lower(), member.name}


@pytest.mark.parametrize("words", ALL)
@pytest.mark.parametrize("value", ["", "nonsense", "Buy", None, 1])
def test_any_other_word_is_refused_with_the_list_of_those_allowed(words: type[Choice], value: Any) -> None:
    with pytest.raises(BadValue, match=f"expected one of {', '.join(words)}$"):
        words(value)


def test_the_message_names_what_was_meant() -> None:
    with pytest.raises(BadValue, match=r"^order side 'hold': expected one of buy, sell$"):
        OrderSide("hold")
