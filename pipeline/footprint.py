"""The footprint of one instrument: trades in, open minute buckets out. Pure: no I/O, no clock.

A batch goes through three steps: `admit` drops what was seen, `reopen` is given the stored minutes that late trades belong to
(the caller fetches them), `add` sums. `changes` and `seal` say what to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from pipeline import fixed
from pipeline.aggregate import sums
from pipeline.ids import RangeSet, tracker
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Gap, IdRange, Minute, Status
from pipeline.open_minute import OpenMinute
from pipeline.trade import NS_PER_MINUTE, TradeBatch, TradeId


@dataclass(frozen=True, slots=True)
class Admitted:
    """What `admit` made of a batch."""

    fresh: TradeBatch
    doubtful: TradeBatch  # only the stored minute can tell whether these were taken
    duplicates: int


class State(msgspec.Struct, omit_defaults=True):
    """The cursor: all that a writer needs to go on, stored with every flush."""

    rule: IdRule
    ids: dict[str, Any]
    price_scale: int
    size_scale: int
    price_group: str  # decimal text, empty for none
    watermark_ns: int  # the latest exchange time taken
    newest_minute: int  # the latest minute ever opened, or found stored
    open_minutes: list[int]
    trades: int  # messages taken
    volume: str  # their sizes' exact sum, as text
    clock: str = "wall"  # whose time moves the window on: the wall's or the tape's
    stream: str = ""  # which of a venue's id sequences: trades and aggregated trades count apart
    doubt_until: int = -1  # the latest minute that is stored but that these ids may know nothing of
    buy: str = "0"  # as volume, of what takers bought; "0" in cursors of before these were counted
    sell: str = "0"
    trade_count: int = 0  # a message may stand for several trades

    @property
    def group(self) -> Decimal | None:
        """The price group, if prices are grouped."""
        return Decimal(self.price_group) if self.price_group else None


class Footprint:
    """Open minutes, what was seen, and how far time has come, for one instrument."""

    def __init__(self, instrument: Instrument, rule: IdRule, price_group: Decimal | None = None) -> None:
        self.instrument = instrument
        self.ids = tracker(rule)
        self.price_scale = fixed.scale_of(price_group) if price_group else 0
        self.size_scale = 0
        self.price_group = price_group
        self.open: dict[int, OpenMinute] = {}
        self.watermark_ns = 0
        self.newest_minute = -1
        self.trades = 0
        self.volume = self.buy = self.sell = self.trade_count = 0
        self.clock = "wall"
        self.stream = ""
        self.doubt_until = -1  # minutes stored by a run that this cursor knows nothing of (Redis was lost)
        self._touched: set[int] = set()  # stored minutes whose completeness changed
        self._offered: TradeBatch | None = None  # the batch under way, whole

    # --- in -------------------------------------------------------------------------------------------------------------

    def admit(self, batch: TradeBatch) -> Admitted:
        """Parts a batch into what is fresh, what only its minute can tell, and what was seen."""
        self._touched.clear()  # the batch before is done with
        batch = self._offered = self.ids.sort(batch)
        fresh, doubtful = self.ids.judge(batch)
        if self.doubt_until >= 0:
            old = fresh & (batch.ts_ns < (self.doubt_until + 1) * NS_PER_MINUTE)
            fresh, doubtful = fresh & ~old, doubtful | old
        if fresh.all():
            return Admitted(batch, batch.take(slice(0, 0)), 0)
        duplicates = len(batch) - int(fresh.sum()) - int(doubtful.sum())
        return Admitted(batch.take(fresh), batch.take(doubtful), duplicates)

    def settle(self, doubtful: TradeBatch, stored: Mapping[int, Minute | None]) -> TradeBatch:
        """Of doubtful trades, those that their minutes, open or stored, don't hold. The held ones are remembered."""
        rows = zip(doubtful.ts_ns.tolist(), doubtful.ids.tolist(), strict=True)
        held = np.array([self._held(ts_ns, trade_id, stored) for ts_ns, trade_id in rows], dtype=bool)
        if held.any():
            self.ids.remember(doubtful.take(held))
        return doubtful.take(~held)

    def forgot(self, minute: Minute) -> bool:
        """Whether a stored minute was sealed by a run that this cursor knows nothing of: it holds what was not taken."""
        by_id = self.ids.rule is IdRule.MONOTONIC
        ends = ((minute.first_trade_id, minute.first_ns), (minute.last_trade_id, minute.last_ns))
        return any(self.ids.lacks(trade_id if by_id else ns, trade_id) for trade_id, ns in ends)  # type: ignore[arg-type]

    def wanted(self, batch: TradeBatch) -> list[int]:
        """The minutes that must be looked up in the store before `batch` may be added: they may exist already."""
        of = batch.ts_ns // NS_PER_MINUTE
        minutes = set(of[np.flatnonzero(np.diff(of, prepend=-1))].tolist())
        return sorted(m for m in minutes | self._touched if m <= self.newest_minute and m not in self.open)

    def reopen(self, minute: Minute) -> None:
        """Goes on with a stored minute: what is sealed from it will be its next revision."""
        self.newest_minute = max(self.newest_minute, minute.start)
        self._widen_to(minute.price_scale, minute.size_scale)
        by_price = 10 ** (self.price_scale - minute.price_scale)
        by_size = 10 ** (self.size_scale - minute.size_scale)
        replaced = self.open.get(minute.start)
        bucket = OpenMinute.continuing(minute)
        bucket.stored = replaced is not None and replaced.stored  # then Redis must drop what it has
        bucket.widen(by_price, by_size)
        self.open[minute.start] = bucket

    def add(self, batch: TradeBatch) -> None:
        """Sums fresh trades into their minutes. Each minute up to `newest_minute` must have been looked up."""
        holes = self.ids.gaps() if batch.apart else []
        self._touched = self.ids.add(batch, self._offered)
        self._offered = None
        if not len(batch):
            return
        self._widen_to(batch.price_scale, batch.size_scale)
        batch = batch.widened(self.price_scale, self.size_scale)
        group = fixed.at_scale(self.price_group, self.price_scale) if self.price_group else 0
        rule = self.ids.rule
        for part in sums(batch, with_ranges=rule is IdRule.CONTIGUOUS):
            bucket = self.open.get(part.minute)
            if bucket is None:
                late = batch.apart or part.minute < self.newest_minute  # a page may end inside it
                bucket = self.open[part.minute] = OpenMinute(part.minute, late=late)
            bucket.merge(part, group, rule is IdRule.OPAQUE)
            bucket.repaired |= batch.repair or (bool(holes) and _fills(part.id_ranges, holes))
            self.newest_minute = max(self.newest_minute, part.minute)
            _, buy, sell, total, count = map(sum, zip(*part.levels, strict=True))
            self.buy, self.sell, self.volume = self.buy + buy, self.sell + sell, self.volume + total
            self.trade_count += count
        self.trades += len(batch)
        self.watermark_ns = max(self.watermark_ns, int(batch.ts_ns.max()))

    @property
    def touched(self) -> set[int]:
        """Minutes whose completeness the last `add` changed; those stored must be reopened."""
        return self._touched

    # --- out ------------------------------------------------------------------------------------------------------------

    def note_changes(self, now_ns: int) -> None:
        """Notes at which time, by the caller's clock, open minutes were found changed since the last flush."""
        for bucket in self.open.values():
            if bucket.dirty or not bucket.changed_ns:
                bucket.changed_ns = now_ns

    def due(self, now_ns: int, grace_ns: int, quiet_ns: int) -> list[int]:
        """Open minutes that are over: by later trades and a grace time, or, in a quiet market, by the clock.

        A minute that is being repaired waits until no more comes for it: else each page of a repair made a revision.
        """
        return [m for m in sorted(self.open) if self._is_due(self.open[m], now_ns, grace_ns, quiet_ns)]

    def _is_due(self, bucket: OpenMinute, now_ns: int, grace_ns: int, quiet_ns: int) -> bool:
        end_ns, unchanged_ns = (bucket.start + 1) * NS_PER_MINUTE, now_ns - bucket.changed_ns
        if end_ns + grace_ns <= self.watermark_ns and (not bucket.late or unchanged_ns >= grace_ns):
            return True
        return end_ns + quiet_ns <= now_ns and unchanged_ns >= quiet_ns

    def is_over(self, start: int, now_ns: int, grace_ns: int, quiet_ns: int) -> bool:
        """Whether a minute's time is over, and its grace time, though it may be waiting for the rest of a repair."""
        end_ns = (start + 1) * NS_PER_MINUTE
        return end_ns + grace_ns <= self.watermark_ns or end_ns + quiet_ns <= now_ns

    def seal(self, start: int, *, cut_short: bool = False) -> Minute:
        """An open minute as a value. `cut_short`: its time is not over, so nothing proves it whole."""
        bucket = self.open[start]
        missing = self._missing(start)
        status = self._status(bucket, missing, cut_short)
        return bucket.value(self.instrument, (self.price_scale, self.size_scale), missing, status)

    def close(self, start: int) -> None:
        """Forgets an open minute: it was sealed."""
        del self.open[start]

    def gaps(self) -> list[Gap]:
        """Holes known now."""
        return self.ids.gaps()

    def known_ids(self) -> IdRange | None:
        """The first and the last id between which `gaps` tells all that is missing; None where it can't tell."""
        return self.ids.known()

    # --- the cursor -----------------------------------------------------------------------------------------------------

    def state(self) -> bytes:
        """The cursor, as stored."""
        return msgspec.json.encode(
            State(
                self.ids.rule,
                self.ids.state(),
                self.price_scale,
                self.size_scale,
                str(self.price_group or ""),
                self.watermark_ns,
                self.newest_minute,
                sorted(self.open),
                self.trades,
                fixed.to_text(self.volume, self.size_scale),
                self.clock,
                self.stream,
                self.doubt_until,
                fixed.to_text(self.buy, self.size_scale),
                fixed.to_text(self.sell, self.size_scale),
                self.trade_count,
            )
        )

    @classmethod
    def resume(cls, instrument: Instrument, state: State, buckets: Iterable[OpenMinute]) -> Footprint:
        """The footprint as it was when `state` was stored, with the open minutes stored beside it."""
        footprint = cls(instrument, state.rule, state.group)
        footprint.ids = tracker(state.rule, state.ids)
        footprint.price_scale, footprint.size_scale = state.price_scale, state.size_scale
        footprint.open = {b.start: b for b in buckets}
        footprint.watermark_ns, footprint.newest_minute = state.watermark_ns, state.newest_minute
        footprint.trades = state.trades
        volumes = (fixed.at_scale(Decimal(text), state.size_scale) for text in (state.volume, state.buy, state.sell))
        footprint.volume, footprint.buy, footprint.sell = volumes
        footprint.trade_count = state.trade_count
        footprint.clock, footprint.stream, footprint.doubt_until = state.clock, state.stream, state.doubt_until
        return footprint

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _held(self, ts_ns: int, trade_id: TradeId, stored: Mapping[int, Minute | None]) -> bool:
        bucket, kept = self.open.get(ts_ns // NS_PER_MINUTE), stored.get(ts_ns // NS_PER_MINUTE)
        if bucket:
            ids, times, ranges = (bucket.first_id, bucket.last_id), (bucket.first_ns, bucket.last_ns), bucket.ranges
        elif kept:
            ids, times = (kept.first_trade_id, kept.last_trade_id), (kept.first_ns, kept.last_ns)
            ranges = RangeSet(kept.id_ranges)
        else:
            return False
        if self.ids.rule is IdRule.CONTIGUOUS:
            return isinstance(trade_id, int) and trade_id in ranges
        if self.ids.rule is IdRule.MONOTONIC:
            return ids[0] <= trade_id <= ids[1]  # type: ignore[operator]
        return times[0] <= ts_ns <= times[1]  # opaque ids so old can't be told apart but by time

    def _missing(self, minute: int) -> tuple[IdRange, ...]:
        """The gaps that touch a minute; where the oldest were forgotten, its own ids still tell those inside it."""
        found = [(g.first_id, g.last_id) for g in self.ids.gaps() if minute in g.minutes]
        below = self.ids.forgotten_below
        inside = self.open[minute].ranges.holes() if below is not None else []
        return (*((a, b) for a, b in inside if b < (below or 0)), *found)

    def _status(self, bucket: OpenMinute, missing: tuple[IdRange, ...], cut_short: bool) -> Status:
        if missing:
            return Status.DEGRADED
        if cut_short or not self.ids.proven(bucket.start * NS_PER_MINUTE):
            return Status.UNKNOWN
        return Status.REPAIRED if bucket.repaired else Status.COMPLETE

    def _widen_to(self, price_scale: int, size_scale: int) -> None:
        price_scale, size_scale = max(price_scale, self.price_scale), max(size_scale, self.size_scale)
        by_price, by_size = 10 ** (price_scale - self.price_scale), 10 ** (size_scale - self.size_scale)
        if by_price == by_size == 1:
            return
        for bucket in self.open.values():
            bucket.widen(by_price, by_size)
        self.volume, self.buy, self.sell = self.volume * by_size, self.buy * by_size, self.sell * by_size
        self.price_scale, self.size_scale = price_scale, size_scale


def _fills(ranges: Sequence[IdRange], holes: Sequence[Gap]) -> bool:
    """Whether any of these ids were known to be missing."""
    return any(first <= hole.last_id and last >= hole.first_id for first, last in ranges for hole in holes)
