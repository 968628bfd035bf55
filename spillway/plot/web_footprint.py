"""The footprint chart to zoom into: numbers come into the cells as they get room."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spillway.plot.footprint_view import FootprintView
from spillway.plot.scale import decimals_of, plain, short_texts
from spillway.plot.style import BUY, CONTROL, GREY, INK, PAPER, SELL, VOLUME, strengths
from spillway.plot.web import dress, outlines, shade, times

_LEFT, _RIGHT = 0.1, 0.985  # of a bar's width, where its marks begin and end, beside its candle
_CANDLE, _BODY, _STROKE = 0.045, 0.03, 0.035  # where in it the candle stands; half of its width; the width of a stroke
_EVEN = "#eceef1"  # neither side bought more
_DELTA_SCALE = [[0, SELL], [0.498, PAPER], [0.499, _EVEN], [0.501, _EVEN], [0.502, PAPER], [1, BUY]]
_VOLUME_SCALE = [[0, PAPER], [1, VOLUME]]
_MARK = "mark"


def draw(view: FootprintView, size: tuple[int, int] | None = None) -> go.Figure:
    """The chart: cells and candles, the profile beside them, delta and volume below."""
    figure = make_subplots(
        rows=2,
        cols=2,
        shared_xaxes="columns",
        shared_yaxes="rows",
        column_widths=[0.88, 0.12],
        row_heights=[0.86, 0.14],
        horizontal_spacing=0.01,
        vertical_spacing=0.03,
        specs=[[{}, {}], [{}, None]],
    )
    _cells(figure, view)
    _marks(figure, view)
    _candles(figure, view)
    _profile(figure, view)
    _foot(figure, view)
    shade(figure, view.holes, [("x", "y"), ("x3", "y3")])
    _control(figure, view)
    dress(figure, view.title, size)
    figure.update_layout(barmode="overlay")
    decimals = decimals_of([view.low, view.tick])
    figure.update_yaxes(title_text="price", range=list(view.edges), tickformat=f",.{decimals}f", row=1, col=1)
    figure.update_yaxes(title_text="volume, delta", row=2, col=1)
    ends = times([view.first, view.first + view.bars * view.every]).tolist()
    figure.update_xaxes(range=ends, row=1, col=1)
    figure.update_xaxes(title_text="time (UTC)", range=ends, row=2, col=1)
    figure.update_xaxes(title_text="volume at price", title_standoff=4, nticks=4, row=1, col=2)
    if view.crowded:  # they would hide the cells: a click in the legend brings them
        figure.for_each_trace(lambda trace: trace.update(visible="legendonly"), selector={"meta": _MARK})
    return figure


def _cells(figure: go.Figure, view: FootprintView) -> None:
    cells = view.cells
    x = cells["x"].to_numpy()
    row = np.rint((cells["price"].to_numpy() - view.low) / view.tick).astype(np.int64)
    values = cells["total" if view.by_volume else "delta"].to_numpy(dtype=np.float64)
    strength = (1 if view.by_volume else np.sign(values)) * strengths(values)
    shape = (view.rows, view.bars)
    z, texts, told = np.full(shape, np.nan), np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    z[row, x] = strength
    numbers = short_texts([*cells["sell"], *cells["buy"]])
    # No mark-up in them: plotly takes its letters for visible ones when it asks whether there is room.
    texts[row, x] = [f"{sell} x {buy}" for sell, buy in zip(numbers[: len(cells)], numbers[len(cells) :], strict=True)]
    told[row, x] = [_told(cell) for cell in cells.to_dict("records")]
    figure.add_trace(
        go.Heatmap(
            x=times(_time(view, np.arange(view.bars) + 0.5)),
            y=view.low + view.tick * (np.arange(view.rows) + 0.5),
            z=z,
            text=texts.tolist(),
            texttemplate="%{text}",
            textfont={"color": INK},
            hovertext=told.tolist(),
            hovertemplate="%{x|%Y-%m-%d %H:%M}<br>%{hovertext}<extra></extra>",
            colorscale=_VOLUME_SCALE if view.by_volume else _DELTA_SCALE,
            zmin=0 if view.by_volume else -1,
            zmax=1,
            showscale=False,
            hoverongaps=False,
            xgap=1,
            ygap=1 if view.rows <= 120 else 0,
            name="cells",
        ),
        row=1,
        col=1,
    )


def _told(cell: dict[Hashable, Any]) -> str:
    marks = [name for name in ("sell", "buy") if cell[f"{name}_imbalance"]]
    lines = [
        f"price from {plain(float(cell['price']))}",
        *(f"{name} {plain(float(cell[name]))}" for name in ("sell", "buy", "total", "delta")),
        *(f"{name} imbalance" for name in marks),
        *(["point of control of the bar"] if cell["poc"] else []),
    ]
    return "<br>".join(lines)


def _marks(figure: go.Figure, view: FootprintView) -> None:
    cells = view.cells
    for side, left, colour in (("sell", _LEFT, SELL), ("buy", _RIGHT - _STROKE, BUY)):
        marked = cells[cells[f"{side}_imbalance"]]
        x, low = _time(view, marked["x"].to_numpy() + left), marked["price"].to_numpy()
        wide = _STROKE * view.every
        xs, ys = outlines(x, x + wide, low + 0.06 * view.tick, low + 0.94 * view.tick)
        _outline(figure, xs, ys, colour, f"{side} imbalance {view.percent} %", fill=colour)
    control = cells[cells["poc"]]
    x, low = control["x"].to_numpy(), control["price"].to_numpy()
    edges = outlines(_time(view, x + _LEFT), _time(view, x + _RIGHT), low, low + view.tick)
    _outline(figure, *edges, CONTROL, "point of control of each bar")


def _control(figure: go.Figure, view: FootprintView) -> None:
    """The point of control of the whole range, behind all else."""
    line = {"color": CONTROL, "width": 1.5, "dash": "dash"}
    for column in (1, 2):
        figure.add_hline(view.control + view.tick / 2, line=line, layer="below", name="control", row=1, col=column)
    text = f"point of control {plain(view.control)}"
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", line=line, name=text, hoverinfo="skip"), row=1, col=1)


def _candles(figure: go.Figure, view: FootprintView) -> None:
    boxes = view.boxes()
    if boxes.empty:
        return
    x = _time(view, boxes["x"].to_numpy() + _CANDLE)
    half = _BODY * view.every
    up = boxes["up"].to_numpy(dtype=bool)
    wicks = outlines(x, x, boxes["low"], boxes["high"])
    _outline(figure, *wicks, INK, "candles (hollow: closed above the open)", group="candles")
    for which, fill in ((up, PAPER), (~up, INK)):
        part = boxes[which]
        _outline(
            figure, *outlines(x[which] - half, x[which] + half, part["bottom"], part["top"]), INK, "", fill, group="candles"
        )


def _profile(figure: go.Figure, view: FootprintView) -> None:
    rows = view.profile
    opacity = np.where(rows["value_area"], 0.95, 0.4)
    middle = rows["price"] + view.tick / 2
    other = rows["total"] - rows["sell"] - rows["buy"]
    base = np.zeros(len(rows))
    for name, values, colour in (("sold", rows["sell"], SELL), ("no aggressor", other, GREY), ("bought", rows["buy"], BUY)):
        figure.add_trace(
            go.Bar(
                y=middle,
                x=values,
                base=base,
                width=view.tick * 0.92,
                orientation="h",
                marker={"color": colour, "opacity": opacity, "line": {"width": 0}},
                name=f"{name} (value area: strong colour)" if name != "no aggressor" else name,
                showlegend=name != "no aggressor",
                hovertemplate=f"price %{{y}}<br>{name} %{{x}}<extra></extra>",
            ),
            row=1,
            col=2,
        )
        base = base + values.to_numpy(dtype=np.float64)


def _foot(figure: go.Figure, view: FootprintView) -> None:
    sums = view.cells.groupby("x")[["total", "delta"]].sum()
    x = times(_time(view, sums.index.to_numpy() + 0.5))
    colours = np.where(sums["delta"] >= 0, BUY, SELL)
    for name, share, colour in (("total", 0.86, "#cfd4dc"), ("delta", 0.5, colours)):
        figure.add_trace(
            go.Bar(
                x=x,
                y=sums[name],
                width=share * view.every * 60_000,
                marker={"color": colour, "line": {"width": 0}},
                name="volume" if name == "total" else name,
                showlegend=False,
            ),
            row=2,
            col=1,
        )


def _outline(figure: go.Figure, x: Any, y: Any, colour: str, name: str, fill: str | None = None, group: str = "") -> None:
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": colour, "width": 1.5},
            fill="toself" if fill else "none",
            fillcolor=fill,
            name=name,
            showlegend=bool(name),
            legendgroup=group or name,
            hoverinfo="skip",
            meta=_MARK,
        ),
        row=1,
        col=1,
    )


def _time(view: FootprintView, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bars, and parts of them, as minutes since 1970."""
    return view.first + x * view.every
