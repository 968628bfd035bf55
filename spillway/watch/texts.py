"""How the live view writes numbers and lays out lines of cells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

GOOD, BAD, WARN, DIM, STRONG = "green", "red", "yellow", "dim", "bold"
UNKNOWN = "-"

Cell = tuple[str, str]  # text, style


def sized(value: Decimal | float) -> str:
    """A size in at most seven characters and a sign: 12.34k, 123.4, 1.234, 0.0012, 0."""
    number = float(value)
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= scale:
            return _decimals(number / (1e3 if unit == "k" else scale)) + unit
    if abs(number) >= 1e-4 or number == 0:
        return _decimals(number)
    return f"{number:.0e}".replace("e-0", "e-")


def signed(value: Decimal) -> str:
    """The same with its sign."""
    return f"+{sized(value)}" if value > 0 else sized(value)


def exact(value: Decimal) -> str:
    """A price, thousands apart, whole; zeros at its end only up to the cents."""
    whole, _, decimals = f"{value:,f}".partition(".")
    kept = decimals.rstrip("0").ljust(min(2, len(decimals)), "0")
    return f"{whole}.{kept}" if kept else whole


def bytes_text(count: int) -> str:
    """A size in memory: 812 kB, 31.2 MB, 2.0 GB."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"


def lag_text(seconds: float) -> str:
    """A time: 0.2 s, 12 s, 3 m, 5 h, 2 d."""
    if abs(seconds) < 10:
        return f"{seconds:.1f} s"
    for length, unit in ((86_400, "d"), (3_600, "h"), (120, "m")):
        if seconds >= length:
            return f"{int(seconds // (60 if unit == 'm' else length))} {unit}"
    return f"{seconds:.0f} s"


def side_style(value: Decimal | int) -> str:
    """Green where more was bought, red where more was sold."""
    return GOOD if value > 0 else BAD if value < 0 else DIM


def line(cells: Iterable[Cell], widths: Sequence[int], left: frozenset[int] = frozenset({0}), gap: int = 2) -> Text:
    """Cells side by side, each cut or filled to its width; those in `left` begin at its left."""
    text = Text(no_wrap=True, overflow="crop")
    for at, ((content, style), width) in enumerate(zip(cells, widths, strict=True)):
        shown = cut(content, width)
        filling = " " * (width - cell_len(shown))
        text.append(" " * gap if at else "")
        text.append(shown + filling if at in left else filling + shown, style or None)
    text.rstrip()
    return text


def cut(content: str, width: int) -> str:
    """Text in at most `width` cells of a terminal."""
    return content if cell_len(content) <= width else set_cell_size(content, max(width - 1, 0)).rstrip() + "…"


def _decimals(number: float) -> str:
    size = abs(number)
    text = f"{number:.{1 if size >= 100 else 2 if size >= 10 else 3 if size >= 1 else 4}f}"
    return text.rstrip("0").rstrip(".")
