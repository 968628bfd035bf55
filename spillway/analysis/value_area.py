"""How a value area grows from the point of control: all bars at once, without walking row by row.

Growing means merging two lists, the rows above and the rows below in the order of their distance, by always taking the
larger of the two heads. A row is taken as soon as the smallest row on its way has been: so the merged order is that of the
smallest volume met so far on either side (descending), then of how far out it was met last (the nearer side first, above
before below). Both follow from running minima, and one sort merges all bars. Rows without trades have no row in a footprint;
behind such a gap the smallest volume is 0, met at the gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from pipeline.errors import BadValue
from spillway.analysis.exact import ROOM, Flags, Integers, Number, Share, fitting
from spillway.analysis.footprint import Footprint
from spillway.analysis.sessions import changes


class Method(StrEnum):
    """Whose rule the area grows by."""

    TRADINGVIEW = "tradingview"  # a row at a time, at most the share
    TWO_ROWS = "two_rows"  # two at a time, at least the share

    @classmethod
    def of(cls, value: Method | str) -> Self:
        """By its name. BadValue for any other."""
        try:
            return cls(value)
        except ValueError:
            raise BadValue(f"method {str(value)!r}: expected {' or '.join(cls)}") from None

    @property
    def stride(self) -> int:
        """How many rows are added at a time."""
        return 2 if self is Method.TWO_ROWS else 1


@dataclass(frozen=True, slots=True)
class Area:
    """Of each bar: the area's lowest and highest row, and the volume in it."""

    low: Integers
    high: Integers
    volume: Integers


def area_of(found: Footprint, control: Integers, percent: Number, method: Method) -> Area:
    """The value areas of a footprint whose points of control stand at `control`. BadValue for a percentage beyond 1 to 100."""
    share = Share.of_percent(percent, least=1, most=100)
    volume = found.total[control]
    if not len(control):
        return Area(control, control, volume)
    wanted = _Wanted.of(found.per_bar(found.total), share, method)
    steps = _ordered(_steps(found, control, method.stride))
    done = wanted.done(volume)
    taken = wanted.taken(steps, volume) & ~done[steps.bar]
    above, below = _reach(steps, taken, done, found, control, method)
    np.add.at(volume, steps.bar[taken], steps.volume[taken])
    return Area(found.row[control] - below, found.row[control] + above, volume)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How much each area is to hold: at most, or at least."""

    volume: Integers
    at_most: bool

    @classmethod
    def of(cls, total: Integers, share: Share, method: Method) -> Self:
        if method is Method.TRADINGVIEW:
            return cls(share.floor(total), at_most=True)
        return cls(total - Share(share.bottom - share.top, share.bottom).floor(total), at_most=False)

    def done(self, held: Integers) -> Flags:
        """Where the point of control alone is all of the area."""
        return held > self.volume if self.at_most else held >= self.volume

    def taken(self, steps: _Steps, first: Integers) -> Flags:
        """Which of the ordered steps the areas take."""
        wanted = self.volume[steps.bar]
        with_it = steps.running() + first[steps.bar]
        return with_it <= wanted if self.at_most else with_it - steps.volume < wanted


@dataclass(frozen=True, slots=True)
class _Steps:
    """What may be added, a step (a row, or two) outwards each: in any order, or in that in which it is taken."""

    bar: Integers
    side: Integers  # 0 above the point of control, 1 below
    out: Integers  # 1, 2, ... steps from the point of control
    volume: Integers
    least: Integers  # the smallest volume of a step on the way, this one among them
    met: Integers  # how far out that was met last

    def chosen(self, at: Integers | Flags) -> _Steps:
        return _Steps(*(getattr(self, name)[at] for name in self.__slots__))

    def running(self) -> Integers:
        """Of ordered steps, the volume of each and of all before it in its bar."""
        sums = np.cumsum(self.volume)
        starts = np.flatnonzero(changes(self.bar))
        return sums - np.repeat((sums - self.volume)[starts], np.diff(np.append(starts, len(sums))))


def _steps(found: Footprint, control: Integers, stride: int) -> _Steps:
    """The rows above and those below, each list by bar and then outwards, joined into strides."""
    away = found.row - found.spread(found.row[control])
    above, below = np.flatnonzero(away > 0), np.flatnonzero(away < 0)
    below = found.spread(found.firsts + control - 1)[below] - below  # of each bar from the point of control down
    bar = found.bar
    sides = [_one_side(bar[at], side, np.abs(away[at]), found.total[at], stride) for side, at in ((0, above), (1, below))]
    return _Steps(*(np.concatenate([getattr(s, name) for s in sides]) for name in _Steps.__slots__))


def _one_side(bar: Integers, side: int, away: Integers, volume: Integers, stride: int) -> _Steps:
    out = (away + stride - 1) // stride
    starts = np.flatnonzero(changes(bar) | changes(out))
    if stride > 1 and len(starts):
        bar, out, volume = bar[starts], out[starts], np.add.reduceat(volume, starts)
    first = changes(bar)
    nearer = np.concatenate([[0], out[:-1]])[: len(out)]
    gap = out > np.where(first, 0, nearer) + 1
    least = np.where(_running_most(gap.astype(np.int64), first) > 0, 0, _running_least(volume, first))
    met = _running_most(np.where(volume == least, out, np.where(gap, out - 1, 0)), first)
    return _Steps(bar, np.full_like(bar, side), out, volume, least, met)


def _ordered(steps: _Steps) -> _Steps:
    """By bar, in the order in which they are taken."""
    if not len(steps.bar):
        return steps
    out, met = fitting(steps.out, 2**32), fitting(steps.met, 2**32)  # below 2**30 each
    later = (met * 2 + steps.side) * (int(out.max()) + 1) + out
    least = fitting(steps.least, int(steps.bar.max()) + 1)
    most = int(least.max())
    return steps.chosen(np.lexsort((later, steps.bar * (most + 1) + most - least)))


def _reach(steps: _Steps, taken: Flags, done: Flags, found: Footprint, control: Integers, method: Method) -> list[Integers]:
    """How many rows above and below its point of control each area holds.

    Those taken; and those without trades that come before the step with which the area ended, whether it took that or not.
    """
    end = steps.chosen(_ends(steps.bar, taken, method))
    endless = np.ones(len(control), dtype=bool)
    endless[end.bar] = False
    reach = []
    for side, edge in ((0, found.lasts), (1, found.firsts)):
        extent = np.abs(found.row[edge] - found.row[control])
        out = np.zeros(len(control), np.int64)
        np.maximum.at(out, steps.bar[taken & (steps.side == side)], steps.out[taken & (steps.side == side)])
        out[end.bar] = np.maximum(out[end.bar], _empty_before(end, side, method))
        reach.append(np.where(done, 0, np.where(endless, extent, np.minimum(out * method.stride, extent))))
    return reach


def _ends(bar: Integers, taken: Flags, method: Method) -> Integers:
    """Of each bar the step that ended it: the first that didn't fit, or the last that was taken. Some bars have none."""
    new = changes(bar)
    if method is Method.TRADINGVIEW:
        return np.flatnonzero(~taken & (new | np.roll(taken, 1)))
    final = np.roll(new, -1)
    return np.flatnonzero(taken & (final | ~np.roll(taken, -1)))


def _empty_before(end: _Steps, side: int, method: Method) -> Integers:
    """How far out on a side all steps, with trades or without, come before the ends."""
    above_first = end.met - (1 - end.side)  # of two gaps equally far out, the one above comes before the one below
    other = np.where(end.least == 0, above_first, 0)
    own = end.out - 1 if method is Method.TRADINGVIEW else end.out
    return np.where(end.side == side, own, other)


def _running_least(values: Integers, first: Flags) -> Integers:
    """The smallest value so far in each run of rows; `first` marks where runs begin."""
    return _running(np.minimum, -1, values, first)


def _running_most(values: Integers, first: Flags) -> Integers:
    """The largest value so far in each run of rows."""
    return _running(np.maximum, 1, values, first)


def _running(extreme: np.ufunc, sign: int, values: Integers, first: Flags) -> Integers:
    """Each run is lifted beyond the one before, so that nothing is carried over."""
    if not len(values):
        return values
    run = np.cumsum(first)
    lift = int(values.max()) + 1
    if lift * (int(run[-1]) + 1) >= ROOM:
        distinct, rank = np.unique(values, return_inverse=True)
        ranked: Integers = distinct[_running(extreme, sign, rank, first)]
        return ranked
    lifted: Integers = extreme.accumulate(values + sign * lift * run) - sign * lift * run
    return lifted
