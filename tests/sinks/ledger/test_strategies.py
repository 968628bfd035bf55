"""Strategies."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from pipeline.errors import BadValue, Missing, NotAllowed
from pipeline.trading.strategy import Strategy, StrategyStatus, StrategyType
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger.made import START, later, strategy


def ids(found: list[Strategy]) -> list[str]:
    return [each.strategy_id for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    books.strategies.save_many(
        [
            strategy("s1", created_at=later(1), strategy_type="momentum", parameters={"fast": 1.5, "big": 2**70, "x": [None]}),
            strategy("s2", created_at=later(2), instruments=["BTC/USD", 'a"b', "ETHUSDT"], status="active"),
            strategy("s3", created_at=later(3), instruments=[], status="active", max_leverage="2.5"),
        ]
    )
    return books


def test_strategies_are_found_by_all_that_is_given(kept: Ledger) -> None:
    find = kept.strategies.find
    assert ids(find()) == ["s3", "s2", "s1"]
    assert ids(find(newest_first=False, limit=2, offset=1)) == ["s2", "s3"]
    assert ids(find(status=StrategyStatus.ACTIVE, start=later(2), end=later(3))) == ["s2"]
    assert ids(find(strategy_type="momentum")) == ["s1"]
    assert ids(find(symbol="ETHUSDT", status="active")) == ["s2"]
    with pytest.raises(BadValue, match="strategy status 'asleep'"):
        find(status="asleep")


def test_strategies_are_found_by_status_type_and_instrument(kept: Ledger) -> None:
    strategies = kept.strategies
    assert ids(strategies.find_active()) == ids(strategies.find_by_status("active")) == ["s2", "s3"]
    assert ids(strategies.find_by_type(StrategyType.MOMENTUM)) == ["s1"]
    assert ids(strategies.find_by_symbol("BTCUSDT")) == ["s1"]
    assert ids(strategies.find_by_symbol('a"b')) == ["s2"]
    for none in (",", '","', "BTC", "btcusdt", 'BTCUSDT"', "%"):
        assert strategies.find_by_symbol(none) == [], none


def test_a_strategy_moves_through_its_statuses(kept: Ledger) -> None:
    move = kept.strategies.update_status
    assert move("s1", "active", later(5)).started_at == later(5)
    assert move("s1", StrategyStatus.PAUSED, later(6)).status is StrategyStatus.PAUSED
    assert move("s1", "active", later(7)).started_at == later(5), "resumed, not started again"
    failed = move("s1", "error", later(8), reason="margin call")
    assert (failed.error_message, failed.stopped_at) == ("margin call", later(8))
    assert move("s1", "stopped", later(9)).stopped_at == later(9)
    again = move("s1", "active")
    assert kept.strategies.find_by_id("s1") == again
    assert kept.strategies.find_by_status("stopped") == []


def test_a_move_that_is_not_allowed_changes_nothing(kept: Ledger) -> None:
    for status, told in (("paused", "can't pause"), ("inactive", "stop it"), ("error", "can't fail")):
        with pytest.raises(NotAllowed, match=told):
            kept.strategies.update_status("s1", status, reason="x")
    with pytest.raises(Missing, match="strategy 's9'"):
        kept.strategies.update_status("s9", "active")
    assert [s.version for s in kept.strategies.find_all()] == [1, 1, 1]


def test_what_it_earned_is_kept_exactly(kept: Ledger) -> None:
    kept.strategies.update_pnl("s1", 0.1, "-0.000000000000000001", START)
    found = kept.strategies.find_by_id("s1")
    assert found is not None
    assert (found.total_pnl, found.daily_pnl) == (Decimal("0.1"), Decimal("-0.000000000000000001"))
    with pytest.raises(BadValue, match="total_pnl NaN"):
        kept.strategies.update_pnl("s1", float("nan"), 0)


def test_trades_counted_at_once_by_several_ledgers_are_all_counted(ledger_url: str) -> None:
    with open_ledger(ledger_url) as one, open_ledger(ledger_url) as other:
        one.strategies.save(strategy())

        def count(ledger: Ledger) -> None:
            for _ in range(10):
                ledger.strategies.increment_trade_count("s1")

        threads = [threading.Thread(target=count, args=(ledger,)) for ledger in (one, other, one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = one.strategies.find_by_id("s1")
        assert found is not None
        assert (found.total_trades, found.version) == (40, 41)
