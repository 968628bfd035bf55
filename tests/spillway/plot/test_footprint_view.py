"""What a footprint chart shows: cells, imbalances, candles and profile are those of the analysis; the size is bounded."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.errors import BadValue
from spillway import analysis, plot
from spillway.plot.footprint_view import FootprintView
from tests.spillway.plot.frames import BAR, LIFTED, START, levels, minutes


def view(*args: object, **options: object) -> FootprintView:
    found = plot.footprint(*args, **options).view  # type: ignore[arg-type]
    assert isinstance(found, FootprintView)
    return found


def test_a_cell_holds_what_was_sold_and_bought_at_its_price_in_its_bar() -> None:
    found = view(levels(BAR, LIFTED), minutes("complete", "complete"))
    assert (found.bars, found.every, found.tick, found.rows) == (2, 1, 1.0, 3)
    cell = found.cells[(found.cells["x"] == 1) & (found.cells["price"] == 101.0)].iloc[0]
    assert (cell["sell"], cell["buy"], cell["total"], cell["delta"]) == (1.0, 9.0, 10.0, 8.0)


def test_imbalances_and_points_of_control_are_those_of_the_analysis() -> None:
    frame = levels(BAR, LIFTED, BAR)
    cells = view(frame).cells
    wanted = analysis.imbalances(frame, tick=1, percent=300)
    assert cells["buy_imbalance"].tolist() == wanted["buy_imbalance"].tolist()
    assert cells["sell_imbalance"].tolist() == wanted["sell_imbalance"].tolist()
    assert cells[cells["buy_imbalance"]][["x", "price"]].to_numpy().tolist() == [[1, 101.0]]
    assert cells[cells["poc"]]["price"].tolist() == analysis.point_of_control(frame, tick=1)["poc"].tolist()


def test_an_imbalance_is_as_large_as_was_asked_for() -> None:
    assert not view(levels(LIFTED), imbalance_percent=1000).cells["buy_imbalance"].any()
    assert not view(levels(LIFTED), min_volume=10).cells["buy_imbalance"].any()


def test_the_profile_is_of_the_whole_range() -> None:
    found = view(levels(BAR, LIFTED))
    assert found.profile["total"].tolist() == [6.0, 15.0, 10.0]
    assert found.control == 101.0
    assert found.profile["poc"].tolist() == [False, True, False]


def test_candles_stand_at_the_edges_of_rows() -> None:
    found = view(levels(BAR, BAR), minutes("complete", "complete"), every="2m")
    (box,) = found.boxes().to_dict("records")
    assert (box["bottom"], box["top"], box["low"], box["high"], box["up"]) == (100.0, 103.0, 100.0, 103.0, True)


def test_without_minutes_there_are_no_candles_and_no_holes() -> None:
    found = view(levels(BAR))
    assert found.boxes().empty
    assert found.holes.spans == ()


def test_a_bar_without_trades_keeps_its_place() -> None:
    found = view(levels(BAR, (), BAR), minutes("complete", None, "complete"))
    assert found.bars == 3
    assert sorted(set(found.cells["x"])) == [0, 2]
    assert [span.state for span in found.holes.spans] == ["absent"]


def test_levels_that_are_bars_already_stay_so() -> None:
    assert view(levels(BAR, BAR, BAR, every=5)).every == 5


def test_one_price_only_has_a_row_of_the_prices_own_step() -> None:
    found = view(levels(((100.25, 1.0, 2.0),)))
    assert (found.tick, found.rows, found.low) == (0.01, 1, 100.25)
    low, high = found.edges
    assert high - low > 10 * found.tick


def test_the_title_tells_range_and_grouping() -> None:
    assert view(levels(BAR, LIFTED), title="binance BTCUSDT", tick=2).title == (
        "binance BTCUSDT · footprint · 2024-10-23 14:00 to 14:02 UTC · 1m bars, rows of 2"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"every": "1m"}, "longer bars"),
        ({"every": "1d", "tick": "0.00001"}, "higher rows"),
        ({"every": "half"}, "half"),
        ({"tick": 0}, "tick"),
        ({"tick": "high"}, "tick"),
        ({"colour": "pink"}, "expected one of delta, volume"),
        ({"imbalance_percent": 5}, "percent"),
    ],
)
def test_what_no_picture_can_show_is_refused_with_what_to_ask_for(options: dict[str, object], told: str) -> None:
    year = pd.concat([levels(BAR), levels(LIFTED).assign(timestamp=START + pd.Timedelta(days=365))])
    with pytest.raises(BadValue, match=told):
        view(year, **options)


def test_a_year_is_thinned_to_long_bars_and_its_title_says_so() -> None:
    year = pd.concat([levels(BAR, LIFTED), levels(LIFTED).assign(timestamp=START + pd.Timedelta(days=365))])
    found = view(year)
    assert found.bars <= 31
    assert "16d bars" in found.title


def test_nothing_is_refused_by_name() -> None:
    with pytest.raises(BadValue, match="binance BTCUSDT: there is nothing to draw"):
        view(levels(), title="binance BTCUSDT")
    with pytest.raises(BadValue, match="no column price_level"):
        view(minutes("complete"))


def test_the_range_asked_for_is_drawn_though_nothing_is_kept_at_its_ends_and_neighbours_prove_them() -> None:
    frame = minutes("complete", "complete", None, "complete").assign(first_trade_id=[1, 5, 9], last_trade_id=[4, 8, 12])
    asked = {"start": START - pd.Timedelta(minutes=2), "end": START + pd.Timedelta(minutes=3)}
    found = view(levels(BAR, LIFTED), frame, every="1m", **asked)
    assert (found.bars, found.cells["x"].min(), len(found.candles)) == (5, 2, 2)  # the fourth minute is not drawn,
    assert [(span.state, span.end - span.start) for span in found.holes.spans] == [("absent", 2)]  # but proves the third empty
    assert "13:58 to 14:03" in found.title


def test_a_bar_that_begins_before_what_was_asked_for_is_drawn_with_what_is_left_of_it() -> None:
    found = view(levels(BAR, LIFTED), every="5m", start=START + pd.Timedelta(minutes=1))
    assert found.bars == 1
    assert found.cells["total"].sum() > 0


def test_nothing_in_the_range_asked_for_is_refused() -> None:
    for start, end in ((None, START), ("2030-01-01", None), ("2024-10-22", "2024-10-23")):
        with pytest.raises(BadValue, match="nothing to draw"):
            plot.footprint(levels(BAR), minutes("complete"), start=start, end=end)
        with pytest.raises(BadValue, match="nothing to draw"):
            plot.bars(minutes("complete"), start=start, end=end)
