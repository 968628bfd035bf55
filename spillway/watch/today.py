"""How much of today is whole, told from the notices of sealed minutes. Pure.

The rules are those of `spillway/coverage.py`: between known minutes one that isn't stored is absent, unless the trade ids of
its neighbours join, for then nothing was traded in it. The day counts from its begin where an earlier minute is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from pipeline.codec import Head
from pipeline.minute import MINUTES_PER_DAY, Status, day_of
from spillway.watch.facts import Coverage

Hole = tuple[int, int]  # the stored minutes on both sides of it


@dataclass(slots=True)
class Today:
    """What is known of each minute of one day. It begins anew with each day."""

    day: int = -1
    last_notice: str = ""
    before: int | None = None  # the last minute known of an earlier day
    statuses: dict[int, Status] = field(default_factory=dict)
    _empty: dict[Hole, bool] = field(default_factory=dict)

    def begin(self, day: int) -> None:
        """Forgets what is not of this day."""
        if day != self.day:
            self.day, self.last_notice, self.before = day, "", None
            self.statuses, self._empty = {}, {}

    @property
    def first(self) -> int:
        """The day's first minute."""
        return self.day * MINUTES_PER_DAY

    def note(self, minute: int, status: str) -> None:
        """A minute was sealed: what was told last counts."""
        self._empty = {hole: empty for hole, empty in self._empty.items() if not hole[0] <= minute <= hole[1]}
        if day_of(minute) == self.day:
            self.statuses[minute] = Status(status)
        elif minute < self.first:
            self.before = max(minute, self.before or 0)

    def unproven(self) -> list[Hole]:
        """Holes of which it isn't known yet whether anything was traded in them."""
        edges = sorted(self.statuses) if self.before is None else [self.before, *sorted(self.statuses)]
        return [hole for hole in pairwise(edges) if hole[1] - hole[0] > 1 and hole not in self._empty]

    def prove(self, holes: Iterable[Hole], heads: Mapping[int, Head]) -> None:
        """Judges holes by the minutes beside them. One whose neighbours can't be had counts as absent minutes."""
        for before, after in holes:
            left, right = heads.get(before), heads.get(after)
            self._empty[before, after] = left is not None and right is not None and _join(left, right)

    def coverage(self, proves: bool) -> Coverage | None:
        """The day so far; None where no minute of it is sealed."""
        if not self.statuses:
            return None
        start = min(self.statuses) if self.before is None else self.first
        known = max(self.statuses) - start + 1
        empty = sum(after - max(before + 1, start) for (before, after), is_empty in self._empty.items() if is_empty)
        counts = {status: sum(s is status for s in self.statuses.values()) for status in Status}
        whole = counts[Status.COMPLETE] + counts[Status.REPAIRED] + empty
        return Coverage(known, whole, counts[Status.DEGRADED], known - len(self.statuses) - empty, proves)


def _join(left: Head, right: Head) -> bool:
    last, first = left.last_trade_id, right.first_trade_id
    proven = not (left.status is Status.UNKNOWN and right.status is Status.UNKNOWN)
    return proven and isinstance(last, int) and isinstance(first, int) and last + 1 == first
