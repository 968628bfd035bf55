"""What all interactive pictures share: the page that holds all it needs, time axes, shaded holes. With plotly.

The page forbids the browser to load anything from anywhere, and to send anything: it is as good without network, and nobody
learns of it. Plotly's own button that uploads a chart is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from spillway.plot.holes import SHOWN, Holes
from spillway.plot.style import GRID, INK, PAPER, STATE_COLOURS

FONT = "DejaVu Sans, Segoe UI, Helvetica, Arial, sans-serif"
_NOTHING_FROM_OUTSIDE = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "form-action 'none'; base-uri 'none'"
)
_DRAW = """
const figure = JSON.parse(document.getElementById("figure").textContent);
Plotly.newPlot("chart", figure.data, figure.layout, {
  responsive: true, displaylogo: false, scrollZoom: true, plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"]
});
// Numbers that shrank to specks are no numbers: they come back when there is room.
const chart = document.getElementById("chart");
const tidy = () => chart.querySelectorAll(".heatmap-label").forEach((label) => {
  const text = label.querySelector("text");
  label.style.display = text && parseFloat(text.style.fontSize) < 6 ? "none" : "";
});
chart.on("plotly_afterplot", tidy);
tidy();
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>html, body {{ margin: 0; height: 100%; background: {paper}; }} #chart {{ height: 100vh; }}</style>
<script>{library}</script>
</head>
<body>
<div id="chart"></div>
<script type="application/json" id="figure">{figure}</script>
<script>{draw}</script>
</body>
</html>
"""


def page(figure: go.Figure, title: str) -> bytes:
    """The figure as one html file that needs nothing else. The same figure gives the same bytes."""
    data = str(figure.to_json()).replace("<", "\\u003c")  # no text in it can end the script
    policy, name = escape(_NOTHING_FROM_OUTSIDE, quote=True), escape(title)
    return _PAGE.format(
        policy=policy,
        title=name,
        paper=PAPER,
        library=get_plotlyjs().replace("</script", "<\\/script"),
        figure=data,
        draw=_DRAW,
    ).encode()


def dress(figure: go.Figure, title: str, size: tuple[int, int] | None) -> None:
    """The title, the legend below it, and the look. Without a size the chart fills its window."""
    figure.update_layout(
        title={"text": escape(title), "x": 0.01, "y": 1, "yanchor": "top", "pad": {"t": 14}, "font": {"size": 16}},
        font={"family": FONT, "size": 12, "color": INK},
        template="none",
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "traceorder": "normal"},
        margin={"l": 90, "r": 20, "t": 112, "b": 60},
        hoverlabel={"font": {"family": FONT}},
        bargap=0.1,
        **({} if size is None else {"width": size[0], "height": size[1]}),
    )
    plain = {"exponentformat": "none", "separatethousands": True}
    figure.update_xaxes(gridcolor=GRID, zeroline=False, **plain)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, **plain)


def times(minutes: Sequence[float] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Minutes since 1970 as times for an axis, in UTC."""
    seconds = np.rint(np.asarray(minutes, dtype=np.float64) * 60).astype(np.int64)
    return np.datetime_as_string(seconds.astype("datetime64[s]"))


def outlines(left: Any, right: Any, low: Any, high: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rectangles as one broken line: the times and prices of their corners, with nothing between two of them."""
    left, right, low, high = (np.asarray(side, dtype=np.float64) for side in (left, right, low, high))
    gap = np.full(len(left), np.nan)
    y = np.stack([low, low, high, high, low, gap], axis=1).ravel()
    x = times(np.stack([left, right, right, left, left, left], axis=1).ravel())
    return x, y


def shade(figure: go.Figure, holes: Holes, panels: Sequence[tuple[str, str]]) -> None:
    """Shades what is not whole in each panel, named by its axes, below all else, and tells of it in the legend."""
    shapes = []
    for state in SHOWN:
        if not holes.of(state):
            continue
        look = {"fillcolor": STATE_COLOURS[state], "opacity": holes.strength(state), "line": {"width": 0}, "layer": "below"}
        for start, length in holes.wide(state):
            x0, x1 = times([start, start + length])
            shapes += [
                {"type": "rect", "name": state, "xref": x, "yref": f"{y} domain", "x0": x0, "x1": x1, "y0": 0, "y1": 1, **look}
                for x, y in panels
            ]
        marker = {"color": STATE_COLOURS[state], "symbol": "square", "size": 12, "opacity": 0.6}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=holes.text(state)), row=1, col=1)
    figure.update_layout(shapes=shapes)
