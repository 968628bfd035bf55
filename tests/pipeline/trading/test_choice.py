"""Every enum of the domain takes its words and refuses others by name."""

from __future__ import annotations

import pickle
import pkgutil
from importlib import import_module
from typing import Any, TypeGuard

import pytest

from pipeline import trading
from pipeline.errors import BadValue
from pipeline.trading.choice import Choice
from pipeline.trading.order import OrderSide


def _is_choice(value: object) -> TypeGuard[type[Choice]]:
    return isinstance(value, type) and issubclass(value, Choice) and value is not Choice


MODULES = [import_module(f"{trading.__name__}.{module.name}") for module in pkgutil.iter_modules(trading.__path__)]
ALL = sorted({cls for module in MODULES for cls in vars(module).values() if _is_choice(cls)}, key=lambda cls: cls.__name__)


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


def test_the_enums_that_the_seeds_name_are_among_them() -> None:
    seeds = {
        "OrderSide",
        "OrderStatus",
        "OrderType",
        "StrategyStatus",
        "StrategyType",
        "TimeInForce",
        "TradeSide",
        "TransactionType",
    }
    assert seeds <= {words.__name__ for words in ALL}


def test_the_message_names_what_was_meant() -> None:
    with pytest.raises(BadValue, match=r"^order side 'hold': expected one of buy, sell$"):
        OrderSide("hold")
