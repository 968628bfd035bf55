"""Ranges of a compacted day to a pandas frame: the store against DuckDB on the same Parquet.

Redis holds a later day, as it would, and the store asks it too. DuckDB is told the very file. Both must give the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import uvloop

import spillway
from bench import peers
from bench.context import Context
from bench.day import DAY, INSTRUMENT, day, load
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError, redis_server
from pipeline.minute import MINUTES_PER_DAY
from pipeline.window import RedisWindow
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.minute_files import MinuteFiles
from spillway.settings import Redis, Settings
from spillway.store import Store

READS = 10  # of which a run is the mean

Read = Callable[[], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Range:
    """What is read."""

    work: str
    kind: str
    start: pd.Timestamp
    end: pd.Timestamp


def rows(context: Context) -> list[Row]:
    """A row for each range."""
    midnight = pd.Timestamp(DAY * 86_400, unit="s", tz="UTC")
    hour = midnight + pd.Timedelta(hours=0 if context.quick else 14)
    ranges = [
        Range("an hour of levels of the archive to a frame", "levels", hour, hour + pd.Timedelta(hours=1)),
        Range("a day of levels", "levels", midnight, midnight + pd.Timedelta(days=1)),
        Range("a day of minutes", "minutes", midnight, midnight + pd.Timedelta(days=1)),
    ]
    with _opened(context) as (store, folder):
        return [_row(context, store, folder, what) for what in ranges]


def _row(context: Context, store: Store, folder: Path, what: Range) -> Row:
    ours = Samples("ours", Unit.SECONDS)

    def read() -> pd.DataFrame:
        frame: pd.DataFrame = getattr(store, what.kind)(INSTRUMENT.venue, INSTRUMENT.symbol, what.start, what.end)
        return frame

    try:
        peer = Samples(f"DuckDB {peers.duckdb_version()}", Unit.SECONDS)
    except peers.NotInstalled as missing:
        take_turns(context.runs, (ours, _timed(read)))
        return Row(what.work, ours, None, Target(1), missing=str(missing))
    with _duckdb(folder, what) as query:
        found = _compare(read(), query(), what)
        take_turns(context.runs, (ours, _timed(read)), (peer, _timed(query)))
    return Row(what.work, ours, peer, Target(1), f"{found:,} rows; a run is the mean of {READS} reads")


@contextmanager
def _opened(context: Context) -> Iterator[tuple[Store, Path]]:
    """A store whose archive holds the day, and whose window the next one."""
    today, folder = day(context), context.folder("read")
    today.write(folder / "storage")
    Compactor(MinuteFiles(folder / "storage"), Archive(folder / "archive")).compact_day(INSTRUMENT, DAY)
    with redis_server(context.folder("redis")) as server:
        uvloop.run(_fill(server.url, {minute + MINUTES_PER_DAY: value for minute, value in today.compressed().items()}))
        with spillway.open(Settings(data_dir=folder, redis=Redis(url=server.url))) as store:
            yield store, folder / "archive"


async def _fill(url: str, sealed: dict[int, bytes]) -> None:
    window = RedisWindow.connect(url)
    try:
        await load(window, sealed)
    finally:
        await window.close()


@contextmanager
def _duckdb(archive: Path, what: Range) -> Iterator[Read]:
    """DuckDB's way to the same frame."""
    import duckdb

    path = next(archive.glob(f"{what.kind}/**/*.parquet"))
    sql = f"select * from read_parquet('{path}', hive_partitioning = false) where timestamp >= $start and timestamp < $end"
    values = {"start": what.start.to_pydatetime(), "end": what.end.to_pydatetime()}
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        yield lambda: database.execute(sql, values).df()


def _timed(read: Read) -> Callable[[], float]:
    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(READS):
            read()
        return (time.perf_counter() - began) / READS

    return seconds


def _compare(ours: pd.DataFrame, peer: pd.DataFrame, what: Range) -> int:
    """How many rows there are. BenchError unless both frames hold the same."""
    same = len(ours) == len(peer) > 0 and list(ours.columns) == list(peer.columns)
    if not same or (ours["total_volume"].to_numpy() != peer["total_volume"].to_numpy()).any():
        raise BenchError(f"{what.work}: the store gives {len(ours):,} rows, DuckDB {len(peer):,} others")
    return len(ours)
