"""What merging a month costs, and what it gives. `python -m bench.months`

A month of a liquid symbol, made of one day over and over, is read by days and merged: by us, and by DuckDB on the same files.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from bench.context import context
from bench.day import DAY, INSTRUMENT, day
from pipeline.minute import MINUTES_PER_DAY, day_text
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.manifest import FORMAT, KINDS, Kind, Manifest, content_of, encode, first_day, month_of
from sinks.merge import by_hour
from sinks.minute_files import MinuteFiles
from sinks.months import MonthMerger
from sinks.parquet import Part, PartWriter
from sinks.part_writing import facts, grouped, put
from sinks.tables import LEVELS, MINUTES, Tables
from sinks.verify import Verifier, Wanted

DAYS, RUNS = 30, 5
FIRST = first_day(month_of(DAY))
START, END = FIRST * MINUTES_PER_DAY, (FIRST + DAYS) * MINUTES_PER_DAY
HOUR = (START + 10 * MINUTES_PER_DAY + 600, START + 10 * MINUTES_PER_DAY + 660)
COLUMNS = ("timestamp", "open", "high", "low", "close", "total_volume")


def main() -> None:
    """Prints the table."""
    with context(RUNS, quick=False) as where:
        folder = where.folder("month")
        files, archive = MinuteFiles(folder / "storage"), Archive(folder / "archive")
        day(where).write(files.root)
        Compactor(files, archive).compact_day(INSTRUMENT, DAY)
        _month_of_one_day(archive)
        days = _measured(archive)
        began = time.perf_counter()
        report = MonthMerger(archive).merge_month(INSTRUMENT, month_of(DAY))
        print(f"merging {report.days} days, {report.bytes_in / 1e6:.0f} MB: {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        found = Verifier(files, archive).verify(Wanted(START, END))
        print(f"verifying them, {found.levels:,} levels: {time.perf_counter() - began:.1f} s, {len(found.damages)} damaged")
        merged = _measured(archive)
        print("| read | 30 days | one month |\n|---|---|---|")
        for name, seconds in days.items():
            print(f"| {name} | {seconds * 1e3:.1f} ms | {merged[name] * 1e3:.1f} ms |")


def _measured(archive: Archive) -> dict[str, float]:
    """The median seconds of each read."""
    sizes = sum(p.stat().st_size for p in archive.root.rglob("*.parquet"))
    print(f"{len(list(archive.root.rglob('*.parquet')))} files, {sizes / 1e6:.1f} MB")
    return {
        "an hour of levels": _median(lambda: archive.read_levels(INSTRUMENT, *HOUR).to_pandas()),
        "the same, DuckDB": _median(lambda: _duckdb(archive.root, "levels", "*", *HOUR)),
        "a month of minutes, 6 columns": _median(lambda: archive.read_minutes(INSTRUMENT, START, END, COLUMNS).to_pandas()),
        "the same, DuckDB ": _median(lambda: _duckdb(archive.root, "minutes", ", ".join(COLUMNS), START, END)),
        "a month of minutes": _median(lambda: archive.read_minutes(INSTRUMENT, START, END).to_pandas()),
    }


def _median(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _duckdb(root: Path, kind: str, columns: str, start: int, end: int) -> object:
    with duckdb.connect() as database:
        query = f"select {columns} from read_parquet('{root}/{kind}/**/*.parquet') where"
        query += f" timestamp >= to_timestamp({start * 60}) and timestamp < to_timestamp({end * 60})"
        return database.execute(query).df()


def _month_of_one_day(archive: Archive) -> None:
    manifest = archive.manifest(INSTRUMENT, DAY)
    assert manifest is not None
    tables = archive.read_day(INSTRUMENT, manifest)
    for number in range(FIRST, FIRST + DAYS):
        if number != DAY:
            _write(archive, number, Tables(*(_moved(table, number - DAY) for table in (tables.levels, tables.minutes))))


def _moved(table: pa.Table, days: int) -> pa.Table:
    times = pc.add(table["timestamp"], pa.scalar(days * 86_400_000_000, pa.duration("us")))
    return table.set_column(0, table.schema.field(0), times)


def _write(archive: Archive, number: int, tables: Tables) -> None:
    writers: dict[Kind, PartWriter] = {"levels": PartWriter(LEVELS), "minutes": PartWriter(MINUTES)}
    for group in grouped(by_hour(tables)):
        writers["levels"].add(group.levels)
    writers["minutes"].add(tables.minutes)
    parts: dict[Kind, Part] = {}
    for kind in KINDS:
        parts[kind], data = writers[kind].finish("part-0.parquet", facts(INSTRUMENT, {}))
        put(archive.layout.part(kind, INSTRUMENT, number, "part-0.parquet"), data, archive.root)
    names = (INSTRUMENT.venue, INSTRUMENT.symbol, day_text(number))
    manifest = Manifest(FORMAT, *names, 0, parts["levels"], parts["minutes"], content_of(tables.minutes), ())
    put(archive.layout.manifest(INSTRUMENT, number), encode(manifest), archive.root)


if __name__ == "__main__":
    main()
