"""The coverage calendar to hover over: each hour tells its minutes by state."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import plotly.graph_objects as go

from spillway.coverage import STATES
from spillway.plot.coverage_view import NOTHING, SLOTS, CoverageView
from spillway.plot.style import PAPER, STATE_COLOURS
from spillway.plot.web import dress

_EPOCH = date(1970, 1, 1)
_COLOURS = [PAPER, *(STATE_COLOURS[state] for state in STATES)]
# Each code's colour from its own edge to the next one's: no shade between two of them.
_SCALE = [(edge / len(_COLOURS), colour) for n, colour in enumerate(_COLOURS) for edge in (n, n + 1)]


def draw(view: CoverageView, size: tuple[int, int] | None = None) -> go.Figure:
    """The calendar: a row a day, a cell an hour, in it a stripe for each state, as wide as its share."""
    days = [f"{_EPOCH + timedelta(days=view.first_day + n):%Y-%m-%d}" for n in range(view.days)]
    figure = go.Figure()
    stripes = np.where(view.slots == NOTHING, 0, view.slots + 1)
    figure.add_trace(
        go.Heatmap(
            x=(np.arange(24 * SLOTS) + 0.5) / SLOTS,
            y=days,
            z=stripes,
            zmin=-0.5,
            zmax=len(_COLOURS) - 0.5,
            ygap=1,
            colorscale=_SCALE,
            showscale=False,
            hoverinfo="skip",
            name="calendar",
        )
    )
    figure.add_trace(
        go.Heatmap(
            x=np.arange(24) + 0.5,
            y=days,
            z=np.zeros((view.days, 24)),
            colorscale=[(0, "rgba(0,0,0,0)"), (1, "rgba(0,0,0,0)")],
            showscale=False,
            xgap=1,
            ygap=1,
            hovertext=[[_told(view, day, hour) for hour in range(24)] for day in range(view.days)],
            hovertemplate="%{hovertext}<extra></extra>",
            name="hours",
        )
    )
    for state in STATES:
        if view.total(state):
            marker = {"color": STATE_COLOURS[state], "symbol": "square", "size": 12}
            figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=view.text(state)))
    dress(figure, view.title, size)
    hours = list(range(0, 25, 2))
    figure.update_xaxes(
        tickvals=hours, ticktext=[f"{h:02}:00" for h in hours], range=[0, 24], title_text="hour of the day (UTC)"
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_layout(
        shapes=[
            {"type": "line", "x0": hour, "x1": hour, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": PAPER, "width": 1}}
            for hour in range(1, 24)
        ]
    )
    if size is None and view.days < 25:  # a few days in rows as high as a window would look like walls
        figure.update_layout(height=180 + 34 * view.days)
    return figure


def _told(view: CoverageView, day: int, hour: int) -> str:
    head = f"{_EPOCH + timedelta(days=view.first_day + day):%Y-%m-%d %a} {hour:02}:00"
    states = [f"{state} {count}" for state, count in zip(STATES, view.counts[day, hour].tolist(), strict=True) if count]
    return "<br>".join([head, *states])
