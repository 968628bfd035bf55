"""A minute holds so many prices and no more, whatever a venue tells."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import crowding
from pipeline.footprint import Footprint
from pipeline.instrument import IdRule
from pipeline.trade import Trade
from tests.pipeline.builders import BTC, START, batch, trade
from tests.pipeline.house import House, write

MOST = 3


@pytest.fixture(autouse=True)
def few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "MAX_LEVELS", MOST)


def footprint(*trades: Trade, group: str | None = None) -> Footprint:
    made = Footprint(BTC, IdRule.CONTIGUOUS, Decimal(group) if group else None)
    made.add(made.admit(batch(*trades)).fresh)
    return made


def crowded(of: Footprint, *trades: Trade) -> list[bool]:
    found: list[bool] = crowding.crowded(of, batch(*trades)).tolist()
    return found


def test_prices_beyond_the_most_are_refused_and_those_held_never_are() -> None:
    held = footprint(trade(1, price="100"), trade(2, price="101"))
    told = [trade(n, price=p) for n, p in enumerate(("102", "103", "100", "102", "104", "101"), 3)]
    assert crowded(held, *told) == [False, True, False, False, True, False]


def test_each_minute_counts_by_itself() -> None:
    held = footprint(*(trade(n, price=str(n)) for n in (1, 2, 3)))
    assert crowded(held, trade(4, price="4"), trade(5, "1:00", "5"), trade(6, "1:01", "6")) == [True, False, False]


def test_the_same_price_at_a_finer_scale_is_the_same_price() -> None:
    held = footprint(*(trade(n, price=str(n)) for n in (1, 2, 3)))
    assert crowded(held, trade(4, price="3.00"), trade(5, price="3.01")) == [False, True]
    finer = footprint(trade(1, price="1.25"), trade(2, price="2"), trade(3, price="3"))
    assert crowded(finer, trade(4, price="3"), trade(5, price="4")) == [False, True]


def test_grouped_prices_count_by_their_group() -> None:
    held = footprint(trade(1, price="10"), trade(2, price="20"), trade(3, price="30"), group="10")
    assert crowded(held, trade(4, price="39"), trade(5, price="40")) == [False, True]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=40), st.integers(1, 40))
def test_no_minute_ever_holds_more_however_the_trades_are_cut(told: list[tuple[int, int]], size: int) -> None:
    held = Footprint(BTC, IdRule.MONOTONIC)
    trades = [trade(n, f"{minute}:00", str(price)) for n, (minute, price) in enumerate(sorted(told), 1)]
    for at in range(0, len(trades), size):
        part = batch(*trades[at : at + size])
        held.add(held.admit(part.take(~crowding.crowded(held, part))).fresh)
    prices: dict[int, list[int]] = {}
    for minute, price in sorted(told):
        seen = prices.setdefault(minute, [])
        if price not in seen and len(seen) < MOST:
            seen.append(price)
    assert {start - START: sorted(b.levels) for start, b in held.open.items()} == {m: sorted(p) for m, p in prices.items()}


@pytest.mark.parametrize("window", ["redis_server"], indirect=True)
async def test_what_is_refused_is_a_dead_letter_and_the_rest_is_kept(house: House) -> None:
    writer = await house.started()
    trades = [trade(n, price=str(100 + n % 5)) for n in range(1, 21)]
    await write(writer, trades, size=7)
    taken = [t for t in trades if t.price in (101, 102, 103)]
    assert len(house.rejects) == writer.counts.rejected == len(trades) - len(taken)
    assert {reject.reason for reject in house.rejects} == {"the minute holds 3 prices already"}
    (minute,) = (await house.minutes()).values()
    assert (len(minute.levels), minute.seen) == (MOST, len(taken))
