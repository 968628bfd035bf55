"""The charts of a terminal."""

from __future__ import annotations

import pandas as pd

from spillway.plot.text import ROWS, footprint_chart, price_chart
from tests.spillway.plot.frames import LIFTED, START, levels


def test_a_price_chart_rises_from_its_lowest_to_its_highest_close() -> None:
    times = pd.date_range(START, periods=3, freq="1h")
    lines = list(price_chart(pd.DataFrame({"timestamp": times, "close": [100.0, 105.0, 110.0]})))
    assert len(lines) == ROWS + 1
    assert "110.00" in lines[0]
    assert "100.00" in lines[ROWS - 1]
    assert [sum(line[13 + column] != " " for line in lines[:ROWS]) for column in range(3)] == [1, 4, 6]


def test_a_price_that_stands_still_has_a_chart_too() -> None:
    frame = pd.DataFrame({"timestamp": [START], "close": [100.0]})
    assert "100.00" in next(price_chart(frame))


def test_a_footprint_stands_by_price_with_the_highest_first() -> None:
    lines = list(footprint_chart(levels(LIFTED)))
    assert [line.split()[0] for line in lines[1:]] == ["4.00000", "1.00000", "1.00000"]
    assert lines[2].count("█") > lines[3].count("█")
