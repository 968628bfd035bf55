"""Positions at average cost, against a slow replay of the fills with fractions: long, short and across zero."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.position import Position
from tests.pipeline.trading.moves import AT, LAST_DECIMAL, LATER, NO_NUMBERS, decimals, half_even, refused, seen

Fill = tuple[str, Decimal, Decimal, Decimal]


def position(**fields: Any) -> Position:
    return Position(**{"position_id": "p1", "symbol": "BTCUSDT"} | fields)


def replayed(fills: list[Fill], *, rounding: bool) -> list[tuple[Fraction, Fraction, Fraction]]:
    """(quantity, average, realised) after each fill, unit by unit as a trader would reckon it on paper."""
    held, average, realized, told = Fraction(0), Fraction(0), Fraction(0), []
    fit = half_even if rounding else (lambda value: value)
    for side, size, price, _ in fills:
        left, way = Fraction(size), 1 if side == "buy" else -1
        if held * way < 0:
            closing = min(left, abs(held))
            realized += fit(closing * (Fraction(price) - average) * (1 if held > 0 else -1))
            held, left = held + way * closing, left - closing
            average = average if held else Fraction(0)
        if left:
            average = fit((abs(held) * average + left * Fraction(price)) / (abs(held) + left))
            held += way * left
        told.append((held, average, realized))
    return told


sizes = st.one_of(decimals("1e-18", "3"), st.sampled_from([Decimal(1), Decimal(2), Decimal("0.5")]))
fills = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), sizes, decimals("0.01", "1e5", places=8), decimals("-1", "1")), max_size=25
)


@given(fills, decimals("0.01", "1e5", places=8))
def test_any_fills_give_what_a_replay_with_fractions_gives(taken: list[Fill], mark: Decimal) -> None:
    made = position()
    exactly = replayed(taken, rounding=True)
    before = Fraction(0)
    for (side, size, price, commission), (held, average, realized) in zip(taken, exactly, strict=True):
        assert Fraction(made.fill(side, size, price, commission)) == realized - before
        told = (made.quantity, made.average_entry_price, made.realized_pnl)
        assert tuple(map(Fraction, told)) == (held, average, realized)
        before = realized
    assert Fraction(made.commission) == sum((Fraction(fill[3]) for fill in taken), Fraction(0))
    made.mark(mark)
    assert made.total_pnl is not None
    # What it earned is what it sold for, less what it paid, plus what it holds; each fill rounds twice at most, by half a
    # last decimal, of the average for each unit held.
    cash = sum(
        (Fraction(size) * Fraction(price) * (1 if side == "sell" else -1) for side, size, price, _ in taken), Fraction(0)
    )
    worth = cash + Fraction(made.quantity) * Fraction(mark)
    allowed = sum((LAST_DECIMAL * (1 + abs(held)) for held, _, _ in exactly), Fraction(0))
    assert abs(Fraction(made.total_pnl) - worth) <= allowed


def test_the_replay_without_rounding_conserves_what_was_paid_and_brought() -> None:
    taken: list[Fill] = [("buy", Decimal(3), Decimal(10), Decimal(0)), ("sell", Decimal(7), Decimal(11), Decimal(0))]
    assert seen(*replayed(taken, rounding=False)) == ((3, 10, 0), (-4, 11, 3))


def test_a_long_adds_at_average_cost_then_realises() -> None:
    made = position()
    assert made.fill("buy", 1, 100, commission="0.1", at=AT) == 0
    assert made.fill("buy", 3, 120, commission="0.2", at=LATER) == 0
    assert seen(made.quantity, made.average_entry_price, made.cost_basis) == (4, 115, 460)
    assert made.fill("sell", "1.5", 125) == 15
    assert seen(made.quantity, made.average_entry_price, made.realized_pnl, made.commission) == (
        Decimal("2.5"),
        115,
        15,
        Decimal("0.3"),
    )
    assert (made.opened_at, made.updated_at) == (AT, None)


def test_a_short_earns_as_the_price_falls() -> None:
    made = position()
    made.fill("sell", 2, 100)
    made.mark(90, LATER)
    assert seen(made.quantity, made.market_value, made.exposure, made.unrealized_pnl) == (-2, -180, 180, 20)
    assert made.updated_at == LATER
    assert made.fill("buy", 1, 95) == 5
    assert seen(made.average_entry_price, made.unrealized_pnl, made.total_pnl) == (100, 10, 15)


@pytest.mark.parametrize(("first", "then", "earned"), [("buy", "sell", 10), ("sell", "buy", -10)])
def test_a_fill_across_zero_realises_all_and_opens_the_other_way(first: str, then: str, earned: int) -> None:
    made = position()
    made.fill(first, 1, 100)
    assert made.fill(then, 3, 110) == earned
    assert made.average_entry_price == 110
    assert made.quantity == (-2 if first == "buy" else 2)


def test_flat_again_it_has_no_average_and_no_value_and_stays_open() -> None:
    made = position()
    made.fill("buy", 2, 100)
    made.fill("sell", 2, 101)
    assert seen(made.quantity, made.average_entry_price, made.realized_pnl) == (0, 0, 2)
    assert (made.is_flat, made.is_open) == (True, True)
    assert seen(made.market_value, made.exposure, made.unrealized_pnl, made.total_pnl) == (0, 0, 0, 2)
    made.fill("sell", 1, 50)
    assert seen(made.quantity, made.average_entry_price, made.realized_pnl) == (-1, 50, 2)


def test_what_was_never_marked_has_no_value_that_could_be_told() -> None:
    made = position()
    made.fill("buy", 1, 100)
    assert (made.market_value, made.exposure, made.unrealized_pnl, made.total_pnl) == (None, None, None, None)


@pytest.mark.parametrize("step", ["fill", "mark", "close"])
def test_a_closed_position_takes_no_step_and_does_not_change(step: str) -> None:
    made = position()
    made.close(AT)
    assert (made.is_open, made.closed_at, made.updated_at) == (False, AT, AT)
    arguments: dict[str, tuple[Any, ...]] = {"fill": ("buy", 1, 1), "mark": (1,), "close": (LATER,)}
    says = f"^position p1 is closed: it can't {step}; allowed: nothing more$"
    refused(NotAllowed, made, lambda: getattr(made, step)(*arguments[step]), says=says)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_it_closes_only_when_nothing_is_held(side: str) -> None:
    made = position()
    made.fill(side, "0.5", 1)
    refused(
        NotAllowed, made, lambda: made.close(AT), says="^position p1 holds -?0.5: it can't close; expected a quantity of 0$"
    )


BAD_FILLS: list[dict[str, Any]] = [
    {"side": "hold"},
    {"quantity": 0},
    {"quantity": -1},
    {"quantity": float("nan")},
    {"quantity": 10**38 - 1},
    {"price": 0},
    {"price": -1},
    {"price": float("inf")},
    {"commission": float("nan")},
    {"at": datetime(2024, 1, 1)},
]


@pytest.mark.parametrize("held", [-1, 0, 1])
@pytest.mark.parametrize("fields", BAD_FILLS, ids=str)
def test_a_fill_that_can_be_none_changes_nothing(fields: dict[str, Any], held: int) -> None:
    made = position(quantity=held * Decimal("1.5"), average_entry_price=100 if held else 0)
    fill: dict[str, Any] = {"side": "buy", "quantity": 1, "price": 100} | fields
    if fill["quantity"] == 10**38 - 1 and held == 0:
        fill["quantity"] = 10**38
    refused(BadValue, made, lambda: made.fill(**fill))


def test_a_profit_too_long_to_keep_changes_nothing() -> None:
    made = position(quantity=1, average_entry_price=1, realized_pnl=10**38 - 1)
    refused(BadValue, made, lambda: made.fill("sell", 1, 3), says="realized_pnl")


@pytest.mark.parametrize("price", [0, -1, float("nan"), None])
def test_a_mark_that_can_be_none_changes_nothing(price: Any) -> None:
    refused(BadValue, made := position(), lambda: made.mark(price, AT), says="price")
    refused(BadValue, made, lambda: made.mark(1, datetime(2024, 1, 1)), says="expected a time zone")
    refused(BadValue, made, lambda: made.close(datetime(2024, 1, 1)), says="expected a time zone")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"position_id": "../../x"}, "position_id"),
        ({"symbol": ""}, "symbol"),
        ({"strategy_id": ""}, "strategy_id"),
        ({"account_id": ""}, "account_id"),
        ({"quantity": 1}, "expected an average_entry_price if, and only if"),
        ({"average_entry_price": 1}, "expected an average_entry_price if, and only if"),
        ({"quantity": 1, "average_entry_price": -1}, "average_entry_price -1: expected 0 or more"),
        ({"current_price": 0}, "current_price 0: expected more than 0"),
        ({"quantity": 1, "average_entry_price": 1, "closed_at": AT}, "closed with a quantity of 1: expected 0"),
        ({"opened_at": datetime(2024, 1, 1)}, "opened_at"),
        ({"closed_at": datetime(2024, 1, 1)}, "closed_at"),
        ({"created_at": datetime(2024, 1, 1)}, "created_at"),
        ({"updated_at": datetime(2024, 1, 1)}, "updated_at"),
        ({"notes": "\0"}, "notes"),
        ({"version": -1}, "version"),
    ],
)
def test_what_can_be_no_position_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^position .*{why}"):
        position(**fields)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["quantity", "average_entry_price", "realized_pnl", "commission"])
def test_every_number_is_checked(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=field):
        position(**{field: value})
