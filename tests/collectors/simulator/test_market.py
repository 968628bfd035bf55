"""The made-up market: what is said of it can be measured in it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from collectors.simulator.market import MS_PER_MINUTE, Market, elsewhere, market

START_MS = 1_700_006_400_000  # a midnight
day = partial(market, first_ms=START_MS, minutes=1440, price=64_000, decimals=1, per_minute=30, move_bp=0.2)


def per_minute(trades: Market, values: Any = None) -> Any:
    return np.bincount((trades.time_ms - START_MS) // MS_PER_MINUTE, values, minlength=1440)


def test_the_same_seed_gives_the_same_trades_and_another_others() -> None:
    one, again, other = day(1), day(1), day(2)
    assert list(one.csv()) == list(again.csv())
    assert list(one.csv()) != list(other.csv())


def test_ids_are_contiguous_times_in_order_and_numbers_plain_decimals() -> None:
    trades = day(1)
    assert trades.trade_id.tolist() == list(range(1, len(trades) + 1))
    assert (np.diff(trades.time_ms) >= 0).all()
    assert trades.time_ms[0] >= START_MS and trades.time_ms[-1] < START_MS + 1440 * MS_PER_MINUTE
    head, first, *_ = trades.csv()
    number, time, price, size, side = first.strip().split(",")
    assert head == "id,time,price,size,side\n"
    assert (number, time, side) == ("1", str(trades.time_ms[0]), "buy" if trades.buy[0] else "sell")
    assert price == f"{trades.price[0] / 10:.1f}"
    assert size == f"{trades.lots[0] / 100_000:.5f}"


def test_the_afternoon_is_busier_than_the_night_and_the_price_follows_the_flow() -> None:
    trades = day(1)
    counts = per_minute(trades).reshape(24, 60).sum(axis=1)
    assert counts[12:17].mean() > 2 * counts[0:5].mean()
    flow = per_minute(trades, np.where(trades.buy, trades.lots, -trades.lots))
    ends = np.searchsorted(trades.time_ms, START_MS + np.arange(1, 1441) * MS_PER_MINUTE) - 1
    moves = np.diff(trades.price[ends])
    assert np.corrcoef(flow[1:], moves)[0, 1] > 0.3
    assert abs(np.where(trades.buy, 1, -1).mean()) < 0.02  # neither side wins for good


def test_of_a_quiet_market_only_a_share_of_the_minutes_has_trades() -> None:
    trades = market(1, START_MS, 14_400, price=2.5, decimals=4, per_minute=6, move_bp=15, traded=0.02)
    minutes = len(np.unique(trades.time_ms // MS_PER_MINUTE))
    assert 0.015 < minutes / 14_400 < 0.025
    assert 4 < len(trades) / minutes < 9


def test_what_is_taken_out_leaves_a_hole_in_the_ids_until_they_are_numbered_anew() -> None:
    trades = day(1)
    hour = (START_MS + 60 * MS_PER_MINUTE, START_MS + 120 * MS_PER_MINUTE)
    rest = trades.where(~trades.during(hour))
    assert len(rest) == len(trades) - int(trades.during(hour).sum())
    assert (np.diff(rest.trade_id) > 1).sum() == 1
    assert (np.diff(rest.numbered().trade_id) == 1).all()
    told = list(rest.sim_trades("BTCUSDT"))
    assert (told[0].trade_id, told[-1].ts_ns, len(told)) == (1, int(rest.time_ms[-1]) * 10**6, len(rest))


def test_another_venue_has_some_of_the_trades_at_nearly_the_same_prices() -> None:
    trades = day(1)
    other = elsewhere(trades, 2, share=0.2, off_bp=3)
    assert 0.17 < len(other) / len(trades) < 0.23
    same = trades.price[other.trade_id - 1] / 10
    assert 1e-5 < np.abs(other.price / same - 1).mean() < 5e-4
    assert next(other.sim_trades("btcusd")).price.isdigit()
