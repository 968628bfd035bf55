"""Ranges of an archive as pandas frames: by the store, and by DuckDB and Polars on the same Parquet files.

The others are told the very files that hold the range: a reader that knows the layout asks for no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from bench import peers
from bench.day import INSTRUMENT
from bench.processes import BenchError
from spillway.store import Store

Read = Callable[[], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Range:
    """What is read."""

    work: str
    kind: str  # levels, minutes, or bars of an hour
    start: pd.Timestamp
    end: pd.Timestamp


def of_store(store: Store, what: Range) -> Read:
    """Our own way."""
    options = {"every": "1h"} if what.kind == "bars" else {}

    def read() -> pd.DataFrame:
        frame: pd.DataFrame = getattr(store, what.kind)(INSTRUMENT.venue, INSTRUMENT.symbol, what.start, what.end, **options)
        return frame

    return read


def of_duckdb(archive: Path, what: Range) -> Read:
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


def of_polars(archive: Path, what: Range) -> Read:
    """Polars' way to the same frame."""
    import polars as pl

    files = _files(archive, what)
    rows = pl.col("timestamp") >= what.start.to_pydatetime(), pl.col("timestamp") < what.end.to_pydatetime()
    sums = [pl.col(name).sum() for name in ("buy_volume", "sell_volume", "total_volume", "delta", "trade_count")]
    ends = [pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()]
    vwap = (pl.col("notional").cast(pl.Float64).sum() / pl.col("total_volume").sum()).alias("vwap")

    def read() -> pd.DataFrame:
        frame = pl.scan_parquet(files, hive_partitioning=False).filter(*rows)
        if what.kind == "minutes":
            frame = frame.with_columns(pl.col("notional").cast(pl.Float64))  # as all others give it
        if what.kind == "bars":
            hours = frame.group_by_dynamic("timestamp", every="1h")
            frame = hours.agg(*ends, vwap, *sums, pl.len().alias("minutes"))
        return frame.collect().to_pandas()

    return read


def version(name: str) -> str:
    """A peer with its version. NotInstalled where it is missing."""
    try:
        return f"{name} {metadata.version(name.lower())}"
    except metadata.PackageNotFoundError:
        raise peers.NotInstalled(f"{name} is not installed (pip install 'spillway[frames]')") from None


def compare(ours: pd.DataFrame, peer: pd.DataFrame, what: Range) -> int:
    """How many rows there are. BenchError unless both frames hold the same: sums may end on another digit."""
    lacking = set(peer.columns) - set(ours.columns)
    if lacking or len(ours) != len(peer) or not len(ours):
        raise BenchError(f"{what.work}: the store gives {len(ours):,} rows, a peer {len(peer):,}; it lacks {lacking or 'none'}")
    for name in peer.columns:
        if not _same(ours[name], peer[name]):
            raise BenchError(f"{what.work}: the store and a peer differ in {name}")
    return len(ours)


def _same(ours: pd.Series, peer: pd.Series) -> bool:
    if pd.api.types.is_float_dtype(ours) or pd.api.types.is_float_dtype(peer):
        return np.allclose(ours.to_numpy(float), peer.to_numpy(float), rtol=1e-9, atol=1e-9, equal_nan=True)
    if isinstance(ours.dtype, pd.DatetimeTZDtype):
        return bool((ours.astype("int64") == peer.dt.as_unit("us").astype("int64")).all())
    both = ours.astype(object).where(ours.notna(), None), peer.astype(object).where(peer.notna(), None)
    return both[0].tolist() == both[1].tolist()


def _files(archive: Path, what: Range) -> list[str]:
    kind = "levels" if what.kind == "levels" else "minutes"
    dates = [f"{at:%Y-%m-%d}" for at in pd.date_range(what.start.floor("D"), what.end - pd.Timedelta("1ns"), freq="D")]
    return [str(path) for date in dates for path in sorted(archive.glob(f"{kind}/*/*/date={date}/*.parquet"))]
