"""Naked points of control: those that no later price has come back to."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from spillway.analysis.columns import Frame, timestamps
from spillway.analysis.exact import Integers
from spillway.analysis.footprint import Footprint, How, summed, wholeness_for
from spillway.analysis.profile import control_rows

_AT_ONCE = 1_000_000  # cells compared at a time


def naked_points_of_control(levels: Frame, **how: Unpack[How]) -> pd.DataFrame:
    """The point of control of each bar, by default each UTC day, and when a later minute first came back to it.

    Tested by the first minute after the bar whose lowest..highest row holds it; naked (virgin) while there is none in the
    frame. A price that is jumped over between two minutes is not tested.

    Returns a row a bar: timestamp, poc, poc_volume, tested_at (the minute, or NaT), naked (boolean); and `whole`: False also
    where a minute between the bar and its test (or the frame's end) is not whole, for it may have been tested there.
    BadValue: as with `point_of_control`.
    Source: ATAS, lines "till touch" (a candle whose high..low holds the price); TradingView has no such study of its own. The
    point of control is `point_of_control`'s.
    """
    chosen: How = {"every": "session", **how}
    known = wholeness_for(levels, chosen)
    found = summed(levels, **chosen)
    at = control_rows(found)
    minutes = summed(levels, tick=how.get("tick"), every="1m")
    tested, until = _tested(found, at, minutes)
    columns: dict[str, object] = {
        "poc": found.prices(found.row[at]),
        "poc_volume": found.volumes(found.total[at]),
        "tested_at": tested,
        "naked": tested.isna(),
    }
    answer = found.table(columns)
    if known is None:
        return answer
    answer["whole"] = known.between(found.bars.starts, until)
    return answer[answer["whole"]].reset_index(drop=True) if how.get("only_whole") else answer


def _tested(found: Footprint, at: Integers, minutes: Footprint) -> tuple[pd.DatetimeIndex, Integers]:
    """When each point of control was tested, and the minute up to which that had to be known."""
    low, high = minutes.row[minutes.firsts], minutes.row[minutes.lasts]
    begin = np.searchsorted(minutes.bars.starts, found.bars.ends, "left")
    first = _first_touch(found.row[at], begin, low, high)
    touched = first < len(low)
    when = minutes.bars.starts[np.minimum(first, len(low) - 1)]
    tested = pd.Series(timestamps(when)).where(touched)
    until = np.where(touched, when, np.maximum(found.bars.ends, minutes.bars.ends[-1] if len(low) else 0))
    return pd.DatetimeIndex(tested), until


def _first_touch(price: Integers, begin: Integers, low: Integers, high: Integers) -> Integers:
    """Of each price, the first minute from `begin` on whose low..high holds it; the number of minutes if none does.

    A window of minutes of all prices that are still untouched is looked at together; it widens as those become few.
    """
    first = np.full(len(price), len(low))
    waiting, at = np.flatnonzero(begin < len(low)), begin.copy()
    while len(waiting):
        window = at[waiting][:, None] + np.arange(max(16, _AT_ONCE // len(waiting)))
        minute = np.minimum(window, len(low) - 1)
        target = price[waiting][:, None]
        hit = (low[minute] <= target) & (target <= high[minute])  # the last minute, repeated, only confirms itself
        touched = hit.any(axis=1)
        first[waiting[touched]] = minute[touched, hit[touched].argmax(axis=1)]
        at[waiting] += window.shape[1]
        waiting = waiting[~touched & (at[waiting] < len(low))]
    return first
