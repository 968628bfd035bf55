"""Asks the window's Redis what `redis_facts.py` judges. A Redis of our own that doesn't run is told of, and not started."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any

from pipeline.errors import RedisUnavailable, WindowError
from pipeline.instrument import Instrument
from pipeline.minute import minute_of
from pipeline.window import RedisWindow
from pipeline.window_facts import fill_of
from spillway.doctor import redis_facts
from spillway.doctor.finding import Finding, note, ok, warning, wrong
from spillway.doctor.redis_version import of_version
from spillway.owner import is_dead, people_name
from spillway.redis_binary import find_redis_server, full_version
from spillway.redis_server import running_server
from spillway.settings import Settings

LIMIT_S = 15.0
_ANSWER_S = 3.0  # for each question, which is asked again where the connection fails
_MOST_OFF_S = 1.0  # two clocks
_HOUR = 60  # minutes
_WINDOW, _LEASES = "Redis", "leases"


def look(settings: Settings) -> list[Finding]:
    """All about Redis and what lies in it. RedisUnavailable."""
    url = settings.redis.connection_url
    if not settings.redis.embedded:
        return list(asyncio.run(_look(settings, url)))
    found = running_server(settings.redis_dir)
    if found is None:
        told = f"our own in {settings.redis_dir} doesn't run now: what it holds could not be asked"
        return [*_of_binary(settings, judged=True), note(_WINDOW, told)]
    return [*_of_binary(settings), *asyncio.run(_look(settings, found))]


def _of_binary(settings: Settings, *, judged: bool = False) -> Iterator[Finding]:
    """`judged`: its version too; that of a server that runs is judged by itself."""
    what = "redis-server program"
    try:
        binary = find_redis_server()
    except RedisUnavailable as error:
        yield wrong(what, str(error), "install redis-server, or set redis.url")
        return
    text = full_version(binary)
    yield ok(what, f"{binary}, version {text}: the first command that needs {settings.redis_dir} starts it")
    if judged:
        yield of_version(text, private=True)


async def _look(settings: Settings, url: str) -> Iterable[Finding]:
    window = RedisWindow.connect(url, timeout_s=_ANSWER_S)
    try:
        return [finding async for finding in _findings(settings, window)]
    finally:
        await window.close()


async def _findings(settings: Settings, window: RedisWindow) -> AsyncIterator[Finding]:
    began = time.monotonic_ns()
    info = await _info(window)
    took_ns, now_ns = time.monotonic_ns() - began, time.time_ns()
    yield ok(_WINDOW, f"{window.name} answers within {took_ns / 1e6:.1f} ms")
    private = settings.redis.embedded or settings.redis.connection_url.startswith("unix://")
    yield of_version(str(info["redis_version"]), private=private, name=str(info.get("server_name", "redis")))
    for finding in redis_facts.of_persistence(info, await _configured(window, "appendfsync")):
        yield finding
    for finding in redis_facts.of_eviction(info):
        yield finding
    server_us = int(info["server_time_usec"]) if "server_time_usec" in info else None
    yield redis_facts.of_clock(server_us, now_ns - took_ns // 2, took_ns, _MOST_OFF_S)
    instruments = await window.instruments()
    yield redis_facts.of_memory(info, await _filling(settings, window, instruments, now_ns))
    yield await _leases(settings, window, instruments)


async def _info(window: RedisWindow) -> dict[str, Any]:
    answer: dict[str, Any] = await window.ask(window.client.info())
    return answer


async def _configured(window: RedisWindow, name: str) -> str | None:
    with suppress(WindowError, RedisUnavailable):  # no right to ask
        answer = await window.ask(window.client.config_get(name))
        found = {str(_text(key)): str(_text(value)) for key, value in answer.items()}
        return found.get(name)
    return None


async def _filling(
    settings: Settings, window: RedisWindow, instruments: Iterable[Instrument], now_ns: int
) -> redis_facts.Filling:
    """Of what had a minute in the last hour: by the clock, so that a replayed tape of last year fills nothing."""
    now, oldest, rate = minute_of(now_ns), minute_of(now_ns), 0.0
    for instrument in instruments:
        minutes = await window.sealed_minutes(instrument)
        if not minutes or minutes[-1] < now - _HOUR:
            continue
        fill = await fill_of(window, instrument)
        rate += fill.bytes / max(1, minutes[-1] - minutes[0] + 1)
        oldest = min(oldest, minutes[0])
    return redis_facts.Filling(rate, (now - oldest) / _HOUR, settings.redis.window_hours)


async def _leases(settings: Settings, window: RedisWindow, instruments: Iterable[Instrument]) -> Finding:
    holders = {i: await window.holder(i) for i in instruments}
    wanted = [Instrument(entry.venue, symbol) for entry in settings.collect for symbol in entry.symbols]
    held = {i: people_name(owner) for i, owner in holders.items() if owner and not is_dead(owner)}
    told = ", ".join(f"{count} by {owner}" for owner, count in sorted(Counter(held.values()).items())) or "none held"
    idle = [str(i) for i in wanted if i not in held]
    if not wanted or not idle:
        return ok(_LEASES, told)
    some = ", ".join(idle[:5]) + (f" and {len(idle) - 5} more" if len(idle) > 5 else "")
    if held:
        return warning(_LEASES, f"{told}; nobody writes {some}", "see why in the log of `spillway run`, and /readyz")
    return note(_LEASES, f"{told}: `spillway run` doesn't run, and nobody collects {some}")


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
