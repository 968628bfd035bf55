"""`spillway plan`: what memory, disk and CPU so many symbols take, reckoned from what was measured. Pure.

The figures are those of docs/benchmarks.md; what an installation holds itself corrects them: see `plan_measured.py`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import BadValue
from pipeline.minute import MINUTES_PER_DAY
from pipeline.spill import NEAR_LIMIT

DAYS_A_YEAR = 365
_DAY_S = 86_400
_HOURS_A_DAY = 24


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a minute, and of each of its price levels."""

    minute: float
    level: float

    def of(self, levels: float) -> float:
        """Bytes of a minute with so many levels."""
        return self.minute + self.level * levels


# docs/benchmarks.md, "Sizes": lines through days of 5 to 1,745 levels a minute, at most 7 % off (python -m bench.sizes).
REDIS = Size(529, 15.2)
FILE = Size(633, 142.9)
ARCHIVE = Size(134, 12.7)
# The same table: of 10 to 6,000 trades a minute 0.29 to 0.5 touch a price of their own; a liquid market in between.
LEVELS_A_TRADE = 1 / 3
# docs/benchmarks.md, first table: one process at full load, in two ways. One symbol, frames as fast as they come:
TRADES_A_CORE_S = 398_000
# and 500 symbols at 100 trades a second each, which fill the core as well: the rest is what a symbol costs by being there.
FULL_SYMBOLS, FULL_TRADES_S = 500, 50_000
SYMBOL_CORE = (1 - FULL_TRADES_S / TRADES_A_CORE_S) / FULL_SYMBOLS
FULL_P50_S, FULL_P99_S = 1.2, 3.2  # from told to readable
# The same row: what 500 symbols take after a minute, so beside the window. And a process that collects next to nothing.
OPEN_BYTES = 35_000_000 / FULL_SYMBOLS
IDLE_BYTES = 148_000_000
PROCESS_BYTES = (522_000_000 - IDLE_BYTES) / FULL_SYMBOLS
# The same table: a day of 1,440 minutes of 625 levels spilled and compacted.
UPKEEP_S, UPKEEP_LEVELS = 1.08 + 0.65, 625
BUSY = 0.7  # of a core: what is left is for bursts, repairs and audits


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be collected; rates are each symbol's. BadValue for what can't be."""

    symbols: int
    trades_per_s: float
    levels_per_minute: float
    window_hours: float
    file_days: float  # how long minute files lie there, the day that goes on included

    def __post_init__(self) -> None:
        for name in ("symbols", "trades_per_s", "levels_per_minute", "window_hours"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadValue(f"--{name.replace('_', '-')} {value:g}: expected a number above 0")
        if self.levels_per_minute > max(1.0, self.trades_per_s * 60):
            raise BadValue(
                f"--levels-per-minute {self.levels_per_minute:g}: expected at most one for each trade, and "
                f"{self.trades_per_s:g} trades a second are {self.trades_per_s * 60:g} a minute"
            )

    @property
    def minutes_a_day(self) -> float:
        """Minutes that have a trade at all."""
        return MINUTES_PER_DAY * min(1.0, self.trades_per_s * 60)


@dataclass(frozen=True, slots=True)
class Correction:
    """What an installation's own sizes are, as shares of the lines above."""

    redis: float = 1.0
    file: float = 1.0
    archive: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes. Sizes in bytes, `cores` of one machine."""

    load: Load
    redis_bytes: float
    maxmemory_bytes: float  # below which the oldest minutes would spill early
    file_bytes_a_day: float
    file_bytes: float  # at most at a time
    archive_bytes_a_day: float
    archive_bytes_a_year: float
    process_bytes: float  # of all processes
    cores: float  # for collecting
    upkeep_cores: float  # for spilling and compacting, in threads of their own
    processes: int
    lag: str

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        found = asdict(self)
        return {"load": found.pop("load"), **{name: round(v) if name.endswith(_BYTES) else v for name, v in found.items()}}


_BYTES = ("bytes", "bytes_a_day", "bytes_a_year")


def levels_of(trades_per_s: float, levels_a_trade: float = LEVELS_A_TRADE) -> float:
    """How many levels a minute of so many trades may have."""
    return max(1.0, trades_per_s * 60 * levels_a_trade)


AS_MEASURED = Correction()


def planned(load: Load, correction: Correction = AS_MEASURED) -> Plan:
    """What such a load takes."""
    levels, symbols = load.levels_per_minute, load.symbols
    minutes_a_day = symbols * load.minutes_a_day
    redis = symbols * OPEN_BYTES + minutes_a_day * load.window_hours / _HOURS_A_DAY * REDIS.of(levels) * correction.redis
    files, archive = minutes_a_day * FILE.of(levels) * correction.file, minutes_a_day * ARCHIVE.of(levels) * correction.archive
    cores = cores_of(load)
    processes = max(1, math.ceil(cores / BUSY))
    return Plan(
        load=load,
        redis_bytes=redis,
        maxmemory_bytes=redis / NEAR_LIMIT,
        file_bytes_a_day=files,
        file_bytes=files * load.file_days,
        archive_bytes_a_day=archive,
        archive_bytes_a_year=archive * DAYS_A_YEAR,
        process_bytes=processes * IDLE_BYTES + symbols * PROCESS_BYTES,
        cores=cores,
        upkeep_cores=upkeep_of(load),
        processes=processes,
        lag=lag_of(cores),
    )


def cores_of(load: Load) -> float:
    """How much of a core collecting takes."""
    return load.symbols * (load.trades_per_s / TRADES_A_CORE_S + SYMBOL_CORE)


def upkeep_of(load: Load) -> float:
    """How much of a core spilling and compacting take, in the mean of a day."""
    share = load.levels_per_minute / UPKEEP_LEVELS * load.minutes_a_day / MINUTES_PER_DAY
    return load.symbols * UPKEEP_S * share / _DAY_S


def lag_of(cores: float) -> str:
    """`prompt`, `busy`, `full` or `too much`, of one process."""
    if round(cores, 6) > 1:
        return "too much"
    return "full" if cores > (1 + BUSY) / 2 else "busy" if cores > BUSY else "prompt"


_LAGS = {
    "prompt": "a trade is readable with the next flush (schedule.flush_ms) or soon after",
    "busy": "bursts wait for their turn",
    "full": f"as measured with a full core: {FULL_P50_S:g} s in the middle, {FULL_P99_S:g} s for one in a hundred",
    "too much": "one process falls behind without end",
}


def describe(plan: Plan, based_on: list[str]) -> list[str]:
    """For people."""
    load = plan.load
    split = f": share the symbols among {plan.processes} processes (`spillway run --max-instruments N`)"
    return [
        f"{load.symbols:,} symbols, each {load.trades_per_s:.4g} trades/s, {load.levels_per_minute:,.0f} levels a minute",
        f"  Redis        {_size(plan.redis_bytes)} for {load.window_hours:g} hours; set maxmemory to "
        f"{_size(plan.maxmemory_bytes)} or more, as the oldest minutes spill early beyond {NEAR_LIMIT:.0%}",
        f"  minute files {_size(plan.file_bytes_a_day)} a day, {_size(plan.file_bytes)} until they are compacted",
        f"  archive      {_size(plan.archive_bytes_a_day)} a day, {_size(plan.archive_bytes_a_year)} a year",
        f"  processes    {plan.processes}, {_size(plan.process_bytes)} of memory; {plan.cores:.2f} cores to collect, "
        f"{plan.upkeep_cores:.2f} to spill and compact, and Redis part of another",
        f"  lag          {plan.lag}: {_LAGS[plan.lag]}{split if plan.processes > 1 else ''}",
        *(f"  {line}" for line in based_on),
    ]


def _size(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e3:,.1f} kB"
