"""Which bars are whole: nothing of theirs is missing, and that is proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.minute import Status
from spillway.analysis.columns import Frame, minutes_of, names_of, numbers, require, series
from spillway.analysis.exact import Flags, Integers

WHOLE = (Status.COMPLETE, Status.REPAIRED)
_IDS = ("first_trade_id", "last_trade_id")
_EXACT = 2.0**53  # ids beyond it are no longer told apart in a float


@dataclass(frozen=True, slots=True)
class Wholeness:
    """What is proven of a stretch of time.

    A minute is whole where its status is `complete` or `repaired`. One with no row is whole only where the minutes around it
    are, and their trade ids join (the last id before plus one is the first after): then nothing traded in it. Else it is
    absent: not recorded, or not proven to be silent. All others (`degraded`, `unknown`, whatever else) are not whole.
    """

    minutes: Integers  # those with a row, ascending
    whole: Integers  # 1 where it is whole
    joined: Integers  # 1 where the time from it to the next row is proven to be silent
    before: Integers  # how many whole minutes, silent ones too, lie before it

    @classmethod
    def of(cls, minutes: Frame) -> Self:
        """From a frame of minutes: timestamp, status; and first_trade_id and last_trade_id where there are any."""
        require(minutes, ("timestamp", "status"))
        times = minutes_of(minutes)
        order = np.argsort(times, kind="stable")
        whole = series(minutes, "status").isin([str(s) for s in WHOLE]).to_numpy(dtype=bool)[order]
        times = times[order]
        joined = np.zeros(len(times), dtype=bool)
        if len(times) and all(name in names_of(minutes) for name in _IDS):
            first, last = (numbers(minutes, name)[order] for name in _IDS)
            joined[:-1] = whole[:-1] & whole[1:] & (first[1:] <= last[:-1] + 1) & (np.abs(last[:-1]) < _EXACT)
        held = whole[:-1] + (np.diff(times) - 1) * joined[:-1]
        before = np.concatenate([[0], np.cumsum(held)]) if len(times) else np.empty(0, np.int64)
        return cls(times, whole.astype(np.int64), joined.astype(np.int64), before.astype(np.int64))

    @classmethod
    def carried(cls, footprint: Frame) -> Self:
        """From a footprint's own timestamp and `whole`: of its bars only, each as if it were a minute."""
        times = minutes_of(footprint)
        bars = np.unique(times)
        whole = ~np.isin(bars, times[~series(footprint, "whole").to_numpy(dtype=bool)])
        return cls(bars, whole.astype(np.int64), np.zeros_like(bars), np.cumsum(whole) - whole)

    def between(self, starts: Integers, ends: Integers) -> Flags:
        """Whether each minute from a start up to and without its end is whole."""
        flags: Flags = self._until(ends) - self._until(starts) == ends - starts
        return flags

    def _until(self, times: Integers) -> Integers:
        """How many whole minutes lie before each time."""
        if not len(self.minutes):
            return np.zeros(len(times), np.int64)
        at = np.searchsorted(self.minutes, times, "left") - 1
        row = np.maximum(at, 0)
        counted = self.before[row] + self.whole[row] + self.joined[row] * (times - self.minutes[row] - 1)
        return np.where(at < 0, 0, counted)
