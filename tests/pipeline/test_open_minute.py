"""How an open minute lies in Redis: only what changed is written, and what is read back is the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline import open_minute
from pipeline.footprint import Footprint
from pipeline.instrument import IdRule
from pipeline.open_minute import OpenMinute
from tests.pipeline.builders import BTC, START, at, batch, minute, stream, trade


def changes(footprint: Footprint) -> list[open_minute.Change]:
    return open_minute.changes(footprint.open.values(), footprint.price_scale, footprint.size_scale)


def footprint_of(*trades: object, rule: IdRule = IdRule.CONTIGUOUS) -> Footprint:
    footprint = Footprint(BTC, rule)
    footprint.add(batch(*trades))  # type: ignore[arg-type]
    return footprint


def stored(change: open_minute.Change) -> dict[bytes, bytes]:
    """A change as a Redis hash."""
    texts = [f if isinstance(f, bytes) else f.encode() for f in change.fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def alike(one: OpenMinute, other: OpenMinute) -> bool:
    names = set(OpenMinute.__slots__) - {"dirty", "rewrite", "stored", "reopened", "ranges"}
    return all(getattr(one, n) == getattr(other, n) for n in names) and list(one.ranges) == list(other.ranges)


def test_a_minute_s_first_write_holds_all_its_levels_as_plain_integers() -> None:
    footprint = footprint_of(trade(1, price="100.5", size="0.3"), trade(2, price="99", size="2", side="sell", count=4))
    (change,) = changes(footprint)
    fields = stored(change)
    assert (change.start, change.rewrite) == (START, False)
    assert {k: v for k, v in fields.items() if k != open_minute.META} == {b"1005": b"3 0 3 1", b"990": b"0 20 20 4"}


def test_the_next_write_holds_only_the_levels_that_changed() -> None:
    footprint = footprint_of(trade(1, price="100"), trade(2, price="101"))
    changes(footprint)
    footprint.add(batch(trade(3, price="101")))
    (change,) = changes(footprint)
    assert set(stored(change)) == {open_minute.META, b"101"}
    assert changes(footprint) == []


def test_a_wider_scale_replaces_the_stored_minute_as_a_whole() -> None:
    footprint = footprint_of(trade(1, price="100"), trade(2, price="101"))
    changes(footprint)
    footprint.add(batch(trade(3, price="100.5")))
    (change,) = changes(footprint)
    assert change.rewrite
    assert set(stored(change)) == {open_minute.META, b"1000", b"1010", b"1005"}


def test_a_wider_scale_rewrites_the_other_open_minutes_too() -> None:
    footprint = footprint_of(trade(1, "0:59"), trade(2, "1:00"))
    changes(footprint)
    footprint.add(batch(trade(3, "1:01", price="100.25")))
    assert [(c.start, c.rewrite) for c in changes(footprint)] == [(START, True), (START + 1, True)]


def test_a_reopened_minute_replaces_whatever_redis_still_holds_of_it() -> None:
    footprint = footprint_of(trade(1, price="100"), trade(2, price="101"))
    changes(footprint)  # Redis has it now, at its scales
    footprint.reopen(minute(first_trade_id=1, last_trade_id=2, id_ranges=((1, 2),)))
    (change,) = changes(footprint)
    assert change.rewrite


@given(
    st.lists(
        st.tuples(st.integers(1, 10**30), st.integers(0, 25), st.integers(1, 10**30), st.integers(0, 25)),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_read_back_is_the_same_minute_even_beyond_64_bits(numbers: list[tuple[int, int, int, int]]) -> None:
    trades = [trade(n, f"0:{n}", price=f"{p}e-{ps}", size=f"{s}e-{ss}") for n, (p, ps, s, ss) in enumerate(numbers, start=1)]
    footprint = footprint_of(*trades)
    (change,) = changes(footprint)
    bucket, price_scale, size_scale = open_minute.parse(START, stored(change))
    assert alike(bucket, footprint.open[START])
    assert (price_scale, size_scale) == (footprint.price_scale, footprint.size_scale)
    assert bucket.stored
    assert not bucket.rewrite


def test_names_as_ids_are_read_back_as_names() -> None:
    footprint = footprint_of(trade("a-1"), trade("b-2", "0:01"), rule=IdRule.OPAQUE)
    (change,) = changes(footprint)
    assert alike(open_minute.parse(START, stored(change))[0], footprint.open[START])


def test_holes_and_repairs_are_read_back() -> None:
    footprint = footprint_of(trade(1), trade(3))
    footprint.add(batch(trade(7, "0:30"), repair=True))
    (change,) = changes(footprint)
    bucket, _, _ = open_minute.parse(START, stored(change))
    assert list(bucket.ranges) == [(1, 1), (3, 3), (7, 7)]
    assert bucket.repaired


def test_partial_writes_one_upon_the_other_give_the_whole() -> None:
    footprint = Footprint(BTC, IdRule.CONTIGUOUS)
    hashes: Any = {}
    for one in stream(200, every_s=0.29):
        footprint.add(batch(one))
        (change,) = changes(footprint)
        hashes = stored(change) if change.rewrite else hashes | stored(change)
    assert alike(open_minute.parse(START, hashes)[0], footprint.open[START])
    assert footprint.watermark_ns < at("1:00")
