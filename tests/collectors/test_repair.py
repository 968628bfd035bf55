"""Filling holes: what is asked for, how often, and what is taken for lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collectors.asking import Market, RepairRules
from collectors.delays import Delays
from collectors.repair import Repairer, minus, missing, runs
from collectors.venues.history import Span, ascending
from collectors.venues.parsed import Parsed
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError
from pipeline.minute import Gap, IdRange
from pipeline.trade import RawTrades, Reject
from tests.collectors.list_sink import START_NS, ListSink


def raw(*ids: int) -> RawTrades:
    """Trades of these ids, a second apart by id."""
    times = np.array([START_NS + i * 10**9 if i < 10**6 else START_NS for i in ids], dtype=np.int64)
    return RawTrades(np.array(ids, dtype=np.int64), times, ["1"] * len(ids), ["1"] * len(ids), np.ones(len(ids), dtype=np.int8))


async def until(true: Callable[[], bool]) -> None:
    """Until something has come about, which no event tells."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


class Book:
    """Writes down what is told of gaps; and that no hole was filled before it was found."""

    def __init__(self, sink: ListSink) -> None:
        self.told_found: list[IdRange] = []
        self.told_lost: list[tuple[IdRange, str]] = []
        self._sink = sink

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        for gap in gaps:
            assert not [i for i in range(gap.first_id, gap.last_id + 1) if i in self._sink.known]
            self.told_found.append((gap.first_id, gap.last_id))

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        self.told_lost.append((ids, why))

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        raise AssertionError("contiguous ids have no outages")


class Library:
    """A history that gives all ids that it has from the one asked for on, whatever the limit; and fails on demand."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = sorted(ids)
        self.asked: list[tuple[int, int | None]] = []  # from which id, and the last one wanted
        self.down = False
        self.fails: set[int] = set()  # numbers of requests that fail
        self.limit = 1000

    async def __call__(self, span: Span, page: RawTrades | None) -> Parsed | None:
        from_id = ascending(span, page)
        if from_id is None:
            return None
        self.asked.append((from_id, span.last_id))
        if self.down or len(self.asked) in self.fails:
            raise VenueError("down")
        row = '{{"id":{},"price":"1","qty":"1","time":1723161255342,"isBuyerMaker":true}}'
        body = ",".join([row.format(i) for i in self.ids if i >= from_id][: self.limit])
        return VENUES["binance"].parse_history("BTCUSDT", f"[{body}]".encode())


@asynccontextmanager
async def repairing(sink: ListSink, library: Library, rules: RepairRules, book: Book | None = None) -> AsyncIterator[Repairer]:
    async def reject(symbol: str, reject: Reject) -> None:
        raise AssertionError(reject)

    log = structlog.get_logger()
    repairer = Repairer(Market("BTCUSDT", sink, library, reject, book or Book(sink), log), page_size=10, rules=rules)
    task = asyncio.create_task(repairer.run())
    try:
        yield repairer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_history_beyond_a_hole_is_not_taken_and_what_lacks_within_it_is_known() -> None:
    sink, library = ListSink([(4, 4)]), Library({*range(1, 14), *range(16, 40)})
    book = Book(sink)
    async with repairing(sink, library, RepairRules(tries=1), book) as repairer:
        assert repairer.saw(raw(25, 29, 32))
        await repairer.settled.wait()
        assert sink.repairs == [*range(5, 14), *range(16, 25), 26, 27, 28, 30, 31]
        assert (list(repairer.lost), repairer.repaired) == ([(14, 15)], 23)
        assert library.asked == [(5, 24), (26, 28), (30, 31)]
        assert book.told_found == [(5, 24), (26, 28), (30, 31)]
        assert book.told_lost == [((14, 15), "the venue doesn't have them")]


async def test_a_hole_is_asked_for_once_however_often_it_is_reported() -> None:
    sink, library = ListSink([(2, 2)]), Library(range(1, 40))
    async with repairing(sink, library, RepairRules()) as repairer:
        repairer.saw(raw(7, 10))
        repairer.saw(raw(7, 10))
        await repairer.settled.wait()
        assert sorted(sink.repairs) == [3, 4, 5, 6, 8, 9]


async def test_what_came_before_the_venue_failed_is_not_asked_for_again() -> None:
    sink, library = ListSink([(4, 4)]), Library(range(1, 100))
    library.limit, library.fails = 10, {3}
    async with repairing(sink, library, RepairRules(delays=lambda: Delays(first_s=0.001, cap_s=0.001))) as repairer:
        repairer.saw(raw(50))
        await until(lambda: len(sink.repairs) >= 45)
        assert sink.repairs == list(range(5, 50))
        assert library.asked == [(5, 49), (15, 49), (25, 49), (25, 49), (35, 49), (45, 49)]


async def test_while_the_venue_fails_nobody_waits_for_it_and_it_is_left_alone() -> None:
    sink, library = ListSink([(4, 4)]), Library(range(1, 40))
    library.down = True
    async with repairing(sink, library, RepairRules(delays=lambda: Delays(first_s=600, cap_s=600))) as repairer:
        repairer.saw(raw(10))
        await repairer.settled.wait()
        repairer.saw(raw(10, 30))
        assert repairer.settled.is_set()
        await asyncio.sleep(0.01)
        assert library.asked == [(5, 9)]


async def test_a_quiet_market_is_asked_for_what_came_while_nobody_listened() -> None:
    sink, library = ListSink([(1, 4)]), Library(range(1, 40))
    async with repairing(sink, library, RepairRules(quiet_s=0.0)) as repairer:
        repairer.connected()
        await until(lambda: sink.last_id() == 39)
        assert sink.repairs == list(range(5, 40))


# --- ranges: pure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_id", "ids", "holes"),
    [
        (4, [5, 6, 7], []),
        (None, [5, 6, 7], []),
        (None, [5, 8], [(6, 7)]),
        (4, [7, 8], [(5, 6)]),
        (4, [8, 6, 5, 6], [(7, 7)]),
        (9, [5, 6, 7], []),
        (6, [5, 9], [(7, 8)]),
        (4, [4, 5, 6], []),
        (4, [5, 5, 7], [(6, 6)]),
        (0, [2**63 - 1], [(1, 2**63 - 2)]),
    ],
)
def test_what_is_missing_lies_between_what_is_known_and_what_came(
    last_id: int | None, ids: list[int], holes: list[tuple[int, int]]
) -> None:
    found = missing(last_id, START_NS, raw(*ids))
    assert [(gap.first_id, gap.last_id) for gap in found] == holes


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ([], [(10, 20)]),
        ([(1, 9), (21, 30)], [(10, 20)]),
        ([(1, 10), (20, 30)], [(11, 19)]),
        ([(12, 13), (15, 16)], [(10, 11), (14, 14), (17, 20)]),
        ([(15, 16), (11, 19)], [(10, 10), (20, 20)]),
        ([(5, 25)], []),
    ],
)
def test_only_what_no_other_range_covers_is_left(taken: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    assert minus((10, 20), taken) == left


def test_a_hole_knows_the_times_of_its_neighbours() -> None:
    first, second = missing(4, START_NS, raw(8, 10))
    assert first == Gap(5, 7, START_NS, START_NS + 8 * 10**9)
    assert second == Gap(9, 9, START_NS + 8 * 10**9, START_NS + 10 * 10**9)


@given(st.sets(st.integers(0, 60)))
def test_ids_are_the_ranges_that_they_form(ids: set[int]) -> None:
    found = runs(np.array(sorted(ids), dtype=np.int64))
    assert [i for first, last in found for i in range(first, last + 1)] == sorted(ids)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found))
