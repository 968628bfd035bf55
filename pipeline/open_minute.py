"""A minute that still takes trades.

In Redis it is a hash of price -> `buy sell total count`, and one field, `meta`, of all else. Numbers are integers at the scales
that `meta` names, so that a flush writes only the levels that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from pipeline.aggregate import MinuteSum
from pipeline.ids import RangeSet
from pipeline.instrument import Instrument
from pipeline.minute import IdRange, Minute, Status
from pipeline.trade import TradeId

META = b"meta"


@dataclass(slots=True)
class OpenMinute:
    """A minute that still takes trades. Numbers are integers at the footprint's scales."""

    start: int
    levels: dict[int, list[int]] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)  # prices changed since the last flush
    rewrite: bool = True  # all levels must be written
    stored: bool = False  # Redis has a copy
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    notional: int = 0
    first_id: TradeId = 0
    last_id: TradeId = 0
    first_ns: int = 0
    last_ns: int = 0
    seen: int = 0
    ranges: RangeSet = field(default_factory=RangeSet)
    repaired: bool = False
    revision: int = 1
    reopened: Minute | None = None  # the stored minute that this one continues
    late: bool = False  # opened after its time
    changed_ns: int = 0  # by the clock that flushes: when it was last found changed

    @classmethod
    def continuing(cls, minute: Minute) -> OpenMinute:
        """A stored minute, opened again: what is sealed from it will be its next revision."""
        return cls(
            minute.start,
            {price: list(row) for price, row in minute.levels.items()},
            open=minute.open,
            high=minute.high,
            low=minute.low,
            close=minute.close,
            notional=minute.notional,
            first_id=minute.first_trade_id,
            last_id=minute.last_trade_id,
            first_ns=minute.first_ns,
            last_ns=minute.last_ns,
            seen=minute.seen,
            ranges=RangeSet(minute.id_ranges),
            repaired=minute.status is Status.REPAIRED,
            revision=minute.revision + 1,
            reopened=minute,
            late=True,
        )

    def value(self, instrument: Instrument, scales: tuple[int, int], missing: tuple[IdRange, ...], status: Status) -> Minute:
        """The minute as it stands, as a value. `scales`: of prices and of sizes."""
        return Minute(
            instrument=instrument,
            start=self.start,
            price_scale=scales[0],
            size_scale=scales[1],
            levels={price: tuple(row) for price, row in self.levels.items()},  # type: ignore[misc]
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            notional=self.notional,
            first_trade_id=self.first_id,
            last_trade_id=self.last_id,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            id_ranges=tuple(self.ranges),
            missing=missing,
            status=status,
            seen=self.seen,
            revision=self.revision,
        )

    def merge(self, part: MinuteSum, group: int, by_time: bool) -> None:
        """Adds a batch's sums. `group`: floor prices to a multiple of it; `by_time`: ids have no order."""
        first, last = (part.first_ns, part.last_ns) if by_time else (part.first_id, part.last_id)
        if not self.seen or first < (self.first_ns if by_time else self.first_id):  # type: ignore[operator]
            self.open, self.first_id, self.first_ns = part.open, part.first_id, part.first_ns
        if not self.seen or last >= (self.last_ns if by_time else self.last_id):  # type: ignore[operator]
            self.close, self.last_id, self.last_ns = part.close, part.last_id, part.last_ns
        self.high = max(self.high, part.high)
        self.low = min(self.low, part.low) if self.seen else part.low
        self.seen += part.seen
        for id_range in part.id_ranges:
            self.ranges.add(*id_range)
        self._add_levels(part, group)

    def _add_levels(self, part: MinuteSum, group: int) -> None:
        if not self.levels and not group:  # as good as always, when a tape is played
            self.levels = {price: [buy, sell, total, count] for price, buy, sell, total, count in part.levels}
            self.notional += sum([row[0] * row[3] for row in part.levels])
            self.dirty.update(self.levels)
            return
        levels, dirty, notional = self.levels, self.dirty, 0
        for price, buy, sell, total, count in part.levels:
            notional += price * total
            level = price - price % group if group else price
            row = levels.get(level)
            if row is None:
                levels[level] = [buy, sell, total, count]
            else:
                row[0] += buy
                row[1] += sell
                row[2] += total
                row[3] += count
            dirty.add(level)
        self.notional += notional

    def widen(self, by_price: int, by_size: int) -> None:
        """Multiplies prices and sizes: the instrument's scale got finer."""
        self.levels = {p * by_price: [b * by_size, s * by_size, t * by_size, n] for p, (b, s, t, n) in self.levels.items()}
        self.open, self.high = self.open * by_price, self.high * by_price
        self.low, self.close = self.low * by_price, self.close * by_price
        self.notional *= by_price * by_size
        self.rewrite = True


class Meta(msgspec.Struct, array_like=True):
    """All of an open minute but its levels."""

    price_scale: int
    size_scale: int
    open: int
    high: int
    low: int
    close: int
    notional: str  # may exceed 64 bits
    first_id: int | str
    last_id: int | str
    first_ns: int
    last_ns: int
    seen: int
    ranges: list[IdRange]
    repaired: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """What a flush writes of one open minute."""

    start: int
    rewrite: bool  # the stored hash is replaced, not added to
    fields: list[bytes | str]  # field, value, field, value, ...


def changes(buckets: Iterable[OpenMinute], price_scale: int, size_scale: int) -> list[Change]:
    """What changed in open minutes since the last call; they then count as written."""
    found = []
    for bucket in buckets:
        if bucket.dirty or bucket.rewrite:
            found.append(_change(bucket, price_scale, size_scale))
            bucket.dirty.clear()
            bucket.rewrite = False
            bucket.stored = True
    return found


def parse(start: int, fields: Mapping[bytes, bytes]) -> tuple[OpenMinute, int, int]:
    """An open minute from its hash, with the price and size scales that it was written at."""
    meta = msgspec.json.decode(fields[META], type=Meta)
    bucket = OpenMinute(
        start,
        {int(price): [int(n) for n in row.split()] for price, row in fields.items() if price != META},
        rewrite=False,
        stored=True,
        open=meta.open,
        high=meta.high,
        low=meta.low,
        close=meta.close,
        notional=int(meta.notional),
        first_id=meta.first_id,
        last_id=meta.last_id,
        first_ns=meta.first_ns,
        last_ns=meta.last_ns,
        seen=meta.seen,
        ranges=RangeSet(meta.ranges),
        repaired=meta.repaired,
        revision=meta.revision,
    )
    return bucket, meta.price_scale, meta.size_scale


def _change(bucket: OpenMinute, price_scale: int, size_scale: int) -> Change:
    levels = bucket.levels
    fields: list[bytes | str] = [META, _meta(bucket, price_scale, size_scale)]
    for price in levels if bucket.rewrite else bucket.dirty:
        buy, sell, total, count = levels[price]
        fields += (str(price), f"{buy} {sell} {total} {count}")
    return Change(bucket.start, bucket.rewrite and bucket.stored, fields)


def _meta(b: OpenMinute, price_scale: int, size_scale: int) -> bytes:
    return msgspec.json.encode(
        Meta(
            price_scale,
            size_scale,
            b.open,
            b.high,
            b.low,
            b.close,
            str(b.notional),
            b.first_id,
            b.last_id,
            b.first_ns,
            b.last_ns,
            b.seen,
            list(b.ranges),
            b.repaired,
            b.revision,
        )
    )
