"""Orders, from sent to done."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.errors import BadValue, Missing, NotAllowed
from pipeline.trading.order import Order, OrderStatus
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.made import later, market, order, store_owners


def ids(found: list[Order]) -> list[str]:
    return [each.order_id for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    """Orders of each status, a minute apart."""
    store_owners(books)
    own = {"account_id": "acc_001"}
    cancelled, filled, part = market("o3", **own), order("o2", **own), order("o1", **own, strategy_id="s1")
    cancelled.cancel(later(9), "no more")
    filled.execute("45000.1", at=later(8))
    part.execute(44999, "0.5", at=later(7))
    few = [
        order("o0", **own, strategy_id="s1", exchange_order_id="X 1'; --", execution_venue="binance"),
        part,
        filled,
        cancelled,
        order("o4", symbol="ETHUSDT", side="sell", order_type="stop_limit", stop_price=2000, **own),
        order("o5", exchange_order_id="X 1'; --"),
    ]
    for n, each in enumerate(few):
        each.created_at = later(n)
    books.orders.save_many(few)
    return books


def test_orders_are_found_by_all_that_is_given(kept: Ledger) -> None:
    find = kept.orders.find
    assert ids(find()) == ["o5", "o4", "o3", "o2", "o1", "o0"]
    assert ids(find(account_id="acc_001", symbol="BTCUSDT", newest_first=False)) == ["o0", "o1", "o2", "o3"]
    assert ids(find(side="sell", order_type="stop_limit")) == ["o4"]
    assert ids(find(strategy_id="s1", status=OrderStatus.PARTIALLY_FILLED)) == ["o1"]
    assert ids(find(start=later(1), end=later(3))) == ["o2", "o1"]
    assert ids(find(limit=2, offset=1)) == ["o4", "o3"]
    for wrong in ({"side": "hold"}, {"status": "lost"}, {"order_type": "iceberg"}):
        with pytest.raises(BadValue, match="expected one of"):
            find(**wrong)  # type: ignore[arg-type]


def test_orders_are_found_by_owner_status_and_symbol(kept: Ledger) -> None:
    orders = kept.orders
    assert ids(orders.find_by_account("acc_001", limit=2)) == ["o4", "o3"]
    assert ids(orders.find_by_strategy("s1")) == ["o1", "o0"]
    assert ids(orders.find_by_strategy("s1", "pending")) == ["o0"]
    assert ids(orders.find_by_status("acc_001", OrderStatus.FILLED)) == ids(orders.get_filled_orders("acc_001")) == ["o2"]
    assert ids(orders.find_by_symbol("acc_001", "ETHUSDT")) == ["o4"]
    assert ids(orders.find_by_instrument("BTCUSDT")) == ["o5", "o3", "o2", "o1", "o0"]
    assert ids(orders.find_by_instrument("BTCUSDT", "pending")) == ["o5", "o0"]
    assert ids(orders.get_pending_orders("acc_001")) == ["o4", "o1", "o0"], "a part of it may still be filled"
    assert ids(orders.find_active()) == ["o5", "o4", "o1", "o0"]
    assert ids(orders.find_active(strategy_id="s1")) == ["o1", "o0"]


def test_an_order_is_found_by_what_the_venue_calls_it(kept: Ledger) -> None:
    found = kept.orders.find_by_exchange_order_id("X 1'; --")
    assert found is not None
    assert found.order_id == "o5", "the newest"
    assert kept.orders.find_by_exchange_order_id("X") is None


def test_orders_are_counted_by_status(kept: Ledger) -> None:
    assert kept.orders.count_by_status("acc_001") == {
        OrderStatus.PENDING: 2,
        OrderStatus.PARTIALLY_FILLED: 1,
        OrderStatus.FILLED: 1,
        OrderStatus.CANCELLED: 1,
    }
    assert kept.orders.count_by_status("nobody") == {}


def test_an_order_is_sent_accepted_and_done(kept: Ledger) -> None:
    move = kept.orders.update_status
    sent = move("o0", "submitted", later(20), exchange_order_id="77")
    assert (sent.submitted_at, sent.exchange_order_id) == (later(20), "77")
    assert move("o0", OrderStatus.ACCEPTED, later(21)).accepted_at == later(21)
    gone = kept.orders.cancel("o0", later(22), "changed my mind")
    assert (gone.status, gone.cancelled_at, gone.error_message) == (OrderStatus.CANCELLED, later(22), "changed my mind")
    assert kept.orders.find_by_id("o0") == gone
    assert move("o4", "rejected", reason="no margin").error_message == "no margin"
    assert move("o5", "expired").status is OrderStatus.EXPIRED
    assert kept.orders.find_active() == kept.orders.find(status="partially_filled")


def test_a_move_that_is_not_allowed_changes_nothing(kept: Ledger) -> None:
    before = kept.orders.find_all()
    with pytest.raises(NotAllowed, match="order o2 is filled: it can't cancel"):
        kept.orders.cancel("o2")
    for status in ("filled", "partially_filled", "pending"):
        with pytest.raises(BadValue, match="expected update_fill or record_fill"):
            kept.orders.update_status("o0", status)
    with pytest.raises(Missing, match="order 'o9'"):
        kept.orders.cancel("o9")
    assert kept.orders.find_all() == before


def test_what_the_venue_tells_of_fills_is_taken_over(kept: Ledger) -> None:
    fill = kept.orders.update_fill
    first = fill("o0", "0.5", 45000.1, later(20))
    assert (first.status, first.filled_quantity, first.remaining_quantity) == ("partially_filled", Decimal("0.5"), Decimal(1))
    assert fill("o0", "0.50", "45000.10").filled_quantity == Decimal("0.5"), "told once more"
    done = fill("o0", 1.5, "44999.95", later(21))
    assert (done.status, done.average_fill_price, done.filled_at) == ("filled", Decimal("44999.95"), later(21))
    assert kept.orders.find_by_id("o0") == done
    for filled, told in (("1.6", "is filled: it can't"), ("1", "is filled: it can't")):
        with pytest.raises(NotAllowed, match=told):
            fill("o0", filled, 45000)
    for filled in ("0.4", "1.6"):
        with pytest.raises(NotAllowed, match=r"expected 0\.5 to 1\.5"):
            fill("o1", filled, 45000)
    with pytest.raises(BadValue, match="average_fill_price"):
        fill("o4", 1, 0)
