"""Still pictures by their structure: what is drawn where, in which colour, with which words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spillway import plot
from spillway.plot.picture import Picture
from spillway.plot.style import BUY, INK, PAPER, SELL, STATE_COLOURS
from tests.spillway.plot.frames import BAR, LIFTED, levels, minutes
from tests.spillway.plot.test_coverage_view import hours


def drawn(picture: Picture) -> Figure:
    figure = picture.matplotlib()
    assert isinstance(figure, Figure)
    return figure


def part(axes: Axes, gid: str) -> Any:
    (found,) = [artist for artist in axes.get_children() if artist.get_gid() == gid]
    return found


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for line in figure.legends for text in line.get_texts()]


@pytest.fixture(scope="module")
def footprint() -> Figure:
    frame = minutes("complete", "complete", "degraded", None, close=101.0)
    return drawn(plot.footprint(levels(BAR, LIFTED, BAR), frame, title="binance BTCUSDT"))


def test_title_axes_and_legend_say_what_is_shown(footprint: Figure) -> None:
    main, profile, foot = footprint.axes
    assert footprint.get_suptitle().startswith("binance BTCUSDT · footprint · 2024-10-23 14:00 to 14:03 UTC")
    assert (main.get_ylabel(), profile.get_xlabel(), foot.get_ylabel()) == ("price", "volume", "volume,\ndelta")
    assert "time (UTC)" in foot.get_xlabel()
    assert foot.get_xticklabels()[0].get_text() == "14:00\n2024-10-23"
    assert legend_of(footprint)[2:] == [
        "sell imbalance 300 %",
        "buy imbalance 300 %",
        "candle: hollow if it rose",
        "point of control",
        "value area: strong colour",
        "degraded: 1 of 3 minutes",
    ]


def test_each_cell_stands_at_its_bar_and_price_in_the_colour_of_its_delta(footprint: Figure) -> None:
    cells: Collection = part(footprint.axes[0], "cells")
    boxes = np.array([path.get_extents().get_points() for path in cells.get_paths()])
    assert len(boxes) == 9
    assert boxes[:, :, 1].min() == 100.0
    assert boxes[:, :, 1].max() == 103.0
    lifted, sold = np.array(cells.get_facecolor())[4:6]
    assert lifted[1] > lifted[0]  # greener than red
    assert sold[0] > sold[1]


def test_only_the_imbalanced_cell_is_marked_at_the_side_that_outweighs(footprint: Figure) -> None:
    strokes = part(footprint.axes[0], "buy-imbalance")
    assert [segment[:, 1].mean() for segment in strokes.get_segments()] == [101.5]
    assert 1.9 < strokes.get_segments()[0][0, 0] < 2  # at the right side of the second bar
    assert np.allclose(strokes.get_color(), to_rgba(BUY))
    assert np.allclose(part(footprint.axes[0], "sell-imbalance").get_color(), to_rgba(SELL))


def test_numbers_are_sold_x_bought_and_the_imbalanced_one_is_bold(footprint: Figure) -> None:
    texts = [text for text in footprint.axes[0].texts if text.get_gid() in ("sell", "buy")]
    told = {(text.get_gid(), round(text.get_position()[1], 1), int(text.get_position()[0])): text for text in texts}
    assert told["sell", 101.5, 1].get_text() == "1"
    assert told["buy", 101.5, 1].get_text() == "9"
    assert told["buy", 101.5, 1].get_fontweight() == "bold"
    assert [text.get_text() for text in texts if text.get_fontweight() == "bold" and text.get_gid() == "buy"] == ["9"]
    assert told["sell", 101.5, 1].get_position()[0] < told["buy", 101.5, 1].get_position()[0]


def test_numbers_are_left_out_where_they_have_no_room() -> None:
    bars = [BAR] * 300
    crowded = drawn(plot.footprint(levels(*bars), every="1m"))
    assert [text for text in crowded.axes[0].texts if text.get_gid() in ("sell", "buy")] == []
    assert len(part(crowded.axes[0], "cells").get_paths()) == 900
    assert not {"bodies", "buy-imbalance", "poc"} & {artist.get_gid() for artist in crowded.axes[0].get_children()}
    assert legend_of(crowded) == ["more bought", "more sold", "point of control", "value area: strong colour"]


def test_one_price_only_is_a_line_and_no_wall() -> None:
    flat = minutes("complete", "complete").assign(open=60000.0, high=60000.0, low=60000.0, close=60000.0)
    low, high = drawn(plot.bars(flat)).axes[0].get_ylim()
    assert low < 59950
    assert high > 60050


def test_holes_are_shaded_over_their_minutes_in_their_colour() -> None:
    figure = drawn(plot.footprint(levels(BAR, LIFTED, (), BAR), minutes("complete", "unknown", None, "complete")))
    for axes in (figure.axes[0], figure.axes[2]):
        for state, left, right in (("unknown", 1, 2), ("absent", 2, 3)):
            shade = part(axes, f"holes-{state}")
            (span,) = [path.get_extents() for path in shade.get_paths()]
            assert (span.x0, span.x1, span.y0, span.y1) == (left, right, 0, 1)
            assert np.allclose(shade.get_facecolor()[0][:3], to_rgba(STATE_COLOURS[state])[:3])


def test_a_whole_range_has_no_shade() -> None:
    figure = drawn(plot.footprint(levels(BAR, LIFTED), minutes("complete", "repaired")))
    assert not [a for axes in figure.axes for a in axes.get_children() if (a.get_gid() or "").startswith("holes")]
    assert not [text for text in legend_of(figure) if "minutes" in text]


def test_candles_are_hollow_where_the_bar_rose() -> None:
    for close, colour in ((102.0, PAPER), (99.0 + 1, PAPER), (100.0, PAPER)):
        figure = drawn(plot.footprint(levels(BAR), minutes("complete", close=close)))
        assert np.allclose(part(figure.axes[0], "bodies").get_facecolor()[0], to_rgba(colour))
    fallen = drawn(plot.footprint(levels(BAR), minutes("complete", open_=102.0, close=100.0)))
    assert np.allclose(part(fallen.axes[0], "bodies").get_facecolor()[0], to_rgba(INK))


def test_the_point_of_control_goes_across_both_panels(footprint: Figure) -> None:
    line = part(footprint.axes[0], "control")
    assert set(line.get_ydata()) == {101.5}
    assert [note.get_text() for note in footprint.axes[1].texts] == ["POC 101"]


def test_cells_by_volume_are_of_one_colour() -> None:
    figure = drawn(plot.footprint(levels(BAR, LIFTED), colour="volume"))
    colours = np.array(part(figure.axes[0], "cells").get_facecolor())
    assert (colours[:, 2] >= colours[:, 0]).all()
    assert legend_of(figure)[0] == "more volume"


def test_bars_have_candles_volume_by_side_and_the_cumulative_delta() -> None:
    figure = drawn(plot.bars(minutes("complete", "complete", "degraded"), title="binance BTCUSDT"))
    price, volume, cumulative = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["price", "volume", "cumulative delta"]
    assert len(part(price, "bodies").get_segments()) == 3
    assert part(cumulative, "cumulative").get_ydata().tolist() == [2.0, 4.0, 6.0]
    assert [patch.get_bbox().height for patch in volume.patches[:6] if isinstance(patch, Rectangle)] == [5.0] * 3 + [7.0] * 3
    assert all(part(axes, "holes-degraded") for axes in figure.axes)


def test_a_calendar_has_a_row_a_day_and_says_how_much_is_what() -> None:
    figure = drawn(plot.coverage(hours([60, 0, 0, 0, 0, 0], [30, 0, 0, 30, 0, 0], *[[0, 0, 0, 0, 0, 60]] * 24)))
    (axes,) = figure.axes
    image = part(axes, "calendar").get_array()
    assert image.shape == (2, 288, 3)
    assert np.allclose(image[0, 14 * 12], to_rgba(STATE_COLOURS["complete"])[:3])
    assert np.allclose(image[0, 15 * 12 + 6], to_rgba(STATE_COLOURS["degraded"])[:3])
    assert np.allclose(image[0, 0], (1, 1, 1))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2024-10-23 Wed", "2024-10-24 Thu"]
    assert legend_of(figure) == ["complete: 90 min (5.8 %)", "degraded: 30 min (1.9 %)", "absent: 1,440 min (92.3 %)"]


@pytest.mark.parametrize("width", [500, 900, 1920])
def test_the_legend_stays_within_the_picture_and_above_the_axes(width: int) -> None:
    frame = minutes("complete", "degraded", "unknown", None, "complete")
    figure = drawn(plot.footprint(levels(BAR, LIFTED, BAR, (), BAR), frame, size=(width, 700)))
    boxes = [line.get_window_extent() for line in figure.legends]
    assert len(legend_of(figure)) == 10
    assert max(box.x1 for box in boxes) <= width
    assert min(box.y0 for box in boxes) >= figure.axes[0].get_window_extent().y1 - 6
    assert all(above.y0 >= below.y1 - 12 for above, below in pairwise(boxes))


def busy(bars: int, size: float) -> pd.DataFrame:
    """Bars of six rows, with sizes of many lengths."""
    steps = [0.002, 1.0, 12.0, 0.37, 999.0, 12.5]
    rows = [tuple((100.0 + r, size * steps[(r + b) % 6], size * steps[(r * 5 + b) % 6]) for r in range(6)) for b in range(bars)]
    return levels(*rows)


@pytest.mark.parametrize(
    ("bars", "size", "written"), [(10, 1.0, True), (24, 1.0, True), (24, 137.0, True), (110, 137.0, False)]
)
def test_every_number_stays_in_its_half_of_its_cell(bars: int, size: float, written: bool) -> None:
    figure = drawn(plot.footprint(busy(bars, size), every="1m", tick=1))
    axes = figure.axes[0]
    boxes = [axes.transData.transform(p.get_extents().get_points()) for p in part(axes, "cells").get_paths()]
    texts = {side: [text for text in axes.texts if text.get_gid() == side] for side in ("sell", "buy")}
    assert len(texts["sell"]) == len(texts["buy"]) == (len(boxes) if written else 0)
    for box, sell, buy in zip(boxes, texts["sell"], texts["buy"], strict=bool(written)):
        left, right = sell.get_window_extent(), buy.get_window_extent()
        assert box[0][0] <= left.x0 < left.x1 <= box[:, 0].mean() <= right.x0 < right.x1 <= box[1][0]
        assert box[0][1] <= left.y0 < left.y1 <= box[1][1]


def test_strokes_of_imbalances_stand_beside_the_cell_and_hide_no_number(footprint: Figure) -> None:
    cells = [path.get_extents() for path in part(footprint.axes[0], "cells").get_paths()]
    for side in ("buy", "sell"):
        for segment in part(footprint.axes[0], f"{side}-imbalance").get_segments():
            assert not [box for box in cells if box.x0 < segment[0, 0] < box.x1]


@pytest.mark.parametrize("width", [500, 800, 1920])
def test_a_title_is_never_cut_off(width: int) -> None:
    title = "binance-usdm 1000SHIBUSDT"
    figure = drawn(plot.footprint(levels(BAR, LIFTED), minutes("complete", "complete"), title=title, size=(width, 600)))
    (shown,) = [text for text in figure.texts if title in text.get_text()]
    assert shown.get_window_extent().x1 <= width
    assert shown.get_text().replace("\n", " · ").endswith("1m bars, rows of 1")
    assert figure.legends[0].get_window_extent().y1 <= shown.get_window_extent().y0 + 4


def test_the_tallest_bar_of_volume_ends_below_the_top() -> None:
    for axes in (drawn(plot.footprint(levels(BAR, LIFTED))).axes[2], drawn(plot.bars(minutes("complete", "complete"))).axes[1]):
        highest = max(patch.get_bbox().y1 for patch in axes.patches if isinstance(patch, Rectangle))
        assert highest * 1.03 < axes.get_ylim()[1] < highest * 1.3


def test_prices_along_the_axis_have_the_same_decimals() -> None:
    small = levels(BAR, LIFTED).assign(price_level=lambda frame: frame["price_level"] / 10**7)
    texts = [label.get_text() for label in drawn(plot.footprint(small)).axes[0].get_yticklabels()]
    assert len({len(text) for text in texts}) == 1
    assert texts[0].startswith("0.0000")
