"""What Redis needs for a minute: a sealed minute of ours against the seed's JSON text in a sorted set."""

from __future__ import annotations

import json
from typing import Any, cast

import uvloop

from bench.context import Context
from bench.day import INSTRUMENT, Day, day, load
from bench.measure import Row, Samples, Target, Unit
from bench.processes import RedisServer, redis_server
from pipeline.window import RedisWindow

SEED_KEY = "trades_window"
WINDOW_MINUTES = 48 * 60


def rows(context: Context) -> list[Row]:
    """The row `memory`."""
    today = day(context)
    ours, seed = Samples("ours", Unit.BYTES), Samples("JSON in a sorted set", Unit.BYTES)
    with redis_server(context.folder("redis")) as server:
        uvloop.run(_ours(server.url, today))
        ours.values.append(_held(server, f"trades_window:{INSTRUMENT.tag}:sealed") / len(today.files))
        _seed(server, today)
        seed.values.append(_held(server, SEED_KEY) / len(today.files))
    note = f"{today.levels / len(today.files):.0f} levels; 48 h take {ours.middle * WINDOW_MINUTES / 1e6:.0f} MB"
    return [Row("Redis memory of a minute", ours, seed, Target(0.15, at_most=True), note)]


async def _ours(url: str, today: Day) -> None:
    window = RedisWindow.connect(url)
    try:
        await load(window, today.compressed())
    finally:
        await window.close()


def _seed(server: RedisServer, today: Day) -> None:
    for minute, data in today.files.items():
        server.client.zadd(SEED_KEY, {_seed_text(data): minute * 60})


def _seed_text(data: bytes) -> str:
    """The minute in the seed's layout, as `json.dumps` gives it."""
    minute: dict[str, Any] = json.loads(data)
    levels = {f"{float(price):.2f}": level for price, level in minute["price_levels"].items()}
    return json.dumps({"timestamp": minute["timestamp"], "price_levels": levels})


def _held(server: RedisServer, key: str) -> int:
    """All bytes of a key, each element counted."""
    return cast(int, server.client.memory_usage(key, samples=0))
