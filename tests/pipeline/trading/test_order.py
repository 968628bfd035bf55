"""Orders: every step from every status, and fills against a slow reference of fractions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading.order import ACTIVE, DONE, MOVES, Order, OrderSide, OrderStatus, OrderType, TimeInForce
from tests.pipeline.trading.moves import AT, LAST_DECIMAL, LATER, NO_NUMBERS, content, decimals, half_even, refused, seen

HALF = {"filled_quantity": 1, "average_fill_price": 100}
SHAPES: dict[str, dict[str, Any]] = {"partially_filled": HALF, "filled": HALF | {"filled_quantity": 2}}


def order(status: str = "pending", **fields: Any) -> Order:
    """An order of 2 at 100 in a status."""
    plain: dict[str, Any] = {
        "order_id": "ord_001",
        "symbol": "BTCUSDT",
        "side": "buy",
        "order_type": "limit",
        "quantity": 2,
        "price": 100,
    }
    return Order(**plain | {"status": status} | SHAPES.get(status, {}) | fields)


STEPS: dict[str, Callable[[Order], None]] = {
    "submit": lambda o: o.submit(LATER, "77"),
    "accept": lambda o: o.accept(LATER, "77"),
    "execute": lambda o: o.execute(101, at=LATER),
    "execute a part": lambda o: o.execute(101, "0.5", at=LATER),
    "cancel": lambda o: o.cancel(LATER, "changed my mind"),
    "reject": lambda o: o.reject("too poor", LATER),
    "expire": lambda o: o.expire(LATER),
}
ENDS = {"execute": "filled", "execute a part": "partially_filled", "cancel": "cancelled", "expire": "expired"}
# status -> step -> the status after it; what is not here is not allowed
ALLOWED: dict[str, dict[str, str]] = {
    "pending": {"submit": "submitted", "accept": "accepted", "reject": "rejected"} | ENDS,
    "submitted": {"accept": "accepted", "reject": "rejected"} | ENDS,
    "accepted": {"reject": "rejected"} | ENDS,
    "partially_filled": ENDS,
    "filled": {},
    "cancelled": {},
    "rejected": {},
    "expired": {},
}


def test_the_table_of_this_test_has_every_status_and_step() -> None:
    assert set(ALLOWED) == set(OrderStatus)
    assert {step.partition(" ")[0] for step in STEPS} == set(MOVES)


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_from_each_status_is_allowed_or_changes_nothing(status: str, step: str) -> None:
    made = order(status)
    after = ALLOWED[status].get(step)
    if after is None:
        says = f"^order ord_001 is {status}: it can't {step.partition(' ')[0]}; allowed: "
        refused(NotAllowed, made, lambda: STEPS[step](made), says=says)
        return
    STEPS[step](made)
    assert (made.status, made.updated_at) == (after, LATER)
    assert type(made.status) is OrderStatus
    assert (made.is_active, made.is_done) == (after in ACTIVE, after in DONE)


@pytest.mark.parametrize("status", ALLOWED)
def test_a_refusal_says_what_would_be_allowed(status: str) -> None:
    expected = (
        ", ".join(move for move in MOVES if any(step.partition(" ")[0] == move for step in ALLOWED[status])) or "nothing more"
    )
    if "submit" in ALLOWED[status]:
        return
    refused(NotAllowed, made := order(status), made.submit, says=f"allowed: {expected}$")


def test_each_step_leaves_its_mark() -> None:
    made = order()
    made.submit(AT, "x-77")
    assert (made.submitted_at, made.exchange_order_id) == (AT, "x-77")
    made.accept(LATER)
    assert (made.accepted_at, made.submitted_at, made.exchange_order_id) == (LATER, AT, "x-77")
    made.execute(99, 1, at=AT)
    assert made.filled_at is None
    made.cancel(LATER, "enough")
    assert seen(made.cancelled_at, made.error_message, made.filled_quantity, made.remaining_quantity) == (LATER, "enough", 1, 1)
    rejected = order("submitted")
    rejected.reject("insufficient margin", AT)
    assert (rejected.error_message, rejected.updated_at) == ("insufficient margin", AT)


def test_a_fill_without_a_time_leaves_that_to_the_store() -> None:
    made = order(updated_at=AT)
    made.execute(executed_price=45100.0)
    assert (made.status, made.filled_at, made.updated_at) == (OrderStatus.FILLED, None, None)
    assert seen(made.filled_quantity, made.average_fill_price) == (2, Decimal("45100"))


def test_partial_fills_add_up_with_the_exact_weighted_average() -> None:
    made = order(quantity="1.5", price=45000)
    made.execute(45000, "0.5", commission="0.1")
    assert seen(made.status, made.remaining_quantity, made.filled_value) == ("partially_filled", 1, 22500)
    made.execute("45100", commission=-0.05, at=AT)
    assert (made.status, made.filled_at, made.commission) == ("filled", AT, Decimal("0.05"))
    assert made.average_fill_price == Decimal("45066.666666666666666667")


fills = st.lists(st.tuples(decimals("1e-18", "5", places=18), decimals("1e-18", "1e6", places=18)), min_size=1, max_size=12)


@given(fills, decimals("0", "5", places=18))
def test_any_fills_give_the_average_that_fractions_give(taken: list[tuple[Decimal, Decimal]], more: Decimal) -> None:
    whole = sum((Fraction(size) for size, _ in taken), Fraction(more))
    made = order(quantity=Decimal(int(whole * 10**18)).scaleb(-18))
    filled, value, stepwise = Fraction(0), Fraction(0), Fraction(0)
    for size, price in taken:
        made.execute(price, size)
        stepwise = half_even((stepwise * filled + Fraction(price) * Fraction(size)) / (filled + Fraction(size)))
        filled, value = filled + Fraction(size), value + Fraction(price) * Fraction(size)
        assert made.average_fill_price is not None
        assert Fraction(made.average_fill_price) == stepwise
    assert Fraction(made.filled_quantity) == filled
    assert Fraction(made.remaining_quantity) == Fraction(more)
    assert abs(Fraction(made.average_fill_price or 0) - value / filled) <= len(taken) * LAST_DECIMAL / 2
    assert made.status == ("filled" if not more else "partially_filled")


@pytest.mark.parametrize("status", ["pending", "partially_filled"])
def test_more_than_remains_can_not_be_filled(status: str) -> None:
    made = order(status)
    left = made.remaining_quantity
    too_much = left + Decimal("0.000000000000000001")
    refused(NotAllowed, made, lambda: made.execute(100, too_much), says=f"expected at most {left}, which is what remains$")


def test_a_fill_told_as_a_total_is_taken_once_however_often_it_is_told() -> None:
    made = order("accepted")
    made.fill_to("0.5", "99.5", AT)
    assert seen(made.status, made.filled_quantity, made.average_fill_price) == (
        "partially_filled",
        Decimal("0.5"),
        Decimal("99.5"),
    )
    before = content(made)
    made.fill_to(0.5, 99.5, LATER)
    assert content(made) == before
    made.fill_to(2, 101, LATER)
    assert seen(made.status, made.filled_at, made.average_fill_price) == ("filled", LATER, 101)
    made.fill_to(2, 101)
    assert made.filled_at == LATER


@pytest.mark.parametrize("status", ALLOWED)
def test_a_new_total_is_taken_only_where_a_fill_is_allowed(status: str) -> None:
    made = order(status)
    if "execute" in ALLOWED[status]:
        made.fill_to(2, 99, LATER)
        assert seen(made.status, made.updated_at) == ("filled", LATER)
        return
    refused(NotAllowed, made, lambda: made.fill_to(2, 99, LATER), says=f"is {status}: it can't execute")


@pytest.mark.parametrize("total", ["0.999999999999999999", "2.000000000000000001"])
def test_a_total_below_what_is_filled_or_above_the_quantity_changes_nothing(total: str) -> None:
    made = order("partially_filled")
    refused(NotAllowed, made, lambda: made.fill_to(total, 100), says=f"{total} filled in all: expected 1 to 2$")


@pytest.mark.parametrize("told", [(0, 1), (1, 0), (-1, 1), (1, float("nan")), (None, 1), (2, 1, datetime(2024, 1, 1))])
def test_a_total_that_can_be_none_changes_nothing(told: tuple[Any, ...]) -> None:
    refused(BadValue, made := order(), lambda: made.fill_to(*told))


BAD_FILLS: list[dict[str, Any]] = [
    {"executed_price": 0},
    {"executed_price": -1},
    {"executed_price": float("nan")},
    {"executed_price": None},
    {"quantity": 0},
    {"quantity": -1},
    {"quantity": float("inf")},
    {"commission": float("nan")},
    {"commission": None},
    {"commission": 10**37 * 9},
    {"executed_price": 10**37 + 1, "quantity": "0.5"},
    {"at": datetime(2024, 1, 1)},
    {"at": "now"},
]


@pytest.mark.parametrize("fields", BAD_FILLS, ids=str)
def test_a_fill_that_can_be_none_changes_nothing(fields: dict[str, Any]) -> None:
    made = order("partially_filled", commission=10**37)
    refused(BadValue, made, lambda: made.execute(**{"executed_price": 100, "quantity": 1} | fields))


@pytest.mark.parametrize(
    "step",
    [
        lambda o: o.submit(datetime(2024, 1, 1)),
        lambda o: o.submit(AT, "a\nb"),
        lambda o: o.accept(datetime(2024, 1, 1), "77"),
        lambda o: o.cancel(datetime(2024, 1, 1), "why"),
        lambda o: o.cancel(AT, "\0"),
        lambda o: o.reject(None),
        lambda o: o.expire(datetime(2024, 1, 1)),
        lambda o: o.add_realized_pnl(float("nan")),
    ],
)
def test_a_bad_argument_changes_nothing(step: Callable[[Order], None]) -> None:
    refused(BadValue, made := order(), lambda: step(made))


def test_what_fills_realise_adds_up() -> None:
    made = order()
    assert made.realized_pnl is None
    made.add_realized_pnl(0.1)
    made.add_realized_pnl("0.2")
    assert made.realized_pnl == Decimal("0.3")


@pytest.mark.parametrize(
    ("order_type", "price", "stop_price", "why"),
    [
        ("market", None, None, None),
        ("limit", 1, None, None),
        ("stop", None, 1, None),
        ("stop_limit", 1, 1, None),
        ("market", 1, None, "market order with price 1: expected none"),
        ("market", None, 1, "market order with stop_price 1: expected none"),
        ("limit", None, None, "limit order without price: expected one"),
        ("limit", 1, 1, "limit order with stop_price 1: expected none"),
        ("stop", None, None, "stop order without stop_price: expected one"),
        ("stop", 1, 1, "stop order with price 1: expected none"),
        ("stop_limit", 1, None, "stop_limit order without stop_price: expected one"),
        ("stop_limit", None, 1, "stop_limit order without price: expected one"),
    ],
)
def test_each_type_takes_the_prices_that_it_needs(order_type: str, price: Any, stop_price: Any, why: str | None) -> None:
    def made() -> Order:
        return order(order_type=order_type, price=price, stop_price=stop_price)

    if why is None:
        assert made().order_type is OrderType(order_type)
        return
    with pytest.raises(BadValue, match=f"^order ord_001: {why}$"):
        made()


FITTING = {
    "pending": {0}, "submitted": {0}, "accepted": {0}, "partially_filled": {1}, "filled": {2}, "cancelled": {0, 1},
    "rejected": {0}, "expired": {0, 1},
}  # fmt: skip


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("filled", [0, 1, 2, 3])
def test_status_and_what_is_filled_must_fit(status: str, filled: int) -> None:
    fields = {"filled_quantity": filled, "average_fill_price": 100 if filled else None}
    if filled in FITTING[status]:
        assert order(status, **fields).filled_quantity == filled
        return
    with pytest.raises(BadValue, match=f"status {status} with {filled} of 2 filled: expected a status that fits"):
        order(status, **fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"order_id": "../../x"}, "order_id"),
        ({"symbol": ""}, "symbol"),
        ({"side": "hold"}, "order side 'hold': expected one of buy, sell"),
        ({"order_type": "iceberg"}, "order type 'iceberg'"),
        ({"status": "lost"}, "order status 'lost'"),
        ({"time_in_force": "ever"}, "time in force 'ever'"),
        ({"quantity": 0}, "quantity 0: expected more than 0"),
        ({"quantity": -1.5}, "quantity -1.5: expected more than 0"),
        ({"price": -1}, "price -1: expected more than 0"),
        ({"filled_quantity": -1}, "filled_quantity -1"),
        ({"average_fill_price": 5}, "expected an average_fill_price if, and only if"),
        ({"filled_quantity": 1, "status": "cancelled"}, "expected an average_fill_price if, and only if"),
        ({"account_id": "a b"}, "account_id"),
        ({"strategy_id": ""}, "strategy_id"),
        ({"exchange_order_id": ""}, "exchange_order_id"),
        ({"execution_venue": "\n"}, "execution_venue"),
        ({"error_message": "\0"}, "error_message"),
        ({"realized_pnl": float("nan")}, "realized_pnl"),
        ({"commission": float("inf")}, "commission"),
        ({"version": "1"}, "version"),
    ],
)
def test_what_can_be_no_order_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=f"^order .*{why}"):
        order(**fields)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["quantity", "commission", "filled_quantity"])
def test_every_number_is_checked(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=field):
        order(**{field: value})


@pytest.mark.parametrize("field", ["submitted_at", "accepted_at", "filled_at", "cancelled_at", "created_at", "updated_at"])
def test_every_time_is_checked(field: str) -> None:
    with pytest.raises(BadValue, match=f"^order ord_001: {field} .*expected a time zone"):
        order(status="pending", **{field: datetime(2024, 1, 1)})


def test_texts_become_members() -> None:
    made = order(time_in_force="ioc")
    assert (type(made.side), type(made.order_type), type(made.status)) == (OrderSide, OrderType, OrderStatus)
    assert made.time_in_force is TimeInForce.IOC
