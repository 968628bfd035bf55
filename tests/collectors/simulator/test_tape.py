"""What the simulated exchange knows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from collectors.simulator.synthetic import SimTrade, merged, synthetic_trades
from collectors.simulator.tape import Tape

S = 10**9
START_NS = 1_723_161_240 * S  # a whole minute


def ids(trades: list[SimTrade]) -> list[int]:
    return [trade.trade_id for trade in trades]


def two_symbols(at: int | None = None) -> Tape:
    tape = Tape(merged(*(synthetic_trades(n, START_NS, 100, symbol) for n, symbol in enumerate(("A", "B")))), unkept={5})
    tape.at = len(tape.trades) if at is None else at
    return tape


def test_history_is_that_of_one_symbol_without_what_it_does_not_keep() -> None:
    tape = two_symbols()
    assert ids(tape.newest("A", 3)) == [98, 99, 100]
    assert ids(tape.from_id("A", 3, 4)) == [3, 4, 6, 7]
    assert ids(tape.below_id("A", 7, 3)) == [3, 4, 6]
    assert ids(tape.above_id("A", 98, 10)) == [99, 100]
    assert {t.symbol for t in tape.newest("B", 10)} == {"B"}
    with pytest.raises(KeyError):
        tape.newest("C", 1)


def test_what_has_not_happened_is_not_known() -> None:
    tape = two_symbols(at=0)
    assert (tape.newest("A", 9), tape.minutes("A", None, None), tape.now_ns) == ([], [], 0)
    tape.at = 20
    assert max(t.ts_ns for t in tape.from_id("A", 1, 999)) <= tape.now_ns == tape.trades[19].ts_ns


def test_times_are_found_on_either_side() -> None:
    tape = two_symbols()
    middle = tape.newest("A", 50)[0]
    assert all(t.ts_ns >= middle.ts_ns for t in tape.since("A", middle.ts_ns))
    assert all(t.ts_ns < middle.ts_ns for t in tape.before("A", middle.ts_ns, 99))
    assert len(tape.since("A", middle.ts_ns)) + len(tape.before("A", middle.ts_ns, 99)) == 99


def test_lost_trades_are_gone_from_history_but_not_from_the_candles() -> None:
    tape = two_symbols()
    before = tape.minutes("A", None, None)
    tape.lost.update(place for place, t in enumerate(tape.trades) if t.symbol == "A" and t.trade_id in (9, 10))
    assert ids(tape.from_id("A", 8, 3)) == [8, 11, 12]
    assert tape.minutes("A", None, None) == before


def test_a_candle_sums_its_minute_and_an_empty_one_has_the_close_before() -> None:
    trades = [
        SimTrade("A", 1, START_NS + 1 * S, "9.5", "0.1", True),
        SimTrade("A", 2, START_NS + 2 * S, "10.5", "0.2", False),
        SimTrade("A", 3, START_NS + 130 * S, "10", "0.4", True, 3),
    ]
    tape = Tape(trades)
    tape.at = 3
    first, second, third = tape.minutes("A", None, None)
    assert (first.open, first.high, first.low, first.close, first.count) == ("9.5", "10.5", "9.5", "10.5", 2)
    assert (first.volume, first.buy_volume) == (Decimal("0.3"), Decimal("0.1"))
    assert (first.notional, first.buy_notional) == (Decimal("3.05"), Decimal("0.95"))
    assert (second.open, second.close, second.volume, second.count) == ("10.5", "10.5", Decimal(0), 0)
    assert (third.count, third.buy_volume) == (3, Decimal("0.4"))
    assert [c.minute for c in tape.minutes("A", None, None, empty=False)] == [first.minute, third.minute]
    assert tape.minutes("A", second.minute, second.minute) == [second]
