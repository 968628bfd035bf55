"""Ranges of the archive to a pandas frame: the store against DuckDB and against Polars on the same Parquet.

Redis holds a later day, as it would, and the store asks it too. The others are told the very files. All must give the same
rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import uvloop

import spillway
from bench import peers
from bench.context import Context
from bench.day import DAY, INSTRUMENT, day, load
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import redis_server
from bench.queries import Range, Read, compare, of_duckdb, of_polars, of_store, version
from bench.shift import days
from pipeline.minute import MINUTES_PER_DAY
from pipeline.window import RedisWindow
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.minute_files import MinuteFiles
from spillway.settings import Redis, Settings
from spillway.store import Store

READS = 10  # of which a run is the mean
MONTH, QUICK_MONTH = 30, 3  # days


def rows(context: Context) -> list[Row]:
    """Two rows for each range, one for each peer."""
    midnight = pd.Timestamp(DAY * 86_400, unit="s", tz="UTC")
    hour, length = pd.Timedelta(hours=1), QUICK_MONTH if context.quick else MONTH
    busy = midnight + (0 if context.quick else 14) * hour
    ranges = [
        Range("an hour of levels of the archive to a frame", "levels", busy, busy + hour),
        Range("a day of levels", "levels", midnight, midnight + 24 * hour),
        Range("a day of minutes", "minutes", midnight, midnight + 24 * hour),
        Range(f"{length} days of hourly bars", "bars", midnight, midnight + length * 24 * hour),
    ]
    with _opened(context, length) as (store, folder):
        return [row for what in ranges for row in _rows(context, store, folder, what)]


def _rows(context: Context, store: Store, folder: Path, what: Range) -> list[Row]:
    ours = Samples("ours", Unit.SECONDS)
    read = of_store(store, what)
    found, turns, others = "", [(ours, _timed(read))], []
    missing = ""
    for name, peer in (("DuckDB", of_duckdb), ("Polars", of_polars)):
        try:
            samples = Samples(version(name), Unit.SECONDS)
        except peers.NotInstalled as error:
            missing = str(error)
            continue
        query = peer(folder, what)
        found = f"{compare(read(), query(), what):,} rows; a run is the mean of {READS} reads"
        turns.append((samples, _timed(query)))
        others.append(samples)
    take_turns(context.runs, *turns)
    if not others:
        return [Row(what.work, ours, None, Target(1), missing=missing)]
    return [Row(what.work if n == 0 else "the same", ours, peer, Target(1), found) for n, peer in enumerate(others)]


@contextmanager
def _opened(context: Context, length: int) -> Iterator[tuple[Store, Path]]:
    """A store whose archive holds so many days, and whose window the one after."""
    today, folder = day(context), context.folder("read")
    compactor = Compactor(MinuteFiles(folder / "storage"), Archive(folder / "archive"))
    for number, one in enumerate(days(today, length)):
        one.write(folder / "storage")
        compactor.compact_day(INSTRUMENT, DAY + number)
    later = {minute + length * MINUTES_PER_DAY: value for minute, value in today.compressed().items()}
    with redis_server(context.folder("redis")) as server:
        uvloop.run(_fill(server.url, later))
        with spillway.open(Settings(data_dir=folder, redis=Redis(url=server.url))) as store:
            yield store, folder / "archive"


async def _fill(url: str, sealed: dict[int, bytes]) -> None:
    window = RedisWindow.connect(url)
    try:
        await load(window, sealed)
    finally:
        await window.close()


def _timed(read: Read) -> Callable[[], float]:
    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(READS):
            read()
        return (time.perf_counter() - began) / READS

    return seconds
