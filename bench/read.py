"""Ranges of the archive to a pandas frame: the store against DuckDB and against Polars on the same Parquet.

Redis holds a later day, as it would, and the store asks it too. The others are told the very files. All must give the same
rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd
import uvloop

import spillway
from bench import peers
from bench.context import Context
from bench.day import DAY, INSTRUMENT, day, load
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError, redis_server
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

Read = Callable[[], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Range:
    """What is read."""

    work: str
    kind: str  # levels, minutes or bars
    start: pd.Timestamp
    end: pd.Timestamp


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
    options = {"every": "1h"} if what.kind == "bars" else {}

    def read() -> pd.DataFrame:
        frame: pd.DataFrame = getattr(store, what.kind)(INSTRUMENT.venue, INSTRUMENT.symbol, what.start, what.end, **options)
        return frame

    found, turns, others = "", [(ours, _timed(read))], []
    missing = ""
    for name, peer in (("DuckDB", _duckdb), ("Polars", _polars)):
        try:
            samples = Samples(f"{name} {_version(name)}", Unit.SECONDS)
        except peers.NotInstalled as error:
            missing = str(error)
            continue
        query = peer(folder, what)
        found = f"{_compare(read(), query(), what):,} rows; a run is the mean of {READS} reads"
        turns.append((samples, _timed(query)))
        others.append(samples)
    take_turns(context.runs, *turns)
    if not others:
        return [Row(what.work, ours, None, Target(1), missing=missing)]
    return [Row(what.work if n == 0 else "the same", ours, peer, Target(1), found) for n, peer in enumerate(others)]


def _version(name: str) -> str:
    try:
        return metadata.version(name.lower())
    except metadata.PackageNotFoundError:
        raise peers.NotInstalled(f"{name} is not installed (pip install 'spillway[frames]')") from None


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


def _files(archive: Path, what: Range) -> list[str]:
    """The files that hold the range: a reader that knows the layout asks for no others."""
    kind = "levels" if what.kind == "levels" else "minutes"
    dates = [f"{at:%Y-%m-%d}" for at in pd.date_range(what.start.floor("D"), what.end - pd.Timedelta("1ns"), freq="D")]
    return [str(path) for date in dates for path in sorted(archive.glob(f"{kind}/**/date={date}/*.parquet"))]


def _duckdb(archive: Path, what: Range) -> Read:
    """DuckDB's way to the same frame."""
    import duckdb

    source = f"read_parquet({_files(archive, what)}, hive_partitioning = false)"
    where = f"from {source} where timestamp >= $start and timestamp < $end"
    sql = f"select * {where}" if what.kind != "bars" else f"{_BARS_SQL} {where} group by 1 order by 1"
    values = {"start": what.start.to_pydatetime(), "end": what.end.to_pydatetime()}
    database = duckdb.connect()
    database.execute("set timezone = 'UTC'")
    return lambda: database.execute(sql, values).df()


_BARS_SQL = """
    select date_trunc('hour', timestamp) as timestamp, arg_min(open, timestamp) as open, max(high) as high, min(low) as low,
        arg_max(close, timestamp) as close, sum(notional)::double / sum(total_volume) as vwap, sum(buy_volume) as buy_volume,
        sum(sell_volume) as sell_volume, sum(total_volume) as total_volume, sum(delta) as delta,
        sum(trade_count) as trade_count, count(*) as minutes"""


def _polars(archive: Path, what: Range) -> Read:
    """Polars' way to the same frame."""
    import polars as pl

    files = _files(archive, what)
    rows = pl.col("timestamp") >= what.start.to_pydatetime(), pl.col("timestamp") < what.end.to_pydatetime()
    sums = [pl.col(name).sum() for name in ("buy_volume", "sell_volume", "total_volume", "delta", "trade_count")]
    ends = [pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()]
    vwap = (pl.col("notional").cast(pl.Float64).sum() / pl.col("total_volume").sum()).alias("vwap")

    def read() -> pd.DataFrame:
        frame = pl.scan_parquet(files, hive_partitioning=False).filter(*rows)
        if what.kind == "bars":
            hours = frame.group_by_dynamic("timestamp", every="1h")
            frame = hours.agg(*ends, vwap, *sums, pl.len().alias("minutes"))
        return frame.collect().to_pandas()

    return read


def _timed(read: Read) -> Callable[[], float]:
    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(READS):
            read()
        return (time.perf_counter() - began) / READS

    return seconds


def _compare(ours: pd.DataFrame, peer: pd.DataFrame, what: Range) -> int:
    """How many rows there are. BenchError unless both frames hold the same."""
    close = len(ours) == len(peer) > 0 and (ours["total_volume"] - peer["total_volume"]).abs().max() < 1e-6
    if not close or not set(peer.columns) <= set(ours.columns):
        raise BenchError(f"{what.work}: the store gives {len(ours):,} rows, a peer {len(peer):,} others")
    return len(ours)
