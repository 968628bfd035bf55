"""Data folders for the tests of what reads: one tape, kept hot, warm and cold, or all of it cold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline import codec
from pipeline.minute import Minute
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.minute_files import MinuteFiles
from tests import judge, tapes
from tests.processes import succeed

BTC = ("binance", "BTCUSDT")


def replayed(folder: Path, *, hours: float = 60, per_minute: int = 20, every: int = 15, names: tuple[str, str] = BTC) -> Path:
    """A folder with the first hours in Parquet, some in files, the rest in Redis, and an open minute."""
    folder.mkdir(parents=True, exist_ok=True)
    tape = judge.write_tape(folder / "tape.csv", tapes.rows(hours=hours, per_minute=per_minute, every=every))
    succeed("replay", tape, "--venue", names[0], "--symbol", names[1], "--data", folder)
    return folder


def all_cold(folder: Path) -> Path:
    """The folder with all that it holds in the archive."""
    succeed("spill", "--all", "--data", folder)
    succeed("compact", "--data", folder)
    return folder


def stored(folder: Path, minutes: Iterable[Minute], *, compacted: bool = True) -> Path:
    """A folder that holds these minutes, in the archive or as files."""
    files, archive = MinuteFiles(folder / "storage"), Archive(folder / "archive")
    found = list(minutes)
    for one in found:
        files.write(one.instrument, one.start, codec.encode(one))
    files.settle({one.instrument for one in found})
    compactor = Compactor(files, archive)
    for instrument in sorted({one.instrument for one in found}) if compacted else []:
        for day in compactor.days(instrument):
            compactor.compact_day(instrument, day)
    return folder
