"""A generated year of one liquid symbol: what a day takes to compact and to keep, and cold reads beside DuckDB and Polars.

Each read is a process of its own: the files are out of the page cache, nothing of them is remembered, and all modules are
loaded. Then it reads the same again. The frames must be equal. Redis holds a day, as it would, and the store asks it too.
"""

from __future__ import annotations

import pickle
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import uvloop

from bench import compact, generated, peers
from bench.cold_read import SIDES
from bench.context import Context
from bench.day import INSTRUMENT, Day, day, load
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError, module, redis_server
from bench.queries import Range, compare, version
from pipeline.window import RedisWindow
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.durable import require_room
from sinks.manifest import KINDS
from sinks.minute_files import MinuteFiles
from sinks.tables import MINUTES

DAYS, QUICK_DAYS = 365, 31
DAY_BYTES = 12_000_000  # more than a day of the archive takes
WARM = 5  # reads again in the same process, of which a run is the median
_READ_S = 120.0
_BIG_TEMP = Path("/var/tmp")  # /tmp may be memory


@dataclass(slots=True)
class Measured:
    """What one side's runs came to."""

    cold: Samples
    warm: Samples
    peak: Samples
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True, slots=True)
class Year:
    """An archive to read, and a Redis beside it."""

    context: Context
    folder: Path
    redis_url: str

    def rows(self, what: Range) -> list[Row]:
        """The rows of one range: cold against each peer, warm against each, and memory."""
        sides, missing = _sides()
        out = self.context.folder("frames")
        turns: list[tuple[Samples, Callable[[], float]]] = []
        for side, found in sides.items():
            turns.append((found.cold, lambda s=side, f=found: self._once(s, what, out / f"{s}.pickle", f)))  # type: ignore[misc]
        take_turns(self.context.runs, *turns)
        ours = sides.pop("ours")
        rows = []
        note = f"{len(ours.frame):,} rows; cold: files not in memory, nothing open; warm: the median of {WARM} further reads"
        for peer in sides.values():
            compare(ours.frame, peer.frame, what)
            rows += [
                Row(f"{what.work}, cold", ours.cold, peer.cold, Target(1), "" if rows else note),
                Row(f"{what.work}, warm", ours.warm, peer.warm, Target(1)),
                Row(f"{what.work}, most memory", ours.peak, peer.peak, None),
            ]
        return rows or [Row(f"{what.work}, cold", ours.cold, None, Target(1), note, missing)]

    def _once(self, side: str, what: Range, out: Path, to: Measured) -> float:
        """Seconds of a cold read; the warm ones and the memory are noted as well."""
        place = [side, what.kind, what.start.isoformat(), what.end.isoformat(), self.folder, self.redis_url, out, str(WARM)]
        with module("bench.cold_read", *place, log=out.with_suffix(".log")) as child:
            cold, peak = float(child.line("cold ", _READ_S)), float(child.line("peak ", _READ_S))
            to.warm.values.append(statistics.median(float(child.line("warm ", _READ_S)) for _ in range(WARM)))
        to.peak.values.append(peak)
        to.frame = pickle.loads(out.read_bytes())
        return cold


def rows(context: Context) -> list[Row]:
    """A day's compaction and size, then each range."""
    count = QUICK_DAYS if context.quick else DAYS
    with _folder(context) as folder, redis_server(context.folder("redis")) as server:
        made = _made(folder, count)
        uvloop.run(_fill(server.url, day(context)))
        year = Year(context, folder, server.url)
        return [
            *_of_a_day(context, Archive(folder / "archive"), made),
            *(r for what in _ranges(count) for r in year.rows(what)),
        ]


def _ranges(count: int) -> Iterator[Range]:
    """The same ones in every run; a day and an hour somewhere within."""
    first = pd.Timestamp(generated.FIRST_DAY, unit="D", tz="UTC")
    dice = random.Random(4)
    day, hour = pd.Timedelta(days=1), pd.Timedelta(hours=1)
    some = first + dice.randrange(count) * day
    at = some + dice.randrange(24) * hour
    yield Range("an hour of levels", "levels", at, at + hour)
    yield Range("a day of levels", "levels", some, some + day)
    yield Range("a day of hourly bars", "bars", some, some + day)
    yield Range("a month of hourly bars", "bars", first, first + 31 * day)
    if count > QUICK_DAYS:
        yield Range("a year of hourly bars", "bars", first, first + count * day)
    yield Range("a day of minutes", "minutes", some, some + day)
    yield Range("a month of minutes", "minutes", first, first + 31 * day)


def _sides() -> tuple[dict[str, Measured], str]:
    """Who is there, and why who isn't."""
    found, missing = {}, ""
    for name in SIDES:
        try:
            label = name if name == "ours" else version(name)
        except peers.NotInstalled as error:
            missing = str(error)
            continue
        found[name] = Measured(Samples(label, Unit.SECONDS), Samples(label, Unit.SECONDS), Samples(label, Unit.BYTES))
    return found, missing


def _of_a_day(context: Context, archive: Archive, seconds: float | None) -> list[Row]:
    """The compaction of one of its days from real minute files, which must give the very rows that were generated."""
    first = next(generated.days_of_trades(1))
    files = generated.minute_files(first)
    of_day = Day(files, len(generated.tables_of_day(first).levels))
    _require_same(context, of_day, first)
    found = compact.rows_of(context, of_day, generated.FIRST_DAY, "a day of the year: minute files to Parquet")
    manifests = [m for d in archive.days(INSTRUMENT) if (m := archive.manifest(INSTRUMENT, d))]
    size = Samples("ours", Unit.BYTES, [float(sum(m.part(kind).bytes for kind in KINDS)) for m in manifests])
    levels = sum(m.levels.rows for m in manifests) / sum(m.content.minutes for m in manifests)
    made = "was there" if seconds is None else f"was made in {seconds:.0f} s"
    note = f"{len(manifests)} days of {levels:.0f} levels a minute, {sum(size.values) / 1e9:.2f} GB in all; the year {made}"
    return [*found, Row("a day of the year in the archive", size, None, None, note)]


def _require_same(context: Context, held: Day, first: generated.DayOfTrades) -> None:
    """BenchError unless compaction makes of a day's minute files what was generated straight away."""
    folder = context.folder("same")
    held.write(folder / "storage")
    archive = Archive(folder / "archive")
    Compactor(MinuteFiles(folder / "storage"), archive).compact_day(INSTRUMENT, first.day)
    manifest = archive.manifest(INSTRUMENT, first.day)
    real, made = archive.read_day(INSTRUMENT, manifest) if manifest else None, generated.tables_of_day(first)
    kept = [name for name in MINUTES.names if name != "checksum"]
    if (
        real is None
        or real.levels != made.levels
        or real.minutes.select(kept).to_pylist() != made.minutes.select(kept).to_pylist()
    ):
        raise BenchError("the generated year is not what compaction makes of the same trades")


def _made(folder: Path, count: int) -> float | None:
    """How long it took to make what is missing of the year; None where all of it was there."""
    if len(Archive(folder / "archive").days(INSTRUMENT)) >= count:
        return None
    shutil.rmtree(folder / "archive", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    require_room(folder, count * DAY_BYTES)
    began = time.perf_counter()
    generated.write_year(folder / "archive", count)
    return time.perf_counter() - began


@contextmanager
def _folder(context: Context) -> Iterator[Path]:
    """Where the year lies: gone afterwards, unless a place was given."""
    if context.keep:
        yield context.keep
        return
    place = Path(tempfile.mkdtemp(prefix="spillway-year-", dir=_BIG_TEMP if _BIG_TEMP.is_dir() else None))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _fill(url: str, held: Day) -> None:
    window = RedisWindow.connect(url)
    try:
        await load(window, held.compressed())
    finally:
        await window.close()
