"""The read API: any time range of one instrument or of many, as what the reader works with.

How window, minute files and archive are read together, with no seam and nothing twice, is in `spillway/reading.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from pipeline.instrument import Instrument
from pipeline.trading.minute_ref import MinuteRef
from sinks.archive import Archive, Prices
from sinks.manifest import Kind
from sinks.minute_files import MinuteFiles
from spillway import coverage, frames, lineage
from spillway.answers import Answers, IncompleteWarning
from spillway.frames import LAZY_KINDS, PANDAS, Scan
from spillway.gap_table import gap_table
from spillway.hot import HotMinutes
from spillway.reading import Reader
from spillway.recorded import NotRecorded, Recordings
from spillway.settings import Settings
from spillway.times import DurationLike, TimeLike, bar_minutes, chosen_range
from spillway.verify import Report, What, verify
from spillway.wanted import Bounds, Names, Wanted, chosen, columns_of, group_of, states_of

__all__ = ["IncompleteWarning", "NotRecorded", "Store"]


class Store:
    """Reads one data folder. Close it, or use it in a `with` block, so that an embedded Redis can stop.

    What all its readers share:

    `venue`, `symbol`: one of each; or lists of them, or None for all that are kept: then columns `venue` and `symbol` come
    first, and rows stand by instrument, then time.
    `start`, `end`: from `start` up to and without `end`: "2024-10-23 14:00", "2024-10" (its begin), a date or datetime; naive
    times are UTC. Or `during`: a whole "2024-10", "2024-10-23", "2024-10-23 14", or "2024-10-01/2024-10-15". Or `last`: the
    last "36h" before `end`, or before now; of a replayed tape, before where its own clock stands.
    `columns`: only these, in this order. `prices`: the lowest and the highest price, None for any.
    `status`: only minutes with one of these; `whole_only`: only complete and repaired ones.
    `as_`: "pandas", "arrow", "polars"; lazily "lazy" (a Polars LazyFrame) or "duckdb" (a relation), which read the archive's
    files themselves when they are asked, so that a year needs no more memory than the answer.

    A warning, IncompleteWarning, tells of days that lie in the archive without their manifest, and so don't come.
    BadValue for what can't be asked; StorageError, DamagedMinute or RedisUnavailable for what can't be read.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        """`now`: the clock that `last` counts back from, in seconds since 1970."""
        self._settings = settings
        self._hot = HotMinutes(settings)
        self._reader = Reader(self._hot, MinuteFiles(settings.storage_dir), Archive(settings.archive_dir))
        self._answers = Answers(self._reader, Recordings(settings.recording_dir))
        self._now = now

    def instruments(self) -> list[Instrument]:
        """All that anything is kept of."""
        return self._reader.instruments()

    # --- frames ---------------------------------------------------------------------------------------------------------

    def levels(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
        columns: Sequence[str] | None = None,
        prices: Prices = (None, None),
        status: Names = None,
        whole_only: bool = False,
        as_: str = PANDAS,
    ) -> Any:
        """Price levels by time and price: timestamp (UTC), price_level, buy_volume, sell_volume, total_volume, delta,
        trade_count."""
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        names, states = columns_of("levels", columns), states_of(status, whole_only)
        if as_ in LAZY_KINDS and states is None:
            return self._scan("levels", wanted, names, prices=prices)
        return wanted.frame(lambda i, first, until: self._answers.levels(i, first, until, names, prices, states))

    def minutes(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
        columns: Sequence[str] | None = None,
        status: Names = None,
        whole_only: bool = False,
        as_: str = PANDAS,
    ) -> Any:
        """One row a minute: open, high, low, close, vwap, volumes, delta, trade_count, notional, ids, status, revision."""
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        names, states = columns_of("minutes", columns), states_of(status, whole_only)
        if as_ in LAZY_KINDS:
            return self._scan("minutes", wanted, names, status=states)
        return wanted.frame(lambda i, first, until: self._answers.minutes(i, first, until, names, states))

    def bars(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        every: str = "1m",
        price_group: Decimal | str | float | None = None,
        during: str | date | None = None,
        last: DurationLike = None,
        whole_only: bool = False,
        as_: str = PANDAS,
    ) -> Any:
        """Bars of a whole number of minutes (5m, 1h, 1d), aligned to 1970: open, high, low, close, vwap, volumes, delta,
        trade_count, minutes (those with trades), the worst status among them, `whole` and `missing_ids`.

        A bar is whole if all its minutes lie in the range, each complete, repaired, or empty for certain. `whole_only` leaves
        out the others. `price_group`: the bars' footprints instead: a row for each bar and price, floored to multiples of it.
        """
        length, group = bar_minutes(every), group_of(price_group)
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        if group is None:
            return wanted.frame(lambda i, first, until: self._answers.bars(i, first, until, length, whole_only))
        return wanted.frame(lambda i, first, until: self._answers.level_bars(i, first, until, length, group, whole_only))

    def trades(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
        columns: Sequence[str] | None = None,
        exact: bool = False,
        as_: str = PANDAS,
    ) -> Any:
        """Single trades out of the raw recordings, by time and id: timestamp (UTC, ns), trade_id, price, size, side (buy, sell
        or null), trade_count (fills that the venue put into it). `exact`: price and size as decimals.

        NotRecorded where no recording holds any of them; a warning, IncompleteWarning, tells of minutes that hold more trades
        than their recordings (they came by repair or backfill, or recording began later).
        """
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        names = columns_of("trades", columns)
        return wanted.frame(lambda i, first, until: self._answers.trades(i, first, until, exact).select(names))

    def coverage(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        by: str = "range",
        during: str | date | None = None,
        last: DurationLike = None,
        as_: str = PANDAS,
    ) -> Any:
        """What is known of each minute between the first and the last one that is kept: complete, repaired, empty (nothing was
        traded, for the neighbours' ids join), degraded, unknown, absent, or removed (with its day, by retention).

        `by`: "range": runs of one status (start, end, minutes, status, whole, missing_ids); "minute"; or "hour" or "day": how
        many minutes of each status.
        """
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        return wanted.frame(lambda i, first, until: coverage.table_of(self._answers.coverage(i, first, until), by))

    def gaps(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
        state: str | None = None,
        as_: str = PANDAS,
    ) -> Any:
        """The ledger's gaps by time: kind (ids, or outage: nobody listened), first_id, last_id, ids, before and after (of the
        trades around it, UTC), state, how (what became of it), found, ended. `state`: only "open", "repaired" or "lost"."""
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        return wanted.frame(lambda i, first, until: gap_table(self._settings.ledger_url, i, first, until, state))

    def lineage(
        self,
        venue: str,
        symbol: str,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
    ) -> list[MinuteRef]:
        """The minutes of a range as they are now, with revision and checksum: for a decision, to tell what it was made from."""
        names = list(lineage.COLUMNS)
        found = self.minutes(venue, symbol, start, end, during=during, last=last, columns=names, as_=frames.ARROW)
        return lineage.references(Instrument(venue, symbol), found)

    def verify(self, venue: str | None = None, symbol: str | None = None, *, deep: bool = False) -> Report:
        """Reads minute files and archive again, as `spillway verify` does, and tells what is damaged."""
        return Report(verify(self._settings, What(venue, symbol, deep=deep)))

    # --- a day at a time ------------------------------------------------------------------------------------------------

    def iter_levels(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
        columns: Sequence[str] | None = None,
        prices: Prices = (None, None),
        as_: str = PANDAS,
    ) -> Iterator[Any]:
        """The frames of `levels`, one for each day of each instrument that holds any: no more is in memory at once."""
        names = columns_of("levels", columns)
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        return self._by_day(wanted, lambda i, first, until: self._answers.levels(i, first, until, names, prices, None))

    def iter_minutes(
        self,
        venue: Names = None,
        symbol: Names = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
        columns: Sequence[str] | None = None,
        as_: str = PANDAS,
    ) -> Iterator[Any]:
        """The frames of `minutes`, one for each day of each instrument that holds any."""
        names = columns_of("minutes", columns)
        wanted = self._wanted(venue, symbol, start, end, during, last, as_)
        return self._by_day(wanted, lambda i, first, until: self._answers.minutes(i, first, until, names, None))

    def days(
        self,
        venue: str,
        symbol: str,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        during: str | date | None = None,
        last: DurationLike = None,
    ) -> list[Bounds]:
        """The days of a range that hold any minute, each from its first minute up to, and without, its last (since 1970)."""
        ((instrument, (first, until)),) = self._wanted(venue, symbol, start, end, during, last, PANDAS).spans
        return list(self._answers.days(instrument, first, until))

    def close(self) -> None:
        """Lets go of Redis."""
        self._hot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _wanted(
        self,
        venue: Names,
        symbol: Names,
        start: TimeLike,
        end: TimeLike,
        during: str | date | None,
        last: DurationLike,
        as_: str,
    ) -> Wanted:
        frames.check_kind(as_)
        one = isinstance(venue, str) and isinstance(symbol, str)
        those = [Instrument(str(venue), str(symbol))] if one else chosen(self.instruments(), venue, symbol)
        spans = [(i, chosen_range(start, end, during, last, lambda i=i: self._clock(i))) for i in those]  # type: ignore[misc]
        for instrument, span in spans:
            self._answers.warn_of_lost(instrument, *span, stacklevel=3)
        return Wanted(spans, not one, as_)

    def _clock(self, instrument: Instrument) -> int:
        tape = self._hot.newest_of_tape(instrument)
        return int(self._now()) // 60 + 1 if tape is None else tape + 1

    def _scan(
        self,
        kind: Kind,
        wanted: Wanted,
        names: Sequence[str],
        *,
        prices: Prices = (None, None),
        status: Sequence[str] | None = None,
    ) -> Any:
        scans = [Scan(i, self._reader.lasting(kind, i, *span), names, prices, status, wanted.named) for i, span in wanted.spans]
        return frames.scanned(scans, wanted.as_)

    def _by_day(self, wanted: Wanted, read: Callable[[Instrument, int, int], pa.Table]) -> Iterator[Any]:
        for instrument, span in wanted.spans:
            for first, until in self._answers.days(instrument, *span):
                table = wanted.marked(instrument, read(instrument, first, until))
                if len(table):
                    yield frames.converted(table, wanted.as_)
