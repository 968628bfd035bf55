"""A minute bucket: all trades of an instrument in one UTC minute, summed per price level. A value; nothing changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from pipeline import fixed
from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_MINUTE, TradeId

MINUTES_PER_DAY = 1440
VWAP_EXTRA_DECIMALS = 4  # the vwap has this many more decimals than the price

IdRange = tuple[int, int]


class Status(StrEnum):
    """What is known of a minute's completeness."""

    COMPLETE = "complete"  # the ids prove that nothing is missing
    REPAIRED = "repaired"  # the same, after a hole was filled
    DEGRADED = "degraded"  # ids are missing, and known
    UNKNOWN = "unknown"  # nothing proves it: the venue's ids say nothing, or recording began or ended inside


@dataclass(frozen=True, slots=True)
class PriceLevel:
    """What traded at one price in one minute. `total_volume` exceeds buy + sell by what had no aggressor.

    The price may be 0: grouped prices are floored.
    """

    price: Decimal
    buy_volume: Decimal
    sell_volume: Decimal
    total_volume: Decimal
    trade_count: int

    def __post_init__(self) -> None:
        if self.price < 0 or self.trade_count < 1 or min(self.buy_volume, self.sell_volume) < 0:
            raise BadValue(f"price level {self.price}: expected a price and volumes of 0 or more, and a trade")
        if self.buy_volume + self.sell_volume > self.total_volume:
            raise BadValue(f"price level {self.price}: buy and sell exceed the total {self.total_volume}")

    @property
    def delta(self) -> Decimal:
        """Buy volume less sell volume."""
        return self.buy_volume - self.sell_volume


@dataclass(frozen=True, slots=True)
class Gap:
    """Trade ids that were never seen, and the times of the trades on both sides (ns since 1970)."""

    first_id: int
    last_id: int
    before_ns: int
    after_ns: int

    def __post_init__(self) -> None:
        if self.last_id < self.first_id:
            raise BadValue(f"gap {self.first_id}..{self.last_id}: the last id is below the first")

    def __len__(self) -> int:
        return self.last_id - self.first_id + 1

    @property
    def minutes(self) -> range:
        """The minutes that the missing trades may belong to."""
        first, last = sorted((minute_of(self.before_ns), minute_of(self.after_ns)))
        return range(first, last + 1)


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute bucket.

    Prices and volumes are integers at `price_scale` and `size_scale`; `notional` (the exact sum of price x size) is at the
    sum of both. `levels` is price -> (buy, sell, total, trade count). Of the two trades at the edges, `first_*` is the one
    with the lowest id (or, with opaque ids, the earliest).
    """

    instrument: Instrument
    start: int  # minutes since 1970-01-01 00:00 UTC
    price_scale: int
    size_scale: int
    levels: Mapping[int, tuple[int, int, int, int]]
    open: int
    high: int
    low: int
    close: int
    notional: int
    first_trade_id: TradeId
    last_trade_id: TradeId
    first_ns: int
    last_ns: int
    id_ranges: tuple[IdRange, ...] = ()
    missing: tuple[IdRange, ...] = ()
    status: Status = Status.UNKNOWN
    seen: int = 0  # trade messages, each with an id of its own
    revision: int = field(default=1)

    def __post_init__(self) -> None:
        if not self.levels:
            raise BadValue(f"{self.instrument} {minute_text(self.start)}: a minute bucket without a trade")
        if not 0 < self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            raise BadValue(f"{self.instrument} {minute_text(self.start)}: open, high, low and close contradict each other")
        if self.revision < 1:
            raise BadValue(f"{self.instrument} {minute_text(self.start)}: revision {self.revision}: expected 1 or more")

    @property
    def totals(self) -> tuple[int, int, int, int]:
        """Buy, sell and total volume and trade count over all levels."""
        rows = self.levels.values()
        return sum(r[0] for r in rows), sum(r[1] for r in rows), sum(r[2] for r in rows), sum(r[3] for r in rows)

    @property
    def expected(self) -> int:
        """How many trade messages the ids say there may have been."""
        return self.seen + sum(b - a + 1 for a, b in self.missing)

    def vwap(self, decimals: int) -> int:
        """Volume-weighted average price at scale `decimals`, rounded half to even: the only rounded number here."""
        total = sum(r[2] for r in self.levels.values())
        return fixed.ratio(self.notional, total * 10**self.price_scale, decimals)

    def price_levels(self) -> Iterator[PriceLevel]:
        """The levels in price order, as decimals."""
        for price in sorted(self.levels):
            buy, sell, total, count = self.levels[price]
            yield PriceLevel(
                fixed.to_decimal(price, self.price_scale),
                fixed.to_decimal(buy, self.size_scale),
                fixed.to_decimal(sell, self.size_scale),
                fixed.to_decimal(total, self.size_scale),
                count,
            )


def minute_of(ts_ns: int) -> int:
    """The minute, counted from 1970, that a time in ns lies in."""
    return ts_ns // NS_PER_MINUTE


def minute_time(minute: int) -> datetime:
    """A minute's start as an aware UTC time."""
    return datetime.fromtimestamp(minute * 60, UTC)


def minute_text(minute: int) -> str:
    """A minute's start for people: 2024-10-23 14:30."""
    return f"{minute_time(minute):%Y-%m-%d %H:%M}"


def day_of(minute: int) -> int:
    """The day, counted from 1970, that a minute lies in."""
    return minute // MINUTES_PER_DAY


@lru_cache(4096)
def day_text(day: int) -> str:
    """A day as 2024-10-23."""
    return f"{minute_time(day * MINUTES_PER_DAY):%Y-%m-%d}"
