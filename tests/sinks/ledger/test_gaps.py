"""The gap ledger against a plain set of ids; and killed in full flow."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import Gap
from sinks.ledger.gap import GapKind, GapRow, GapState, GapSums
from sinks.ledger.gaps import GapBook
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.tables import GAPS

BTC = Instrument("binance", "BTCUSDT")
ETH = Instrument("binance", "ETHUSDT")
TOP = 40  # ids of the model
NOW = 1_700_000_000_000_000_000
OPEN, REPAIRED, LOST = GapState.OPEN, GapState.REPAIRED, GapState.LOST


def gap(first: int, last: int) -> Gap:
    return Gap(first, last, first * 1000, last * 1000)


def gaps_of(ids: set[int]) -> list[Gap]:
    """Ids as the gaps that a tracker would tell."""
    return [gap(first, last) for first, last in runs(ids)]


def runs(ids: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(ids):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def told(rows: list[GapRow]) -> dict[int, GapState]:
    """What the rows say of each id, none of which stands in two."""
    said: dict[int, GapState] = {}
    for row in rows:
        assert row.first_id is not None and row.last_id is not None
        for number in range(row.first_id, row.last_id + 1):
            assert number not in said, f"id {number} stands in two rows"
            said[number] = row.state
    return said


@pytest.fixture
def book(ledger: Ledger) -> GapBook:
    return ledger.gaps


def seen(book: GapBook) -> list[tuple[int | None, int | None, str, str]]:
    rows = sorted(book.find(venue="binance", symbol="BTCUSDT"), key=lambda row: row.first_id or 0)
    return [(row.first_id, row.last_id, row.state.value, row.how) for row in rows]


def test_a_gap_is_found_once_however_often_it_is_told(book: GapBook) -> None:
    assert book.found(BTC, [gap(10, 19)], NOW) == 10
    assert book.found(BTC, [gap(10, 19)], NOW + 1) == 0
    (row,) = book.find()
    assert row == GapRow(BTC, GapKind.IDS, 10, 19, 10_000, 19_000, NOW, OPEN, None, "")
    assert row.ids == 10


def test_of_a_gap_that_overlaps_known_ones_only_the_rest_is_new(book: GapBook) -> None:
    book.found(BTC, [gap(10, 19), gap(30, 39)], NOW)
    assert book.found(BTC, [gap(15, 34)], NOW + 1) == 10
    assert seen(book) == [(10, 19, "open", ""), (20, 29, "open", ""), (30, 39, "open", "")]


def test_a_row_is_split_where_only_a_part_came(book: GapBook) -> None:
    book.found(BTC, [gap(10, 19)], NOW)
    assert book.repaired(BTC, 13, 14, "rest", NOW + 1) == 2
    assert book.lost(BTC, 18, 25, "the venue doesn't have them", NOW + 2) == 8
    assert seen(book) == [
        (10, 12, "open", ""),
        (13, 14, "repaired", "rest"),
        (15, 17, "open", ""),
        (18, 19, "lost", "the venue doesn't have them"),
        (20, 25, "lost", "the venue doesn't have them"),
    ]


def test_what_is_lost_stays_lost_until_it_comes_all_the_same(book: GapBook) -> None:
    book.found(BTC, [gap(10, 19)], NOW)
    book.lost(BTC, 10, 19, "gone", NOW + 1)
    assert book.found(BTC, [gap(10, 19)], NOW + 2) == 0
    assert book.lost(BTC, 10, 19, "gone for another reason", NOW + 3) == 0
    assert book.repaired(BTC, 12, 12, "live", NOW + 4) == 1
    assert book.lost(BTC, 10, 19, "gone", NOW + 5) == 0
    assert seen(book) == [(10, 11, "lost", "gone"), (12, 12, "repaired", "live"), (13, 19, "lost", "gone")]


def test_ids_lost_before_they_were_found_get_their_times_when_these_are_known(book: GapBook) -> None:
    book.lost(BTC, 10, 19, "gone", NOW)
    assert book.reconcile(BTC, [gap(5, 24)], NOW + 1, known=(1, 30)) == (10, 0)
    times = {(row.first_id, row.before_ns, row.state) for row in book.find()}
    assert times == {(5, 5_000, OPEN), (10, 5_000, LOST), (20, 5_000, OPEN)}


def test_what_the_tracker_forgot_or_has_not_taken_yet_is_left_as_it_stands(book: GapBook) -> None:
    book.found(BTC, [gap(10, 19), gap(50, 59), gap(90, 99)], NOW)
    assert book.reconcile(BTC, [], NOW + 1, known=(15, 94)) == (0, 5 + 10 + 5)
    assert [row[:3] for row in seen(book)] == [
        (10, 14, "open"),
        (15, 19, "repaired"),
        (50, 59, "repaired"),
        (90, 94, "repaired"),
        (95, 99, "open"),
    ]
    assert book.reconcile(BTC, [], NOW + 2, known=None) == (0, 0)


def test_ids_that_came_and_were_forgotten_again_are_open_again(book: GapBook) -> None:
    book.found(BTC, [gap(10, 19)], NOW)
    book.reconcile(BTC, [], NOW + 1, known=(1, 30))
    assert book.reconcile(BTC, [gap(12, 13)], NOW + 2, known=(1, 30)) == (2, 0)
    assert [row[:3] for row in seen(book)] == [(10, 11, "repaired"), (12, 13, "open"), (14, 19, "repaired")]


def test_a_reconciliation_without_news_writes_nothing(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.gaps.reconcile(BTC, [gap(10, 19)], NOW, known=(1, 30))
        log = tmp_path / "ledger.db-wal"
        before = log.read_bytes()
        assert ledger.gaps.reconcile(BTC, [gap(10, 19)], NOW + 1, known=(1, 40)) == (0, 0)
        assert log.read_bytes() == before


def test_instruments_do_not_mix(book: GapBook) -> None:
    book.found(BTC, [gap(10, 19)], NOW)
    book.found(ETH, [gap(15, 16)], NOW + 1)
    book.reconcile(ETH, [], NOW + 2, known=(1, 30))
    assert book.sums() == {BTC: GapSums(open=10), ETH: GapSums(repaired=2)}
    assert book.sums(symbol="ETHUSDT") == {ETH: GapSums(repaired=2)}
    assert book.sums(venue="kraken") == {}


def test_an_outage_is_one_row_that_grows_and_ends(book: GapBook) -> None:
    book.outage(BTC, 1000, 2000, NOW)
    book.outage(BTC, 1000, 2000, NOW + 1)
    book.outage(BTC, 1000, 5000, NOW + 2)
    book.outage(BTC, 1000, 5000, NOW + 3, state=REPAIRED, how="overlap fetched")
    book.outage(BTC, 1000, 5000, NOW + 4, state=REPAIRED, how="overlap fetched")
    book.outage(BTC, 1000, 4000, NOW + 5)  # what was said before it ended
    book.outage(BTC, 8000, 9000, NOW + 6, state=LOST, how="too long ago")
    lost, repaired = book.find()
    assert repaired == GapRow(BTC, GapKind.OUTAGE, None, None, 1000, 5000, NOW, REPAIRED, NOW + 3, "overlap fetched")
    assert (lost.before_ns, lost.state, lost.ids) == (8000, LOST, None)
    assert book.sums() == {BTC: GapSums(outages_repaired=1, outages_lost=1)}
    with pytest.raises(BadValue):
        book.outage(BTC, 10, 9, NOW)


def test_rows_are_found_by_state_time_and_number_the_newest_first(book: GapBook) -> None:
    for n in range(1, 6):
        book.found(BTC, [gap(n * 100, n * 100 + 9)], NOW + n)
    book.repaired(BTC, 300, 309, "rest", NOW + 9)
    book.lost(BTC, 900, 909, "never found", 250_000)  # found at 250 us, with no other time
    ids = [row.first_id for row in book.find()]
    assert ids == [500, 400, 300, 200, 100, 900]
    assert [row.first_id for row in book.find(limit=2)] == [500, 400]
    assert [row.first_id for row in book.find(state=REPAIRED)] == [300]
    assert [row.first_id for row in book.find(since_ns=209_001, until_ns=400_000)] == [300, 900]
    assert [row.first_id for row in book.find(since_ns=205_000, until_ns=209_000)] == [200]


Step = tuple[str, set[int]]
IDS = st.integers(1, TOP)
RANGE = st.tuples(IDS, IDS).map(lambda ends: set(range(min(ends), max(ends) + 1)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["found", "lost", "repaired"]), RANGE),
        st.tuples(st.just("reconcile"), st.sets(IDS)),
    ),
    max_size=12,
)


@given(STEPS)
def test_after_any_history_the_book_says_of_each_id_what_became_of_it(ledger: Ledger, steps: list[Step]) -> None:
    with ledger.gaps._database.writing() as connection:
        connection.execute(delete(GAPS))
    model: dict[int, GapState] = {}
    for at, step in enumerate(steps):
        apply(ledger.gaps, step, NOW + at)
        rows = ledger.gaps.find()
        follow(model, step)
        assert told(rows) == model, step
        sums = ledger.gaps.sums().get(BTC, GapSums())
        assert [sums.open, sums.repaired, sums.lost] == [list(model.values()).count(s) for s in (OPEN, REPAIRED, LOST)]
        if step[0] == "reconcile":
            assert {n for n, state in model.items() if state is not REPAIRED} == step[1]
        apply(ledger.gaps, step, NOW + at + 1)  # as after a crash that left no word of it
        assert ledger.gaps.find() == rows


def apply(book: GapBook, step: Step, now_ns: int) -> None:
    what, ids = step
    if what == "reconcile":
        book.reconcile(BTC, gaps_of(ids), now_ns, known=(0, TOP + 1))
    elif what == "found":
        book.found(BTC, gaps_of(ids), now_ns)
    elif what == "lost":
        book.lost(BTC, min(ids), max(ids), "gone", now_ns)
    else:
        book.repaired(BTC, min(ids), max(ids), "rest", now_ns)


def follow(model: dict[int, GapState], step: Step) -> None:
    """The same to a plain dictionary."""
    what, ids = step
    if what == "reconcile":
        model |= {n: REPAIRED for n in model if n not in ids}
    if what in ("found", "reconcile"):
        model |= {n: OPEN for n in ids if model.get(n, REPAIRED) is REPAIRED}
    elif what == "lost":
        model |= {n: LOST for n in ids if model.get(n, OPEN) is OPEN}
    else:
        model |= dict.fromkeys(ids, REPAIRED)


RECORDER = """
import random, sys, time
from pathlib import Path
from sinks.ledger.ledger import open_ledger
from tests.sinks.ledger.test_gaps import BTC, gaps_of

dice = random.Random(int(sys.argv[2]))
ledger = open_ledger("sqlite:///" + sys.argv[1])
print("ready", flush=True)
while True:
    missing = {n for n in range(1, 41) if dice.random() < 0.3}
    print("-", *sorted(missing), flush=True)  # what the ledger is about to be told
    ledger.gaps.reconcile(BTC, gaps_of(missing), time.time_ns(), known=(0, 41))
    print("+", *sorted(missing), flush=True)  # and now was
"""


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_the_book_holds_what_it_was_told_last_or_was_being_told(tmp_path: Path, seed: int) -> None:
    path, dice = tmp_path / "ledger.db", random.Random(seed)
    for _ in range(3):  # and goes on with what the killed one left
        process = subprocess.Popen([sys.executable, "-c", RECORDER, str(path), str(seed)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lines = [process.stdout.readline() for _ in range(dice.randrange(1, 60))]
        process.kill()
        lines += [line for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        possible = [set(map(int, line.split()[1:])) for line in lines[-2:]]
        with open_ledger(f"sqlite:///{path}") as ledger:
            said = told(ledger.gaps.find(limit=1000))
            standing = {n for n, state in said.items() if state is not REPAIRED}
            assert standing in possible
            ledger.gaps.reconcile(BTC, gaps_of({7}), NOW, known=(0, 41))
            assert {n for n, s in told(ledger.gaps.find(limit=1000)).items() if s is not REPAIRED} == {7}
