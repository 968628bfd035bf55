"""What all still pictures share: the sheet, time along its foot, shaded holes, and the file's bytes. With matplotlib, and no
window: the same input gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spillway.plot.holes import SHOWN, Holes
from spillway.plot.scale import length_text, time_ticks
from spillway.plot.style import GREY, GRID, HATCHES, INK, PAPER, STATE_COLOURS

DPI = 120
_LEGEND_FONT, _LINE = 8.5, 22  # points; pixels
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along
    "font.size": 9,
    "svg.hashsalt": "spillway",
    "svg.fonttype": "none",
    "hatch.linewidth": 0.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def settings() -> Any:
    """The settings under which all is drawn and written, whatever the user's own are."""
    default = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}  # which would stay
    return mpl.rc_context({**default, **_SETTINGS})


def sheet(title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title. `size` in pixels."""
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=18 / size[0], y=1 - 14 / size[1], ha="left", va="top", fontsize=12, fontweight="bold")
    return figure


def time_axis(axes: Axes, first: int, every: int, bars: int) -> None:
    """Labels of UTC times at the left edges of some bars."""
    ticks = time_ticks(first, every, bars)
    axes.set_xlim(0, bars)
    axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
    axes.set_xlabel(f"time (UTC), bars of {length_text(every)}")


def tidy(axes: Axes) -> None:
    """A light grid and no box."""
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def shade(axes: Axes, holes: Holes, first: int, every: int) -> None:
    """Shades what is not whole, over the whole height; the shortest too is wide enough to be seen."""
    for state in SHOWN:
        spans = [((start - first) / every, length / every) for start, length in holes.wide(state)]
        if spans:
            axes.broken_barh(
                spans,
                (0, 1),
                transform=axes.get_xaxis_transform(),
                facecolor=STATE_COLOURS[state],
                alpha=holes.strength(state),
                hatch=HATCHES[state] or None,
                edgecolor=GREY if HATCHES[state] else "none",
                linewidth=0,
                zorder=0.5,
                gid=f"holes-{state}",
            )


def hole_handles(holes: Holes) -> list[Patch]:
    """What the legend says of holes."""
    return [
        Patch(
            facecolor=STATE_COLOURS[s], alpha=0.45, hatch=HATCHES[s] or None, edgecolor=GREY, linewidth=0, label=holes.text(s)
        )
        for s in SHOWN
        if holes.of(s)
    ]


def legend(figure: Figure, handles: Sequence[Any]) -> float:
    """Lines of legend below the title, as many as the width needs; gives the height, of 1, up to which axes may go."""
    width, height = figure.get_size_inches() * figure.dpi
    lines = _lines(handles, width - 30)
    for number, line in enumerate(lines):
        figure.legend(
            handles=line,
            loc="upper left",
            bbox_to_anchor=(8 / width, 1 - (44 + _LINE * number) / height),
            ncols=len(line),
            frameon=False,
            fontsize=_LEGEND_FONT,
            handlelength=1.4,
            columnspacing=1.6,
        )
    return float(1 - (68 + _LINE * len(lines)) / height)


def _lines(handles: Sequence[Any], width: float) -> list[list[Any]]:
    """The handles in lines that fit, by a guess of how wide their letters are."""
    lines: list[list[Any]] = [[]]
    used = 0.0
    for handle in handles:
        wide = (len(handle.get_label()) * 0.56 + 4) * _LEGEND_FONT * DPI / 72
        if used + wide > width and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append(handle)
        used += wide
    return lines


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as png or svg, with no date in it."""
    sink = io.BytesIO()
    figure.savefig(
        sink, format=kind, dpi=DPI, metadata={"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    )
    return sink.getvalue()
