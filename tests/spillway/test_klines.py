"""The kline checker against a loopback venue: what it asks for when, what it records, and that nothing stops it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from collectors.delays import Delays
from collectors.rest import RestClient
from collectors.venues.binance import SPOT
from pipeline.errors import RedisUnavailable, VenueError
from pipeline.instrument import Instrument
from pipeline.minute import Minute, Status
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from sinks.ledger.klines import KlineBook
from sinks.ledger.ledger import open_ledger
from spillway.app import opened
from spillway.klines import KlineChecker, KlineRules, StoredMinutes
from spillway.settings import Settings
from tests import judge, tapes
from tests.pipeline.builders import BTC, START, minute
from tests.processes import succeed

Row = tuple[str, str, int]  # volume, buy volume, trade count
SAME: Row = ("2.37000000", "1.50000000", 17)  # what the builder's minute has


@dataclass
class Venue:
    """Binance's klines on loopback. `fails`: answers with these HTTP statuses first."""

    rows: dict[int, Row] = field(default_factory=dict)
    fails: list[int] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        first, limit = int(request.query["startTime"]) // 60_000, int(request.query["limit"])
        assert request.query["interval"] == "1m"
        self.asked.append((first - START, limit))
        if self.fails:
            return web.Response(status=self.fails.pop(0))
        known = sorted(m for m in self.rows if m >= first)[:limit]
        return web.Response(text=json.dumps([self.row(m) for m in known]))

    def row(self, at: int) -> list[object]:
        volume, buy, count = self.rows[at]
        end = (at + 1) * 60_000 - 1
        return [at * 60_000, "1", "1", "1", "1", volume, end, "1", count, buy, "1", "0"]


@dataclass
class Held:
    """Our minutes, as a dictionary."""

    minutes: dict[int, Minute] = field(default_factory=dict)
    error: Exception | None = None

    async def ready(self, instrument: Instrument, since: int) -> range:
        if self.error:
            raise self.error
        return range(max(min(self.minutes), since), max(self.minutes) + 1) if self.minutes else range(0)

    async def load(self, instrument: Instrument, minutes: Collection[int]) -> Mapping[int, Minute]:
        return {m: self.minutes[m] for m in minutes if m in self.minutes}

    def have(self, *at: int, **other: object) -> None:
        for n in at:
            self.minutes[START + n] = minute(start=START + n, **other)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/api/v3/klines", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    made = Venue()
    async with serving(made.answer) as made.url:
        yield made


@pytest.fixture
def book(tmp_path: Path) -> Iterator[KlineBook]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield ledger.klines


@dataclass
class Stage:
    """A checker with all around it, and a clock that stands `at` minutes after START."""

    venue: Venue
    book: KlineBook
    held: Held = field(default_factory=Held)
    at: float = 1000
    batch: int = 100
    mine: bool = True
    checker: KlineChecker = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.checker = KlineChecker(
            venue=SPOT,
            symbols=["BTCUSDT"],
            get=self.get,
            minutes=self.held,
            book=self.book,
            mine=lambda instrument: self.mine,
            rules=KlineRules(batch=self.batch, delays=lambda: Delays(first_s=60, cap_s=600, random=lambda: 1.0)),
            clock_ns=lambda: START * NS_PER_MINUTE + int(self.at * 60 * NS_PER_S),
        )

    async def get(self, path: str) -> bytes:
        async with RestClient(self.venue.url, tries=1) as client:
            return await client.get(path, urgent=False)

    def numbers(self) -> tuple[int, int, int]:
        """Of the only instrument: checked, differing, resolved."""
        sums = self.checker.sums[BTC]
        assert self.book.sums(BTC) == sums
        return sums.checked, sums.differing, sums.resolved


@pytest.fixture
def stage(venue: Venue, book: KlineBook) -> Stage:
    return Stage(venue, book)


async def test_finished_minutes_are_checked_once(stage: Stage) -> None:
    stage.held.have(*range(10))
    stage.venue.rows = dict.fromkeys(range(START, START + 1000), SAME)
    await stage.checker.round()
    await stage.checker.round()
    assert stage.numbers() == (10, 0, 0)
    assert stage.venue.asked == [(0, 10)]
    assert stage.checker.last_difference is None


async def test_a_minute_is_checked_only_after_it_has_settled(stage: Stage) -> None:
    stage.held.have(*range(10))
    stage.venue.rows = dict.fromkeys(range(START, START + 1000), SAME)
    stage.at = 2.49  # minute 0 ended 89.4 s ago
    await stage.checker.round()
    assert stage.venue.asked == []
    stage.at = 2.5
    await stage.checker.round()
    assert stage.numbers() == (1, 0, 0)
    stage.at = 5
    await stage.checker.round()
    assert stage.venue.asked == [(0, 1), (1, 2)]


async def test_many_minutes_are_asked_for_in_batches(stage: Stage) -> None:
    stage.held.have(*range(250))
    stage.venue.rows = dict.fromkeys(range(START, START + 1000), SAME)
    await stage.checker.round()
    assert stage.venue.asked == [(0, 100), (100, 100), (200, 50)]
    assert stage.numbers() == (250, 0, 0)


async def test_what_one_round_asks_for_is_bounded(venue: Venue, book: KlineBook) -> None:
    stage = Stage(venue, book, batch=2)
    stage.held.have(*range(50))
    venue.rows = dict.fromkeys(range(START, START + 50), SAME)
    await stage.checker.round()
    assert len(venue.asked) == 10
    await stage.checker.round()
    assert stage.numbers() == (40, 0, 0)


async def test_a_difference_is_recorded_with_both_sides_and_known_after_a_restart(stage: Stage) -> None:
    stage.held.have(0, 1, 2)
    stage.held.have(3, status=Status.UNKNOWN)
    stage.venue.rows = {START: SAME, START + 1: ("2.38", "1.5", 17), START + 2: SAME, START + 3: ("9", "9", 99)}
    await stage.checker.round()
    assert stage.numbers() == (4, 2, 0)
    assert (
        stage.checker.sums[BTC].unexplained == 1
    )  # of the minute at the edge of the recording nothing else was to be expected
    stage.restart()
    await stage.checker.round()
    assert (stage.checker.checked, stage.checker.differing) == (4, 2)
    assert stage.checker.last_difference is not None
    instrument, last = stage.checker.last_difference
    assert (instrument, last.minute, last.status) == (BTC, START + 3, "unknown")
    first = stage.book.standing(BTC, 10)[0]
    assert first.told() == {
        "volume": "ours 2.37, theirs 2.38",
        "buy_volume": "ours 1.5, theirs 1.5",
        "trade_count": "ours 17, theirs 17",
    }


async def test_a_minute_without_trades_of_ours_differs_where_the_venue_traded(stage: Stage) -> None:
    stage.held.have(0, 3)
    stage.venue.rows = {START: SAME, START + 1: ("0", "0", 0), START + 2: SAME, START + 3: SAME}
    await stage.checker.round()
    assert stage.numbers() == (4, 1, 0)
    (only,) = stage.book.standing(BTC, 10)
    assert (only.minute, only.revision, only.status) == (START + 2, 0, "none")


async def test_a_later_revision_resolves_a_difference(stage: Stage) -> None:
    stage.held.have(0, 1, 2, status=Status.DEGRADED, levels={1000: (1, 1, 2, 3)})
    stage.venue.rows = dict.fromkeys(range(START, START + 1000), SAME)
    await stage.checker.round()
    assert stage.numbers() == (3, 3, 0)
    stage.held.have(0, revision=2)
    stage.held.have(2, revision=2, levels={1000: (1, 1, 2, 4)})
    await stage.checker.round()
    assert stage.numbers() == (3, 2, 1)
    assert [c.revision for c in stage.book.standing(BTC, 10)] == [1, 2]
    asked = len(stage.venue.asked)
    await stage.checker.round()
    assert len(stage.venue.asked) == asked  # nothing new: nothing is asked
    stage.held.have(1, 2, revision=3)
    await stage.checker.round()
    assert stage.numbers() == (3, 0, 3)


async def test_trades_that_come_for_a_minute_that_had_none_resolve_it(stage: Stage) -> None:
    stage.held.have(0, 2)
    stage.venue.rows = dict.fromkeys(range(START, START + 3), SAME)
    await stage.checker.round()
    assert stage.numbers() == (3, 1, 0)
    stage.held.have(1)
    await stage.checker.round()
    assert stage.numbers() == (3, 0, 1)


async def test_a_venue_whose_klines_lag_is_asked_again(stage: Stage) -> None:
    stage.held.have(*range(990, 996))
    stage.venue.rows = dict.fromkeys(range(START + 990, START + 993), SAME)
    await stage.checker.round()
    assert stage.numbers() == (3, 0, 0)
    stage.venue.rows = dict.fromkeys(range(START + 990, START + 999), SAME)
    await stage.checker.round()
    assert stage.numbers() == (6, 0, 0)


async def test_what_the_venue_does_not_tell_for_an_hour_is_let_go(stage: Stage) -> None:
    stage.held.have(*range(950), *range(990, 996))
    stage.venue.rows = dict.fromkeys(range(START + 900, START + 996), SAME)
    for _ in range(2):
        await stage.checker.round()
    sums = stage.checker.sums[BTC]
    assert (sums.checked_until, sums.unanswered, sums.checked) == (START + 995, 900, 96)


async def test_a_venue_that_fails_is_asked_later_ever_more_seldom(stage: Stage) -> None:
    stage.held.have(0)
    stage.venue.rows = {START: SAME}
    stage.venue.fails = [503, 400]
    for minutes_later, asked in ((0, 1), (0.9, 1), (1.1, 2), (3.0, 2), (3.2, 3)):
        stage.at = 1000 + minutes_later
        await stage.checker.round()
        assert len(stage.venue.asked) == asked, minutes_later
    assert stage.numbers() == (1, 0, 0)


async def test_a_venue_that_wants_to_be_left_alone_is(stage: Stage) -> None:
    stage.held.have(0)
    stage.held.error = VenueError("429", retry_after_s=3000)
    await stage.checker.round()
    stage.held.error, stage.venue.rows = None, {START: SAME}
    stage.at += 49
    await stage.checker.round()
    assert stage.venue.asked == []
    stage.at += 2
    await stage.checker.round()
    assert stage.numbers() == (1, 0, 0)


@pytest.mark.parametrize("error", [RedisUnavailable("gone"), ZeroDivisionError("a mistake of ours")])
async def test_nothing_that_goes_wrong_leaves_the_checker(stage: Stage, error: Exception) -> None:
    stage.held.have(0)
    stage.held.error, stage.venue.rows = error, {START: SAME}
    await stage.checker.round()
    stage.held.error = None
    stage.at += 5
    await stage.checker.round()
    assert stage.numbers() == (1, 0, 0)


@pytest.mark.parametrize("row", [("x", "1.5", 17), ("NaN", "1.5", 17), ("Infinity", "1.5", 17), ("2.37", "1.5", -1)])
async def test_a_garbled_answer_is_asked_for_again(stage: Stage, row: Row) -> None:
    stage.held.have(0)
    stage.venue.rows = {START: row}
    await stage.checker.round()
    assert stage.checker.sums == {}
    stage.venue.rows = {START: SAME}
    stage.at += 5
    await stage.checker.round()
    assert stage.numbers() == (1, 0, 0)


async def test_what_another_process_writes_is_left_to_it(stage: Stage) -> None:
    stage.held.have(0)
    stage.venue.rows = {START: SAME}
    stage.mine = False
    await stage.checker.round()
    assert (stage.venue.asked, stage.checker.sums) == ([], {})
    stage.mine = True
    await stage.checker.round()
    assert stage.numbers() == (1, 0, 0)
    stage.mine = False
    await stage.checker.round()
    assert stage.checker.sums == {}


async def test_it_runs_until_it_is_told_to_stop(stage: Stage) -> None:
    stage.held.have(0)
    stage.venue.rows = {START: SAME}
    stop, done = asyncio.Event(), asyncio.Event()
    record = stage.book.record

    def recorded(*args: object, **kwargs: object) -> None:
        record(*args, **kwargs)  # type: ignore[arg-type]
        loop.call_soon_threadsafe(done.set)

    loop, stage.book.record = asyncio.get_running_loop(), recorded  # type: ignore[method-assign]
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.checker.run(stop))
        await done.wait()
        stop.set()
    assert stage.numbers() == (1, 0, 0)


async def test_a_replayed_tape_equals_the_klines_that_plain_sums_give_wherever_its_minutes_lie(tmp_path: Path) -> None:
    rows = list(tapes.rows(hours=50, per_minute=3, every=7))
    tape = judge.write_tape(tmp_path / "tape.csv", rows)
    data = tmp_path / "data"
    await asyncio.to_thread(partial(succeed, "replay", tape, "--venue", "binance", "--symbol", "BTCUSDT", "--data", data))
    venue = Venue(plain_klines(rows))
    with open_ledger(f"sqlite:///{data / 'ledger.db'}") as ledger:
        async with serving(venue.answer) as url, RestClient(url) as rest, opened(Settings(data_dir=data)) as app:
            checker = KlineChecker(
                venue=SPOT,
                symbols=["BTCUSDT"],
                get=partial(rest.get, urgent=False),
                minutes=StoredMinutes(app.window, app.keeper),
                book=ledger.klines,
            )
            for _ in range(4):
                await checker.round()
            window = await app.window.sealed_minutes(BTC)
            below = min(venue.rows)
            assert below < window[0]  # some spilled
            loaded = await StoredMinutes(app.window, app.keeper).load(BTC, [below, below + 1, window[0]])
            assert sorted(loaded) == [below, window[0]]
        sums = checker.sums[BTC]
        assert sums.checked == window[-1] - window[0] + 1
        assert (sums.differing, sums.unanswered) == (0, 0)


def plain_klines(rows: list[dict[str, str]]) -> dict[int, Row]:
    """What an exchange would tell of these trades, by plain sums."""
    sums: dict[int, tuple[Decimal, Decimal, int]] = {}
    for (at, _), (buy, _, total, count) in judge.expected(rows).items():
        volume, bought, trades = sums.get(at, (Decimal(0), Decimal(0), 0))
        sums[at] = (volume + total, bought + buy, trades + count)
    empty: Row = ("0.00000000", "0.00000000", 0)
    told = dict.fromkeys(range(min(sums), max(sums) + 1), empty)
    return told | {at: (str(volume), str(bought), trades) for at, (volume, bought, trades) in sums.items()}
