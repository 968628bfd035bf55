"""Which ids were taken: exact where ids are contiguous, exact above a floor elsewhere, and never taken for new below it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import contiguous, recent
from pipeline.ids import RangeSet, Tracker, tracker
from pipeline.instrument import IdRule
from pipeline.minute import Gap
from pipeline.trade import TradeBatch, TradeId
from tests.pipeline.builders import START, START_NS, at, batch, stream, trade
from tests.pipeline.reference import ranges

SMALL_IDS = st.integers(1, 40)


def holding(*numbers: int) -> TradeBatch:
    """Trades with these ids, a second apart by their ids."""
    return batch(*(trade(n, f"{n // 60}:{n % 60}") for n in numbers))


def offer(known: Tracker, trades: TradeBatch) -> tuple[list[TradeId], list[TradeId]]:
    """The fresh and the doubtful ids of a batch; the fresh ones are taken."""
    ordered = known.sort(trades)
    fresh, doubtful = known.judge(ordered)
    known.add(ordered.take(fresh))
    return ordered.ids[fresh].tolist(), ordered.ids[doubtful].tolist()


# --- range sets ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(SMALL_IDS, st.integers(0, 8))))
def test_a_range_set_holds_just_what_was_added_in_the_fewest_ranges(added: list[tuple[int, int]]) -> None:
    found, wanted = RangeSet(), set()
    for first, more in added:
        found.add(first, first + more)
        wanted |= set(range(first, first + more + 1))
    assert tuple(found) == ranges(wanted)
    assert len(found) == len(ranges(wanted))
    assert [n in found for n in range(60)] == [n in wanted for n in range(60)]


def test_a_range_set_made_from_its_own_ranges_is_the_same() -> None:
    found = RangeSet([(1, 5), (9, 9), (20, 30)])
    assert tuple(RangeSet(list(found))) == ((1, 5), (9, 9), (20, 30))


# --- contiguous ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(SMALL_IDS, max_size=10), max_size=10))
def test_contiguous_ids_are_fresh_once_whatever_the_order_the_batches_and_the_doubles(batches: list[list[int]]) -> None:
    known = tracker(IdRule.CONTIGUOUS)
    taken: set[int] = set()
    for numbers in batches:
        fresh, doubtful = offer(known, holding(*numbers))
        assert fresh == sorted(set(numbers) - taken)
        assert doubtful == []
        taken |= set(numbers)
        assert known.last_id == max(taken, default=None)
    holes = [(a + 1, b - 1) for a, b in pairwise(sorted(taken)) if b - a > 1]
    assert [(g.first_id, g.last_id) for g in known.gaps()] == holes
    for gap in known.gaps():  # the times are those of the trades on both sides
        assert gap.before_ns == at(f"0:{gap.first_id - 1}")
        assert gap.after_ns == at(f"0:{gap.last_id + 1}")


def test_a_hole_that_opens_narrows_splits_and_closes_tells_the_minutes_whose_completeness_changes() -> None:
    known = tracker(IdRule.CONTIGUOUS)

    def add(first: int, last: int) -> tuple[set[int], list[tuple[int, int]]]:
        touched = known.add(holding(*range(first, last + 1)))
        return {m - START for m in touched}, [(g.first_id, g.last_id) for g in known.gaps()]

    assert add(1, 30) == (set(), [])
    assert add(31, 59) == (set(), [])
    assert add(300, 310) == ({0, 5}, [(60, 299)])
    assert add(311, 320) == (set(), [(60, 299)])
    assert add(60, 70) == ({0, 1, 5}, [(71, 299)])
    assert add(130, 140) == ({1, 2, 5}, [(71, 129), (141, 299)])
    assert add(71, 129) == ({1, 2}, [(141, 299)])
    assert add(141, 299) == ({2, 4, 5}, [])


def test_older_history_touches_the_minute_where_the_recording_began() -> None:
    known = tracker(IdRule.CONTIGUOUS)
    known.add(holding(100, 101))
    assert {m - START for m in known.add(holding(98, 99))} == {1}
    assert known.gaps() == []


@pytest.mark.parametrize(("first_id", "proven"), [(0, True), (1, True), (2, False)])
def test_the_minute_where_recording_began_is_proven_only_by_the_venue_s_very_first_trade(first_id: int, proven: bool) -> None:
    known = tracker(IdRule.CONTIGUOUS)
    assert not known.proven(START_NS)
    known.add(batch(trade(first_id, "0:10"), trade(first_id + 1, "1:10")))
    assert known.proven(START_NS) is proven
    assert known.proven(at("1:00"))


def test_below_the_oldest_hole_that_is_remembered_ids_are_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contiguous, "MAX_RANGES", 3)
    known = tracker(IdRule.CONTIGUOUS)
    known.add(holding(1, 3, 5, 7, 9))
    fresh, doubtful = offer(known, holding(1, 2, 3, 4, 5, 6, 10))
    assert doubtful == [1, 2, 3]  # 3 is the floor; 4 lies above it, where all is known
    assert fresh == [4, 6, 10]


def test_a_late_trade_below_the_floor_moves_neither_the_floor_nor_the_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contiguous, "MAX_RANGES", 3)
    known = tracker(IdRule.CONTIGUOUS)
    known.add(holding(11, 13, 15, 17, 19))  # 13 is the floor
    gaps = known.gaps()
    known.add(holding(5))  # it was doubtful, and its minute said that it is new
    assert known.gaps() == gaps
    assert offer(known, holding(11, 12, 13)) == ([], [11, 12, 13])


def test_what_a_stored_minute_was_found_to_hold_is_remembered_above_the_floor_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contiguous, "MAX_RANGES", 3)
    known = tracker(IdRule.CONTIGUOUS)
    known.add(holding(11, 13, 15, 17, 19))
    known.remember(holding(5, 13, 14))
    assert offer(known, holding(5, 13, 14)) == ([], [5, 13])


def test_ids_beyond_64_bits_are_told_apart_too() -> None:
    known = tracker(IdRule.CONTIGUOUS)
    big = 2**70
    assert offer(known, batch(trade(big), trade(big + 2))) == ([big, big + 2], [])
    assert offer(known, batch(trade(big + 1), trade(big + 2))) == ([big + 1], [])
    assert known.gaps() == []
    assert offer(tracker(IdRule.CONTIGUOUS, json.loads(json.dumps(known.state()))), batch(trade(big + 1))) == ([], [])


# --- monotonic and opaque -----------------------------------------------------------------------------------------------


def named(rule: IdRule, *numbers: int) -> TradeBatch:
    """Trades with ids of the rule's kind; their times ascend with the numbers."""
    return batch(*(trade(n if rule is IdRule.MONOTONIC else f"t{n}", f"0:{n}") for n in numbers))


def numbers_of(trade_ids: list[TradeId]) -> list[int]:
    return [int(str(i).lstrip("t")) for i in trade_ids]


@pytest.mark.parametrize("rule", [IdRule.MONOTONIC, IdRule.OPAQUE])
@given(batches=st.lists(st.lists(SMALL_IDS, max_size=12), max_size=12), most=st.integers(1, 12))
def test_above_the_floor_ids_are_fresh_once_and_below_it_never_taken_for_new(
    rule: IdRule, batches: list[list[int]], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "RECENT", most)
        known = tracker(rule)
        taken: set[int] = set()
        for numbers in batches:
            state = known.state()
            fresh, doubtful = offer(known, named(rule, *numbers))
            new = set(numbers) - taken
            assert not set(numbers_of(fresh)) & taken
            assert new <= set(numbers_of(fresh)) | set(numbers_of(doubtful)), "a new trade was dropped without a question"
            if state["floor"] is None:
                assert sorted(numbers_of(fresh)) == sorted(new)
            assert len(fresh) == len(set(fresh))
            taken |= set(numbers_of(fresh))
            assert len(known.state()["recent"]) <= most


@pytest.mark.parametrize("rule", list(IdRule))
@given(data=st.data())
def test_a_tracker_goes_on_from_its_stored_state_as_if_it_had_never_stopped(rule: IdRule, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "RECENT", 5)
        patch.setattr(contiguous, "MAX_RANGES", 3)
        kept, restarted = tracker(rule), tracker(rule)
        for numbers in data.draw(st.lists(st.lists(SMALL_IDS, max_size=8), max_size=6)):
            trades = holding(*numbers) if rule is IdRule.CONTIGUOUS else named(rule, *numbers)
            assert offer(kept, trades) == offer(restarted, trades)
            restarted = tracker(rule, json.loads(json.dumps(restarted.state())))
            assert (kept.gaps(), kept.last_id) == (restarted.gaps(), restarted.last_id)


def test_the_last_monotonic_id_is_the_highest_even_after_a_late_trade() -> None:
    known = tracker(IdRule.MONOTONIC)
    known.add(named(IdRule.MONOTONIC, 10, 20))
    known.add(named(IdRule.MONOTONIC, 15))
    assert known.last_id == 20


def test_the_last_opaque_id_is_the_one_taken_last() -> None:
    known = tracker(IdRule.OPAQUE)
    assert known.last_id is None
    known.add(named(IdRule.OPAQUE, 10, 20))
    assert known.last_id == "t20"


@pytest.mark.parametrize("rule", [IdRule.MONOTONIC, IdRule.OPAQUE])
def test_ids_that_are_not_contiguous_prove_nothing(rule: IdRule) -> None:
    known = tracker(rule)
    assert known.add(named(rule, 1, 5)) == set()
    assert known.gaps() == []
    assert not known.proven(at("100:00"))


@pytest.mark.parametrize("rule", list(IdRule))
def test_an_empty_batch_changes_nothing(rule: IdRule) -> None:
    known: Any = tracker(rule)
    known.add(named(rule, 1, 2, 3) if rule is IdRule.OPAQUE else holding(1, 2, 3))
    state = json.dumps(known.state())
    empty = holding(9).take(slice(0, 0))
    assert offer(known, empty) == ([], [])
    assert json.dumps(known.state()) == state


@pytest.mark.parametrize("rule", [IdRule.CONTIGUOUS, IdRule.MONOTONIC])
def test_a_batch_is_sorted_by_id_and_a_sorted_one_is_not_copied(rule: IdRule) -> None:
    known = tracker(rule)
    assert known.sort(holding(3, 1, 2)).ids.tolist() == [1, 2, 3]
    ordered = holding(1, 2, 3)
    assert known.sort(ordered) is ordered


def test_opaque_ids_are_sorted_by_time_and_stay_in_order_within_one_moment() -> None:
    trades = batch(trade("b", "0:02"), trade("z", "0:01"), trade("a", "0:01"))
    assert tracker(IdRule.OPAQUE).sort(trades).ids.tolist() == ["z", "a", "b"]


def test_the_state_that_each_flush_stores_stays_small() -> None:
    for rule in IdRule:
        known = tracker(rule)
        for trades in (stream(2000), stream(2000, first_id=3000)):
            known.add(known.sort(batch(*trades)))
        assert len(json.dumps(known.state())) < 32 * recent.RECENT + 200


def test_a_gap_is_a_value() -> None:
    assert Gap(1, 2, 3, 4) == Gap(1, 2, 3, 4)
