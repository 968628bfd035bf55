"""A day of minute files to Parquet against DuckDB's JSON reader and Parquet writer, on the same files.

Ours also verifies every file's checksum, sums every level exactly, fsyncs, reads back, compares, writes the minutes' own table
and a manifest, and deletes the files. DuckDB writes the levels.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.context import Context
from bench.day import DAY, INSTRUMENT, Day, day
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.minute_files import MinuteFiles

_LEVEL = (
    "STRUCT(price_level DOUBLE, buy_volume DOUBLE, sell_volume DOUBLE, total_volume DOUBLE, delta DOUBLE, trade_count BIGINT)"
)
_COPY = """
copy (
    select "timestamp"::timestamp as timestamp,
           v.price_level, v.buy_volume, v.sell_volume, v.total_volume, v.delta, v.trade_count
    from (select "timestamp", unnest(map_values(price_levels)) as v
          from read_json('{files}', columns = {{'timestamp': 'VARCHAR', 'price_levels': 'MAP(VARCHAR, {level})'}}))
    order by 1, 2
) to '{out}' (format parquet, compression zstd)
"""


@dataclass(frozen=True, slots=True)
class Compacting:
    """One day's minute files, of which each run gets its own names."""

    context: Context
    day: Day
    number: int  # of the day, counted from 1970
    master: Path

    def ours(self) -> float:
        """Seconds to compact the day."""
        folder = self.context.folder("compact")
        files, archive = MinuteFiles(folder / "storage"), Archive(folder / "archive")
        self._link(files)
        os.sync()
        began = time.perf_counter()
        report = Compactor(files, archive).compact_day(INSTRUMENT, self.number)
        seconds = time.perf_counter() - began
        if report.problems or (report.levels, report.deleted) != (self.day.levels, len(self.day.files)):
            raise BenchError(f"the compaction went wrong: {report}")
        return seconds

    def duckdb(self) -> float:
        """Seconds for DuckDB to do so."""
        import duckdb

        out = self.context.folder("duckdb") / "levels.parquet"
        files = MinuteFiles(self.master).folder(INSTRUMENT) / "trades_*.json"
        os.sync()
        with duckdb.connect() as database:
            began = time.perf_counter()
            database.execute(_COPY.format(files=files, out=out, level=_LEVEL))
            seconds = time.perf_counter() - began
            found = database.execute(f"select count(*) from read_parquet('{out}')").fetchone()
        if found != (self.day.levels,):
            raise BenchError(f"DuckDB wrote {found} levels, and there are {self.day.levels}")
        return seconds

    def _link(self, files: MinuteFiles) -> None:
        master = MinuteFiles(self.master)
        files.folder(INSTRUMENT).mkdir(parents=True)
        for minute in self.day.files:
            os.link(master.path(INSTRUMENT, minute), files.path(INSTRUMENT, minute))


def rows(context: Context) -> list[Row]:
    """The row `compact`."""
    return rows_of(context, day(context), DAY, "a day of minute files to Parquet")


def rows_of(context: Context, today: Day, number: int, work: str) -> list[Row]:
    """The row of one day."""
    master = context.folder("files")
    today.write(master)
    job = Compacting(context, today, number, master)
    ours = Samples("ours", Unit.SECONDS)
    try:
        peer = Samples(f"DuckDB {peers.duckdb_version()} read_json -> COPY", Unit.SECONDS)
    except peers.NotInstalled as missing:
        take_turns(context.runs, (ours, job.ours))
        return [Row(work, ours, None, Target(1), missing=str(missing))]
    take_turns(context.runs, (ours, job.ours), (peer, job.duckdb))
    return [Row(work, ours, peer, Target(1), f"{today}, {today.levels:,} levels; only ours verifies, fsyncs and deletes")]
