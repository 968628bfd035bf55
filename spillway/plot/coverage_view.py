"""What a coverage calendar shows: of each day and hour, what share of its minutes is in which state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadValue
from spillway.analysis.columns import Frame, minutes_of, names_of, numbers
from spillway.analysis.exact import Integers
from spillway.coverage import STATES, WHOLE
from spillway.plot.holes import bounds, states_of
from spillway.plot.scale import DAY, span_text

SLOTS = 12  # of a cell: a state that is there at all fills one of them at least
MOST_DAYS = 400
NOTHING = -1  # outside the range


@dataclass(frozen=True, slots=True)
class CoverageView:
    """Days from `first_day` (since 1970) on. counts: minutes by day, hour and state. slots: by day, and by hour and slot in
    it, the place in STATES, the whole ones first; NOTHING where the range holds no minute."""

    title: str
    first_day: int
    counts: NDArray[np.int64]
    slots: NDArray[np.int64]

    @property
    def days(self) -> int:
        """How many days there are."""
        return len(self.counts)

    def total(self, state: str) -> int:
        """All minutes of a state."""
        return int(self.counts[:, :, STATES.index(state)].sum())

    def text(self, state: str) -> str:
        """What a legend says of a state."""
        share = self.total(state) / int(self.counts.sum())
        return f"{state}: {self.total(state):,} min ({_percent(share)})"


def coverage_view(frame: Frame, *, title: str) -> CoverageView:
    """The view of minutes (timestamp, status), or of hours as `store.coverage(by="hour")` gives them. BadValue for neither."""
    if not len(frame):
        raise BadValue(f"{title or 'coverage'}: there is nothing to draw in this range")
    hours, counts = _of_minutes(frame) if "status" in names_of(frame) else _of_hours(frame)
    first_day, end_day = int(hours.min()) // 24, int(hours.max()) // 24 + 1
    if end_day - first_day > MOST_DAYS:
        raise BadValue(f"a calendar of {end_day - first_day:,} days: expected at most {MOST_DAYS}; take a shorter range")
    grid = np.zeros(((end_day - first_day) * 24, len(STATES)), np.int64)
    np.add.at(grid, hours - first_day * 24, counts)
    span = span_text(first_day * DAY, end_day * DAY)
    return CoverageView(
        title=" · ".join(part for part in (title, "coverage", span) if part),
        first_day=first_day,
        counts=grid.reshape(-1, 24, len(STATES)),
        slots=np.concatenate([_slots(row) for row in grid]).reshape(-1, 24 * SLOTS),
    )


def _of_minutes(frame: Frame) -> tuple[Integers, NDArray[np.int64]]:
    first, end = bounds(frame)
    if end - first > MOST_DAYS * DAY:
        raise BadValue(f"a calendar of {(end - first) // DAY:,} days: expected at most {MOST_DAYS}; take a shorter range")
    codes = states_of(frame, first, end)
    hours = np.arange(first, end) // 60
    counts = np.zeros((end - first, len(STATES)), np.int64)
    counts[np.arange(end - first), codes] = 1
    return hours, counts


def _of_hours(frame: Frame) -> tuple[Integers, NDArray[np.int64]]:
    missing = [state for state in STATES if state not in names_of(frame)]
    if missing:
        raise BadValue(f"the frame has neither status nor {', '.join(missing)}: expected minutes, or coverage by hour")
    counts: NDArray[Any] = np.stack([numbers(frame, state) for state in STATES], axis=1)
    return minutes_of(frame) // 60, counts.astype(np.int64)


def _slots(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Minutes of each state as SLOTS pieces: in proportion, but at least one for each that there is."""
    if not counts.sum():
        return np.full(SLOTS, NOTHING)
    least = (counts > 0).astype(np.int64)
    share = np.maximum(least, np.floor(counts / counts.sum() * SLOTS).astype(np.int64))
    while share.sum() > SLOTS:
        share[np.argmax(np.where(share > 1, share, 0))] -= 1
    share[np.argmax(counts)] += SLOTS - share.sum()
    return np.repeat(np.arange(len(counts)), share)


def _percent(share: float) -> str:
    """A share that is not all never reads 100 %, and one that is not nothing never 0 %."""
    if 0 < share < 0.001:
        return "<0.1 %"
    return ">99.9 %" if 0.999 < share < 1 else f"{share * 100:.1f} %".replace(".0 %", " %")


__all__ = ["NOTHING", "SLOTS", "STATES", "WHOLE", "CoverageView", "coverage_view"]
