"""What all entities share."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields
from typing import Any

import pytest

from pipeline.trading.account import Account
from pipeline.trading.condition import Condition
from pipeline.trading.decision import Decision
from pipeline.trading.order import Order
from pipeline.trading.position import Position
from pipeline.trading.strategy import Strategy
from tests.pipeline.trading.test_account import account
from tests.pipeline.trading.test_condition import condition
from tests.pipeline.trading.test_decision import SEED
from tests.pipeline.trading.test_order import order
from tests.pipeline.trading.test_performance import metrics
from tests.pipeline.trading.test_position import position
from tests.pipeline.trading.test_strategy import strategy
from tests.pipeline.trading.test_trade import trade
from tests.pipeline.trading.test_transaction import transaction

MADE: list[Any] = [
    account(), condition(), Decision.from_dict(SEED), order("filled"), metrics(), position(), strategy(), trade(),
    transaction(),
]  # fmt: skip
MUTABLE = [Account, Condition, Decision, Order, Position, Strategy]


@pytest.mark.parametrize("cls", MUTABLE)
def test_what_changes_has_a_version_and_times_for_the_store_to_fill(cls: type[Any]) -> None:
    defaults = {field.name: field.default for field in fields(cls)}
    assert (defaults["version"], defaults["created_at"], defaults["updated_at"]) == (0, None, None)


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_an_entity_equals_its_copies_and_has_no_other_attributes(made: Any) -> None:
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert type(made)(**{field.name: getattr(made, field.name) for field in fields(made)}) == made
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_an_entity_is_made_by_keywords_alone(made: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        type(made)("x")
