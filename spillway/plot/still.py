"""What all still pictures share: the sheet, time along its foot, shaded holes, and the file's bytes. With matplotlib, and no
window: the same input gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter, MaxNLocator

from spillway.plot.holes import SHOWN, Holes
from spillway.plot.scale import axis_texts, length_text, time_ticks
from spillway.plot.style import GREY, GRID, HATCHES, INK, PAPER, STATE_COLOURS

DPI = 120
_TITLE_FONTS, _LEGEND_FONT, _LINE = (12.0, 10.5, 9.0), 8.5, 22  # points; pixels
_BOLD, _PLAIN = 0.69, 0.56  # a guess of how wide a letter is, by its font's size
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
    default: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}  # it would stay
    return mpl.rc_context({**default, **_SETTINGS})


class Numbers(Formatter):
    """The numbers along an axis, all to the same decimals."""

    def __init__(self, *, short: bool = False) -> None:
        self._short = short

    def format_ticks(self, values: list[float]) -> list[str]:
        """All of an axis at once."""
        return axis_texts(values, short=self._short)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """One by itself, as matplotlib asks for where the mouse points."""
        return axis_texts([x], short=self._short)[0]


def sheet(title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title, in a font, and in as many lines, that the width has room for. `size` in pixels."""
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    room = size[0] - 36
    font = next((f for f in _TITLE_FONTS if _wide(title, f, _BOLD) <= room), _TITLE_FONTS[1])
    text = "\n".join(_wrapped(title, lambda line: _wide(line, font, _BOLD) <= room))
    figure.suptitle(text, x=18 / size[0], y=1 - 14 / size[1], ha="left", va="top", fontsize=font, fontweight="bold")
    return figure


def volume_axis(axes: Axes, low: float, high: float, ticks: int) -> None:
    """An axis of volumes from `low`, which is at most 0, to `high`, with some room beyond."""
    margin = (high - low) * 0.06 or 1.0
    axes.set_ylim(low - margin if low < 0 else 0, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(ticks))
    axes.yaxis.set_major_formatter(Numbers(short=True))


def price_axis(axes: Axes, ticks: int) -> None:
    """An axis of prices, at round ones."""
    axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(Numbers())
    axes.set_ylabel("price")


def time_axis(axes: Axes, first: int, every: int, bars: int) -> None:
    """Labels of UTC times at the left edges of some bars."""
    ticks = time_ticks(first, every, bars, most=max(3, min(14, int(axes.get_window_extent().width / 80))))
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
    below = _LINE * figure.get_suptitle().count("\n")
    for number, line in enumerate(lines):
        figure.legend(
            handles=line,
            loc="upper left",
            bbox_to_anchor=(8 / width, 1 - (44 + below + _LINE * number) / height),
            ncols=len(line),
            frameon=False,
            fontsize=_LEGEND_FONT,
            handlelength=1.4,
            columnspacing=1.6,
        )
    return float(1 - (68 + below + _LINE * len(lines)) / height)


def _lines(handles: Sequence[Any], width: float) -> list[list[Any]]:
    """The handles in lines that fit, by a guess of how wide their letters are."""
    lines: list[list[Any]] = [[]]
    used = 0.0
    for handle in handles:
        wide = _wide(handle.get_label() + 7 * " ", _LEGEND_FONT, _PLAIN)  # with its colour and some room
        if used + wide > width and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append(handle)
        used += wide
    return lines


def _wrapped(title: str, fits: Callable[[str], bool]) -> list[str]:
    """A title in lines that fit, cut where its parts are."""
    lines: list[str] = []
    for part in title.split(" · "):
        if lines and fits(longer := f"{lines[-1]} · {part}"):
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _wide(text: str, font: float, letter: float) -> float:
    """About how wide a text is, in pixels."""
    return len(text) * letter * font * DPI / 72


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as png or svg, with no date in it."""
    sink = io.BytesIO()
    figure.savefig(
        sink, format=kind, dpi=DPI, metadata={"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    )
    return sink.getvalue()
