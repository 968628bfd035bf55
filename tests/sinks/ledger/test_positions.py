"""Positions: what is held, what it is worth, and what it has earned."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.errors import BadValue, Missing, NotAllowed
from pipeline.trading.exact import Number
from pipeline.trading.position import Position
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.made import START, later, position, store_owners, strategy


def ids(found: list[Position]) -> list[str]:
    return [each.position_id for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    """A long and a short one of s1, one of s2, and one that is closed."""
    store_owners(books)
    books.strategies.save(strategy("s2"))
    few = [
        position("long", strategy_id="s1", account_id="acc_001", quantity="0.3", average_entry_price="0.1"),
        position("short", strategy_id="s1", symbol="ETHUSDT", quantity="-2", average_entry_price="2000.5"),
        position("other", strategy_id="s2", quantity="1000000000000", average_entry_price="0.000000000000000001"),
        position("closed", strategy_id="s1", realized_pnl="5.5", closed_at=START),
    ]
    for n, each in enumerate(few):
        each.created_at = later(n)
    books.positions.save_many(few)
    return books


def test_positions_are_found_by_all_that_is_given(kept: Ledger) -> None:
    find = kept.positions.find
    assert ids(find()) == ["closed", "other", "short", "long"]
    assert ids(find(strategy_id="s1", is_open=True, newest_first=False)) == ["long", "short"]
    assert ids(find(is_open=False)) == ["closed"]
    assert ids(find(account_id="acc_001")) == ["long"]
    assert ids(find(symbol="BTCUSDT", start=later(1), end=later(3))) == ["other"]
    assert ids(find(limit=2, offset=1)) == ["other", "short"]


def test_positions_are_found_by_what_they_are_worth_long_or_short(kept: Ledger) -> None:
    assert kept.positions.find(min_value=0) == [], "none was marked"
    kept.positions.mark_to_market({"BTCUSDT": "0.2", "ETHUSDT": 1999})
    find = kept.positions.find
    assert ids(find(min_value="0.06", max_value="0.06")) == ["long"]
    assert ids(find(min_value="0.060000000000000001", max_value=3998)) == ["short"]
    assert ids(find(min_value="3998.1")) == ["other"]
    with pytest.raises(BadValue, match="bound"):
        find(max_value="a lot")


def test_positions_are_found_by_owner_and_instrument(kept: Ledger) -> None:
    positions = kept.positions
    assert ids(positions.find_by_strategy("s1")) == ["closed", "short", "long"]
    assert ids(positions.find_by_account("acc_001")) == ["long"]
    assert ids(positions.find_by_symbol("BTCUSDT")) == ["closed", "other", "long"]
    assert ids(positions.find_open()) == ["other", "short", "long"]
    assert ids(positions.find_open("s1", symbol="ETHUSDT")) == ["short"]
    found = positions.find_by_instrument("s1", "BTCUSDT")
    assert found is not None
    assert found.position_id == "long"
    assert positions.find_by_instrument("s2", "ETHUSDT") is None


def test_a_price_changes_what_it_is_worth(kept: Ledger) -> None:
    marked = kept.positions.update_market_data("long", 0.4, later(9))
    assert kept.positions.find_by_id("long") == marked
    assert (marked.exposure, marked.unrealized_pnl) == (Decimal("0.12"), Decimal("0.09"))
    with pytest.raises(NotAllowed, match="position closed is closed: it can't mark"):
        kept.positions.update_market_data("closed", 1)
    with pytest.raises(BadValue, match="price 0: expected more than 0"):
        kept.positions.update_market_data("long", 0)
    with pytest.raises(Missing, match="position 'p9'"):
        kept.positions.update_market_data("p9", 1)
    assert kept.positions.find_by_id("long") == marked


def test_all_open_ones_are_marked_together_or_not_at_all(kept: Ledger) -> None:
    prices: dict[str, Number] = {"BTCUSDT": "0.5", "ETHUSDT": 2100, "XRPUSDT": 1}
    assert ids(kept.positions.mark_to_market(prices, "s1")) == ["short", "long"]
    untouched = kept.positions.find_by_id("other")
    assert untouched is not None
    assert untouched.current_price is None
    before = kept.positions.find_all()
    with pytest.raises(BadValue, match="price -1"):
        kept.positions.mark_to_market({"BTCUSDT": 1, "ETHUSDT": -1})
    assert kept.positions.find_all() == before


def test_exposure_and_profit_are_summed_exactly(kept: Ledger) -> None:
    positions = kept.positions
    positions.mark_to_market({"BTCUSDT": "0.2", "ETHUSDT": "1999.4"})
    assert positions.total_exposure("s1") == Decimal("3998.86")
    assert positions.total_exposure() == Decimal("200000003998.86")
    assert positions.total_exposure(symbol="BTCUSDT", account_id="acc_001") == Decimal("0.06")
    assert positions.total_unrealized_pnl("s1") == Decimal("2.23"), "0.3 x 0.1 + 2 x 1.1"
    assert positions.total_unrealized_pnl("s2") == Decimal("199999999999.999999")
    assert positions.total_realized_pnl("s1") == Decimal("5.5")
    assert positions.total_exposure("nobody") == positions.total_realized_pnl("nobody") == 0


def test_what_was_never_marked_has_no_sum(kept: Ledger) -> None:
    for total in (kept.positions.total_exposure, kept.positions.total_unrealized_pnl):
        with pytest.raises(NotAllowed, match=r"position other was never marked: .* expected mark_to_market first"):
            total("s2")


def test_a_position_closes_when_it_is_flat(kept: Ledger) -> None:
    with pytest.raises(NotAllowed, match=r"position long holds 0\.3"):
        kept.positions.close("long")
    kept.positions.change("long", lambda held: held.fill("sell", "0.3", "0.15", at=later(8)))
    closed = kept.positions.close("long", later(9))
    assert kept.positions.find_by_id("long") == closed
    assert (closed.closed_at, closed.realized_pnl, closed.is_open) == (later(9), Decimal("0.015"), False)
    with pytest.raises(NotAllowed, match="is closed"):
        kept.positions.close("long")
