"""What Redis says of itself, judged: whether it would keep the window, and for how long it has room. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.spill import NEAR_LIMIT
from spillway.doctor.finding import Finding, note, ok, warning, wrong

_FULL = 0.95  # of the limit: the next burst of trades may be refused
_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Filling:
    """How the window fills at present."""

    bytes_a_minute: float  # of all instruments that had a minute in the last hour
    hours: float  # how far back the window reaches now
    window_hours: float  # how far it is to reach


def of_persistence(info: Mapping[str, Any], appendfsync: str | None) -> Iterator[Finding]:
    """From INFO; `appendfsync`: as configured, None where this user may not ask."""
    what = "Redis persistence"
    if not int(info.get("aof_enabled", 0)):
        yield wrong(what, "no append-only file: a restart loses the window", "set appendonly yes, in redis.conf too")
    elif appendfsync == "no":
        todo = "set appendfsync everysec"
        yield warning(what, "append-only, but fsynced when the system likes: a power cut loses up to half a minute", todo)
    else:
        yield ok(what, f"append-only, appendfsync {appendfsync or 'not told to this user (no right to CONFIG GET)'}")
    for file, failed, effect in (
        ("the append-only file", "aof_last_write_status", "writes are refused"),
        ("the rewrite of the append-only file", "aof_last_bgrewrite_status", "the file grows without end"),
        ("the last RDB snapshot", "rdb_last_bgsave_status", "writes may be refused (stop-writes-on-bgsave-error)"),
    ):
        if info.get(failed, "ok") != "ok":
            yield wrong(what, f"{file} failed ({failed}): {effect}", "see Redis's log; most often its disk is full")


def of_eviction(info: Mapping[str, Any]) -> Iterator[Finding]:
    """From INFO: whether anything is, or was, thrown away."""
    what, policy, evicted = "Redis eviction", info.get("maxmemory_policy", "noeviction"), int(info.get("evicted_keys", 0))
    if policy != "noeviction":
        todo = "CONFIG SET maxmemory-policy noeviction, in redis.conf too"
        yield wrong(what, f"maxmemory-policy {policy}: when Redis is full, minutes are thrown away unspilled", todo)
    if evicted:
        todo = "see what is missing: `spillway gaps`, `spillway backfill`; the count starts anew with Redis"
        yield wrong(what, f"{evicted:,} keys were thrown away since Redis started", todo)
    if policy == "noeviction" and not evicted:
        yield ok(what, "noeviction, no key was ever thrown away")


def of_memory(info: Mapping[str, Any], filling: Filling) -> Finding:
    """From INFO: for how many hours the memory does, and whether that is the whole window."""
    what, used = "Redis memory", int(info["used_memory"])
    limit, machine = int(info.get("maxmemory", 0)), int(info.get("total_system_memory", 0))
    bound = int(limit * NEAR_LIMIT) if limit else machine
    of = f"{_mb(used)} of {_mb(limit)} (maxmemory)" if limit else f"{_mb(used)}, no maxmemory, the machine has {_mb(machine)}"
    if limit and used > limit * _FULL:
        return wrong(what, of, "raise maxmemory now, or run `spillway spill --all`")
    if not filling.bytes_a_minute:
        return ok(what, f"{of}; nothing fills it at present")
    room_hours = max(0.0, (bound - used) / filling.bytes_a_minute / _MINUTES)
    lacking_hours = max(0.0, filling.window_hours - filling.hours)
    told = f"{of}; room for {room_hours:,.0f} h more at the present {_mb(filling.bytes_a_minute * _MINUTES)} an hour"
    if room_hours >= lacking_hours:
        return ok(what, f"{told}, and {lacking_hours:,.0f} h are lacking to the whole window")
    needed = (used + lacking_hours * _MINUTES * filling.bytes_a_minute) / (NEAR_LIMIT if limit else 1)
    todo = f"raise maxmemory to {_mb(needed)} or more, or lower redis.window_hours"
    effect = "the oldest minutes spill early" if limit else "the system may kill Redis"
    return warning(what, f"{told}, but the window needs {lacking_hours:,.0f} h: {effect}", todo)


def of_clock(server_us: int | None, here_ns: int, took_ns: int, most_s: float) -> Finding:
    """Redis's clock against ours, which was read in the midst of a question that took so long."""
    what = "clock of Redis"
    if server_us is None:
        return note(what, "this server doesn't tell its time")
    off_s = (server_us * 1000 - here_ns) / 1e9
    told = f"{off_s:+.3f} s from ours, +- {took_ns / 2e9:.3f} s"
    if abs(off_s) - took_ns / 2e9 > most_s:
        return warning(what, told, "let both machines keep time by NTP")
    return ok(what, told)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
