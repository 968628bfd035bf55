"""What the live view shows, read from Redis; gaps from the ledger. It writes nothing, and reads seldom what seldom changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from pipeline import codec, fixed, open_minute
from pipeline.codec import Head
from pipeline.errors import DamagedMinute, SpillwayError
from pipeline.footprint import State
from pipeline.ids import tracker
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Minute, day_of, minute_of, minute_text
from pipeline.open_minute import OpenMinute
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from pipeline.window import PREFIX, RedisWindow
from pipeline.window_facts import fill_of
from sinks.ledger.gap import GapSums
from sinks.ledger.ledger import read_ledger
from spillway.owner import is_dead, people_name
from spillway.settings import masked
from spillway.watch.facts import Board, Building, Row
from spillway.watch.today import Today

SLOW_NS = 5 * NS_PER_S  # what takes Redis or the ledger longer is asked for no more often
RATE_NS = 10 * NS_PER_S  # trades a second are counted over so long
HEADS_AT_ONCE = 64

_Newest = tuple[OpenMinute, int, int]  # with the scales of its prices and sizes


@dataclass(slots=True)
class _Known:
    """What is remembered of an instrument between two looks."""

    counts: deque[tuple[int, int]] = field(default_factory=deque)  # when, and how many trades there were by then
    today: Today = field(default_factory=Today)
    slow: dict[str, Any] = field(default_factory=dict)
    looked_ns: int = -SLOW_NS
    last_price: Decimal | None = None
    minutes: dict[int, Minute] = field(default_factory=dict)
    last_notice: str = ""


@dataclass(slots=True)
class Reading:
    """Looks again and again. `ledger_url` may be None: then only Redis is asked."""

    window: RedisWindow
    ledger_url: str | None
    _known: dict[Instrument, _Known] = field(default_factory=dict)
    _gaps: dict[Instrument, GapSums] | None = None
    _ledger_error: str | None = None
    _memory: tuple[int, int] = (0, 0)
    _looked_ns: int = -SLOW_NS

    async def board(self, now_ns: int, venue: str | None, most: int | None) -> Board:
        """All instruments, or those of a venue; the first `most` of them are looked at. RedisUnavailable, WindowError."""
        found = [i for i in await self.window.instruments() if venue in (None, i.venue)]
        return await self._board(now_ns, found[:most], len(found))

    async def building(self, now_ns: int, instrument: Instrument, most: int) -> Building:
        """One instrument, with its last `most` minutes. RedisUnavailable, WindowError, DamagedMinute."""
        board = await self._board(now_ns, [instrument], 1)
        opened = {m.start: m for m in await self.window.open_minutes(instrument)}
        known = self._known[instrument]
        await self._forget_revised(instrument, known)
        current = max(opened, default=None) or max(await self.window.sealed_minutes(instrument), default=None)
        if current is None:
            return Building(board, instrument)
        wanted = range(current - most + 1, current + 1)
        await self._load(instrument, known, [m for m in wanted if m not in opened])
        minutes = tuple(m for start in wanted if (m := opened.get(start) or known.minutes.get(start)))
        return Building(board, instrument, current, minutes, frozenset(opened))

    # --- all instruments ------------------------------------------------------------------------------------------------

    async def _board(self, now_ns: int, instruments: Sequence[Instrument], total: int) -> Board:
        if now_ns - self._looked_ns >= SLOW_NS:
            self._memory = await self.window.memory()
            await asyncio.to_thread(self._read_ledger)
            self._looked_ns = now_ns
        rows = []
        for instrument, (state, holder, newest) in zip(instruments, await self._cursors(instruments), strict=True):
            known = self._known.setdefault(instrument, _Known())
            if now_ns - known.looked_ns >= SLOW_NS:
                await self._look(instrument, known, state, day_of(minute_of(now_ns)))
                known.looked_ns = now_ns
            rows.append(self._row(Row(instrument, **known.slow), known, state, newest, holder, now_ns))
        return Board(now_ns, self.window.name, *self._memory, tuple(rows), total, ledger_error=self._ledger_error)

    async def _cursors(self, instruments: Sequence[Instrument]) -> list[tuple[State | None, str, _Newest | None]]:
        """Of each: its cursor, who holds the lease, and its newest open minute. Two round trips for all of them."""
        pipe = self.window.client.pipeline(transaction=False)
        for instrument in instruments:
            pipe.hmget(_key(instrument, "cursor"), ["state"])
            pipe.get(_key(instrument, "lease"))
        answers = await self.window.ask(pipe.execute())
        states = [msgspec.json.decode(text, type=State) if text else None for (text,) in answers[::2]]
        starts = [max(state.open_minutes, default=None) if state else None for state in states]
        for instrument, start in zip(instruments, starts, strict=True):
            pipe.hgetall(_key(instrument, f"open:{start if start is not None else 'none'}"))
        buckets = await self.window.ask(pipe.execute())
        return [
            (state, (holder or b"").decode(), open_minute.parse(start, fields) if start is not None and fields else None)
            for state, holder, start, fields in zip(states, answers[1::2], starts, buckets, strict=True)
        ]

    def _row(self, row: Row, known: _Known, state: State | None, newest: _Newest | None, holder: str, now_ns: int) -> Row:
        if state is None:
            return row
        gaps = self._gaps.get(row.instrument, GapSums()) if self._gaps is not None else None
        row = replace(
            row,
            clock=state.clock,
            lag_s=(now_ns - state.watermark_ns) / NS_PER_S if state.clock == "wall" else None,
            writer=people_name(holder) if holder and not is_dead(holder) else None,
            price=known.last_price,
            open_ids=gaps.open if gaps else _ids_missing(state),
            open_outages=gaps.outages_open if gaps else None,
        )
        if newest:
            bucket, price_scale, size_scale = newest
            delta = sum(buy - sell for buy, sell, _, _ in bucket.levels.values())
            known.last_price = fixed.to_decimal(bucket.close, price_scale)
            row = replace(row, minute=bucket.start, price=known.last_price, delta=fixed.to_decimal(delta, size_scale))
        return replace(row, per_s=_rate(known, state, newest[0] if newest else None, now_ns))

    # --- what changes seldom --------------------------------------------------------------------------------------------

    async def _look(self, instrument: Instrument, known: _Known, state: State | None, wall_day: int) -> None:
        fill = await fill_of(self.window, instrument)
        tape = state is not None and state.clock == "tape"
        await self._follow(instrument, known.today, day_of(minute_of(state.watermark_ns)) if state and tape else wall_day)
        proves = state is not None and state.rule is IdRule.CONTIGUOUS
        known.slow = {"sealed": fill.minutes, "sealed_bytes": fill.bytes, "coverage": known.today.coverage(proves)}
        if known.last_price is None and fill.minutes:
            newest = (await self.window.sealed_minutes(instrument))[-1:]
            heads = await self._heads(instrument, newest)
            known.last_price = next((Decimal(bytes(head.close).decode()) for head in heads.values()), None)

    async def _follow(self, instrument: Instrument, today: Today, day: int) -> None:
        """Takes in what was sealed since the last look; at first, what was sealed lately, and the last minute before."""
        today.begin(day)
        since = f"({today.last_notice}" if today.last_notice else "-"
        for notice, fields in await self.window.ask(self.window.client.xrange(_key(instrument, "seals"), since)):
            today.last_notice = notice.decode()
            today.note(int(fields[b"minute"]), fields[b"status"].decode())
        while holes := today.unproven()[: HEADS_AT_ONCE // 2]:
            today.prove(holes, await self._heads(instrument, {m for hole in holes for m in hole}))

    async def _heads(self, instrument: Instrument, minutes: Iterable[int]) -> dict[int, Head]:
        values = await self.window.sealed(instrument, sorted(minutes))
        found = {}
        for minute, value in values.items():
            where = f"{instrument} {minute_text(minute)} in Redis"
            with suppress(DamagedMinute):  # `spillway verify` tells of it; here it is one that can't be had
                found[minute] = codec.split(codec.decompress(value, where), where).head
        return found

    def _read_ledger(self) -> None:
        self._gaps = self._ledger_error = None
        if self.ledger_url is None:
            return
        try:
            ledger = read_ledger(self.ledger_url)
            if ledger is not None:
                with ledger:
                    self._gaps = ledger.gaps.sums()
        except SpillwayError as error:
            self._ledger_error = f"{masked(self.ledger_url)}: {error}"

    # --- one instrument -------------------------------------------------------------------------------------------------

    async def _forget_revised(self, instrument: Instrument, known: _Known) -> None:
        """Lets go of minutes that were sealed anew."""
        if not known.last_notice:
            newest = await self.window.ask(self.window.client.xrevrange(_key(instrument, "seals"), count=1))
            known.last_notice = newest[0][0].decode() if newest else "0-0"
            known.minutes.clear()
        seals = self.window.client.xrange(_key(instrument, "seals"), f"({known.last_notice}")
        for notice, fields in await self.window.ask(seals):
            known.last_notice = notice.decode()
            known.minutes.pop(int(fields[b"minute"]), None)

    async def _load(self, instrument: Instrument, known: _Known, minutes: Sequence[int]) -> None:
        for minute in minutes:
            if minute not in known.minutes and (found := await self.window.load(instrument, minute)):
                known.minutes[minute] = found
        for minute in [m for m in known.minutes if m not in minutes]:
            del known.minutes[minute]


def _ids_missing(state: State) -> int | None:
    if state.rule is not IdRule.CONTIGUOUS:
        return None
    return sum(map(len, tracker(state.rule, state.ids).gaps()))


def _rate(known: _Known, state: State, bucket: OpenMinute | None, now_ns: int) -> float | None:
    """Trades a second over the last looks; at the first one, over the current minute so far."""
    counts = known.counts
    counts.append((now_ns, state.trade_count))
    while len(counts) > 2 and now_ns - counts[1][0] >= RATE_NS:
        counts.popleft()
    then_ns, then = counts[0]
    if now_ns > then_ns and state.trade_count >= then:
        return (state.trade_count - then) * NS_PER_S / (now_ns - then_ns)
    if bucket is None:
        return None
    within_ns = max(state.watermark_ns - bucket.start * NS_PER_MINUTE, NS_PER_S)
    return sum(row[3] for row in bucket.levels.values()) * NS_PER_S / within_ns


def _key(instrument: Instrument, name: str) -> str:
    return f"{PREFIX}{instrument.tag}:{name}"
