"""Where ids prove nothing: after each reconnect the trades since the last one known are fetched, and nothing waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import structlog

from collectors.asking import Market, RepairRules
from collectors.delays import Delays
from collectors.overlap import MOST_OUTAGES, Overlapper
from collectors.venues.history import Span, descending
from collectors.venues.parsed import Parsed
from pipeline.errors import VenueError
from pipeline.minute import Gap, IdRange
from pipeline.trade import RawTrades, Reject
from tests.collectors.list_sink import START_NS, ListSink
from tests.collectors.test_repair import raw

RULES = RepairRules(quiet_s=0.0, check_s=600, lag_s=0.001, delays=lambda: Delays(first_s=0.001, cap_s=0.002))
Outage = tuple[int, int, bool, str]


class Newest:
    """A history that gives the newest trades below an id, ten to an answer; it may lag behind, fail, or not reach far back."""

    def __init__(self, last_id: int, *, oldest: int = 1) -> None:
        self.last_id, self.oldest = last_id, oldest
        self.asked = 0
        self.lags: list[int] = []  # the newest ids of the next answers
        self.fails = 0
        self.fatal = False

    async def __call__(self, span: Span, page: RawTrades | None) -> Parsed | None:
        more, below = descending(span, page)
        if not more:
            return None
        self.asked += 1
        if self.fails:
            self.fails -= 1
            raise VenueError("down", fatal=self.fatal)
        newest = self.lags.pop(0) if self.lags and page is None else self.last_id
        top = newest if below is None else min(newest, below - 1)
        ids = list(range(top, max(top - 10, self.oldest - 1), -1))
        return Parsed({"X": raw(*ids)}, frames=[str(i).encode() for i in ids], numbers={"X": range(len(ids))})


class Book:
    """Writes outages down."""

    def __init__(self) -> None:
        self.outages: list[Outage] = []

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        raise AssertionError("no gap can be known")

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        raise AssertionError("no id can be known to be lost")

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        self.outages.append((before_ns, after_ns, fetched, how))


class Desk:
    """An overlapper, and what became of its work."""

    def __init__(self, sink: ListSink, history: Newest, rules: RepairRules) -> None:
        self.sink, self.history, self.book = sink, history, Book()
        market = Market("X", sink, history, self._reject, self.book, structlog.get_logger())
        self.overlapper = Overlapper(market, rules=rules)

    async def _reject(self, symbol: str, reject: Reject) -> None:
        raise AssertionError(reject)

    async def outages(self, count: int) -> list[Outage]:
        async with asyncio.timeout(10):
            while len(self.book.outages) < count:
                await asyncio.sleep(0.001)
        return self.book.outages


@asynccontextmanager
async def desk(known: tuple[int, int], history: Newest, rules: RepairRules = RULES) -> AsyncIterator[Desk]:
    it = Desk(ListSink([known]), history, rules)
    task = asyncio.create_task(it.overlapper.run())
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def at(trade_id: int) -> int:
    return START_NS + trade_id * 10**9


async def test_what_lies_between_the_last_trade_known_and_the_first_live_one_is_fetched_and_nothing_else() -> None:
    async with desk((1, 7), Newest(60)) as it:
        it.overlapper.connected()
        assert not it.overlapper.saw(raw(50, 51)), "live trades need not wait"
        assert await it.outages(1) == [(START_NS, at(50), True, "overlap fetched")]
        assert sorted(it.sink.repairs) == list(range(1, 50)), (
            "what is within two seconds of the edge too: the sink drops what it knows"
        )
        assert it.overlapper.repaired == 49


async def test_old_trades_told_again_are_not_taken_for_the_end_of_an_outage() -> None:
    async with desk((1, 7), Newest(60), replace(RULES, quiet_s=600)) as it:
        it.overlapper.connected()
        it.overlapper.saw(raw(3, 5, 7))
        assert it.overlapper.resuming
        it.overlapper.saw(raw(6, 50, 51))
        assert not it.overlapper.resuming
        assert [until for _, until, _, _ in await it.outages(1)] == [at(50)]


async def test_live_trades_that_go_on_ask_for_nothing() -> None:
    async with desk((1, 7), Newest(60)) as it:
        assert not it.overlapper.saw(raw(50, 51))
        await asyncio.sleep(0.01)
        assert it.history.asked == 0


async def test_a_history_that_lags_behind_the_stream_is_asked_again_before_it_is_believed() -> None:
    history = Newest(60)
    history.lags = [30, 45]
    async with desk((1, 7), history) as it:
        it.overlapper.connected()
        it.overlapper.saw(raw(50))
        await it.outages(1)
        assert sorted(it.sink.repairs) == list(range(1, 50)), "each once: nothing of a lagging answer was put"


async def test_a_history_that_does_not_reach_back_is_said_to_have_lost_trades() -> None:
    async with desk((1, 7), Newest(60, oldest=31)) as it:
        it.overlapper.connected()
        it.overlapper.saw(raw(50))
        assert await it.outages(1) == [(START_NS, at(50), False, "the venue's history doesn't reach back so far")]
        assert sorted(it.sink.repairs) == list(range(31, 50))


async def test_while_the_venue_fails_outages_wait_and_are_fetched_when_it_answers() -> None:
    history = Newest(60)
    history.fails = 3
    async with desk((1, 7), history) as it:
        it.overlapper.connected()
        it.overlapper.saw(raw(20))
        it.overlapper.connected()
        it.sink.known.add(20, 20)
        it.overlapper.saw(raw(50))
        assert [fetched for _, _, fetched, _ in await it.outages(2)] == [True, True]
        assert set(it.sink.repairs) >= {*range(8, 20)}


async def test_a_request_that_can_never_succeed_ends_as_a_loss_that_is_told() -> None:
    history = Newest(60)
    history.fails, history.fatal = 1, True
    async with desk((1, 7), history) as it:
        it.overlapper.connected()
        it.overlapper.saw(raw(20))
        assert await it.outages(1) == [(START_NS, at(20), False, "down")]


async def test_a_quiet_market_is_asked_once_for_what_came_while_nobody_listened() -> None:
    async with desk((1, 7), Newest(20)) as it:
        it.overlapper.connected()
        async with asyncio.timeout(10):
            while it.sink.last_id() != 20:
                await asyncio.sleep(0.001)
        assert set(it.sink.repairs) >= set(range(8, 21))
        it.overlapper.saw(raw(23))
        it.history.last_id = 23
        await it.outages(1)
        assert set(it.sink.repairs) >= set(range(8, 23))


async def test_outages_beyond_the_bound_become_one_that_covers_both() -> None:
    history = Newest(5000)
    history.fails = 10**9
    async with desk((1, 7), history, RepairRules(quiet_s=600)) as it:
        for number in range(1, MOST_OUTAGES + 20):
            it.overlapper.connected()
            it.sink.known.add(7, number * 10)
            it.overlapper.saw(raw(number * 10 + 5))
        outages = it.overlapper._outages
        assert len(outages) == MOST_OUTAGES
        assert (outages[0].since_id, outages[0].until_id) == (7, 205)


def test_an_answer_shows_whether_opaque_ids_reach_back_by_their_times() -> None:
    names = np.array(["a", "b"], dtype=object)
    page = RawTrades(names, np.array([at(5), at(9)]), ["1", "1"], ["1", "1"], np.ones(2, dtype=np.int8))
    from collectors.overlap import _Outage

    assert _Outage(None, at(5)).reached_by(page)
    assert not _Outage(None, at(4)).reached_by(page)
    assert _Outage(None, at(5), None, at(9)).caught_up_with(page)
    assert not _Outage(None, at(5), None, at(10)).caught_up_with(page)
