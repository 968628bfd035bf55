"""What a collector tells the gap ledger, also while the ledger fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import DiskFull
from pipeline.instrument import Instrument
from pipeline.minute import Gap
from sinks.ledger.gap import GapState, GapSums
from sinks.ledger.gaps import GapBook
from sinks.ledger.ledger import open_ledger
from spillway import gap_keeper
from spillway.gap_keeper import GapKeeper

BTC = Instrument("binance", "BTCUSDT")
NOW = 1_700_000_000_000_000_000


class Book(GapBook):
    """A book whose disk may be full, and that counts what it is asked for."""

    full = False
    writes = 0
    reconciled = 0

    def found(self, *args: object, **kwargs: object) -> int:
        self.fail()
        return super().found(*args, **kwargs)  # type: ignore[arg-type]

    def lost(self, *args: object, **kwargs: object) -> int:
        self.fail()
        return super().lost(*args, **kwargs)  # type: ignore[arg-type]

    def reconcile(self, *args: object, **kwargs: object) -> tuple[int, int]:
        self.fail()
        self.reconciled += 1
        return super().reconcile(*args, **kwargs)  # type: ignore[arg-type]

    def fail(self) -> None:
        self.writes += 1
        if self.full:
            raise DiskFull("ledger.db: can't be written: the disk is full")


@dataclass
class Tracker:
    """What a feed says of its ids."""

    missing: list[Gap]
    known: tuple[int, int] | None

    def gaps(self) -> list[Gap]:
        return list(self.missing)

    def known_ids(self) -> tuple[int, int] | None:
        return self.known


class Clock:
    now = NOW

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield Book(ledger.gaps._database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(book: Book, clock: Clock) -> GapKeeper:
    return GapKeeper(book, "binance", clock_ns=clock)


def states(book: GapBook) -> list[tuple[int | None, int | None, str, str]]:
    rows = sorted(book.find(), key=lambda row: row.first_id or 0)
    return [(row.first_id, row.last_id, str(row.state), row.how) for row in rows]


async def test_a_gap_goes_from_found_to_what_became_of_it(keeper: GapKeeper, book: Book) -> None:
    await keeper.found("BTCUSDT", [Gap(10, 19, 1, 2)])
    assert keeper.sums == {BTC: GapSums(open=10)}
    await keeper.lost("BTCUSDT", (18, 19), "the venue doesn't have them")
    await keeper.reconcile("BTCUSDT", Tracker([Gap(18, 19, 1, 2)], (1, 30)))
    assert keeper.sums == {BTC: GapSums(repaired=8, lost=2)}
    assert states(book) == [
        (10, 17, "repaired", "fetched, or came late"),
        (18, 19, "lost", "the venue doesn't have them"),
    ]


async def test_an_outage_is_told_when_it_is_over(keeper: GapKeeper, book: Book) -> None:
    await keeper.outage("BTCUSDT", 100, 200, fetched=True, how="overlap fetched")
    await keeper.outage("BTCUSDT", 400, 300, fetched=False, how="too far back")  # exchange times need not rise
    assert [(r.before_ns, r.after_ns, r.state) for r in book.find()] == [
        (300, 400, GapState.LOST),
        (100, 200, GapState.REPAIRED),
    ]


async def test_while_nothing_changes_the_ledger_is_not_even_asked(keeper: GapKeeper, book: Book) -> None:
    gaps = [Gap(10, 19, 1, 2)]
    for last in range(30, 60):
        await keeper.reconcile("BTCUSDT", Tracker(gaps, (1, last)))
    assert book.reconciled <= 2
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 60)))
    assert keeper.sums == {BTC: GapSums(repaired=10)}
    await keeper.reconcile("BTCUSDT", Tracker([], None))  # ids that prove nothing
    assert book.reconciled <= 3


async def test_a_gap_that_was_filled_before_the_tracker_ever_saw_it_is_repaired(keeper: GapKeeper) -> None:
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 9)))
    await keeper.found("BTCUSDT", [Gap(10, 19, 1, 2)])
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 9)))
    assert keeper.sums[BTC].open == 10
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 15)))
    assert keeper.sums[BTC] == GapSums(open=4, repaired=6)
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 40)))
    assert keeper.sums[BTC] == GapSums(repaired=10)


async def test_what_a_former_run_left_open_is_taken_up(book: Book, clock: Clock) -> None:
    book.found(BTC, [Gap(10, 19, 1, 2)], NOW)
    keeper = GapKeeper(book, "binance", clock_ns=clock)
    await keeper.refresh()
    assert keeper.sums == {BTC: GapSums(open=10)}
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 12)))  # Redis went back
    await keeper.reconcile("BTCUSDT", Tracker([], (1, 25)))
    assert keeper.sums == {BTC: GapSums(repaired=10)}


async def test_a_ledger_that_fails_is_left_alone_for_a_while_and_told_everything_later(
    keeper: GapKeeper, book: Book, clock: Clock
) -> None:
    book.full = True
    await keeper.found("BTCUSDT", [Gap(10, 19, 1, 2)])
    await keeper.lost("BTCUSDT", (10, 11), "gone")
    await keeper.reconcile("BTCUSDT", Tracker([Gap(10, 12, 1, 2)], (1, 30)))
    assert (book.writes, keeper.failed) == (1, 1)
    book.full = False
    clock.now += int(gap_keeper.AGAIN_S * 1e9)
    await keeper.reconcile("BTCUSDT", Tracker([Gap(10, 12, 1, 2)], (1, 30)))
    assert keeper.sums == {BTC: GapSums(open=1, lost=2, repaired=7)}
    assert book.find()[0].found_ns < NOW + 100  # when it was found, not when it could be written


async def test_at_the_end_all_is_written_if_it_can_be(keeper: GapKeeper, book: Book) -> None:
    book.full = True
    await keeper.found("BTCUSDT", [Gap(10, 19, 1, 2)])
    await keeper.refresh()
    book.full = False
    await keeper.refresh()
    assert keeper.sums == {BTC: GapSums(open=10)}


async def test_what_waits_is_bounded(keeper: GapKeeper, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.full = True
    for n in range(gap_keeper.MOST_WAITING + 5):
        await keeper.found("BTCUSDT", [Gap(2 * n + 1, 2 * n + 1, 1, 2)])
        await keeper.reconcile("BTCUSDT", Tracker([Gap(1, 2 * n + 1, 1, 2)], (0, 9999)))
    assert (len(keeper._waiting), len(keeper._reconcile)) == (gap_keeper.MOST_WAITING, 1)


async def test_tasks_may_tell_it_at_once(keeper: GapKeeper, book: Book) -> None:
    words = [keeper.found("BTCUSDT", [Gap(3 * n, 3 * n, 1, 2)]) for n in range(1, 21)]
    words += [keeper.lost("BTCUSDT", (3 * n, 3 * n), "gone") for n in range(1, 6)]
    await asyncio.gather(*words)
    assert keeper.sums == {BTC: GapSums(open=15, lost=5)}


async def test_a_word_that_makes_no_sense_does_not_stop_those_after_it(keeper: GapKeeper) -> None:
    await keeper.lost("BTCUSDT", (9, 8), "no range")
    await keeper.found("BTCUSDT", [Gap(10, 19, 1, 2)])
    assert keeper.sums == {BTC: GapSums(open=10)}
