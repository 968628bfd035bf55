"""Trades of our own: found, summed, and what they earned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from pipeline.errors import BadValue
from pipeline.trading.money import Currency
from pipeline.trading.trade import Trade
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.made import later, order, store_order, strategy, trade


def ids(found: list[Trade]) -> list[str]:
    return [each.trade_id for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    """Trades of two strategies in two instruments, a minute apart."""
    store_order(books)
    books.strategies.save(strategy("s2"))
    books.orders.save(order("o2", symbol="ETHUSDT"))
    first = {"strategy_id": "s1", "account_id": "acc_001"}
    few = [
        trade("t0", **first, quantity="0.1", price="0.1", realized_pnl="0.1", execution_venue="binance", commission="0.01"),
        trade("t1", **first, quantity="0.2", price="10", realized_pnl="0.2", commission="0.02", commission_currency="BNB"),
        trade("t2", **first, side="sell", quantity="0.3", price="9", realized_pnl="-0.000000000000000001"),
        trade("t3", order_id="o2", symbol="ETHUSDT", strategy_id="s1", realized_pnl=7, exchange_trade_id="9'; --"),
        trade("t4", strategy_id="s2", quantity="1000000000000", price="0.000000000000000001", liquidity="maker"),
        trade("t5", quantity="2", price="2", realized_pnl="-3", exchange_trade_id="9'; --", notes="by hand\n"),
    ]
    books.trades.save_many(_at(each, n) for n, each in enumerate(few))
    return books


def _at(made: Trade, minute: int) -> Trade:
    return replace(made, executed_at=later(minute))


def test_trades_are_found_by_all_that_is_given(kept: Ledger) -> None:
    find = kept.trades.find
    assert ids(find()) == ["t5", "t4", "t3", "t2", "t1", "t0"]
    assert ids(find(strategy_id="s1", symbol="BTCUSDT", newest_first=False)) == ["t0", "t1", "t2"]
    assert ids(find(order_id="o2")) == ["t3"]
    assert ids(find(account_id="acc_001", side="sell")) == ["t2"]
    assert ids(find(venue="binance")) == ["t0"]
    assert ids(find(start=later(1), end=later(3))) == ["t2", "t1"]
    assert ids(find(limit=2, offset=3)) == ["t2", "t1"]
    with pytest.raises(BadValue, match="trade side 'hold'"):
        find(side="hold")
    with pytest.raises(BadValue, match="expected a time zone"):
        find(start=datetime(2024, 1, 1))


def test_trades_are_found_by_their_value_to_the_last_digit(kept: Ledger) -> None:
    find = kept.trades.find
    assert ids(find(min_value=2, max_value="2.7")) == ["t2", "t1"]
    assert ids(find(min_value="2.000000000000000001", max_value="2.699999999999999999")) == []
    assert ids(find(max_value=0.01)) == ["t4", "t0"]
    assert ids(find(min_value="0.01", max_value="0.01")) == ["t0"]
    assert ids(find(min_value=22500)) == ["t3"]
    with pytest.raises(BadValue, match="bound NaN"):
        find(min_value=float("nan"))


def test_trades_are_found_by_order_owner_and_instrument(kept: Ledger) -> None:
    trades = kept.trades
    assert ids(trades.find_by_order("o1")) == ["t0", "t1", "t2", "t4", "t5"], "in the order of fills"
    assert (trades.count_by_order("o1"), trades.count_by_order("o9")) == (5, 0)
    assert ids(trades.find_by_strategy("s1", later(1), later(3))) == ["t2", "t1"]
    assert ids(trades.find_by_strategy("s1", limit=1)) == ["t3"]
    assert ids(trades.find_by_instrument("ETHUSDT")) == ["t3"]
    assert ids(trades.find_by_instrument("BTCUSDT", start=later(2), limit=2)) == ["t5", "t4"]
    assert ids(trades.find_by_account("acc_001", end=later(1))) == ["t0"]


def test_a_trade_is_found_by_what_the_venue_calls_it(kept: Ledger) -> None:
    found = kept.trades.find_by_exchange_trade_id("9'; --")
    assert found is not None
    assert (found.trade_id, found.notes) == ("t5", "by hand\n")
    assert kept.trades.find_by_exchange_trade_id("9") is None


def test_a_day_is_from_midnight_to_midnight_utc(kept: Ledger) -> None:
    for key, at in (("y0", datetime(2024, 10, 24, tzinfo=UTC)), ("y1", datetime(2024, 10, 24, 23, 59, 59, 999999, tzinfo=UTC))):
        kept.trades.save(trade(key, strategy_id="s1", executed_at=at))
    kept.trades.save(trade("y2", strategy_id="s1", executed_at=datetime(2024, 10, 25, tzinfo=UTC)))
    assert ids(kept.trades.get_daily_trades("s1", date(2024, 10, 24))) == ["y1", "y0"]
    assert ids(kept.trades.get_daily_trades("s1", date(2024, 10, 23))) == ["t3", "t2", "t1", "t0"]


def test_sums_are_exact(kept: Ledger) -> None:
    trades = kept.trades
    assert trades.total_volume(symbol="BTCUSDT") == Decimal("1000000000002.6")
    assert trades.total_value("s1", symbol="BTCUSDT") == Decimal("4.71")
    assert trades.total_value("s2") == Decimal("0.000001")
    assert trades.total_pnl("s1", symbol="BTCUSDT") == Decimal("0.299999999999999999")
    assert trades.total_pnl() == Decimal("4.299999999999999999")
    assert trades.total_pnl("s1", later(1), later(2)) == Decimal("0.2")
    assert trades.total_pnl(account_id="acc_001") == Decimal("0.299999999999999999")
    assert trades.total_pnl("s2") == 0, "of trades that realised nothing"
    assert trades.total_pnl("nobody") == trades.total_volume("nobody") == trades.total_value("nobody") == 0


def test_commission_is_summed_by_currency(kept: Ledger) -> None:
    assert kept.trades.total_commission("s1") == {None: Decimal("0.01"), Currency("BNB"): Decimal("0.02")}
    assert kept.trades.total_commission("nobody") == {}


def test_what_was_earned_is_told_by_strategy_and_by_instrument(kept: Ledger) -> None:
    assert kept.trades.pnl_by_strategy() == {"s1": Decimal("7.299999999999999999"), "s2": 0, None: Decimal(-3)}
    assert kept.trades.pnl_by_strategy(later(4), later(9)) == {"s2": 0, None: Decimal(-3)}
    assert kept.trades.pnl_by_symbol("s1") == {"BTCUSDT": Decimal("0.299999999999999999"), "ETHUSDT": Decimal(7)}
    assert kept.trades.pnl_by_symbol(start=later(5)) == {"BTCUSDT": Decimal(-3)}
