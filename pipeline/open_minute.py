"""How an open minute lies in Redis: a hash of price -> `buy sell total count`, and one field of all else.

Numbers are integers at the scales that the field `meta` names, so that a flush writes only the levels that changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from pipeline.footprint import Footprint, OpenMinute
from pipeline.ids import RangeSet
from pipeline.minute import IdRange

META = b"meta"


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


def changes(footprint: Footprint) -> list[Change]:
    """What changed in the open minutes since the last call; they then count as written."""
    found = []
    for bucket in footprint.open.values():
        if bucket.dirty or bucket.rewrite:
            found.append(_change(bucket, footprint.price_scale, footprint.size_scale))
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
