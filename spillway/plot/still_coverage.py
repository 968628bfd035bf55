"""The coverage calendar as a still picture."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spillway.coverage import STATES
from spillway.plot.coverage_view import NOTHING, CoverageView
from spillway.plot.still import legend, sheet
from spillway.plot.style import GREY, STATE_COLOURS

WIDTH = 1600
_EPOCH = date(1970, 1, 1)
_MOST_LABELS = 32


def draw(view: CoverageView, size: tuple[int, int] | None = None) -> Figure:
    """The calendar: a row a day, a cell an hour, in it a stripe for each state, as wide as its share."""
    row = min(34, max(5, 1500 // view.days))
    figure = sheet(view.title, size or (WIDTH, 175 + max(60, row * view.days)))
    height = figure.get_figheight() * figure.dpi
    handles = [Patch(color=STATE_COLOURS[state], label=view.text(state)) for state in STATES if view.total(state)]
    axes = figure.add_axes((0.075, 70 / height, 0.91, legend(figure, handles) - 70 / height))
    colours = np.array([to_rgb(STATE_COLOURS[state]) for state in STATES] + [(1.0, 1.0, 1.0)])
    image = colours[np.where(view.slots == NOTHING, len(STATES), view.slots)]
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(0, 24, view.days, 0), gid="calendar")
    axes.set_xticks(range(0, 25, 2), [f"{hour:02}:00" for hour in range(0, 25, 2)])
    step = next(n for n in (1, 2, 7, 14, 28) if view.days / n <= _MOST_LABELS or n == 28)
    days = range(0, view.days, step)
    labels = [f"{_EPOCH + timedelta(days=view.first_day + day):%Y-%m-%d %a}" for day in days]
    axes.set_yticks([day + 0.5 for day in days], labels, fontsize=8)
    axes.set_xlabel("hour of the day (UTC)")
    axes.vlines(range(25), 0, view.days, color="white", linewidth=1)
    if row > 8:
        axes.hlines(range(view.days + 1), 0, 24, color="white", linewidth=1)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_edgecolor(GREY)
    return figure
