"""A year of one liquid symbol as its archive would hold it: made-up trades, summed, and written by the archive's own writers.

Some 500 levels a minute, a price that walks from day to day, a few ids missing. The same on every machine and in every run.
Only what is slow is left out: minute files, fsync, reading back. That a day comes out as compaction makes it is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.day import INSTRUMENT
from bench.market import CENTS, FIRST_CENTS, LOTS, MS_PER_MINUTE, Trades, synthetic
from pipeline import codec, fixed
from pipeline.footprint import Footprint
from pipeline.instrument import IdRule
from pipeline.minute import MINUTES_PER_DAY, VWAP_EXTRA_DECIMALS, Status, day_text
from pipeline.trade import TradeBatch
from sinks.archive import Archive
from sinks.manifest import FORMAT, KINDS, Kind, Manifest, content_of, encode
from sinks.merge import by_hour
from sinks.parquet import Part, PartWriter
from sinks.part_writing import facts, grouped
from sinks.tables import LEVELS, MINUTES, TIME, US_PER_MINUTE, VOLUMES, Tables

FIRST_DAY = (date(2023, 1, 1) - date(1970, 1, 1)).days
PER_MINUTE = 1580  # trades, which touch some 500 prices
_MS_PER_DAY = MS_PER_MINUTE * MINUTES_PER_DAY
_NS_PER_MS = 1_000_000
_LOST = 1 / 800_000  # of all ids: three a day
_AHEAD = 2  # days that are written while the next one is made
_ALWAYS = {"revision": 1, "price_scale": CENTS, "size_scale": LOTS}
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DayOfTrades:
    """A day's trades with their ids."""

    day: int
    trades: Trades
    ids: Integers

    def batches(self) -> Iterator[TradeBatch]:
        """The trades as a collector gives them, a minute at a time."""
        t, count = self.trades, len(self.trades)
        minute = t.time_ms // MS_PER_MINUTE
        edges = [0, *(np.flatnonzero(np.diff(minute)) + 1).tolist(), count]
        for start, end in pairwise(edges):
            rows = slice(start, end)
            yield TradeBatch(
                ids=self.ids[rows],
                ts_ns=t.time_ms[rows] * _NS_PER_MS,
                price=t.cents[rows],
                price_scale=CENTS,
                size=t.lots[rows],
                size_scale=LOTS,
                side=np.where(t.sold[rows], -1, 1).astype(np.int8),
                count=np.ones(end - start, dtype=np.int64),
            )


def days_of_trades(count: int, per_minute: int = PER_MINUTE) -> Iterator[DayOfTrades]:
    """So many days; each goes on where the one before ended."""
    cents, last_id = FIRST_CENTS, 0
    for number in range(count):
        day = FIRST_DAY + number
        trades = synthetic(
            MINUTES_PER_DAY, start_ms=day * _MS_PER_DAY, per_minute=per_minute, seed=1000 + number, first_cents=cents
        )
        lost = np.random.default_rng(number).random(len(trades)) < _LOST
        lost[np.r_[True, np.diff(trades.time_ms // MS_PER_MINUTE) > 0]] = False  # only what one minute alone may lack
        ids = last_id + 1 + np.arange(len(trades)) + np.cumsum(lost)
        cents, last_id = int(trades.cents[-1]), int(ids[-1])
        yield DayOfTrades(day, trades, ids)


def minute_files(one: DayOfTrades) -> dict[int, bytes]:
    """The day's sealed minutes as the pipeline makes them, by the bytes of their files."""
    footprint, files = Footprint(INSTRUMENT, IdRule.CONTIGUOUS), {}
    for batch in one.batches():
        footprint.add(footprint.admit(batch).fresh)
        files |= dict(_sealed(footprint, sorted(footprint.open)[:-1]))
    return files | dict(_sealed(footprint, sorted(footprint.open)))


def write_year(root: Path, count: int, per_minute: int = PER_MINUTE) -> None:
    """Writes so many days into an archive."""
    archive = Archive(root)
    with ThreadPoolExecutor(_AHEAD, "year") as pool:
        waiting = []
        for one in days_of_trades(count, per_minute):
            waiting.append(pool.submit(_write, archive, one))
            if len(waiting) > _AHEAD:
                waiting.pop(0).result()
        for done in waiting:
            done.result()


def tables_of_day(one: DayOfTrades) -> Tables:
    """The day's trades summed, as compaction would give them; only the minutes' checksums are others."""
    minute = one.trades.time_ms // MS_PER_MINUTE
    return Tables(_levels(one.trades, minute), _minutes(one, minute))


# --- inside -------------------------------------------------------------------------------------------------------------


def _sealed(footprint: Footprint, minutes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    for minute in minutes:
        yield minute, codec.encode(footprint.seal(minute))
        footprint.close(minute)


def _write(archive: Archive, one: DayOfTrades) -> None:
    tables = tables_of_day(one)
    writers: dict[Kind, PartWriter] = {"levels": PartWriter(LEVELS), "minutes": PartWriter(MINUTES)}
    for group in grouped(by_hour(tables)):
        writers["levels"].add(group.levels)
    writers["minutes"].add(tables.minutes)
    content, file = content_of(tables.minutes), "part-0.parquet"
    parts: dict[Kind, Part] = {}
    for kind in KINDS:
        parts[kind], data = writers[kind].finish(file, facts(INSTRUMENT, {"price_scale": CENTS, "size_scale": LOTS}))
        _put(archive.layout.part(kind, INSTRUMENT, one.day, file), data)
    names = (INSTRUMENT.venue, INSTRUMENT.symbol, day_text(one.day))
    manifest = Manifest(FORMAT, *names, 0, parts["levels"], parts["minutes"], content, ())
    _put(archive.layout.manifest(INSTRUMENT, one.day), encode(manifest))


def _put(path: Path, data: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _levels(trades: Trades, minute: Integers) -> pa.Table:
    span = int(trades.cents.max()) + 1
    keys, place = np.unique(minute * span + trades.cents, return_inverse=True)
    at, cents = np.divmod(keys, span)
    bought, sold = (np.rint(np.bincount(place, trades.lots * side)).astype(np.int64) for side in (~trades.sold, trades.sold))
    columns = [cents / 10.0**CENTS, *_volumes(bought, sold).values(), np.bincount(place)]
    return pa.table([_times(at), *map(pa.array, columns)], schema=LEVELS)


def _minutes(one: DayOfTrades, minute: Integers) -> pa.Table:
    t = one.trades
    firsts = np.flatnonzero(np.r_[True, np.diff(minute) > 0])
    lasts = np.r_[firsts[1:], len(t)] - 1
    sold, total, notional = (np.add.reduceat(v, firsts) for v in (t.lots * t.sold, t.lots, t.lots * t.cents))
    names = pa.nulls(len(firsts), pa.string())
    columns = {
        "timestamp": _times(minute[firsts]),
        "open": t.cents[firsts] / 10.0**CENTS,
        "high": np.maximum.reduceat(t.cents, firsts) / 10.0**CENTS,
        "low": np.minimum.reduceat(t.cents, firsts) / 10.0**CENTS,
        "close": t.cents[lasts] / 10.0**CENTS,
        "vwap": list(map(_vwap, notional.tolist(), total.tolist())),
        **_volumes(total - sold, sold),
        "trade_count": lasts - firsts + 1,
        "notional": [fixed.to_decimal(value, CENTS + LOTS) for value in notional.tolist()],
        "first_trade_name": names,
        "last_trade_name": names,
        "first_trade_ns": t.time_ms[firsts] * _NS_PER_MS,
        "last_trade_ns": t.time_ms[lasts] * _NS_PER_MS,
        **_of_ids(one.ids, firsts, lasts),
        **{name: np.full(len(firsts), value) for name, value in _ALWAYS.items()},
        "checksum": [hashlib.sha256(str(at).encode()).hexdigest() for at in minute[firsts].tolist()],
    }
    arrays = [columns[f.name] if f.name == "status" else pa.array(columns[f.name], f.type) for f in MINUTES]
    return pa.table(arrays, schema=MINUTES)


def _of_ids(ids: Integers, firsts: Integers, lasts: Integers) -> dict[str, Any]:
    """The columns that tell which ids there are. One that is missing stands alone, and never first in its minute."""
    rows = list(zip(ids[firsts].tolist(), ids[lasts].tolist(), strict=True))
    lacking = (ids[np.flatnonzero(np.diff(ids) > 1)] + 1).tolist()
    missing = [[i for i in lacking if first < i < last] for first, last in rows]
    edges = [[a, *(e for i in gone for e in (i - 1, i + 1)), b] for (a, b), gone in zip(rows, missing, strict=True)]
    states = [str(Status.DEGRADED if gone else Status.COMPLETE) for gone in missing]
    return {
        "first_trade_id": ids[firsts],
        "last_trade_id": ids[lasts],
        "id_ranges": [_text(list(zip(e[::2], e[1::2], strict=True))) for e in edges],
        "missing": [_text([(i, i) for i in gone]) for gone in missing],
        "seen": lasts - firsts + 1,
        "expected": lasts - firsts + 1 + [len(gone) for gone in missing],
        "status": pa.array(states).dictionary_encode(),
    }


def _volumes(bought: Integers, sold: Integers) -> dict[str, Floats]:
    """The columns of volumes, each the float nearest to its decimal."""
    return dict(zip(VOLUMES, (v / 10.0**LOTS for v in (bought, sold, bought + sold, bought - sold)), strict=True))


def _vwap(notional: int, total: int) -> float:
    decimals = CENTS + VWAP_EXTRA_DECIMALS
    return float(fixed.to_text(fixed.ratio(notional, total * 10**CENTS, decimals), decimals))


def _text(ranges: Sequence[tuple[int, int]]) -> str:
    return msgspec.json.encode(ranges).decode()


def _times(minutes: Integers) -> pa.Array:
    return pa.array(minutes * US_PER_MINUTE).cast(TIME)
