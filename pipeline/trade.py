"""Trades: one, for words and checks; many as columns, for speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import IntEnum
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import fixed
from pipeline.errors import BadValue
from pipeline.fixed import Integers
from pipeline.instrument import Instrument

NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
EARLIEST_NS = 1_230_768_000 * NS_PER_S  # 2009-01-01: before Bitcoin there is nothing to record
FUTURE_NS = 300 * NS_PER_S  # how far an exchange's clock may run ahead of ours

TradeId: TypeAlias = int | str


class Side(IntEnum):
    """The aggressor's side; NONE for an auction's trade."""

    SELL = -1
    NONE = 0
    BUY = 1


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade. Times are nanoseconds since 1970 UTC; `count` is how many fills the venue put into it."""

    instrument: Instrument
    trade_id: TradeId
    ts_event_ns: int
    price: Decimal
    size: Decimal
    side: Side
    count: int = 1

    def __post_init__(self) -> None:
        if not (self.price.is_finite() and self.price > 0):
            raise BadValue(f"trade {self.trade_id}: price {self.price}: expected more than 0")
        if not (self.size.is_finite() and self.size > 0):
            raise BadValue(f"trade {self.trade_id}: size {self.size}: expected more than 0")
        if self.ts_event_ns < EARLIEST_NS:
            raise BadValue(f"trade {self.trade_id}: time {self.ts_event_ns} ns: expected 2009 or later")
        if self.count < 1:
            raise BadValue(f"trade {self.trade_id}: count {self.count}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class Reject:
    """What can't be parsed or placed in time: the raw text, where it stood, and why it was refused."""

    raw: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class TradeBatch:
    """Trades of one instrument as columns of equal length. Prices and sizes are integers at their scales."""

    ids: Integers  # integers, or texts (dtype object) where the venue's ids are opaque
    ts_ns: NDArray[np.int64]
    price: Integers
    price_scale: int
    size: Integers
    size_scale: int
    side: NDArray[np.int8]
    count: NDArray[np.int64]
    repair: bool = False  # fetched afterwards to fill a hole
    resumed: bool = False  # the first live ones after a pause: between what was taken before and these, some may lack
    apart: bool = False  # history that need not join what is recorded: what lies between was never asked for

    def __len__(self) -> int:
        return len(self.ts_ns)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> TradeBatch:
        """The same columns, only `rows` of them."""
        return replace(
            self,
            ids=self.ids[rows],
            ts_ns=self.ts_ns[rows],
            price=self.price[rows],
            size=self.size[rows],
            side=self.side[rows],
            count=self.count[rows],
        )

    def describe(self, row: int) -> str:
        """A row as text, for a dead letter."""
        price = fixed.to_text(int(self.price[row]), self.price_scale)
        size = fixed.to_text(int(self.size[row]), self.size_scale)
        return f"id={self.ids[row]},time_ns={self.ts_ns[row]},price={price},size={size},side={Side(int(self.side[row])).name}"

    def widened(self, price_scale: int, size_scale: int) -> TradeBatch:
        """The same trades at wider scales."""
        if (price_scale, size_scale) == (self.price_scale, self.size_scale):
            return self
        return replace(
            self,
            price=fixed.widen(self.price, self.price_scale, price_scale),
            price_scale=price_scale,
            size=fixed.widen(self.size, self.size_scale, size_scale),
            size_scale=size_scale,
        )

    @classmethod
    def of(cls, trades: Sequence[Trade], **kind: bool) -> TradeBatch:
        """Single trades as columns. `kind`: repair, resumed or apart."""
        price_scale = max((fixed.scale_of(t.price) for t in trades), default=0)
        size_scale = max((fixed.scale_of(t.size) for t in trades), default=0)
        return cls(
            ids=id_column([t.trade_id for t in trades]),
            ts_ns=np.array([t.ts_event_ns for t in trades], dtype=np.int64),
            price=fixed.integers([fixed.at_scale(t.price, price_scale) for t in trades]),
            price_scale=price_scale,
            size=fixed.integers([fixed.at_scale(t.size, size_scale) for t in trades]),
            size_scale=size_scale,
            side=np.array([t.side for t in trades], dtype=np.int8),
            count=np.array([t.count for t in trades], dtype=np.int64),
            **kind,
        )


@dataclass(frozen=True, slots=True)
class RawTrades:
    """Columns as a venue's parser or a tape's reader has them, not yet checked. Prices and sizes are texts."""

    ids: Sequence[TradeId] | Integers
    ts_ns: NDArray[np.int64]  # a time that could not be read is 0
    price: Sequence[str] | pa.Array
    size: Sequence[str] | pa.Array
    side: NDArray[np.int8]
    count: NDArray[np.int64] | None = None  # None: each trade is one
    reasons: dict[int, str] = field(default_factory=dict)  # rows that the reader refuses already

    def joins(self, other: RawTrades) -> bool:
        """Whether it can be `joined` with another: both as a parser makes them, with texts in lists."""
        lists = all(isinstance(texts, list) for texts in (self.price, self.size, other.price, other.size))
        arrays = isinstance(self.ids, np.ndarray) and isinstance(other.ids, np.ndarray) and self.ids.dtype == other.ids.dtype
        return lists and arrays and (self.count is None) is (other.count is None)

    @classmethod
    def joined(cls, parts: Sequence[RawTrades]) -> RawTrades:
        """Several, in their order, as one."""
        firsts = [0, *accumulate(len(part.ts_ns) for part in parts)]
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            ts_ns=np.concatenate([part.ts_ns for part in parts]),
            price=[text for part in parts for text in part.price],
            size=[text for part in parts for text in part.size],
            side=np.concatenate([part.side for part in parts]),
            count=None if parts[0].count is None else np.concatenate([part.count for part in parts if part.count is not None]),
            reasons={first + row: why for first, part in zip(firsts, parts, strict=False) for row, why in part.reasons.items()},
        )

    def checked(self, scales: tuple[int, int] = (0, 0), *, latest_ns: int, **kind: bool) -> tuple[TradeBatch, dict[int, str]]:
        """The rows that are trades, and for each other row the reason. `latest_ns`: times beyond it are refused.

        `kind`: repair, resumed or apart.
        """
        price = fixed.parse_column(self.price, scales[0])
        size = fixed.parse_column(self.size, scales[1])
        count = np.ones(len(self.ts_ns), dtype=np.int64) if self.count is None else self.count
        reasons = _refused(self.ts_ns, price, size, count, latest_ns) | self.reasons
        ids = id_column(self.ids)
        batch = TradeBatch(ids, self.ts_ns, price.values, price.scale, size.values, size.scale, self.side, count, **kind)
        if reasons:
            keep = np.ones(len(batch), dtype=bool)
            keep[list(reasons)] = False
            batch = batch.take(keep)
        return batch, reasons


def id_column(ids: Sequence[TradeId] | Integers) -> Integers:
    """Ids as 64-bit integers where they are numbers, else as objects."""
    if isinstance(ids, np.ndarray):
        return ids
    if all(type(i) is int for i in ids):
        return fixed.integers(ids)  # type: ignore[arg-type]
    return np.array([str(i) for i in ids], dtype=object)


def _refused(
    ts_ns: NDArray[np.int64], price: fixed.Column, size: fixed.Column, count: NDArray[np.int64], latest_ns: int
) -> dict[int, str]:
    """Row -> reason, for every row that is no trade. The good case costs a few vector operations."""
    bad = (ts_ns < EARLIEST_NS) | (ts_ns > latest_ns) | (count < 1)
    bad |= (price.values <= 0).astype(bool) | (size.values <= 0).astype(bool)
    if not (price.bad or size.bad or bad.any()):
        return {}
    reasons = {}
    for row in np.flatnonzero(bad).tolist():
        reasons[row] = _reason(int(ts_ns[row]), int(price.values[row]), int(count[row]), latest_ns)
    reasons |= {row: f"size {why}" for row, why in size.bad.items()}
    reasons |= {row: f"price {why}" for row, why in price.bad.items()}
    return reasons


def _reason(ts_ns: int, price: int, count: int, latest_ns: int) -> str:
    if ts_ns == 0:
        return "no time: it can't be placed in a minute"
    if ts_ns < EARLIEST_NS:
        return "time before 2009"
    if ts_ns > latest_ns:
        return "time in the future"
    if count < 1:
        return "trade count less than 1"
    return "price not more than 0" if price <= 0 else "size not more than 0"


def concat(batches: Iterable[TradeBatch]) -> TradeBatch:
    """Several batches of one instrument, in their order, as one."""
    parts = list(batches)
    if len(parts) == 1:
        return parts[0]
    price_scale, size_scale = max(b.price_scale for b in parts), max(b.size_scale for b in parts)
    wide = [b.widened(price_scale, size_scale) for b in parts]
    return TradeBatch(
        np.concatenate([b.ids for b in wide]),
        np.concatenate([b.ts_ns for b in wide]),
        np.concatenate([b.price for b in wide]),
        price_scale,
        np.concatenate([b.size for b in wide]),
        size_scale,
        np.concatenate([b.side for b in wide]),
        np.concatenate([b.count for b in wide]),
        any(b.repair for b in wide),
        any(b.resumed for b in wide),
        any(b.apart for b in wide),
    )
