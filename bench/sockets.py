"""Which websocket library: frames a second received by each, as bytes and not decoded, on one core."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from bench import peers
from bench.context import Context
from bench.measure import Row, Samples, Unit, take_turns
from bench.processes import Child, module, running

COUNT, QUICK_COUNT = 500_000, 50_000
LONGEST_S = 120.0


def rows(context: Context) -> list[Row]:
    """A row for each library beside picows."""
    count = QUICK_COUNT if context.quick else COUNT
    ours = Samples("picows", Unit.RATE)
    others = {"websockets": Samples("websockets", Unit.RATE), "aiohttp": Samples("aiohttp", Unit.RATE)}
    pythons = {"picows": sys.executable, "aiohttp": sys.executable, "websockets": str(peers.cryptofeed_python())}
    with module("bench.feed", count, "aggTrade", log=context.folder("feed") / "feed.log") as feed:
        port = int(feed.line("ready", LONGEST_S))
        sides = {"picows": ours, **others}
        take_turns(
            context.runs, *((s, partial(_rate, context, feed, name, pythons[name], port, count)) for name, s in sides.items())
        )
    return [Row(f"frames received: picows, beside {name}", ours, samples, None) for name, samples in others.items()]


def _rate(context: Context, feed: Child, library: str, python: str, port: int, count: int) -> float:
    log = context.folder("receive") / f"{library}.log"
    with running([python, Path(__file__).with_name("receive.py"), library, str(port), str(count)], log) as reader:
        began = int(feed.line("pouring", LONGEST_S))
        return count / (int(reader.line("done", LONGEST_S)) - began) * 1e9
