"""Why the archive's files are as they are: a day's levels written in other ways, and read back. `python -m bench.row_groups`

Each way is measured in turns with the others. It writes as the archive does, to memory, and reads from a file.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.context import Context, context
from bench.day import DAY, INSTRUMENT, day
from pipeline.minute import MINUTES_PER_DAY
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.merge import by_hour
from sinks.minute_files import MinuteFiles
from sinks.part_writing import grouped
from sinks.tables import Tables, stamps

RUNS = 5
HOUR = 14  # which is read


@dataclass(frozen=True, slots=True)
class Way:
    """One way to write the day."""

    name: str
    rows: int = 1 << 15
    options: dict[str, Any] = field(default_factory=dict)


DEFAULT: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "dictionary_pagesize_limit": 8 << 20,
    "write_page_checksum": True,
}
FLOATS = ("price_level", "buy_volume", "sell_volume", "total_volume", "delta")
PLAIN = {"use_dictionary": False}
SPLIT = {"use_dictionary": ["timestamp", "trade_count"], "use_byte_stream_split": list(FLOATS)}
DELTA = {"use_dictionary": list(FLOATS), "column_encoding": dict.fromkeys(("timestamp", "trade_count"), "DELTA_BINARY_PACKED")}
WAYS = [
    Way("**as it is: groups of 32k rows or more, an hour here; dictionaries; zstd 3**"),
    Way("groups of 64k rows or more, two hours", rows=1 << 16),
    Way("groups of 128k rows or more, four hours", rows=1 << 17),
    Way("one group a day", rows=1 << 40),
    Way("no dictionaries", options=PLAIN),
    Way("floats split by byte", options=SPLIT),
    Way("times and counts as deltas", options=DELTA),
    Way("zstd 1", options={"compression_level": 1}),
    Way("zstd 9", options={"compression_level": 9}),
    Way("pages of 64 KiB dictionary at most, Arrow's default being 1 MiB", options={"dictionary_pagesize_limit": 1 << 16}),
]


def main() -> None:
    """Prints the table."""
    with context(RUNS, quick=False) as where:
        tables = _day(where)
        paths = {way.name: where.folder("way") / "levels.parquet" for way in WAYS}
        seconds: dict[tuple[str, str], list[float]] = {}
        for _ in range(RUNS):
            for way in WAYS:
                path = paths[way.name]
                _note(seconds, (way.name, "write"), lambda w=way, p=path: _write(tables, w, p))  # type: ignore[misc]
                _note(seconds, (way.name, "hour"), lambda p=path: _read_hour(p))  # type: ignore[misc]
                _note(seconds, (way.name, "day"), lambda p=path: pq.read_table(p))  # type: ignore[misc]
        print("| a day of levels, written | s | MB | an hour read, ms | the day read, ms |\n|---|---|---|---|---|")
        for way in WAYS:
            write, hour, whole = (statistics.median(seconds[way.name, what]) for what in ("write", "hour", "day"))
            size = paths[way.name].stat().st_size / 1e6
            print(f"| {way.name} | {write:.2f} | {size:.2f} | {hour * 1e3:.1f} | {whole * 1e3:.0f} |")


def _day(where: Context) -> Tables:
    folder = where.folder("day")
    files, archive = MinuteFiles(folder / "storage"), Archive(folder / "archive")
    day(where).write(files.root)
    Compactor(files, archive).compact_day(INSTRUMENT, DAY)
    manifest = archive.manifest(INSTRUMENT, DAY)
    assert manifest is not None
    return archive.read_day(INSTRUMENT, manifest)


def _write(tables: Tables, way: Way, path: Path) -> None:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, tables.levels.schema, **DEFAULT | way.options) as writer:
        for group in grouped(by_hour(tables), way.rows):
            writer.write_table(group.levels, row_group_size=len(group.levels))
    path.write_bytes(sink.getvalue())


def _read_hour(path: Path) -> None:
    start = (DAY * MINUTES_PER_DAY + HOUR * 60) * 60_000_000
    type_ = pa.timestamp("us", tz="UTC")
    first, end = (pa.scalar(at, type_) for at in (start, start + 3_600_000_000))
    found = pq.read_table(path, filters=[("timestamp", ">=", first), ("timestamp", "<", end)])
    assert len(found) and stamps(found)[0] == start


def _note(seconds: dict[tuple[str, str], list[float]], key: tuple[str, str], work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    seconds.setdefault(key, []).append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
