"""One moment of an instrument's window: the cursor, and all minutes that Redis holds at that very moment.

Sealed minutes don't change unless a notice tells of a new revision, so only those are read that are not known yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pipeline import codec, open_minute
from pipeline.conserved import DAMAGED, Copy
from pipeline.errors import DamagedMinute
from pipeline.footprint import State
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.window import NOTICES, PREFIX, RedisWindow

BEGINNING = "0-0"
PORTION = 96  # values read at once: Redis does nothing else meanwhile
TRIES = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment. `last_notice` tells from where on to look for what changed since."""

    state: State
    open: Mapping[int, Copy]
    sealed: Mapping[int, Copy]
    last_notice: str


@dataclass(frozen=True, slots=True)
class _Moment:
    state: State
    open: Mapping[int, Copy] | None  # None: the cursor named others meanwhile
    sealed: frozenset[int]
    values: Mapping[int, bytes]
    noticed: list[int]
    last_notice: str


async def snapshot(window: RedisWindow, instrument: Instrument, known: Mapping[int, Copy], last_notice: str) -> Snapshot | None:
    """The window as it is now; None where nothing was ever flushed, or where it changed too fast to be caught.

    `known`: sealed minutes as they were when `last_notice` was the last. A damaged one holds nothing. RedisUnavailable.
    """
    found, stale = dict(known), set[int]()
    if last_notice == BEGINNING:
        found, last_notice = {}, await _newest_notice(window, instrument)
    opened = await _open_minutes(window, instrument)
    if opened is None:
        return None
    for _ in range(TRIES):
        await _fill(window, instrument, found)
        moment = await _moment(window, instrument, opened, stale, last_notice)
        if moment is None:
            return None
        last_notice, opened = moment.last_notice, moment.state.open_minutes
        if len(moment.noticed) >= NOTICES:  # so many are kept: there may have been more
            found, stale = {}, set()
            continue
        found |= _copies(instrument, moment.values)
        stale = ({*stale, *moment.noticed} - moment.values.keys()) & moment.sealed
        if moment.open is not None and not stale and moment.sealed <= found.keys():
            return Snapshot(moment.state, moment.open, {m: found[m] for m in moment.sealed}, last_notice)
    return None


async def noticed_since(window: RedisWindow, instrument: Instrument, last_notice: str) -> set[int]:
    """The minutes that were sealed since."""
    found = await window.ask(window.client.xrange(_key(instrument, "seals"), f"({last_notice}"))
    return {int(fields[b"minute"]) for _, fields in found}


async def _newest_notice(window: RedisWindow, instrument: Instrument) -> str:
    """The id of the last notice."""
    found = await window.ask(window.client.xrevrange(_key(instrument, "seals"), count=1))
    return found[0][0].decode() if found else BEGINNING


async def _open_minutes(window: RedisWindow, instrument: Instrument) -> list[int] | None:
    cursor = await window.cursor(instrument)
    return cursor.state.open_minutes if cursor else None


async def _fill(window: RedisWindow, instrument: Instrument, found: dict[int, Copy]) -> None:
    """Reads what is not known at all, in portions."""
    lacking = [m for m in await window.sealed_minutes(instrument) if m not in found]
    for at in range(0, len(lacking), PORTION):
        found |= _copies(instrument, await window.sealed(instrument, lacking[at : at + PORTION]))


async def _moment(
    window: RedisWindow, instrument: Instrument, opened: list[int], stale: Iterable[int], last_notice: str
) -> _Moment | None:
    wanted = sorted(stale)
    pipe = window.client.pipeline(transaction=True)
    pipe.hmget(_key(instrument, "cursor"), ["state"])
    pipe.hkeys(_key(instrument, "sealed"))
    pipe.xrange(_key(instrument, "seals"), f"({last_notice}")
    pipe.hmget(_key(instrument, "sealed"), [str(m) for m in wanted] or ["none"])
    for start in opened:
        pipe.hgetall(_key(instrument, f"open:{start}"))
    (state,), sealed, notices, values, *buckets = await window.ask(pipe.execute())
    if state is None:
        return None
    decoded = msgspec.json.decode(state, type=State)
    return _Moment(
        decoded,
        _open(dict(zip(opened, buckets, strict=True))) if decoded.open_minutes == opened else None,
        frozenset(map(int, sealed)),
        {m: v for m, v in zip(wanted, values, strict=False) if v is not None},
        [int(fields[b"minute"]) for _, fields in notices],
        notices[-1][0].decode() if notices else last_notice,
    )


def _open(buckets: Mapping[int, Mapping[bytes, bytes]]) -> dict[int, Copy]:
    found = {}
    for start, fields in buckets.items():
        if fields:
            bucket, _, size_scale = open_minute.parse(start, fields)
            found[start] = Copy.of_open(bucket, size_scale)
    return found


def _copies(instrument: Instrument, values: Mapping[int, bytes]) -> dict[int, Copy]:
    found = {}
    for minute, value in values.items():
        where = f"{instrument} {minute_text(minute)} in Redis"
        try:
            found[minute] = Copy.of_head(codec.split(codec.decompress(value, where), where).head)
        except DamagedMinute:
            found[minute] = DAMAGED
    return found


def _key(instrument: Instrument, name: str) -> Any:
    return f"{PREFIX}{instrument.tag}:{name}"
