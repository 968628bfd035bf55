"""From the death of the writer to trades being readable again: a second `spillway run` with the same settings stands by.

Once the first is killed, and once it is only stopped, as one that hangs or has lost its network: then its lease has to run out.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import yaml

from bench.context import Context
from bench.crowd import symbol_of
from bench.measure import Row, Samples, Target, Unit
from bench.processes import BenchError, Child, RedisServer, free_port, module, redis_server
from pipeline.instrument import Instrument

SYMBOLS, RATE = 20, 2_000
READY_S, LONGEST_S = 60.0, 30.0
LOOK_S = 0.01


def rows(context: Context) -> list[Row]:
    """The rows of a killed and of a stopped writer."""
    killed, stopped = Samples("killed", Unit.SECONDS), Samples("stopped", Unit.SECONDS)
    for _ in range(context.runs):
        killed.values.append(_one(context, signal.SIGKILL))
        stopped.values.append(_one(context, signal.SIGSTOP))
    target = Target(5.0, at_most=True, absolute=Unit.SECONDS)
    note = f"{SYMBOLS} instruments, until trades told after the signal are readable of each; {RATE:,} trades/s"
    work = "a standby takes over: the writer is"
    return [
        Row(f"{work} killed (-9), on the same machine", killed, None, target, note),
        Row(f"{work} stopped, its lease runs out", stopped, None, target),
    ]


def _one(context: Context, how: signal.Signals) -> float:
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(context.folder("redis")))
        crowd = stack.enter_context(module("bench.crowd", SYMBOLS, RATE, log=context.folder("crowd") / "crowd.log"))
        rest, port = int(crowd.line("rest", READY_S)), int(crowd.line("ready", READY_S))
        config = _settings(context.folder("run"), redis, port, rest)
        first = stack.enter_context(module("spillway", "run", "-c", config, log=config.with_name("first.log")))
        began_ns = int(crowd.line("began", READY_S))
        _until_readable(redis, time.time_ns(), first)
        second = stack.enter_context(module("spillway", "run", "-c", config, log=config.with_name("second.log")))
        _until_standing_by(second)
        at_ns = time.time_ns()
        first.signal(how)
        took_s = _until_readable(redis, max(at_ns, began_ns), second)
        first.signal(signal.SIGCONT)  # one that was stopped wakes up, and is refused
        return took_s


def _until_readable(redis: RedisServer, told_ns: int, writer: Child) -> float:
    """Seconds from `told_ns` until trades of every instrument that were told later are in Redis."""
    until = time.monotonic() + LONGEST_S
    pipe = redis.client.pipeline(transaction=False)
    while time.monotonic() < until:
        writer.check()
        for number in range(SYMBOLS):
            pipe.hget(f"trades_window:{Instrument('binance-usdm', symbol_of(number)).tag}:cursor", "state")
        states = pipe.execute()
        if all(state and msgspec.json.decode(state)["watermark_ns"] > told_ns for state in states):
            return (time.time_ns() - told_ns) / 1e9
        time.sleep(LOOK_S)
    raise BenchError(f"{writer.log.stem}: nothing new in Redis for {LONGEST_S:g} s: {writer.complaint()}")


def _until_standing_by(second: Child) -> None:
    until = time.monotonic() + READY_S
    while second.log.read_text().count("standing by") < SYMBOLS:
        second.check()
        if time.monotonic() > until:
            raise BenchError("the second service does not stand by")
        time.sleep(LOOK_S)


def _settings(folder: Path, redis: RedisServer, port: int, rest: int) -> Path:
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
    return config
