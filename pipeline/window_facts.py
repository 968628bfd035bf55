"""How full the window is, and how its Redis fares: what the one who runs it wants to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pipeline.instrument import Instrument
from pipeline.window import PREFIX, RedisWindow

PROBE_MS = 10_000  # how long the key lives that shows whether Redis takes writes


@dataclass(frozen=True, slots=True)
class Fill:
    """What an instrument's sealed minutes take up."""

    minutes: int
    bytes: int  # of Redis's memory
    oldest: int | None  # counted from 1970


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What Redis says of itself."""

    used_bytes: int
    limit_bytes: int  # 0: none
    evicted_keys: int
    persists: bool  # it appends each write to a file, and lately that went well
    keeps_all: bool  # it would rather refuse writes than evict

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """From the answer to INFO."""
        wrote = [info.get(f"aof_last_{step}_status", "ok") for step in ("write", "bgrewrite")]
        return cls(
            used_bytes=int(info["used_memory"]),
            limit_bytes=int(info.get("maxmemory", 0)),
            evicted_keys=int(info.get("evicted_keys", 0)),
            persists=bool(int(info.get("aof_enabled", 0))) and wrote == ["ok", "ok"],
            keeps_all=info.get("maxmemory_policy", "noeviction") == "noeviction",
        )


async def fill_of(window: RedisWindow, instrument: Instrument) -> Fill:
    """How full an instrument's part of the window is. RedisUnavailable."""
    minutes = await window.sealed_minutes(instrument)
    size = await window.ask(window.client.memory_usage(f"{PREFIX}{instrument.tag}:sealed", samples=0))
    return Fill(len(minutes), int(size or 0), minutes[0] if minutes else None)


async def redis_facts(window: RedisWindow) -> RedisFacts:
    """How Redis fares. RedisUnavailable."""
    return RedisFacts.of(await window.ask(window.client.info()))


async def require_writable(window: RedisWindow) -> None:
    """RedisUnavailable, with its reason, where Redis takes no writes now: gone, full, read-only, or unable to persist."""
    await window.ask(window.client.set(f"{PREFIX}probe", b"", px=PROBE_MS))
