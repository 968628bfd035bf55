"""Diagonal and stacked imbalances; test_footprint.py holds them against the reference."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline.errors import BadValue
from spillway import analysis
from tests.spillway.analysis import agree


def flags(*cells: tuple[str, str, str], **how: Any) -> tuple[str, str]:
    """Which of (price, sell, buy), lowest first, are buy and which are sell imbalances."""
    have = analysis.imbalances(agree.levels((0, p, buy, sell) for p, sell, buy in cells), **({"tick": 1} | how))
    return tuple("".join(str(int(f)) for f in have[name]) for name in ("buy_imbalance", "sell_imbalance"))  # type: ignore[return-value]


def test_the_example_of_tradingviews_guide() -> None:
    # Sell and buy volume of its four levels: 506.37 >= 3 * 166.433 makes level 2 a buy imbalance; nothing else on that side.
    cells = (("1", "166.433", "144.644"), ("2", "550.535", "506.37"), ("3", "244.744", "158.847"), ("4", "171.992", "250.835"))
    assert flags(*cells) == ("0100", "0100")  # and 550.535 sold at level 2 >= 3 * 158.847 bought at level 3


def test_the_side_must_outweigh_by_the_whole_percentage_to_the_last_unit() -> None:
    assert flags(("10", "0.1", "0"), ("11", "0", "0.3")) == ("01", "00")
    assert 0.3 < 3 * 0.1  # which floats get wrong
    assert flags(("10", "0.1", "1"), ("11", "1", "0.29999999")) == ("00", "00")
    assert flags(("10", "0.1", "1"), ("11", "1", "0.29999999"), percent="299.9999") == ("01", "00")


def test_the_lowest_row_is_no_buy_imbalance_and_the_highest_no_sell_imbalance() -> None:
    assert flags(("10", "0", "100"), ("11", "100", "0")) == ("00", "00")
    assert flags(("10", "50", "100")) == ("0", "0")


def test_zero_on_the_other_side_is_outweighed_by_anything_unless_such_pairs_are_passed_over() -> None:
    cells = (("10", "0", "1"), ("11", "2", "1"), ("12", "1", "0"))
    assert flags(*cells) == ("010", "010")
    assert flags(*cells, ignore_zero=True) == ("000", "000")


def test_a_price_that_nobody_traded_at_counts_as_zero() -> None:
    cells = (("10", "9", "1"), ("12", "1", "1"))
    assert flags(*cells) == ("01", "10")
    assert flags(*cells, ignore_zero=True) == ("00", "00")
    assert flags(*cells, tick=2) == ("00", "10")


def test_nothing_outweighs_nothing() -> None:
    assert flags(("10", "0", "1"), ("11", "1", "0")) == ("00", "00")


def test_small_volumes_can_be_left_out() -> None:
    cells = (("10", "1", "0"), ("11", "0", "29.9"), ("12", "0", "30"))
    assert flags(*cells) == ("011", "000")
    assert flags(*cells, min_volume=30) == ("001", "000")
    assert flags(*cells, min_volume="29.95") == ("001", "000")


def stack(*cells: tuple[int, str, str, str], **how: Any) -> list[tuple[Any, ...]]:
    have = analysis.stacked_imbalances(agree.levels((m, p, buy, sell) for m, p, sell, buy in cells), **({"tick": 1} | how))
    return list(have.drop(columns="timestamp").itertuples(index=False, name=None))


def test_runs_are_of_one_side_at_prices_one_tick_apart_within_a_bar() -> None:
    rising = [(0, str(p), "1", "5") for p in range(10, 15)]  # buy imbalances at 11 to 14
    assert stack(*rising) == [("buy", 11.0, 14.0, 4, 20.0)]
    assert stack(*rising, run=5) == []
    broken = [*rising[:3], (0, "13", "1", "1"), *rising[4:]]
    assert stack(*broken) == []
    assert stack(*broken, run=1) == [("buy", 11.0, 12.0, 2, 10.0), ("buy", 14.0, 14.0, 1, 5.0)]
    gap = [*rising[:3], (0, "14", "1", "5"), (0, "15", "1", "5")]  # 13 was not traded at, so it is no imbalance
    assert stack(*gap, run=2) == [("buy", 11.0, 12.0, 2, 10.0), ("buy", 14.0, 15.0, 2, 10.0)]
    two_bars = [(0, "10", "1", "0"), (0, "11", "1", "5"), (1, "12", "1", "1"), (1, "13", "1", "5")]
    assert stack(*two_bars, run=2) == []


def test_falling_bars_stack_sell_imbalances() -> None:
    assert stack(*[(0, str(p), "9", "2") for p in range(10, 15)]) == [("sell", 10.0, 13.0, 4, 36.0)]


def test_no_stack_gives_an_empty_answer_with_its_columns() -> None:
    have = analysis.stacked_imbalances(agree.levels([(0, "10", "1", "1")]), tick=1)
    assert list(have.columns) == ["timestamp", "side", "low", "high", "length", "volume"]
    assert have.empty


@pytest.mark.parametrize("how", [{"percent": 99}, {"percent": 100_001}, {"percent": "x"}, {"min_volume": -1}, {"run": 0}])
def test_settings_that_are_none_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match=next(iter(how))):
        stack((0, "10", "1", "1"), **how)


def test_the_largest_percentage_of_the_largest_volumes_does_not_overflow() -> None:
    large = str(10**15 - 1)
    frame = agree.levels([(0, "10", "0", large), (0, "11", large, "0")]).assign(total_volume=1.0)
    have = analysis.imbalances(frame, tick=1, percent=100_000)
    assert not have["buy_imbalance"].any()
    assert pd.api.types.is_bool_dtype(have["buy_imbalance"])
