"""One read in a process of its own: `python -m bench.cold_read SIDE KIND START END DATA REDIS_URL OUT REPEATS`.

Prints the seconds of the first read (the files not in the page cache, the store or the database not yet open, all modules
imported), of the next ones, and the most memory that the first one took beyond what the process held before.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa

import spillway
from bench.queries import Range, Read, of_duckdb, of_polars, of_store
from spillway.settings import Redis, Settings

SIDES = ("ours", "DuckDB", "Polars")


def main(side: str, kind: str, start: str, end: str, data: str, redis_url: str, out: str, repeats: str) -> None:
    """Prints `cold SECONDS`, `warm SECONDS` for each repeat, and `peak BYTES`; the frame goes to `out`."""
    what = Range(kind, kind, pd.Timestamp(start), pd.Timestamp(end))
    folder = Path(data)
    _warm_up(side)
    evict(folder)
    gc.collect()
    before = _peak_from_now()
    began = time.perf_counter()
    read = _opened(side, folder, redis_url, what)
    frame = read()
    print("cold", time.perf_counter() - began)
    print("peak", _status("VmHWM") - before)
    frame.to_pickle(out)
    for _ in range(int(repeats)):
        began = time.perf_counter()
        read()
        print("warm", time.perf_counter() - began)


def evict(folder: Path) -> None:
    """Has the system forget the files' content; what it knows of their names stays."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def _opened(side: str, folder: Path, redis_url: str, what: Range) -> Read:
    if side == "ours":
        return of_store(spillway.open(Settings(data_dir=folder, redis=Redis(url=redis_url))), what)
    return (of_duckdb if side == "DuckDB" else of_polars)(folder / "archive", what)


def _warm_up(side: str) -> None:
    """What each library loads at its first use has nothing to do with the files."""
    pa.table({"at": pa.array([0]).cast(pa.timestamp("us", tz="UTC")), "name": ["x"]}).to_pandas()
    if side == "DuckDB":
        import duckdb

        duckdb.connect().execute("select now() as at, 'x' as name").df()
    elif side == "Polars":
        import polars as pl

        pl.LazyFrame({"at": [0], "name": ["x"]}).filter(pl.col("at") >= 0).collect().to_pandas()


def _peak_from_now() -> int:
    """What the process holds; its peak is counted anew from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
