"""What the gap ledger says: which trade ids were never seen, or when nobody listened, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.instrument import Instrument


class GapKind(StrEnum):
    """What a gap is known by."""

    IDS = "ids"  # trade ids that were never seen
    OUTAGE = "outage"  # a stretch of time in which nobody listened, on venues whose ids prove nothing


class GapState(StrEnum):
    """What became of a gap."""

    OPEN = "open"
    REPAIRED = "repaired"
    LOST = "lost"  # the venue doesn't have it; should it come all the same, it becomes repaired


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap. Times in ns since 1970: `before` and `after` of the trades on both sides, None where they aren't known."""

    instrument: Instrument
    kind: GapKind
    first_id: int | None
    last_id: int | None
    before_ns: int | None
    after_ns: int | None
    found_ns: int
    state: GapState
    ended_ns: int | None
    how: str

    @property
    def ids(self) -> int | None:
        """How many ids; None where that can't be told."""
        return None if self.first_id is None or self.last_id is None else self.last_id - self.first_id + 1


@dataclass(frozen=True, slots=True)
class GapSums:
    """An instrument's gaps in numbers: ids by what became of them, and outages likewise."""

    open: int = 0
    repaired: int = 0
    lost: int = 0
    outages_open: int = 0
    outages_repaired: int = 0
    outages_lost: int = 0

    @property
    def found(self) -> int:
        """Ids that were ever missing."""
        return self.open + self.repaired + self.lost
