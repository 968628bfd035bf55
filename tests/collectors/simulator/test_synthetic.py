"""Made-up trades."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from collectors.simulator import SimTrade, merged, synthetic_trades, with_shared_ids

START_NS = 1_723_161_255 * 10**9


def tape(count: int, symbol: str = "BTCUSDT", seed: int = 1) -> list[SimTrade]:
    return list(synthetic_trades(seed, START_NS, count, symbol))


def test_the_same_seed_makes_the_same_trades_and_another_seed_others() -> None:
    assert tape(5_000) == tape(5_000)
    assert tape(50, seed=2) != tape(50)


def test_more_trades_of_a_seed_begin_with_the_fewer() -> None:
    assert tape(10_000)[:100] == tape(100)


def test_made_trades_are_trades_with_ids_from_one_in_order_of_time() -> None:
    trades = tape(9_000)
    assert [t.trade_id for t in trades] == list(range(1, 9_001))
    assert all(a.ts_ns <= b.ts_ns for a, b in pairwise(trades))
    assert all(Decimal(t.price) > 0 and Decimal(t.size) > 0 for t in trades)


def test_the_pace_of_made_trades_is_the_one_asked_for() -> None:
    trades = list(synthetic_trades(1, START_NS, 60_000, trades_per_minute=6_000))
    assert 9 < (trades[-1].ts_ns - START_NS) / 60e9 < 11


def test_times_are_as_fine_as_asked_for() -> None:
    fine = list(synthetic_trades(1, START_NS, 1_000, step_ns=1_000))
    assert {t.ts_ns % 1_000 for t in fine} == {0}
    assert {t.ts_ns % 1_000_000 for t in fine} != {0}
    assert {t.ts_ns % 1_000_000 for t in tape(1_000)} == {0}


def test_tapes_are_merged_by_time_and_may_share_their_ids() -> None:
    tapes = tape(300), tape(300, "ETHUSDT", seed=2)
    both, shared = merged(*tapes), with_shared_ids(*tapes, first_id=50)
    assert all(a.ts_ns <= b.ts_ns for a, b in pairwise(both))
    assert [t.trade_id for t in both if t.symbol == "ETHUSDT"] == list(range(1, 301))
    assert [t.trade_id for t in shared] == list(range(50, 650))
    assert [(t.symbol, t.ts_ns, t.price) for t in shared] == [(t.symbol, t.ts_ns, t.price) for t in both]
