"""One instrument's writer: trades in through a bounded queue, flushes out to the window, with the lease held all the while.

The footprint runs ahead of Redis by at most one flush: while one is on its way, the next trades are summed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import TypeVar

import numpy as np

from pipeline import codec, crash, crowding, fixed, open_minute
from pipeline.errors import BadValue, DamagedMinute, RedisUnavailable, WindowMoved
from pipeline.footprint import Footprint
from pipeline.histogram import Histogram
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Gap, IdRange, Minute, Status
from pipeline.patience import patiently
from pipeline.ports import Keeper
from pipeline.ring import Ring
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, RawTrades, Reject, TradeBatch, TradeId, concat
from pipeline.window import Flush, Lease, RedisWindow, Sealed

LEASE_MS = 3000
WHOLE = (Status.COMPLETE, Status.REPAIRED)

T = TypeVar("T")
Raws = Callable[[int], tuple[str, str]]  # row -> its raw text, and where it stood


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How a writer behaves."""

    owner: str  # who holds the lease, for people and for the check whether it still lives
    dead_owner: str = ""  # a former owner that is known to be dead: its lease may be taken at once
    grace_ns: int = 5 * NS_PER_S  # exchange time that must pass after a minute before it is sealed
    quiet_ns: int = 30 * NS_PER_S  # the same by the clock, for markets where no later trade comes
    clock: str = "wall"  # or "tape"
    stream: str = ""  # which of the venue's id sequences comes in
    price_group: Decimal | None = None
    future_ns: int = 300 * NS_PER_S  # how far exchange times may be ahead of the clock


@dataclass(slots=True)
class Counts:
    """What became of the trades, since this writer started."""

    taken: int = 0  # in Redis
    duplicates: int = 0
    late: int = 0  # for a minute that was sealed before
    rejected: int = 0
    flushes: int = 0
    sealed: int = 0
    rewinds: int = 0
    whole: int = 0  # of the sealed, those whose ids prove that nothing is missing


@dataclass(slots=True)
class Writer:
    """Writes one instrument. Call `start`, then `take` and `flush` (or `run` with `put`), then `stop`."""

    instrument: Instrument
    rule: IdRule
    window: RedisWindow
    keeper: Keeper
    options: WriterOptions
    clock_ns: Callable[[], int]
    reject: Callable[[list[Reject]], Awaitable[None]]
    revive: Callable[[], Awaitable[None]] | None = None  # brings a Redis of our own back after it died
    counts: Counts = field(default_factory=Counts)
    flush_seconds: Histogram = field(default_factory=Histogram)  # a flush's way to Redis, with all tries
    _footprint: Footprint = field(init=False)
    _lease: Lease | None = None
    _token: str = ""
    _name: str = field(default_factory=lambda: secrets.token_hex(6))
    _number: int = 0
    _unflushed: int = 0
    _ring: Ring = field(default_factory=Ring)
    _sending: asyncio.Task[None] | None = None
    _kept: Minute | None = None  # the newest minute below the window, where the cursor knows nothing of it

    async def start(self) -> None:
        """Takes the lease and goes on where the last flush stopped. WriterHeld; BadValue for settings that don't fit."""
        options = self.options
        self._lease = await self.window.acquire(self.instrument, options.owner, LEASE_MS, dead_owner=options.dead_owner)
        try:
            await self._load()
            self._check_settings()
        except BaseException:
            await self.abandon()  # the next who tries must not find it held
            raise

    async def take(self, raw: RawTrades, raws: Raws, **kind: bool) -> int:
        """Checks, sums and remembers trades; what can't be one goes to the dead letters. Returns how many were fresh.

        `kind`, if any: `repair` for a page of history that fills a hole, `resumed` for the first live trades after a pause,
        `apart` for a page of history that need not join what is recorded.
        """
        scales = (self._footprint.price_scale, self._footprint.size_scale)
        batch, reasons = raw.checked(scales, latest_ns=self.clock_ns() + self.options.future_ns, **kind)
        if reasons:
            self.counts.rejected += len(reasons)
            await self.reject([Reject(*raws(row), reason) for row, reason in sorted(reasons.items())])
        return await self.fold(batch)

    async def fold(self, batch: TradeBatch) -> int:
        """Sums checked trades. Returns how many were fresh."""
        # First: should Redis turn out to have gone back, they are told again with the rest.
        self._ring.add(batch, self.clock_ns())
        return await self._fold(batch)

    async def flush(self, now_ns: int | None = None, *, everything: bool = False, check: bool = False) -> None:
        """Sends what changed and seals what is over; returns once the flush before is in Redis.

        `now_ns`: the clock (wall or tape) that seals quiet minutes. `everything`: seals the open minutes whatever their age.
        `check`: sends even nothing, to find out whether Redis still has what it was sent before.
        """
        await self.settle()
        flush = self._build(now_ns, everything, check)
        if flush:
            self._sending = asyncio.create_task(self._send(flush, self._unflushed), name=f"flush {self.instrument}")
            self._unflushed = 0

    async def settle(self) -> None:
        """Returns once all flushes sent so far are in Redis. Raises what they ran into."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        try:
            await sending
        except WindowMoved:
            await self._rewind()

    async def renew(self) -> None:
        """Keeps the lease. Fenced if a newer writer has it."""
        lease = self._lease
        if lease:
            await self._patient(lambda: self.window.renew(lease))

    async def stop(self) -> None:
        """Flushes, then gives the lease up."""
        rewinds = -1
        while rewinds != self.counts.rewinds:  # a Redis that turns out to have gone back only now is told again, too
            rewinds = self.counts.rewinds
            await self.flush(check=True)
            await self.settle()
        await self._release()

    async def abandon(self) -> None:
        """Gives the lease up, where it can, without flushing: after an error, or after `stop`, when it does nothing."""
        sending, self._sending = self._sending, None
        if sending:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)  # whatever it ran into, nobody asks any more
        with suppress(RedisUnavailable):
            await self._release()

    @property
    def watermark_ns(self) -> int:
        """The latest exchange time taken."""
        return self._footprint.watermark_ns

    @property
    def last_price(self) -> Decimal | None:
        """The close of the newest open minute as it stands; None while none is open."""
        footprint = self._footprint
        newest = max(footprint.open, default=None)
        return None if newest is None else fixed.to_decimal(footprint.open[newest].close, footprint.price_scale)

    @property
    def sided_volumes(self) -> tuple[Decimal, Decimal]:
        """What takers bought and sold, of all trades summed so far, by this and earlier writers."""
        footprint = self._footprint
        return fixed.to_decimal(footprint.buy, footprint.size_scale), fixed.to_decimal(footprint.sell, footprint.size_scale)

    @property
    def taken_in(self) -> int:
        """Trades summed so far, by this and earlier writers; the last flush may still be on its way."""
        return self._footprint.trades

    @property
    def last_id(self) -> TradeId | None:
        """The highest id taken, or else kept below a Redis that was emptied; None at the very start."""
        last_id = self._footprint.ids.last_id
        return self._kept.last_trade_id if last_id is None and self._kept else last_id

    @property
    def last_ns(self) -> int:
        """The latest exchange time taken, or else kept below a Redis that was emptied; 0 at the very start."""
        return self.watermark_ns or (self._kept.last_ns if self._kept else 0)

    @property
    def began(self) -> bool:
        """Whether anything but history fetched apart was taken, so that live trades go on from there."""
        return self._footprint.ids.began or (self._footprint.ids.last_id is None and self._kept is not None)

    def unseen(self, first: int, last: int) -> list[IdRange]:
        """What of first..last (ids; times in ns where ids are opaque) may not have been taken, as far as it is remembered."""
        return self._footprint.ids.unseen(first, last)

    def unseen_ns(self, since_ns: int, until_ns: int) -> list[tuple[int, int]]:
        """The times between which there may be trades that were not taken."""
        return self._footprint.ids.unseen_ns(since_ns, until_ns)

    def begin(self) -> None:
        """After history that reaches up to now: live trades go on from there."""
        self._footprint.ids.begin()

    def gaps(self) -> list[Gap]:
        """Holes in the ids known now."""
        return self._footprint.gaps()

    def known_ids(self) -> IdRange | None:
        """The first and the last id between which `gaps` tells all that is missing; None where it can't tell."""
        return self._footprint.known_ids()

    # --- starting -------------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        resumed = await self._patient(lambda: self.window.resume(self.instrument))
        if resumed:
            self._token, self._footprint = resumed
        else:
            self._token, self._footprint = "", Footprint(self.instrument, self.rule, self.options.price_group)
        self._footprint.stream = self._footprint.stream or self.options.stream
        self._footprint.clock = self.options.clock
        newest = await asyncio.to_thread(self.keeper.newest, self.instrument)
        if newest is not None and newest > self._footprint.newest_minute:
            # minutes were kept that this cursor knows nothing of: Redis went back, or was emptied
            self._footprint.newest_minute = self._footprint.doubt_until = newest
            self._kept = (await self._look_up([newest])).get(newest)
            if self._kept and self._footprint.ids.last_id is None:
                self._footprint.ids.recall(self._kept)
        await self._prefer_kept()

    async def _prefer_kept(self) -> None:
        """An open minute of which a copy with its revision or a later one is kept was sealed before Redis went back."""
        open_now = self._footprint.open
        for start, kept in (await self._look_up(list(open_now))).items():
            if kept and kept.revision >= open_now[start].revision:
                self._footprint.reopen(kept)
                self._footprint.doubt_until = max(self._footprint.doubt_until, start)

    def _check_settings(self) -> None:
        footprint, options = self._footprint, self.options
        if footprint.ids.rule is not self.rule:
            raise BadValue(f"{self.instrument}: stored with {footprint.ids.rule} ids, now asked to write {self.rule} ones")
        if footprint.stream and options.stream and footprint.stream != options.stream:
            raise BadValue(
                f"{self.instrument}: holds trades with ids of the {footprint.stream!r} sequence, these are of "
                f"{options.stream!r}: the same trades would count twice; use another data folder"
            )
        if footprint.price_group != options.price_group:
            raise BadValue(
                f"{self.instrument}: was stored with price_group {footprint.price_group or 'none'}, now set to "
                f"{options.price_group or 'none'}: expected the same, or another data folder"
            )

    # --- taking ---------------------------------------------------------------------------------------------------------

    async def _fold(self, batch: TradeBatch) -> int:
        footprint = self._footprint
        admitted = footprint.admit(batch)
        fresh = admitted.fresh
        if (len(admitted.doubtful) or footprint.wanted(fresh)) and await self._rewound(footprint):
            return 0
        self.counts.duplicates += admitted.duplicates
        if len(admitted.doubtful):
            fresh = footprint.ids.sort(concat([await self._settle_doubt(admitted.doubtful), fresh]))
        fresh = await self._refuse_crowded(await self._reopen(footprint.wanted(fresh), fresh))
        footprint.add(fresh)
        self._unflushed += len(fresh)
        if footprint.touched - footprint.open.keys() and not await self._rewound(footprint):
            await self._reopen(footprint.wanted(fresh.take(slice(0, 0))), fresh)
        return len(fresh)

    async def _rewound(self, footprint: Footprint) -> bool:
        """Before stored minutes are looked up: a flush that is on its way may hold them, so it must be in Redis first.

        True if Redis turned out to have gone back: then all that is remembered has been summed anew, these trades too.
        """
        await self.settle()
        return self._footprint is not footprint

    async def _settle_doubt(self, doubtful: TradeBatch) -> TradeBatch:
        """Of trades that only their minutes can tell about, those that are new."""
        minutes = {int(m) for m in set((doubtful.ts_ns // NS_PER_MINUTE).tolist())} - self._footprint.open.keys()
        stored, damaged = await self._look_up_all(sorted(minutes))
        doubtful = await self._refuse_damaged(doubtful, damaged)
        found = self._footprint.settle(doubtful, stored)
        self.counts.duplicates += len(doubtful) - len(found)
        return found

    async def _reopen(self, wanted: Iterable[int], fresh: TradeBatch) -> TradeBatch:
        stored, damaged = await self._look_up_all(wanted)
        fresh = self._without_held(await self._refuse_damaged(fresh, damaged), stored)
        for minute in stored.values():
            if minute:
                self._footprint.reopen(minute)
                self.counts.late += int((fresh.ts_ns // NS_PER_MINUTE == minute.start).sum())
        return fresh

    def _without_held(self, fresh: TradeBatch, stored: dict[int, Minute | None]) -> TradeBatch:
        """Late trades but those that their stored minutes hold already: Redis went back, and forgot that they were taken.

        Contiguous ids can always tell, others only where it is known that Redis went back.
        """
        ever = self.rule is IdRule.CONTIGUOUS
        footprint = self._footprint
        forgotten = [start for start, minute in stored.items() if minute and footprint.forgot(minute)]
        footprint.doubt_until = max([footprint.doubt_until, *forgotten])
        asked = [start for start, minute in stored.items() if minute and (ever or start <= footprint.doubt_until)]
        if not asked:
            return fresh
        late = np.isin(fresh.ts_ns // NS_PER_MINUTE, asked)
        new = footprint.settle(fresh.take(late), stored)
        held = int(late.sum()) - len(new)
        self.counts.duplicates += held
        return footprint.ids.sort(concat([new, fresh.take(~late)])) if held else fresh

    async def _refuse_damaged(self, batch: TradeBatch, damaged: dict[int, str]) -> TradeBatch:
        """Trades of a minute whose stored copy is damaged can't be merged: they go to the dead letters, not lost."""
        if not damaged:
            return batch
        minutes = (batch.ts_ns // NS_PER_MINUTE).tolist()
        return await self._refuse(batch, {row: damaged[start] for row, start in enumerate(minutes) if start in damaged})

    async def _refuse_crowded(self, batch: TradeBatch) -> TradeBatch:
        rows = np.flatnonzero(crowding.crowded(self._footprint, batch)).tolist()
        reason = f"the minute holds {crowding.MAX_LEVELS} prices already"
        return await self._refuse(batch, dict.fromkeys(rows, reason))

    async def _refuse(self, batch: TradeBatch, reasons: Mapping[int, str]) -> TradeBatch:
        """Rows go to the dead letters, each with its reason. The rest."""
        if not reasons:
            return batch
        where = str(self.instrument)
        self.counts.rejected += len(reasons)
        await self.reject([Reject(batch.describe(row), where, reason) for row, reason in reasons.items()])
        keep = np.ones(len(batch), dtype=bool)
        keep[list(reasons)] = False
        return batch.take(keep)

    async def _look_up(self, minutes: Iterable[int]) -> dict[int, Minute | None]:
        return (await self._look_up_all(minutes))[0]

    async def _look_up_all(self, minutes: Iterable[int]) -> tuple[dict[int, Minute | None], dict[int, str]]:
        """Minutes as they are stored, in the window or below it; and those whose stored copy is damaged, with the reason."""
        found: dict[int, Minute | None] = {}
        damaged: dict[int, str] = {}
        for start in minutes:
            try:
                hot = await self._patient(partial(self.window.load, self.instrument, start))
                found[start] = kept = await asyncio.to_thread(self.keeper.load, self.instrument, start)
                if hot and (kept is None or kept.revision <= hot.revision):
                    found[start] = hot
                elif hot:  # the copy below the window is never the later one, unless Redis went back
                    self._footprint.doubt_until = max(self._footprint.doubt_until, start)
            except DamagedMinute as error:
                damaged[start] = str(error)
        return found, damaged

    # --- flushing -------------------------------------------------------------------------------------------------------

    def _build(self, now_ns: int | None, everything: bool, check: bool) -> Flush | None:
        footprint = self._footprint
        now = footprint.watermark_ns if now_ns is None else now_ns
        footprint.note_changes(now)
        times = (now, self.options.grace_ns, self.options.quiet_ns)
        sealed, drops = [], []
        for start in sorted(footprint.open) if everything else footprint.due(*times):
            bucket = footprint.open[start]
            minute = footprint.seal(start, cut_short=not footprint.is_over(start, *times))
            if bucket.stored:
                drops.append(start)
            if not _unchanged(minute, bucket.reopened):
                sealed.append(_sealed(minute))
            footprint.close(start)
        changes = open_minute.changes(footprint.open.values(), footprint.price_scale, footprint.size_scale)
        if not (changes or drops or sealed or self._unflushed or (check and self._token)):
            return None
        self._number += 1
        flush = Flush(self._token, f"{self._name}:{self._number}", footprint.state(), changes, drops, sealed)
        self._token = flush.token
        return flush

    async def _send(self, flush: Flush, trades: int) -> None:
        """Sends until Redis has it. A flush may be repeated: the script knows its token."""
        lease = self._lease
        assert lease is not None

        async def once() -> None:
            crash.point("flush.before")
            if flush.sealed:
                crash.point("seal.before")
            await self.window.flush(lease, flush)

        with self.flush_seconds.timed():
            await self._patient(once)
        crash.point("flush.after")
        if flush.sealed:
            crash.point("seal.after")
        self.counts.taken += trades
        self.counts.flushes += 1
        self.counts.sealed += len(flush.sealed)
        self.counts.whole += sum(each.status in WHOLE for each in flush.sealed)

    async def _patient(self, step: Callable[[], Awaitable[T]]) -> T:
        """Does what may be done twice, however often it takes."""
        return await patiently(step, self.revive)

    async def _rewind(self) -> None:
        """Redis went back: starts again from its cursor, and tells it what this process still remembers."""
        self.counts.rewinds += 1
        self._unflushed = 0
        await self._load()
        for number, batch in enumerate(self._ring):  # nothing is on its way now, so that this can't rewind again
            await self._fold(batch if number else replace(batch, resumed=True))  # what came before may be lost

    async def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease:
            await self.window.release(lease)


def _sealed(minute: Minute) -> Sealed:
    value = codec.compress(codec.encode(minute))
    trade_count = sum([row[3] for row in minute.levels.values()])
    return Sealed(minute.start, value, minute.revision, minute.status, trade_count)


def _unchanged(minute: Minute, stored: Minute | None) -> bool:
    """Whether a minute that was opened again came out as it went in."""
    return stored is not None and codec.encode(replace(minute, revision=stored.revision)) == codec.encode(stored)
