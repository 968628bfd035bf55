"""What a minute takes in Redis, as a minute file and in the archive, by its levels: what `spillway plan` reckons with.

    python -m bench.sizes

Sizes are exact and the same on every machine, so that one day of each is enough.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop

from bench.day import INSTRUMENT, load
from bench.generated import DayOfTrades, days_of_trades, minute_files, write_year
from bench.processes import redis_server
from pipeline import codec
from pipeline.window import PREFIX, RedisWindow

PER_MINUTE = (10, 30, 127, 600, 1580, 6000)  # trades


@dataclass(frozen=True, slots=True)
class Sizes:
    """Means of a day's minutes; sizes in bytes."""

    trades: int
    levels: float
    redis: float
    file: float
    archive: float


def sizes(folder: Path, per_minute: int) -> Sizes:
    """Those of a day with so many trades a minute."""
    one = next(days_of_trades(1, per_minute))
    files = minute_files(one)
    with redis_server(folder / "redis") as server:
        uvloop.run(_load(server.url, {minute: codec.compress(data) for minute, data in files.items()}))
        held = int(server.client.memory_usage(f"{PREFIX}{INSTRUMENT.tag}:sealed", samples=0) or 0)
    write_year(folder / "archive", 1, per_minute)
    archived = sum(path.stat().st_size for path in (folder / "archive").rglob("*") if path.is_file())
    count = len(files)
    return Sizes(per_minute, _levels(one) / count, held / count, sum(map(len, files.values())) / count, archived / count)


def line_of(found: list[Sizes], what: str) -> tuple[float, float]:
    """The bytes of a minute and of each of its levels that come nearest, relatively, to what was measured."""
    levels, size = np.array([s.levels for s in found]), np.array([getattr(s, what) for s in found])
    fixed, each = np.linalg.lstsq(np.stack([1 / size, levels / size], axis=1), np.ones(len(found)), rcond=None)[0]
    return float(fixed), float(each)


def main() -> None:
    """Prints the table of docs/benchmarks.md, and the lines through it."""
    found = []
    for per_minute in PER_MINUTE:
        with tempfile.TemporaryDirectory() as folder:
            found.append(sizes(Path(folder), per_minute))
        print("| {0.trades:,} | {0.levels:.0f} | {0.redis:,.0f} | {0.file:,.0f} | {0.archive:,.0f} |".format(found[-1]))
    for what in ("redis", "file", "archive"):
        print("{}: {:.0f} a minute and {:.1f} a level".format(what, *line_of(found, what)))


async def _load(url: str, values: dict[int, bytes]) -> None:
    window = RedisWindow.connect(url)
    try:
        await load(window, values)
    finally:
        await window.close()


def _levels(one: DayOfTrades) -> int:
    minute = one.trades.time_ms // 60_000
    return len(np.unique(minute * (int(one.trades.cents.max()) + 1) + one.trades.cents))


if __name__ == "__main__":
    main()
