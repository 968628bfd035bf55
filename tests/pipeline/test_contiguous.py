"""History that was fetched apart from what is recorded: what lies between was never asked for, and is no gap."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import contiguous
from pipeline.contiguous import ContiguousIds
from pipeline.minute import Status
from pipeline.trade import Trade
from tests.pipeline.builders import START, trade
from tests.pipeline.pure import PureStore

IDS = 150


def one(number: int) -> Trade:
    """Trade `number`, six to a minute."""
    return trade(number, f"{number // 6}:{number % 6 * 10}", size=str(number))


class Model:
    """What a store should know, id by id."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.wanted: set[int] = set()  # taken, or known to be missing
        self.live = False

    def take(self, numbers: list[int], *, apart: bool) -> None:
        before, low, high = set(self.taken), min(numbers), max(numbers)
        for number in sorted(set(numbers) - before):
            self._hole(number, apart)
            self.taken.add(number)
            self.wanted.add(number)
            self.live |= not apart
        if apart:
            self.wanted |= set(range(low, high + 1))

    def possible(self, kind: str, numbers: list[int]) -> list[int]:
        """Of these numbers those that could come: live ones come in order, repairs are asked for."""
        if kind == "live" and self.taken:
            return [n for n in numbers if n > max(self.taken)] or [max(self.taken) + 1]
        return sorted(self.gaps & set(numbers)) if kind == "repair" else numbers

    def _hole(self, number: int, apart: bool) -> None:
        if self.taken and number > max(self.taken) and self.live:
            self.wanted |= set(range(max(self.taken), number))
        if self.taken and number < min(self.taken) and not apart:
            self.wanted |= set(range(number, min(self.taken)))

    @property
    def gaps(self) -> set[int]:
        return self.wanted - self.taken


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    found = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["live", "apart", "apart", "repair"]))
        first = draw(st.integers(1, IDS))
        numbers = range(first, min(first + draw(st.integers(1, 30)), IDS + 1))
        left_out = draw(st.sets(st.sampled_from(numbers), max_size=3))
        found.append((kind, [n for n in numbers if n not in left_out]))
    return [(kind, numbers) for kind, numbers in found if numbers]


def missing(store: PureStore) -> set[int]:
    return {n for gap in store.footprint.gaps() for n in range(gap.first_id, gap.last_id + 1)}


@given(script=steps(), data=st.data())
def test_holes_beside_history_are_no_gaps_unless_they_were_before_or_lie_inside_a_page(
    script: list[tuple[str, list[int]]], data: st.DataObject
) -> None:
    store, model = PureStore(), Model()
    for kind, drawn in script:
        numbers = model.possible(kind, drawn)
        if not numbers:
            continue
        fresh = store.take(*map(one, numbers), repair=kind == "repair", apart=kind == "apart")
        assert fresh == len(set(numbers) - model.taken)
        model.take(numbers, apart=kind == "apart")
        assert missing(store) == model.gaps
        assert store.footprint.ids.last_id == max(model.taken)
        assert store.footprint.ids.began is model.live
        unseen = {n for a, b in store.footprint.ids.unseen(1, IDS) for n in range(a, b + 1)}
        assert unseen == set(range(1, IDS + 1)) - model.taken
        if data.draw(st.booleans()):
            store.flush()
            store.crash()
    check(store, model)


def check(store: PureStore, model: Model) -> None:
    """Each minute's status: `complete` only where each id that may be in it was taken."""
    for start, bucket in store.minutes().items():
        own = [n for n in model.taken if one(n).ts_event_ns // 60_000_000_000 == start]
        around = range(
            max((n for n in model.taken if n < min(own)), default=0),
            1 + min((n for n in model.taken if n > max(own)), default=max(own)),
        )
        if set(around) & model.gaps:
            assert bucket.status is Status.DEGRADED
        elif (around[0] and set(around) <= model.taken) or (1 in own and set(range(1, 1 + max(around))) <= model.taken):
            assert bucket.status in (Status.COMPLETE, Status.REPAIRED) or max(own) == max(model.taken)
        else:
            assert bucket.status is Status.UNKNOWN


def statuses(store: PureStore) -> dict[int, str]:
    return {m.start - START: m.status.value for _, m in sorted(store.minutes().items())}


def test_minutes_inside_history_are_complete_and_those_at_its_edges_unknown() -> None:
    store = PureStore()
    store.take(*map(one, range(120, 140)))
    store.take(*map(one, range(33, 57)), apart=True)
    assert store.footprint.gaps() == []
    found = statuses(store)
    assert [found[m] for m in (5, 6, 7, 8, 9)] == ["unknown", "complete", "complete", "complete", "unknown"]
    assert [found[m] for m in (20, 21, 22)] == ["unknown", "complete", "complete"]
    store.take(*map(one, range(56, 121)), apart=True)
    found = statuses(store)
    assert all(found[m] == "complete" for m in range(6, 23))


def test_the_end_of_history_is_unknown_until_more_follows_it() -> None:
    store = PureStore()
    store.take(*map(one, range(10, 40)), apart=True)
    assert statuses(store)[6] == "unknown"
    store.flush(everything=True)
    store.take(*map(one, range(39, 80)), apart=True)
    store.rest()
    assert statuses(store)[6] == "complete"


def test_what_the_venue_lacks_between_two_pages_that_share_a_trade_is_a_gap() -> None:
    store = PureStore()
    store.take(*map(one, range(10, 40)), apart=True)
    store.take(one(39), *map(one, range(45, 60)), apart=True)
    assert missing(store) == set(range(40, 45))
    assert statuses(store)[7] == "degraded"


def test_live_trades_far_above_old_history_leave_no_gap_and_are_recorded_from_there_on() -> None:
    store = PureStore()
    store.take(*map(one, range(1, 30)), apart=True)
    store.flush()
    store.crash()
    store.take(*map(one, range(100, 110)))
    store.take(*map(one, range(115, 120)))
    assert missing(store) == set(range(110, 115))
    assert statuses(store)[4] == "unknown"


def test_history_far_above_where_live_recording_stopped_leaves_the_gap_that_was_there() -> None:
    store = PureStore()
    store.take(*map(one, range(1, 30)))
    store.take(*map(one, range(100, 110)), apart=True)
    assert missing(store) == set(range(30, 100))


def test_history_up_to_now_is_what_live_trades_go_on_from() -> None:
    store = PureStore()
    store.take(*map(one, range(1, 30)), apart=True)
    store.footprint.ids.begin()
    store.flush()
    store.crash()
    assert store.footprint.ids.began
    store.take(*map(one, range(40, 50)))
    assert missing(store) == set(range(30, 40))


def test_what_lacks_is_told_by_times_too() -> None:
    store = PureStore()
    when = [0, *(one(n).ts_event_ns for n in range(1, 60))]
    assert store.footprint.ids.unseen_ns(when[5], when[9]) == [(when[5], when[9])]
    store.take(*map(one, range(10, 20)), apart=True)
    store.take(*map(one, range(30, 40)), apart=True)
    assert store.footprint.ids.unseen_ns(when[5], when[50]) == [
        (when[5], when[10]),
        (when[19], when[30]),
        (when[39], when[50]),
    ]
    assert store.footprint.ids.unseen_ns(when[12], when[35]) == [(when[19], when[30])]
    assert store.footprint.ids.unseen_ns(when[25], when[28]) == [(when[25], when[28])]
    assert store.footprint.ids.unseen_ns(when[12], when[18]) == []


def test_history_that_fills_a_gap_repairs_it() -> None:
    store = PureStore()
    store.take(*map(one, range(1, 10)), *map(one, range(20, 60)))
    store.take(*map(one, range(5, 40)), apart=True)
    found = statuses(store)
    assert missing(store) == set()
    assert [found[m] for m in (1, 2, 3, 4, 5)] == ["repaired", "repaired", "repaired", "complete", "complete"]


def test_what_is_no_gap_stays_none_when_the_oldest_ranges_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contiguous, "MAX_RANGES", 3)
    store = PureStore()
    store.take(*map(one, range(100, 110)))
    for first in (80, 60, 40, 20):
        store.take(*map(one, range(first, first + 5)), apart=True)
    assert store.footprint.gaps() == []
    store.flush(everything=True)
    store.crash()
    assert store.take(*map(one, range(18, 30)), apart=True) == 7
    assert store.take(*map(one, range(18, 30)), apart=True) == 0
    assert store.footprint.gaps() == []


def test_a_cursor_that_was_stored_before_history_could_be_apart_is_read_as_recorded() -> None:
    known = ContiguousIds({"ranges": [[1, 5, 0, 1], [9, 12, 2, 3]], "floor": None})
    assert known.began
    assert [(g.first_id, g.last_id) for g in known.gaps()] == [(6, 8)]
    assert json.loads(json.dumps(known.state())) == {"ranges": [[1, 5, 0, 1], [9, 12, 2, 3]], "floor": None}
