"""Delta: how much more was bought than sold, in a bar and since the session began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd

from spillway.analysis import exact
from spillway.analysis.columns import Frame, counts, minutes_of, numbers, require, timestamps
from spillway.analysis.exact import Flags, Floats, Integers
from spillway.analysis.footprint import VOLUMES, When, wholeness_for
from spillway.analysis.sessions import Bars, Session, bars_of, changes
from spillway.analysis.wholeness import Wholeness


def delta(minutes_or_levels: Frame, **when: Unpack[When]) -> pd.DataFrame:
    """Delta of each bar, and how far it went within it.

    delta = sum(buy_volume) - sum(sell_volume); delta_percent = 100 * delta / total_volume. min_delta and max_delta are the
    lowest and the highest of the running delta, which begins at 0, after each *minute*: what it did within a minute, a
    minute footprint can't tell, so both may have gone further in truth. For one-minute bars they are min(0, delta) and
    max(0, delta).

    Returns a row a bar: timestamp, buy_volume, sell_volume, total_volume, delta, min_delta, max_delta (units of size),
    delta_percent, trade_count, minutes (those with trades); and `whole`. A frame of minutes brings its own status.
    BadValue: columns are missing, several instruments, a number of more than 15 digits.
    Source: TradingView, Volume footprint charts (Delta; Delta, %; Min delta; Max delta) and ta.requestVolumeDelta, which
    steps through 1-minute bars as well. ATAS, Cluster Statistic, has the same from single trades.
    """
    known = wholeness_for(minutes_or_levels, when, carries=True)
    found = _steps(minutes_or_levels, when)
    firsts = found.firsts
    buy, sell, total, count = (_sums(values, firsts) for values in (found.buy, found.sell, found.total, found.count))
    low, high = _extremes(found.running(firsts), firsts)
    columns: dict[str, object] = {
        "buy_volume": found.volumes(buy),
        "sell_volume": found.volumes(sell),
        "total_volume": found.volumes(total),
        "delta": found.volumes(buy - sell),
        "min_delta": found.volumes(low),
        "max_delta": found.volumes(high),
        "delta_percent": 100.0 * exact.ratio(buy - sell, total),
        "trade_count": count,
        "minutes": _sums(np.ones_like(found.buy), firsts),
    }
    return found.table(columns, known, found.bars.starts, when)


def cumulative_delta(minutes_or_levels: Frame, **when: Unpack[When]) -> pd.DataFrame:
    """Cumulative volume delta (CVD) as candles that begin at 0 with each session; of the UTC day if none is given.

    close = sum of delta since the session began; open = the close before, 0 at the session's first bar; high and low = the
    highest and lowest it was at open and after each minute. `session=None` never resets.

    Returns a row a bar: timestamp, session (its start), delta, open, high, low, close (units of size); and `whole`: False
    from the first minute of a session on that is not whole, for what was missed there is missing in all that follows.
    BadValue: as with `delta`.
    Source: TradingView, Cumulative Volume Delta (the candle's four values; Anchor period), with 1-minute intrabars.
    """
    when = {"session": Session(), **when}
    known = wholeness_for(minutes_or_levels, when)
    found = _steps(minutes_or_levels, when)
    begin = found.bars.session_firsts()
    running = found.running(found.firsts[begin])
    closes = running[found.lasts]
    opens = np.where(begin == np.arange(len(begin)), 0, np.concatenate([[0], closes[:-1]])[: len(begin)])
    low, high = _extremes(running, found.firsts, opens)
    columns: dict[str, object] = {
        "session": timestamps(found.bars.sessions),
        "delta": found.volumes(closes - opens),
        "open": found.volumes(opens),
        "high": found.volumes(high),
        "low": found.volumes(low),
        "close": found.volumes(closes),
    }
    return found.table(columns, known, found.bars.sessions, when)


@dataclass(frozen=True, slots=True)
class _Steps:
    """A row per minute, in time order, and the bars that they fall into."""

    bars: Bars
    firsts: Integers  # of each bar, its first minute
    buy: Integers
    sell: Integers
    total: Integers
    count: Integers
    scale: int

    @property
    def lasts(self) -> Integers:
        """Of each bar, its last minute."""
        ends: Integers = np.append(self.firsts[1:], len(self.buy))[: len(self.firsts)]
        return ends - 1

    def running(self, since: Integers) -> Integers:
        """The delta after each minute, counted from the minute that each bar counts from."""
        total: Integers = np.cumsum(self.buy - self.sell)
        before: Integers = np.concatenate([[0], total])[since]
        return total - np.repeat(before, self.lasts - self.firsts + 1)

    def volumes(self, values: Integers) -> Floats:
        """Whole sizes as volumes."""
        return exact.floats(values, self.scale)

    def table(self, columns: dict[str, object], known: Wholeness | None, since: Integers, when: When) -> pd.DataFrame:
        answer = pd.DataFrame({"timestamp": timestamps(self.bars.starts), **columns})
        if known is None:
            return answer
        whole: Flags = known.between(since, self.bars.ends)
        answer["whole"] = whole
        return answer[whole].reset_index(drop=True) if when.get("only_whole") else answer


def _steps(frame: Frame, when: When) -> _Steps:
    require(frame, ("timestamp", *VOLUMES, "trade_count"))
    times, columns, scale = _by_time(frame)
    distinct = np.flatnonzero(changes(times))
    bars, number = bars_of(times[distinct], when.get("every"), when.get("session"))
    inside = number >= 0
    buy, sell, total, count = (_sums(values, distinct)[inside] for values in columns)
    return _Steps(bars, np.flatnonzero(changes(number[inside])), buy, sell, total, count, scale)


def _by_time(frame: Frame) -> tuple[Integers, list[Integers], int]:
    times = minutes_of(frame)
    volumes: list[Floats] = [numbers(frame, name) for name in VOLUMES]
    scale = max(exact.scale_of(values, name) for values, name in zip(volumes, VOLUMES, strict=True))
    columns = [exact.integers(values, scale, name) for values, name in zip(volumes, VOLUMES, strict=True)]
    columns.append(counts(frame, "trade_count"))
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, columns = times[order], [values[order] for values in columns]
    return times, columns, scale


def _sums(values: Integers, firsts: Integers) -> Integers:
    return np.add.reduceat(values, firsts) if len(firsts) else values[:0]


def _extremes(running: Integers, firsts: Integers, opens: Integers | None = None) -> tuple[Integers, Integers]:
    """The lowest and the highest in each bar, its opening among them."""
    if not len(firsts):
        return running, running
    at_open = np.zeros(len(firsts), np.int64) if opens is None else opens
    low: Integers = np.minimum(np.minimum.reduceat(running, firsts), at_open)
    high: Integers = np.maximum(np.maximum.reduceat(running, firsts), at_open)
    return low, high
