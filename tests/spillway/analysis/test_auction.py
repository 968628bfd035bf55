"""Unfinished auctions and zero prints; test_footprint.py holds them against the reference."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import BadValue
from spillway import analysis
from tests.spillway.analysis import agree


def test_an_auction_is_unfinished_where_both_sides_traded_at_the_extreme() -> None:
    frame = agree.levels([(0, "10", "0", "4"), (0, "11", "3", "3"), (0, "12", "5", "1")])
    (bar,) = analysis.unfinished_auctions(frame).to_dict("records")
    assert (bar["high"], bar["high_buy"], bar["high_sell"], bar["unfinished_high"]) == (12.0, 5.0, 1.0, True)
    assert (bar["low"], bar["low_buy"], bar["low_sell"], bar["unfinished_low"]) == (10.0, 0.0, 4.0, False)


def test_a_bar_of_one_price_may_be_unfinished_at_both_ends() -> None:
    (bar,) = analysis.unfinished_auctions(agree.levels([(0, "10", "1", "2")])).to_dict("records")
    assert bar["unfinished_high"] and bar["unfinished_low"]


def test_the_least_volume_is_of_buyers_at_the_high_and_of_sellers_at_the_low_and_must_be_exceeded() -> None:
    frame = agree.levels([(0, "10", "1", "20.5"), (0, "11", "20", "1")])
    (bar,) = analysis.unfinished_auctions(frame, min_volume=20).to_dict("records")
    assert (bar["unfinished_high"], bar["unfinished_low"]) == (False, True)
    (bar,) = analysis.unfinished_auctions(frame, min_volume="19.99").to_dict("records")
    assert bar["unfinished_high"]


@pytest.mark.parametrize("least", [-1, "some"])
def test_a_least_volume_that_is_none_is_refused(least: Any) -> None:
    with pytest.raises(BadValue, match="min_volume"):
        analysis.unfinished_auctions(agree.levels([(0, "10", "1", "2")]), min_volume=least)


def test_zero_prints_are_prices_that_one_side_left_out() -> None:
    frame = agree.levels(
        [(0, "10", "0", "4"), (0, "11", "3", "0"), (0, "12", "1", "1"), (0, "13", "0", "0", "9"), (0, "14", "2", "1")]
    )
    have = analysis.zero_prints(frame).drop(columns="timestamp")
    assert list(have.itertuples(index=False, name=None)) == [(10.0, "buy", 4.0, True), (11.0, "sell", 3.0, False)]
