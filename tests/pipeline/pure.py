"""A footprint with a store around it, as the writer keeps one, but in memory and without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import msgspec

from pipeline import codec, open_minute
from pipeline.footprint import Footprint, State
from pipeline.instrument import IdRule
from pipeline.minute import Minute
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, Trade, TradeBatch, concat
from tests.pipeline.builders import BTC

GRACE_NS = 5 * NS_PER_S
QUIET_NS = 30 * NS_PER_S


class PureStore:
    """Takes trades, flushes, seals, and can lose all that was not flushed."""

    def __init__(self, rule: IdRule = IdRule.CONTIGUOUS, group: Decimal | None = None) -> None:
        self.footprint = Footprint(BTC, rule, group)
        self.stored: dict[int, bytes] = {}  # sealed minutes, as their bytes
        self.hashes: dict[int, dict[bytes, bytes]] = {}  # open minutes, as Redis has them
        self.state = self.footprint.state()
        self.duplicates = 0

    def take(self, *trades: Trade, **kind: bool) -> int:
        """Takes single trades as one batch; `kind`: repair, resumed, apart. Returns how many were fresh."""
        return self.fold(TradeBatch.of(trades, **kind))

    def fold(self, batch: TradeBatch) -> int:
        """The three steps of a batch: admit, reopen, add."""
        footprint = self.footprint
        admitted = footprint.admit(batch)
        fresh = admitted.fresh
        self.duplicates += admitted.duplicates
        if len(admitted.doubtful):
            asked = {int(m): self.load(int(m)) for m in admitted.doubtful.ts_ns // NS_PER_MINUTE if m not in footprint.open}
            found = footprint.settle(admitted.doubtful, asked)
            self.duplicates += len(admitted.doubtful) - len(found)
            fresh = footprint.ids.sort(concat([found, fresh]))
        self._reopen(footprint.wanted(fresh))
        footprint.add(fresh)
        self._reopen(footprint.wanted(fresh.take(slice(0, 0))))
        return len(fresh)

    def flush(self, *, everything: bool = False, now_ns: int = 0) -> list[int]:
        """Writes what changed and seals what is over. Returns the minutes that got a new revision."""
        footprint = self.footprint
        times = (now_ns or footprint.watermark_ns, GRACE_NS, QUIET_NS)
        footprint.note_changes(times[0])
        new = []
        for start in sorted(footprint.open) if everything else footprint.due(*times):
            minute = footprint.seal(start, cut_short=not footprint.is_over(start, *times))
            reopened = footprint.open[start].reopened
            if reopened is None or codec.encode(replace(minute, revision=reopened.revision)) != codec.encode(reopened):
                self.stored[start] = codec.encode(minute)
                new.append(start)
            self.hashes.pop(start, None)
            footprint.close(start)
        for change in open_minute.changes(footprint.open.values(), footprint.price_scale, footprint.size_scale):
            self._write(change)
        self.state = footprint.state()
        return new

    def rest(self) -> list[int]:
        """Flushes, and once more after a while in which no trade came: then reopened minutes are sealed too."""
        return sorted({*self.flush(), *self.flush(now_ns=self.footprint.watermark_ns + QUIET_NS)})

    def crash(self) -> None:
        """Forgets all that was not flushed, and goes on with what was."""
        state = msgspec.json.decode(self.state, type=State)
        buckets = [open_minute.parse(start, self.hashes[start])[0] for start in state.open_minutes]
        self.footprint = Footprint.resume(BTC, state, buckets)

    def load(self, start: int) -> Minute | None:
        """A sealed minute."""
        data = self.stored.get(start)
        return codec.decode(data, str(start)) if data else None

    def minutes(self) -> dict[int, Minute]:
        """All minutes as they stand now, sealed and open."""
        sealed = {start: codec.decode(data, str(start)) for start, data in self.stored.items()}
        return sealed | {start: self.footprint.seal(start) for start in self.footprint.open}

    def _reopen(self, wanted: Sequence[int]) -> None:
        for start in wanted:
            minute = self.load(start)
            if minute:
                self.footprint.reopen(minute)

    def _write(self, change: open_minute.Change) -> None:
        if change.rewrite:
            self.hashes.pop(change.start, None)
        texts = [f if isinstance(f, bytes) else f.encode() for f in change.fields]
        self.hashes.setdefault(change.start, {}).update(zip(texts[::2], texts[1::2], strict=True))
