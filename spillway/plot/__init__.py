"""Pictures of frames as the store gives them: `plot.footprint(levels, minutes).save("chart.png")`, or .svg, or .html.

`footprint`, `bars` and `coverage` give a Picture, which is drawn when it is saved or shown. Each refuses with BadValue what is
empty or more than a picture can show, and says what to ask for instead.
"""

from __future__ import annotations

from spillway.analysis.columns import Frame
from spillway.analysis.exact import Number
from spillway.plot.bars_view import bars_view
from spillway.plot.coverage_view import coverage_view
from spillway.plot.footprint_view import footprint_view
from spillway.plot.picture import Picture
from spillway.times import TimeLike

__all__ = ["Picture", "bars", "coverage", "footprint"]


def footprint(
    levels: Frame,
    minutes: Frame | None = None,
    *,
    every: str | None = None,
    tick: Number | None = None,
    colour: str = "delta",
    imbalance_percent: Number = 300,
    min_volume: Number = 0,
    start: TimeLike = None,
    end: TimeLike = None,
    title: str = "",
    size: tuple[int, int] | None = None,
) -> Picture:
    """A footprint chart: what was sold x bought at each price of each bar, imbalances marked, the profile at the side.

    levels: timestamp, price_level, buy_volume, sell_volume, total_volume, trade_count. minutes: timestamp, open, high, low,
    close, status; with them come candles and holes. every, tick: a bar's length and a row's height; chosen so that numbers
    have room, if not given. colour: cells by "delta" or by "volume". start, end: from when to when to draw, if not what the
    frames hold; minutes beyond are not drawn, but their ids may prove that the ends are whole. Imbalances are those of
    `analysis.imbalances`, the point of control and the value area (70 %) those of `analysis.volume_profile` over the whole
    range.
    """
    return Picture(
        footprint_view(
            levels,
            minutes,
            every=every,
            tick=tick,
            title=title,
            colour=colour,
            percent=imbalance_percent,
            min_volume=min_volume,
            asked=(start, end),
        ),
        size,
    )


def bars(
    minutes: Frame,
    *,
    every: str | None = None,
    start: TimeLike = None,
    end: TimeLike = None,
    title: str = "",
    size: tuple[int, int] | None = None,
) -> Picture:
    """Candles, volume by side, and cumulative delta since the first bar.

    minutes: timestamp, open, high, low, close, buy_volume, sell_volume, total_volume, trade_count; status for the holes.
    every, start, end: as with `footprint`.
    """
    return Picture(bars_view(minutes, every=every, title=title, asked=(start, end)), size)


def coverage(frame: Frame, *, title: str = "", size: tuple[int, int] | None = None) -> Picture:
    """A calendar, days by hours: what share is complete, repaired, empty, degraded, unknown, absent.

    frame: minutes (timestamp, status), or `store.coverage(..., by="hour")`.
    """
    return Picture(coverage_view(frame, title=title), size)
