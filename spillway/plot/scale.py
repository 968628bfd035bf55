"""How long a bar and how high a row must be for a picture to be legible, and how numbers and times are written in it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadValue

LENGTHS = (1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720, 1440)  # each divides a day
DAY = 1440


def bar_length(span: int, most: int, native: int = 1) -> int:
    """The shortest usual bar, in minutes, of which at most `most` fill `span` minutes, and that the data's own bars divide."""
    days = (DAY * n for n in range(2, max(3, -(-span // DAY // most) + 2)))
    for length in (*LENGTHS, *days):
        if length % native == 0 and -(-span // length) <= most:
            return length
    return max(native, -(-span // most // native) * native)


def row_height(span: Decimal, most: int, native: Decimal) -> Decimal:
    """The lowest row of 1, 2 or 5 times a power of ten of the data's own steps of which at most `most` fill `span`."""
    for power in range(40):
        for factor in (1, 2, 5):
            height: Decimal = native * (factor * 10**power)
            if span / height < most:
                return height
    raise BadValue(f"prices over {span}: too far apart for a picture")


def length_text(minutes: int) -> str:
    """A bar's length as a user writes it."""
    for unit, length in (("d", DAY), ("h", 60)):
        if minutes % length == 0:
            return f"{minutes // length}{unit}"
    return f"{minutes}m"


def plain(number: Decimal | float) -> str:
    """A number in plain digits, thousands apart."""
    text = f"{Decimal(repr(number) if isinstance(number, float) else number):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short_texts(values: Iterable[float], *, compact: bool = False) -> list[str]:
    """Sizes in few characters, all to the same decimals: 12.3k, 1234, 34, .51, 0. `compact`: 12k, 1.2k, 12, at most four."""
    sizes = np.array(list(values), dtype=np.float64)
    nonzero = np.abs(sizes[sizes != 0])
    typical = float(np.median(nonzero)) if len(nonzero) else 1.0
    decimals = min(max(1 - math.floor(math.log10(typical)), 0), 6)
    return [_short(value, decimals, compact) for value in sizes.tolist()]


def _short(value: float, decimals: int, compact: bool) -> str:
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= (scale if compact or unit != "k" else 10 * scale):
            return f"{value / scale:.{0 if abs(value) >= (9.95 if compact else 100) * scale else 1}f}{unit}"
    text = f"{value:.{0 if compact and abs(value) >= 9.95 else decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    if text in ("0", "-0", ""):
        return "0" if value == 0 else "~0"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def axis_texts(places: Sequence[float], *, short: bool = False) -> list[str]:
    """The numbers along an axis, all to the same decimals: as many as tell them apart. `short`: 25k, 1.5M."""
    largest = max((abs(place) for place in places), default=0.0)
    scale, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if short and largest >= 10 * s), (1.0, ""))
    decimals = decimals_of([place / scale for place in places])
    return [f"{place / scale:,.{decimals}f}{unit}" if place else "0" for place in places]


def decimals_of(places: Sequence[float]) -> int:
    """How many decimals show evenly spaced numbers, whose last bits may be off."""
    noise = max((abs(place) for place in places), default=0.0) * 1e-12
    return next((d for d in range(15) if all(abs(round(place, d) - place) <= noise for place in places)), 15)


def when(minute: int) -> datetime:
    """A minute since 1970 as a time."""
    return datetime.fromtimestamp(minute * 60, UTC)


def span_text(first: int, end: int) -> str:
    """A range as titles tell it: the second date only where it differs."""
    a, b = when(first), when(end)
    if first % DAY == 0 and end % DAY == 0:
        return f"{a:%Y-%m-%d}" if end - first == DAY else f"{a:%Y-%m-%d} to {when(end - DAY):%Y-%m-%d}"
    return f"{a:%Y-%m-%d %H:%M} to {b:%H:%M} UTC" if a.date() == b.date() else f"{a:%Y-%m-%d %H:%M} to {b:%Y-%m-%d %H:%M} UTC"


def time_ticks(first: int, every: int, bars: int, most: int = 14) -> list[tuple[int, str]]:
    """Bars that get a label, and the label: the time, and below it the date where it changes."""
    step = max(every, bar_length(every * bars, most, every))
    starts = range(-(-first // step) * step, first + every * bars, step)
    found, told = [], None
    for minute in starts or range(first, first + 1):
        at = when(minute)
        text = f"{at:%m-%d}" if step % DAY == 0 else f"{at:%H:%M}"
        head = f"{at:%Y}" if step % DAY == 0 else f"{at:%Y-%m-%d}"
        found.append(((minute - first) // every, text if head == told else f"{text}\n{head}"))
        told = head
    return found


def runs(values: NDArray[np.int8]) -> Sequence[tuple[int, int, int]]:
    """Runs of one value: the value, where it begins, and where it ends."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(int(values[a]), a, b) for a, b in pairwise(cuts) if a < b]
