"""A day of sealed minutes as Spillway itself makes them of made-up trades: what spill, compact, read and memory work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bench.context import Context
from bench.market import CENTS, LOTS, MS_PER_MINUTE, Trades, synthetic
from pipeline import codec
from pipeline.footprint import Footprint
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import MINUTES_PER_DAY
from pipeline.trade import TradeBatch
from pipeline.window import Flush, RedisWindow, Sealed
from sinks.minute_files import MinuteFiles

INSTRUMENT = Instrument("binance", "BTCUSDT")
DAY = 20_019  # 2024-10-23
QUICK_MINUTES = 120
_NS_PER_MS = 1_000_000
_BATCH_MINUTES = 60
_AT_ONCE = 100  # sealed minutes in a flush


@dataclass(frozen=True, slots=True)
class Day:
    """A day's minutes, counted from 1970, as the bytes of their files."""

    files: Mapping[int, bytes]
    levels: int  # in all

    @property
    def size(self) -> int:
        """The bytes that the files take."""
        return sum(map(len, self.files.values()))

    def __str__(self) -> str:
        return f"{len(self.files):,} minutes of {self.levels / len(self.files):.0f} levels, {self.size / 1e6:.0f} MB"

    def compressed(self) -> dict[int, bytes]:
        """The values that Redis holds."""
        return {minute: codec.compress(data) for minute, data in self.files.items()}

    def write(self, root: Path) -> None:
        """Puts the minute files below `root`, with no care for power cuts."""
        files = MinuteFiles(root)
        files.folder(INSTRUMENT).mkdir(parents=True, exist_ok=True)
        for minute, data in self.files.items():
            files.path(INSTRUMENT, minute).write_bytes(data)


def day(context: Context) -> Day:
    """The day that is measured with; in a quick run its first hours."""
    return _made(QUICK_MINUTES if context.quick else MINUTES_PER_DAY)


@cache
def _made(minutes: int) -> Day:
    first = DAY * MINUTES_PER_DAY
    trades = synthetic(minutes, start_ms=first * MS_PER_MINUTE)
    footprint = Footprint(INSTRUMENT, IdRule.CONTIGUOUS)
    files, levels = {}, 0
    edges = np.searchsorted(trades.time_ms, (np.arange(0, minutes, _BATCH_MINUTES) + first) * MS_PER_MINUTE).tolist()
    for start, end in zip(edges, [*edges[1:], len(trades)], strict=True):
        footprint.add(footprint.admit(_batch(trades, start, end)).fresh)
        for minute in sorted(footprint.open):
            sealed = footprint.seal(minute)
            footprint.close(minute)
            files[minute], levels = codec.encode(sealed), levels + len(sealed.levels)
    return Day(files, levels)


def _batch(trades: Trades, start: int, end: int) -> TradeBatch:
    rows = slice(start, end)
    return TradeBatch(
        ids=np.arange(start, end) + 1,
        ts_ns=trades.time_ms[rows] * _NS_PER_MS,
        price=trades.cents[rows],
        price_scale=CENTS,
        size=trades.lots[rows],
        size_scale=LOTS,
        side=np.where(trades.sold[rows], -1, 1).astype(np.int8),
        count=np.ones(end - start, dtype=np.int64),
    )


async def load(window: RedisWindow, sealed: Mapping[int, bytes]) -> None:
    """Puts compressed minutes into the window, as a writer does."""
    lease = await window.acquire(INSTRUMENT, "bench", 600_000)
    state = Footprint(INSTRUMENT, IdRule.CONTIGUOUS).state()
    values = [Sealed(minute, value, 1, "complete", 1) for minute, value in sorted(sealed.items())]
    token = ""
    for at in range(0, len(values), _AT_ONCE):
        flush = Flush(token, str(at + 1), state, sealed=values[at : at + _AT_ONCE])
        await window.flush(lease, flush)
        token = flush.token
    await window.release(lease)
