"""Minutes, days and folders for the tests of what keeps data."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import codec
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, Minute, Status
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.minute_files import MinuteFiles
from sinks.months import MonthMerger
from sinks.tables import LEVELS, Tables, minute_from
from tests.pipeline.builders import BTC, START, minute

DAY = START // MINUTES_PER_DAY
ODD = (Instrument("kraken", "BTC/USD"), Instrument("binance", "../../etc/passwd"), Instrument("okx", "Ä €~.."))


def random_minute(start: int, *, instrument: Instrument = BTC, levels: int = 12, revision: int = 1, seed: int = 0) -> Minute:
    """A minute of any shape: also auctions' trades, scales that differ, holes, and names for ids."""
    dice = random.Random(start * 1000 + revision * 10 + seed)
    prices = sorted(dice.sample(range(60_000, 60_000 + 3 * levels), levels))
    rows = {}
    for price in prices:
        buy, sell, none = (
            dice.choice((0, dice.randrange(10**6))),
            dice.randrange(10**6),
            dice.choice((0, 0, dice.randrange(99))),
        )
        rows[price] = (buy, sell, buy + sell + none + 1, dice.randrange(1, 50))
    opaque = dice.random() < 0.2
    missing = ((9, 11),) if dice.random() < 0.2 else ()
    return minute(
        rows,
        start=start,
        instrument=instrument,
        price_scale=dice.choice((0, 1, 2)),
        size_scale=dice.choice((3, 5, 8)),
        revision=revision,
        status=Status.DEGRADED if missing else dice.choice((Status.COMPLETE, Status.REPAIRED, Status.UNKNOWN)),
        missing=missing,
        first_trade_id=f"id-{start}" if opaque else 7,
        last_trade_id=f"id-{start + 1}" if opaque else 23,
    )


def random_day(count: int = 30, *, step: int = 7, instrument: Instrument = BTC, start: int = START) -> list[Minute]:
    """Some minutes of one day, over several hours."""
    return [random_minute(start + i * step, instrument=instrument) for i in range(count)]


def rebuilt(found: Tables, one: Minute) -> Minute:
    """One of the minutes that exact tables were made from."""
    rows = found.minutes.to_pylist()
    row = next(row for row in rows if int(row["timestamp"].timestamp()) // 60 == one.start)
    mine = pc.equal(found.levels["timestamp"], pa.scalar(row["timestamp"], LEVELS.field("timestamp").type))
    return minute_from(one.instrument, row, found.levels.filter(mine))


class Store:
    """Minute files and an archive in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = MinuteFiles(folder / "storage")
        self.archive = Archive(folder / "archive")
        self.compactor = Compactor(self.files, self.archive)
        self.merger = MonthMerger(self.archive)

    def put(self, *minutes: Minute) -> None:
        """Writes minute files as a spill would."""
        for one in minutes:
            self.files.write(one.instrument, one.start, codec.encode(one))
        self.files.settle({one.instrument for one in minutes})

    def path(self, one: Minute) -> Path:
        """A minute's file."""
        return self.files.path(one.instrument, one.start)

    def holds(self, minutes: Iterable[Minute]) -> bool:
        """Whether the archive gives back each of these minutes to the last byte."""
        return all(self.load_bytes(one) == codec.encode(one) for one in minutes)

    def load_bytes(self, one: Minute) -> bytes | None:
        """What the minute's file would hold by the archive."""
        found = self.archive.load(one.instrument, one.start)
        return codec.encode(found) if found else None


MONTH = "2023-11"
FIRST_OF_MONTH = DAY - 14
LATE = START - 14 * MINUTES_PER_DAY + MINUTES_PER_DAY  # a minute of the month's second day


def random_month(days: int = 3, *, minutes: int = 6) -> list[Minute]:
    """Some minutes of each of a month's first days."""
    first = [(FIRST_OF_MONTH + day) * MINUTES_PER_DAY for day in range(days)]
    return [one for start in first for one in random_day(minutes, start=start)]


def compacted_month(store: Store, days: int = 3) -> list[Minute]:
    """A store whose month's days are compacted, and their minutes."""
    minutes = random_month(days)
    store.put(*minutes)
    for day in store.files.days(BTC):
        store.compactor.compact_day(BTC, day)
    return minutes


def late_month(store: Store) -> list[Minute]:
    """A merged month of which one day got a late minute and a late revision since, which are compacted."""
    minutes = compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    late = [random_minute(LATE, revision=2), random_minute(LATE + 1)]
    store.put(*late)
    store.compactor.compact_day(BTC, LATE // MINUTES_PER_DAY)
    kept = [one for one in minutes if one.start != LATE]
    return sorted([*kept, *late], key=lambda one: one.start)


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, but locks, with the checksum of its bytes."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(".lock")]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def flip_bit(path: Path, position: int, bit: int = 0) -> None:
    """Flips one bit of a file, in place."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(bytes(data))
