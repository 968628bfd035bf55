"""Single trades out of the raw recordings, read by the tapes' readers: what frames hold, each trade once."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from collectors.tapes.tape import NotInTape, TapeBlock, open_tape
from pipeline import fixed
from pipeline.errors import SpillwayError, StorageError, TapeError
from pipeline.fixed import Integers
from pipeline.instrument import Instrument, path_name
from pipeline.minute import minute_text
from pipeline.trade import FUTURE_NS, NS_PER_MINUTE, NS_PER_S, Side, TradeBatch, concat
from sinks import durable
from sinks.tables import US_PER_MINUTE, stamps

COLUMNS = ("timestamp", "trade_id", "price", "size", "side", "trade_count")
LATE_NS = 600 * NS_PER_S  # how much later than it was made a trade may have come, and still be looked for
SHOWN = 3  # ranges that a message names

_NAME = re.compile(r"([0-9]{16,20})-[0-9A-Za-z_-]+\.gz(\.part)?")
_TIME = pa.timestamp("ns", tz="UTC")
_MOST_DIGITS = 38


class NotRecorded(SpillwayError):
    """No recording holds any trade of what was asked for."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Trades of a range, and a line about those that are in no recording."""

    trades: pa.Table
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    first_ns: int  # receive time of its first frame
    last_ns: int  # when it was last written to

    @property
    def unfinished(self) -> bool:
        return self.path.suffix == ".part"


class Recordings:
    """The raw recordings in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, instrument: Instrument, first: int, last: int, minutes: pa.Table, *, exact: bool) -> Recorded:
        """The trades of the minutes from `first` up to, and without, `last`, by time and id.

        `minutes`: those that are stored of the range, with their trade_count: by it is told what no recording holds.
        NotRecorded where none holds anything; StorageError, TapeError where one can't be read.
        """
        batch = self._batch(instrument, first, last)
        lacking = _lacking(batch, minutes)
        if batch is None:
            where = f"the recordings of {instrument.venue} in {self.folder} are {self._span(instrument.venue)}"
            raise NotRecorded(f"{instrument}: no recording holds a trade from {_text(first)} to {_text(last - 1)}; {where}")
        return Recorded(_table(batch, exact), f"{instrument}: {lacking}" if lacking else "")

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _batch(self, instrument: Instrument, first: int, last: int) -> TradeBatch | None:
        start_ns, end_ns = first * NS_PER_MINUTE, last * NS_PER_MINUTE
        parts = []
        for file in self._files(instrument.venue):
            if file.first_ns < end_ns + LATE_NS and file.last_ns >= start_ns - FUTURE_NS:
                parts += [part for part in _batches(file, instrument, start_ns, end_ns) if len(part)]
        return _once(concat(parts)) if parts else None

    def _files(self, venue: str) -> list[_File]:
        folder = self.folder / path_name(venue)
        found = {}
        with durable.explained(folder, "listed"):
            for path in sorted(folder.glob("*/*.gz*")):
                match = _NAME.fullmatch(path.name)
                if match:
                    found[path.name.removesuffix(".part")] = (path, int(match[1]))
        return [_File(path, ns, facts) for path, ns in found.values() if (facts := _written_ns(path)) is not None]

    def _span(self, venue: str) -> str:
        files = self._files(venue)
        if not files:
            return "none: `record: true` in its `collect:` entry makes them"
        first, last = min(f.first_ns for f in files), max(f.last_ns for f in files)
        return f"from {_text(first // NS_PER_MINUTE)} to {_text(last // NS_PER_MINUTE)}"


def _written_ns(path: Path) -> int | None:
    """When a file was last written to. A part that got its name meanwhile is looked for under it."""
    for name in (path, path.with_name(path.name.removesuffix(".part"))):
        try:
            facts = name.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise durable.failure(error, name, "read") from error
        return facts.st_mtime_ns if stat.S_ISREG(facts.st_mode) else None
    return None


def _batches(file: _File, instrument: Instrument, start_ns: int, end_ns: int) -> Iterator[TradeBatch]:
    """A file's trades of the range. One that is still being written ends where its last whole member ends."""
    path = file.path
    try:
        if file.unfinished and not path.exists():
            path = path.with_name(path.name.removesuffix(".part"))
        for block in open_tape(path, instrument).blocks():
            batch = _checked(block, end_ns)
            yield batch.take((batch.ts_ns >= start_ns) & (batch.ts_ns < end_ns))
    except NotInTape:
        return
    except TapeError as error:
        if not file.unfinished:
            raise StorageError(f"{error}: its trades can't be told; those of other files can") from error


def _checked(block: TapeBlock, end_ns: int) -> TradeBatch:
    """What is no trade was told when it was collected, and is in the dead letters."""
    batch, _ = block.trades.checked(latest_ns=max(end_ns, int(block.trades.ts_ns.max(initial=0))))
    return batch


def _once(batch: TradeBatch) -> TradeBatch:
    """Each id once, by time, then id: connections overlap, and a new one may begin with old trades."""
    named = batch.ids.dtype == object
    keys = np.array([str(i) for i in batch.ids]) if named else batch.ids
    _, rows = np.unique(keys, return_index=True)
    order = np.lexsort((rows if named else keys[rows], batch.ts_ns[rows]))
    return batch.take(rows[order])


def _lacking(batch: TradeBatch | None, minutes: pa.Table) -> str:
    """Of which minutes more trades are stored than recorded."""
    stored = dict(zip((stamps(minutes) // US_PER_MINUTE).tolist(), minutes["trade_count"].to_pylist(), strict=True))
    recorded: dict[int, int] = {}
    if batch is not None:
        starts, which = np.unique(batch.ts_ns // NS_PER_MINUTE, return_inverse=True)
        recorded = dict(zip(starts.tolist(), np.bincount(which, batch.count).astype(np.int64).tolist(), strict=True))
    less = [minute for minute, count in stored.items() if recorded.get(minute, 0) < count]
    if not less:
        return ""
    trades = sum(stored[m] - recorded.get(m, 0) for m in less)
    runs = _runs(less)
    shown = ", ".join(f"{_text(a)} to {_text(b)}" if a != b else _text(a) for a, b in runs[:SHOWN])
    more = f" and {len(runs) - SHOWN} more ranges" if len(runs) > SHOWN else ""
    return f"{trades:,} trades of {len(less):,} minutes are in no recording: {shown}{more}"


def _runs(minutes: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for minute in sorted(minutes):
        if found and found[-1][1] == minute - 1:
            found[-1] = (found[-1][0], minute)
        else:
            found.append((minute, minute))
    return found


def _table(batch: TradeBatch, exact: bool) -> pa.Table:
    codes = pa.array((batch.side == Side.SELL).astype(np.int32), mask=batch.side == Side.NONE)
    sides = pa.DictionaryArray.from_arrays(codes, pa.array(["buy", "sell"]))
    number = _decimals if exact else _floats
    ids = pa.array([str(i) for i in batch.ids]) if batch.ids.dtype == object else pa.array(batch.ids)
    price, size = number(batch.price, batch.price_scale), number(batch.size, batch.size_scale)
    return pa.table([pa.array(batch.ts_ns).cast(_TIME), ids, price, size, sides, pa.array(batch.count)], names=list(COLUMNS))


def _floats(values: Integers, scale: int) -> pa.Array:
    """The float nearest to each decimal."""
    if values.dtype == object or (len(values) and int(values.max()) >= 2**53):
        return pa.array([float(fixed.to_decimal(int(v), scale)) for v in values])
    return pa.array(values / 10.0**scale)


def _decimals(values: Integers, scale: int) -> pa.Array:
    if values.dtype == object:
        return pa.array([fixed.to_decimal(int(v), scale) for v in values], pa.decimal128(_MOST_DIGITS, scale))
    halves = np.stack([values, np.zeros_like(values)], axis=1)  # of 128 bits: prices and sizes are above 0
    return pa.Array.from_buffers(pa.decimal128(_MOST_DIGITS, scale), len(values), [None, pa.py_buffer(halves.tobytes())])


def _text(minute: int) -> str:
    return minute_text(min(max(minute, 0), 4_102_444_800 // 60))
