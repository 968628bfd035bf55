"""Tapes through the whole path, by `spillway replay`: read, sum, into Redis, seal, spill. Trades a second, and memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bench import market
from bench.context import Context
from bench.market import PER_MINUTE, RECORDED, synthetic
from bench.measure import Row, Samples, Target, Unit
from bench.processes import ROOT, BenchError, RedisServer, redis_server
from bench.tape_file import write_csv

HOURS = 60
QUICK_PER_MINUTE = 200
START_MS = 1_729_641_600_000  # 2024-10-23 00:00 UTC
BITFLYER = RECORDED / "tapes" / "bitflyer_BTC_JPY_62h.csv.gz"
TARGET_RATE = 500_000
MOST_GROWTH = 1.5  # from one hour to sixty; what is bounded, such as queues, an hour doesn't fill


@dataclass(frozen=True, slots=True)
class Tape:
    """A file to replay, and whose trades it holds."""

    path: Path
    venue: str
    symbol: str


@dataclass(slots=True)
class Result:
    """What the replays of one tape came to."""

    rate: Samples = field(default_factory=lambda: Samples("ours", Unit.RATE))
    peak: Samples = field(default_factory=lambda: Samples("ours", Unit.BYTES))
    last: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """What the tape held."""
        trades, sealed, spilled = (self.last[name] for name in ("taken", "sealed", "spilled"))
        return f"{trades:,} trades; {sealed:,} minutes sealed, {spilled:,} of them spilled"


def rows(context: Context) -> list[Row]:
    """The rows `a tape`, for each tape there is, and `memory`."""
    per_minute = QUICK_PER_MINUTE if context.quick else PER_MINUTE
    tapes = {hours: Tape(_made(context, hours, per_minute), "binance", "BTCUSDT") for hours in (HOURS, 1)}
    results = {hours: Result() for hours in tapes}
    real = Result()
    with redis_server(context.folder("redis")) as server:
        for _ in range(context.runs):
            for hours, tape in tapes.items():
                _replay(context, tape, server, results[hours])
            if BITFLYER.exists():
                _replay(context, Tape(BITFLYER, "bitflyer", "BTC_JPY"), server, real)
    return list(_rows(results[HOURS], results[1], real))


def _rows(long: Result, short: Result, real: Result) -> Iterator[Row]:
    rate = Target(TARGET_RATE, absolute=Unit.RATE)
    yield Row(f"a tape through the whole path, trades/s ({HOURS} h csv)", long.rate, None, rate, long.text())
    if real.last:
        yield Row("the same (62 h of bitFlyer, csv.gz)", real.rate, None, rate, real.text())
    short.peak.name = "1 h of the same"
    flat = Target(MOST_GROWTH, at_most=True)
    yield Row(f"the most memory it held in {HOURS} h", long.peak, short.peak, flat)


def _replay(context: Context, tape: Tape, server: RedisServer, result: Result) -> None:
    server.clear()
    folder = context.folder("replay")
    config = folder / "spillway.yaml"
    config.write_text(yaml.safe_dump({"data_dir": str(folder / "data"), "redis": {"url": server.url}}))
    of = ["--venue", tape.venue, "--symbol", tape.symbol]
    command = [sys.executable, "-m", "spillway", "replay", str(tape.path), *of, "-c", str(config), "--json"]
    output, peak = _peak(command)
    result.last = msgspec.json.decode(output[output.index("{") :])
    if result.last["failed"] or result.last["missing_ids"]:
        raise BenchError(f"{tape.path.name}: the replay went wrong: {result.last}")
    result.rate.values.append(result.last["taken"] / result.last["seconds"])
    result.peak.values.append(peak)


def _peak(command: Sequence[str]) -> tuple[str, int]:
    """A command's output, and the most memory it held."""
    done = subprocess.run([sys.executable, "-m", "bench.peak", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command[2:4])} failed: {done.stderr.strip()[-300:]}")
    output, _, peak = done.stdout.rpartition("\npeak ")
    return output, int(peak)


def _made(context: Context, hours: int, per_minute: int) -> Path:
    """The made-up tape, from the cache where it was made before. A shorter one is the beginning of the longer one's market."""
    version = hashlib.sha256(Path(market.__file__).read_bytes()).hexdigest()[:8]
    path = context.cache / f"trades-{hours}h-{per_minute}-a-minute-{version}.csv"
    if not path.exists():
        for old in context.cache.glob(f"trades-{hours}h-{per_minute}-a-minute-*"):
            old.unlink()
        write_csv(synthetic(hours * 60, start_ms=START_MS, per_minute=per_minute), path)
    return path
