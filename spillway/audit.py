"""The audit of an instrument while it is written: what was accepted, against what window, minute files and archive hold.

The cursor counts what was accepted, in the same atomic step that stores it. So the difference between what is kept and what
the cursor counted never changes, whoever writes, spills, compacts or merges meanwhile: what it was to begin with (Redis was
emptied once, retention removed days) is the baseline, and what it has changed by since is the imbalance.

Window first, then files, then archive: a minute moves in that order and is copied before it is removed, so it is seen at least
once; and of several copies one counts. What was revised while we looked makes the look void, and it is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.conserved import Copy, Sums
from pipeline.instrument import Instrument
from pipeline.snapshot import BEGINNING, Snapshot, noticed_since, snapshot
from spillway.app import App
from spillway.copies import ArchiveCopies, FileCopies, all_of, best, days_of

ROTATE = 60  # of these parts of the window's minutes one is read again, though no notice told of a change
TRIES = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found."""

    accepted: Sums
    kept: Sums
    days: Mapping[int, Sums]  # of the archive, each as a whole


@dataclass(slots=True)
class Audit:
    """One instrument's audit, by this process, since it became the writer."""

    app: App
    instrument: Instrument
    imbalance: Sums = field(default_factory=Sums)
    baseline_ns: int = 0  # when what is compared with was noted; 0: not yet
    seen_ns: int = 0  # when the last look succeeded
    _baseline: Sums = field(default_factory=Sums)
    _epoch: object = None
    _days: Mapping[int, Sums] = field(default_factory=dict)
    _window: dict[int, Copy] = field(default_factory=dict)
    _last_notice: str = BEGINNING
    _looks: int = 0
    _files: FileCopies = field(init=False)
    _archive: ArchiveCopies = field(init=False)

    def __post_init__(self) -> None:
        self._files = FileCopies(self.app.files, self.instrument)
        self._archive = ArchiveCopies(self.app.archive, self.instrument)

    async def run(self, now_ns: int, epoch: Callable[[], object]) -> bool:
        """Looks once. False where too much changed meanwhile. RedisUnavailable, StorageError.

        `epoch`: when it gives another value than before, Redis went back, or another process wrote meanwhile: then a new
        baseline is taken. An imbalance that was there stays.
        """
        seen = False
        for _ in range(TRIES):
            before, look = epoch(), await self._look()
            if look and epoch() == before:
                self._judge(look, now_ns, before)
                seen = True
                if self.is_balanced:
                    break
        return seen

    @property
    def is_balanced(self) -> bool:
        """Whether nothing is missing, and nothing too much."""
        return not any(self.imbalance)

    @property
    def held(self) -> int:
        """How many minutes are remembered."""
        return len(self._window) + len(self._files)

    def forget(self) -> None:
        """Remembers nothing of the minutes: the next look reads all of them again."""
        self._window, self._last_notice = {}, BEGINNING
        self._files = FileCopies(self.app.files, self.instrument)

    async def _look(self) -> Look | None:
        self._looks += 1
        known = {m: copy for m, copy in self._window.items() if m % ROTATE != self._looks % ROTATE}
        now = await snapshot(self.app.window, self.instrument, known, self._last_notice)
        if now is None:
            return None
        self._window, self._last_notice = dict(now.sealed), now.last_notice
        files = await asyncio.to_thread(self._files.look)
        apart = days_of([*now.open, *now.sealed, *files])
        days, archived = await asyncio.to_thread(self._archive.look, apart)
        whole = {day: sums for day, sums in days.items() if day not in apart}
        below = best(files, archived)
        later = await noticed_since(self.app.window, self.instrument, now.last_notice)
        if any(_may_be_newer(minute, now, below) for minute in later):
            return None
        kept = await asyncio.to_thread(all_of, best(now.open, now.sealed, below), whole)
        return Look(Sums.of_state(now.state), kept, days)

    def _judge(self, look: Look, now_ns: int, epoch: object) -> None:
        gone = look.kept.minus(look.accepted)
        if not self.baseline_ns or epoch != self._epoch:
            self._baseline, self._epoch, self.baseline_ns = gone.minus(self.imbalance), epoch, now_ns
        self._allow_for_retention(look.days)
        self.imbalance = gone.minus(self._baseline)
        self.seen_ns = now_ns

    def _allow_for_retention(self, days: Mapping[int, Sums]) -> None:
        """What retention removed is kept no more, and rightly so."""
        missing = self._days.keys() - days.keys()
        removed = self._archive.removed() if missing else set()
        for day in missing & removed:
            self._baseline = self._baseline.minus(self._days[day])
        self._days = days


def _may_be_newer(minute: int, now: Snapshot, below: dict[int, Copy]) -> bool:
    """Whether a minute that was sealed after the snapshot may be counted as it is now instead of as it was then."""
    if minute in now.open:
        return minute in below and below[minute].revision > now.open[minute].revision
    return minute in now.sealed or minute in below or minute <= now.state.newest_minute
