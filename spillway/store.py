"""The one read API: any time range out of window, minute files and archive together, with no seam and nothing twice.

A minute only ever moves window -> file -> archive, and each step copies before it deletes. So the three are asked in that
order: what left one place before we looked there is found in the next. What is found twice is the same minute; the higher
revision wins.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import codec
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, minute_text
from pipeline.window import RedisWindow
from sinks.archive import Archive
from sinks.minute_files import MinuteFiles
from sinks.tables import tables_of
from spillway.bars import bars_of
from spillway.redis_server import RunningRedis, ensure_embedded
from spillway.settings import Settings
from spillway.times import TimeLike, bar_minutes, minute_range

T = TypeVar("T")
AT_ONCE = 512  # sealed minutes fetched from Redis in one answer
FLOAT_COLUMNS = ("notional",)  # an exact decimal in the archive; a float in frames, like all else


class Store:
    """Reads one data folder. Close it, or use it in a `with` block, so that an embedded Redis can stop."""

    def __init__(self, settings: Settings) -> None:
        self._files = MinuteFiles(settings.storage_dir)
        self._archive = Archive(settings.archive_dir)
        self._server: RunningRedis | None = None
        self._window: RedisWindow | None = None
        self._loop = _LoopThread()
        self._connect(settings)

    def instruments(self) -> list[Instrument]:
        """All that anything is kept of."""
        found = {*self._files.instruments(), *self._archive.instruments()}
        if self._window:
            found.update(self._loop.run(self._window.instruments()))
        return sorted(found)

    def levels(self, venue: str, symbol: str, start: TimeLike = None, end: TimeLike = None) -> pd.DataFrame:
        """Price levels from `start` up to and without `end`, by time and price.

        Columns: timestamp (UTC), price_level, buy_volume, sell_volume, total_volume, delta, trade_count.
        """
        frame: pd.DataFrame = self.levels_arrow(venue, symbol, start, end).to_pandas()
        return frame

    def minutes(self, venue: str, symbol: str, start: TimeLike = None, end: TimeLike = None) -> pd.DataFrame:
        """One row a minute: open, high, low, close, vwap, volumes, delta, trade_count, notional, ids, status, revision."""
        frame: pd.DataFrame = self.minutes_arrow(venue, symbol, start, end).to_pandas()
        return frame

    def bars(self, venue: str, symbol: str, start: TimeLike = None, end: TimeLike = None, *, every: str = "1m") -> pd.DataFrame:
        """Bars of a whole number of minutes (5m, 1h, 1d), aligned to 1970: open, high, low, close, vwap, volumes, delta,
        trade_count, minutes (those with trades), and the worst status among them."""
        length = bar_minutes(every)
        return bars_of(self.minutes_arrow(venue, symbol, start, end), length)

    def levels_arrow(self, venue: str, symbol: str, start: TimeLike = None, end: TimeLike = None) -> pa.Table:
        """Like `levels`, as an Arrow table."""
        instrument, (first, last) = Instrument(venue, symbol), minute_range(start, end)
        loose = self._loose(instrument, first, last)
        cold = self._archive.read_levels(instrument, first, last)
        return _joined(cold, tables_of(list(loose.values()), exact=False).levels, list(loose), ("timestamp", "price_level"))

    def minutes_arrow(self, venue: str, symbol: str, start: TimeLike = None, end: TimeLike = None) -> pa.Table:
        """Like `minutes`, as an Arrow table."""
        instrument, (first, last) = Instrument(venue, symbol), minute_range(start, end)
        loose = self._loose(instrument, first, last)
        cold = self._archive.read_minutes(instrument, first, last)
        warm = tables_of(list(loose.values()), exact=False).minutes
        return _joined(_floats(cold), _floats(warm), list(loose), ("timestamp",))

    def close(self) -> None:
        """Lets go of Redis."""
        if self._window:
            self._loop.run(self._window.close())
        self._loop.close()
        if self._server:
            self._server.release()
        self._window = self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _connect(self, settings: Settings) -> None:
        if not settings.redis.embedded:
            self._window = RedisWindow.connect(settings.redis.connection_url)
            self._loop.run(self._window.check())
        elif settings.redis_dir.is_dir():  # else nothing was ever in its window, and reading needn't start a server
            self._server = ensure_embedded(settings.redis_dir)
            self._window = RedisWindow.connect(self._server.url)

    def _loose(self, instrument: Instrument, first: int, last: int) -> dict[int, codec.Parts]:
        """Minutes of window and files that the archive lacks, or has in an earlier revision."""
        found: dict[int, codec.Parts] = {}
        for minute, data, where in [*self._hot(instrument, first, last), *self._warm(instrument, first, last)]:
            parts = codec.split(data, where)
            if minute not in found or parts.head.revision > found[minute].head.revision:
                found[minute] = parts
        archived = self._archived(instrument, found)
        return {m: parts for m, parts in sorted(found.items()) if parts.head.revision > archived.get(m, 0)}

    def _archived(self, instrument: Instrument, minutes: Iterable[int]) -> dict[int, int]:
        """The archive's minutes in the range of these, with their revisions."""
        wanted = sorted(minutes)
        if not wanted:
            return {}
        table = self._archive.read_minutes(instrument, wanted[0], wanted[-1] + 1, columns=["timestamp", "revision"])
        starts = pc.divide(table["timestamp"].cast(pa.int64()), 60_000_000).to_pylist()
        return dict(zip(starts, table["revision"].to_pylist(), strict=True))

    def _hot(self, instrument: Instrument, first: int, last: int) -> list[tuple[int, bytes, str]]:
        if not self._window:
            return []
        return self._loop.run(_hot(self._window, instrument, first, last))

    def _warm(self, instrument: Instrument, first: int, last: int) -> Iterator[tuple[int, bytes, str]]:
        for day in self._files.days(instrument):
            if day * MINUTES_PER_DAY < last and (day + 1) * MINUTES_PER_DAY > first:
                for minute in self._files.of_day(instrument, day):
                    data = self._files.read(instrument, minute) if first <= minute < last else None
                    if data is not None:  # else it went into the archive since it was listed
                        yield minute, data, str(self._files.path(instrument, minute))


def _joined(cold: pa.Table, loose: pa.Table, minutes: list[int], order: tuple[str, ...]) -> pa.Table:
    """The archive's rows and the loose ones in one order. Of a loose minute the archive may have a copy: it gives way, also
    where a compaction put it there after we looked."""
    if not len(loose):
        return cold
    if not len(cold):
        return loose
    values = pa.array([m * 60_000_000 for m in minutes], pa.int64()).cast(cold["timestamp"].type)
    cold = cold.filter(pc.invert(pc.is_in(cold["timestamp"], value_set=values)))
    both = pa.concat_tables([cold, loose.cast(cold.schema)])
    if len(cold) and pc.max(cold["timestamp"]).as_py() > pc.min(loose["timestamp"]).as_py():
        both = both.sort_by([(name, "ascending") for name in order])
    return both.combine_chunks()


def _floats(table: pa.Table) -> pa.Table:
    """Exact decimals as floats, so that hot and cold rows have one type."""
    for name in FLOAT_COLUMNS:
        at = table.schema.get_field_index(name)
        if at >= 0 and table.schema.field(at).type != pa.float64():
            table = table.set_column(at, name, table[name].cast(pa.float64()))
    return table


async def _hot(window: RedisWindow, instrument: Instrument, first: int, last: int) -> list[tuple[int, bytes, str]]:
    found = []
    for minute in await window.open_minutes(instrument):
        if first <= minute.start < last:
            found.append((minute.start, codec.encode(minute), f"{instrument} {minute_text(minute.start)} in Redis"))
    sealed = [m for m in await window.sealed_minutes(instrument) if first <= m < last]
    for at in range(0, len(sealed), AT_ONCE):
        for start, value in (await window.sealed(instrument, sealed[at : at + AT_ONCE])).items():
            where = f"{instrument} {minute_text(start)} in Redis"
            found.append((start, codec.decompress(value, where), where))
    return found


class _LoopThread:
    """An event loop in a thread of its own, so that the API works in a notebook, whose own loop is running."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="spillway reader", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
