"""The two inner loops give the same sums, and those are the sums that plain decimals give."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import aggregate
from pipeline.aggregate import MinuteSum, sums
from pipeline.trade import NS_PER_MINUTE, Side, Trade, TradeBatch
from tests.pipeline.builders import BTC, START, START_NS, batch, stream, trade
from tests.pipeline.reference import minutes_of, ranges


@st.composite
def trades(draw: st.DrawFn, *, least: int = 1) -> list[Trade]:
    """Trades in id order; times may step back across minutes, prices repeat, some numbers exceed 64 bits."""
    prices = st.one_of(st.integers(1, 5), st.sampled_from([10**12, 10**19, 10**25]))
    sizes = st.one_of(st.integers(1, 1000), st.sampled_from([2**62, 10**22]))
    row = st.tuples(st.integers(0, 4 * 60), prices, sizes, st.sampled_from(Side), st.integers(1, 9), st.integers(1, 3))
    found, trade_id = [], 0
    for second, price, size, side, count, step in draw(st.lists(row, min_size=least, max_size=20)):
        trade_id += step
        found.append(Trade(BTC, trade_id, START_NS + second * 10**9, Decimal(price), Decimal(size), side, count))
    return found


def as_expected(part: MinuteSum, columns: TradeBatch) -> dict[str, Any]:
    """A sum as the reference tells it, in decimals."""

    def price(value: int) -> Decimal:
        return Decimal(value).scaleb(-columns.price_scale)

    def size(value: int) -> Decimal:
        return Decimal(value).scaleb(-columns.size_scale)

    return {
        "levels": {price(p): (size(b), size(s), size(t), n) for p, b, s, t, n in part.levels},
        **{name: price(getattr(part, name)) for name in ("open", "high", "low", "close")},
        **{name: getattr(part, name) for name in ("first_id", "last_id", "first_ns", "last_ns", "seen")},
    }


def check_against_reference(parts: Iterable[MinuteSum], columns: TradeBatch, members: list[Trade]) -> None:
    found, want = list(parts), minutes_of(members)
    assert [part.minute for part in found] == sorted(want)
    for part in found:
        expected = vars(want[part.minute]).copy()
        expected.pop("notional")
        assert as_expected(part, columns) == expected
        assert [row[0] for row in part.levels] == sorted(row[0] for row in part.levels)
        own = [t.trade_id for t in members if t.ts_event_ns // NS_PER_MINUTE == part.minute]
        assert tuple(part.id_ranges) == ranges(own)  # type: ignore[arg-type]


@given(trades())
def test_the_loop_over_rows_gives_the_reference_s_sums(members: list[Trade]) -> None:
    columns = batch(*members)
    check_against_reference(aggregate._by_rows(columns, True), columns, members)


@given(trades())
def test_the_array_operations_give_the_loop_s_sums_wherever_64_bits_hold_them(members: list[Trade]) -> None:
    columns = batch(*members)
    if aggregate._fits(columns):
        assert list(aggregate._by_arrays(columns, True)) == list(aggregate._by_rows(columns, True))


@given(trades(least=3), st.integers(0, 60))
def test_sums_are_exact_whichever_way_they_are_made(members: list[Trade], more: int) -> None:
    members = members + stream(more, first_id=1000)
    columns = batch(*members)
    check_against_reference(sums(columns, with_ranges=True), columns, members)


@pytest.mark.parametrize("count", [1, aggregate.FEW - 1, aggregate.FEW, 5000])
def test_a_long_batch_and_a_short_one_are_summed_alike(count: int) -> None:
    members = stream(count, every_s=0.25)
    columns = batch(*members)
    check_against_reference(sums(columns, with_ranges=True), columns, members)


def test_sizes_whose_sum_would_overflow_are_summed_without_64_bits() -> None:
    members = [trade(n, size=str(2**61), count=2**40) for n in range(1, 101)]
    (part,) = sums(batch(*members), with_ranges=True)
    assert part.levels == [(100, 100 * 2**61, 0, 100 * 2**61, 100 * 2**40)]


def test_counts_whose_sum_would_overflow_are_summed_without_64_bits() -> None:
    columns = batch(*(trade(n, count=2**62) for n in range(1, 101)))
    (part,) = sums(columns, with_ranges=True)
    assert part.levels[0][4] == 100 * 2**62


@pytest.mark.parametrize("many", [False, True])
def test_ids_that_are_names_have_no_ranges(many: bool) -> None:
    members = [trade(f"x{n}") for n in range(100 if many else 2)]
    (part,) = sums(batch(*members), with_ranges=False)
    assert (part.first_id, part.last_id, part.id_ranges) == ("x0", members[-1].trade_id, [])


@pytest.mark.parametrize("many", [False, True])
def test_what_comes_out_is_python_s_own_integers(many: bool) -> None:
    (part,) = sums(batch(*(trade(n) for n in range(1, 101 if many else 3))), with_ranges=True)
    values = [part.minute, part.open, part.high, part.low, part.close, part.first_id, part.first_ns, part.seen]
    assert {type(v) for v in [*values, *part.levels[0], *part.id_ranges[0]]} == {int}


def test_a_trade_at_the_last_nanosecond_of_a_minute_belongs_to_it() -> None:
    columns = TradeBatch.of([trade(1), trade(2)] * 1)
    columns.ts_ns[:] = np.array([START_NS + NS_PER_MINUTE - 1, START_NS + NS_PER_MINUTE])
    assert [part.minute for part in sums(columns, with_ranges=True)] == [START, START + 1]
