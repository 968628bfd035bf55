"""Bars with volume and cumulative delta, to zoom into."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spillway.plot.bars_view import BarsView
from spillway.plot.scale import decimals_of
from spillway.plot.style import BUY, LINE, SELL
from spillway.plot.web import dress, shade, times

_WAYS = (("increasing", BUY), ("decreasing", SELL))


def draw(view: BarsView, size: tuple[int, int] | None = None) -> go.Figure:
    """The chart: candles, below them volume by side, below that the cumulative delta."""
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.55, 0.2, 0.25], vertical_spacing=0.03)
    rows = view.rows
    x = times(view.first + (rows["x"].to_numpy() + 0.5) * view.every)
    tops = ((rows["low"].min(), rows["high"].max()), (0.0, rows["total"].max()), _span(rows["cumulative"].to_numpy()))
    for row, (low, high) in enumerate(tops, 1):
        margin = (float(high) - float(low)) * 0.05 or 1e-9
        figure.update_yaxes(range=[float(low) - (margin if row != 2 else 0), float(high) + margin], row=row, col=1)
    candles = {name: rows[name] for name in ("open", "high", "low", "close")}
    colours = {f"{way}_{part}": colour for way, colour in _WAYS for part in ("line_color", "fillcolor")}
    figure.add_trace(go.Candlestick(x=x, **candles, **colours, name="candles"), row=1, col=1)
    for name, colour in (("sell", SELL), ("buy", BUY)):
        bar = go.Bar(
            x=x, y=rows[name], marker={"color": colour, "line": {"width": 0}}, name="sold" if name == "sell" else "bought"
        )
        figure.add_trace(bar, row=2, col=1)
    line = go.Scatter(
        x=x, y=rows["cumulative"], mode="lines+markers" if len(rows) < 3 else "lines", line={"color": LINE}, fill="tozeroy"
    )
    figure.add_trace(line.update(name="cumulative delta since the first bar", fillcolor="rgba(74,82,99,0.12)"), row=3, col=1)
    shade(figure, view.holes, [("x", "y"), ("x2", "y2"), ("x3", "y3")])
    dress(figure, view.title, size)
    ends = times([view.first, view.first + view.bars * view.every]).tolist()
    figure.update_layout(barmode="stack", hovermode="x unified", xaxis_rangeslider_visible=False)
    figure.update_xaxes(range=ends)
    figure.update_xaxes(title_text="time (UTC)", row=3, col=1)
    prices = rows[["open", "high", "low", "close"]].to_numpy().ravel()
    figure.update_yaxes(tickformat=f",.{decimals_of(prices.tolist())}f", row=1, col=1)
    for row, name in enumerate(("price", "volume", "cumulative delta"), 1):
        figure.update_yaxes(title_text=name, row=row, col=1)
    return figure


def _span(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    return min(0.0, float(values.min())), max(0.0, float(values.max()))
