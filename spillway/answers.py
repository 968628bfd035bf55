"""What the read API answers for one instrument and one range of minutes, as Arrow tables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import fixed
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY
from sinks.archive import Prices
from sinks.tables import LEVELS, MINUTES
from spillway import bars as bar
from spillway.coverage import NEEDED as COVERAGE
from spillway.coverage import Coverage, coverage_of
from spillway.reading import Reader
from spillway.recorded import Recordings
from spillway.wanted import Bounds


class IncompleteWarning(UserWarning):
    """A frame holds less than was traded, and says of which times."""


class Answers:
    """Answers questions about ranges, from their first minute up to, and without, another (counted from 1970)."""

    def __init__(self, reader: Reader, recordings: Recordings) -> None:
        self._reader, self._recordings = reader, recordings

    def days(self, instrument: Instrument, first: int, until: int) -> Iterator[Bounds]:
        """The days of a range that hold any minute, as ranges."""
        for day in self._reader.days(instrument, first, until):
            yield max(first, day * MINUTES_PER_DAY), min(until, (day + 1) * MINUTES_PER_DAY)

    def levels(
        self,
        instrument: Instrument,
        first: int,
        until: int,
        names: Sequence[str],
        prices: Prices,
        states: Sequence[str] | None,
    ) -> pa.Table:
        """Price levels, of minutes with these statuses only."""
        if states is None:
            return self._reader.levels(instrument, first, until, names, prices)
        minutes = self.minutes(instrument, first, until, ["timestamp", "status"], states)
        found = self._reader.levels(instrument, first, until, list(dict.fromkeys(["timestamp", *names])), prices)
        kept = pc.is_in(found["timestamp"], value_set=minutes["timestamp"].combine_chunks())
        return found.filter(kept).select(list(names))

    def minutes(
        self, instrument: Instrument, first: int, until: int, names: Sequence[str], states: Sequence[str] | None
    ) -> pa.Table:
        """Minutes with these statuses."""
        if states is None:
            return self._reader.minutes(instrument, first, until, names)
        found = self._reader.minutes(instrument, first, until, list(dict.fromkeys(["status", *names])))
        kept = pc.is_in(found["status"].cast(pa.string()), value_set=pa.array(states, pa.string()))
        return found.filter(kept).select(list(names))

    def bars(self, instrument: Instrument, first: int, until: int, length: int, whole_only: bool) -> pa.Table:
        """Bars of `length` minutes with what is known of them; `whole_only` leaves out those that are not whole."""
        minutes = self._reader.minutes(instrument, first, until, bar.NEEDED)
        found = bar.bars_of(minutes, length, self.coverage(instrument, first, until, minutes))
        return found.filter(found["whole"]) if whole_only else found

    def level_bars(
        self, instrument: Instrument, first: int, until: int, length: int, group: Decimal, whole_only: bool
    ) -> pa.Table:
        """The bars' footprints, prices floored to multiples of `group`. Only a day of levels is in memory at once; bars over
        midnight are put together at the end."""
        minutes = self._reader.minutes(instrument, first, until, [*bar.NEEDED, "price_scale"])
        scales = [pc.max(minutes[name]).as_py() or 0 for name in ("price_scale", "size_scale")]
        both = max(scales[0], fixed.scale_of(group)), scales[1]
        step = fixed.at_scale(group, both[0])
        parts = [
            bar.level_bars_of(self._reader.levels(instrument, *day, bar.LEVEL_COLUMNS), length, both, step)
            for day in self.days(instrument, first, until)
        ]
        empty = LEVELS.empty_table().select(bar.LEVEL_COLUMNS)
        found = bar.level_bars_of(pa.concat_tables([empty, *(p.select(bar.LEVEL_COLUMNS) for p in parts)]), length, both, step)
        if not whole_only:
            return found
        bars = bar.bars_of(minutes, length, self.coverage(instrument, first, until, minutes))
        whole = bars.filter(bars["whole"])["timestamp"].combine_chunks()
        return found.filter(pc.is_in(found["timestamp"], value_set=whole))

    def coverage(self, instrument: Instrument, first: int, until: int, minutes: pa.Table | None = None) -> Coverage:
        """What is known of the range, as far as anything is kept or was removed. `minutes`: those of the range, if they were
        read already."""
        removed = self._reader.removed(instrument)
        known = [*(self._reader.known(instrument) or ()), *(_bounds(removed) if removed else ())]
        if not known:
            return coverage_of(MINUTES.empty_table().select(COVERAGE), 0, 0)
        first, until = max(first, min(known)), max(min(until, max(known) + 1), first, min(known))
        if minutes is None:
            minutes = self._reader.minutes(instrument, first, until, COVERAGE)
        before, after = _at_edges(minutes, first, until)
        around = [minutes.select(COVERAGE)]
        if not before:  # what the outer minutes are that aren't stored is told by the next ones that are
            around.insert(0, self._reader.nearest(instrument, max(first - MINUTES_PER_DAY, 0), first, COVERAGE, latest=True))
        if not after:
            around.append(self._reader.nearest(instrument, until, until + MINUTES_PER_DAY, COVERAGE, latest=False))
        return coverage_of(pa.concat_tables(around), first, until, removed)

    def warn_of_lost(self, instrument: Instrument, first: int, until: int, stacklevel: int) -> None:
        """Warns of days that a reader won't get, though the archive has them."""
        lost = self._reader.lost(instrument, first, until)
        if lost:
            more = f" (and {len(lost) - 1:,} more)" if len(lost) > 1 else ""
            text = f"{instrument}: {lost[0]}{more}; `spillway verify` says what to do"
            warnings.warn(text, IncompleteWarning, stacklevel=stacklevel + 1)

    def trades(self, instrument: Instrument, first: int, until: int, exact: bool) -> pa.Table:
        """Recorded trades. Warns of minutes that hold more than their recordings."""
        minutes = self._reader.minutes(instrument, first, until, ["timestamp", "trade_count"])
        found = self._recordings.read(instrument, first, until, minutes, exact=exact)
        if found.lacking:
            warnings.warn(found.lacking, IncompleteWarning, stacklevel=4)
        return found.trades


def _bounds(days: Sequence[int]) -> Bounds:
    """The first and the last minute of days in order."""
    return days[0] * MINUTES_PER_DAY, (days[-1] + 1) * MINUTES_PER_DAY - 1


def _at_edges(minutes: pa.Table, first: int, until: int) -> tuple[bool, bool]:
    """Whether the first and the last minute of a range are stored."""
    if not len(minutes):
        return first == until, first == until
    low, high = (int(minutes["timestamp"][row].as_py().timestamp()) // 60 for row in (0, -1))
    return low <= first, high >= until - 1
