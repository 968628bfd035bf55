"""Many instruments in one process at a steady rate: from a trade's being told to its being readable in Redis, and the memory.

A look at some instruments' cursors every few milliseconds tells which of their trades have become readable since the last
look; when each was told is known. So the lag holds the socket, the parsing, the summing, the flush, and up to one look.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import yaml

from bench.context import Context
from bench.crowd import symbol_of
from bench.measure import Row, Samples, Unit
from bench.processes import Child, RedisServer, free_port, module, redis_server
from pipeline.instrument import Instrument

SYMBOLS, RATE = 500, 50_000.0
WARM_S, MEASURED_S, QUICK_S = 25.0, 30.0, 5.0
WATCHED = 25
LOOK_S = 0.004
READY_S = 120.0


@dataclass(slots=True)
class Watch:
    """What has become readable of some instruments, and how long after it was told."""

    redis: RedisServer
    began_ns: int
    symbols: list[int]
    seen: dict[int, int] = field(default_factory=dict)  # symbol -> the last id seen
    lags_s: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Notes the lags of what is new."""
        pipe = self.redis.client.pipeline(transaction=False)
        for number in self.symbols:
            pipe.hget(f"trades_window:{Instrument('binance-usdm', symbol_of(number)).tag}:cursor", "state")
        states, now_ns = pipe.execute(), time.time_ns()
        for number, state in zip(self.symbols, states, strict=True):
            last = msgspec.json.decode(state)["ids"]["ranges"][-1][1] if state else 0
            since = self.seen.get(number, last)
            self.seen[number] = last
            told_s = ((np.arange(since, last) * SYMBOLS) + number) / RATE
            self.lags_s += ((now_ns - self.began_ns) / 1e9 - told_s).tolist()

    def run(self, seconds: float) -> None:
        """Looks again and again."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            time.sleep(LOOK_S)


def rows(context: Context) -> list[Row]:
    """The rows of the lag and of the memory."""
    typical, worst = Samples("p50", Unit.SECONDS), Samples("p99", Unit.SECONDS)
    memory, in_redis = Samples("the process", Unit.BYTES), Samples("Redis", Unit.BYTES)
    rates = []
    for _ in range(min(context.runs, 3)):
        with (
            redis_server(context.folder("redis")) as redis,
            module("bench.crowd", SYMBOLS, int(RATE), log=context.folder("crowd") / "crowd.log") as crowd,
            _service(context, redis, int(crowd.line("rest", READY_S)), int(crowd.line("ready", READY_S))) as service,
        ):
            watch = Watch(redis, int(crowd.line("began", READY_S)), list(range(0, SYMBOLS, SYMBOLS // WATCHED)))
            watch.run(QUICK_S if context.quick else WARM_S)
            watch.lags_s.clear()
            before = sum(watch.seen.values())
            seconds = QUICK_S if context.quick else MEASURED_S
            watch.run(seconds)
            service.check()
            rates.append((sum(watch.seen.values()) - before) * SYMBOLS / len(watch.symbols) / seconds)
            typical.values.append(float(np.percentile(watch.lags_s, 50)))
            worst.values.append(float(np.percentile(watch.lags_s, 99)))
            memory.values.append(_resident(service.pid))
            in_redis.values.append(float(redis.client.info("memory")["used_memory"]))
    note = f"{SYMBOLS} instruments, {RATE:,.0f} trades/s told and {np.median(rates):,.0f}/s readable, all in one process"
    work = f"{SYMBOLS} instruments, from told to readable in Redis"
    return [
        Row(f"{work}, p50", typical, None, None, note),
        Row(f"{work}, p99", worst, None, None),
        Row("the same, memory of the process", memory, None, None),
        Row("the same, memory of Redis after a minute", in_redis, None, None),
    ]


def _service(context: Context, redis: RedisServer, rest: int, port: int) -> AbstractContextManager[Child]:
    folder = context.folder("run")
    config = folder / "spillway.yaml"
    collect = {
        "venue": "binance-usdm",
        "symbols": [symbol_of(number) for number in range(SYMBOLS)],
        "ws_url": f"ws://127.0.0.1:{port}",
        "rest_url": f"http://127.0.0.1:{rest}",
    }
    settings = {
        "data_dir": str(folder / "data"),
        "redis": {"url": redis.url},
        "http": {"port": free_port()},
        "collect": [collect],
    }
    config.write_text(yaml.safe_dump(settings))
    return module("spillway", "run", "-c", config, log=folder / "spillway run.log")


def _resident(pid: int) -> float:
    """Bytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid}: no VmRSS in its status")
