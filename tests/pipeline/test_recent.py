"""Where ids prove only order, or nothing: what a pause missed is taken once when history brings it, however late."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pipeline import recent, unseen
from pipeline.instrument import IdRule
from pipeline.recent import RecentIds
from pipeline.trade import NS_PER_S, Trade
from tests.pipeline.builders import START_NS, at, stream, trade
from tests.pipeline.pure import PureStore
from tests.pipeline.reference import as_expected, minutes_of

NAMELESS = pytest.mark.parametrize("rule", [IdRule.MONOTONIC, IdRule.OPAQUE])
FEW = 9  # ids remembered, in these tests


def name(rule: IdRule, number: int) -> int | str:
    return number * 7 if rule is IdRule.MONOTONIC else f"{number * 7919 % 10_007:x}"


def told(trades: Sequence[Trade], rule: IdRule) -> list[Trade]:
    """The trades with ids of the rule's kind."""
    return [replace(t, trade_id=name(rule, int(t.trade_id))) for t in trades]


@st.composite
def tapes(draw: st.DrawFn, rule: IdRule) -> list[Trade]:
    """Trades at ascending times over some minutes, at most four of them in one moment."""
    steps = draw(st.lists(st.sampled_from([0, 0, 1, 1, 7, 40]), min_size=10, max_size=70))
    steps = [1 if steps[max(0, n - 3) : n + 1] == [0, 0, 0, 0] else step for n, step in enumerate(steps)]
    return [
        replace(trade(name(rule, n), size=str(n)), ts_event_ns=START_NS + second * NS_PER_S)
        for n, second in enumerate(accumulate(steps), start=1)
    ]


@dataclass
class Exchange:
    """A tape, how far it is, and a store that listens to it now and then."""

    data: st.DataObject
    tape: list[Trade]
    store: PureStore
    at: int = 0  # so many trades happened
    paused: bool = False  # trades may have been missed since the store last listened
    pages: list[list[Trade]] = field(default_factory=list)  # of history, still to be put

    def listen(self, count: int) -> None:
        """The next trades live, in batches, perhaps a little out of order, perhaps with old ones again."""
        coming = self.tape[self.at : self.at + count]
        blocks = [coming[i : i + 3] for i in range(0, len(coming), 3)]
        order = [t for block in blocks for t in self.data.draw(st.permutations(block))]
        cut = self.data.draw(st.integers(0, len(order)))
        for members in (order[:cut], order[cut:]):
            if members:
                again = self.tape[max(0, self.at - self.data.draw(st.integers(0, 3))) : self.at] if not self.paused else []
                self.store.take(*again, *members, resumed=self.paused)
                self.paused = False
        self.at += len(coming)

    def miss(self, count: int) -> None:
        """Trades while nobody listens."""
        self.at = min(self.at + count, len(self.tape))
        self.paused = True

    def crash(self) -> None:
        """What was not flushed is lost."""
        self.store.crash()
        self.paused = True

    def ask(self) -> None:
        """History of any stretch, in pages that go up or down and may overlap."""
        first = self.data.draw(st.integers(0, max(0, self.at - 1)))
        last = self.data.draw(st.integers(first, self.at))
        self.pages += self._pages(first, last)

    def put_page(self) -> None:
        if self.pages:
            self.store.take(*self.pages.pop(0), repair=True)

    def drop_pages(self) -> None:
        """The walk ends halfway."""
        self.pages.clear()

    def _pages(self, first: int, last: int) -> list[list[Trade]]:
        size, overlap = self.data.draw(st.integers(2, 30)), self.data.draw(st.integers(0, 1))
        pages = [self.tape[max(0, i - overlap) : min(i + size, last)] for i in range(first, last, size)]
        return [page for page in (pages[::-1] if self.data.draw(st.booleans()) else pages) if page]

    def history(self) -> None:
        """All of it."""
        for page in self._pages(0, len(self.tape)):
            self.store.take(*page, repair=True)


@NAMELESS
@given(data=st.data())
def test_with_pauses_crashes_and_pages_of_history_in_any_order_every_trade_counts_once(
    rule: IdRule, data: st.DataObject
) -> None:
    tape = data.draw(tapes(rule))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "RECENT", FEW)
        patch.setattr(recent, "EDGE", data.draw(st.sampled_from([1, 2, 16])))
        exchange = Exchange(data, tape, PureStore(rule))
        exchange.listen(data.draw(st.integers(1, 20)))
        for _ in range(data.draw(st.integers(1, 15))):
            step = data.draw(
                st.sampled_from(["listen", "listen", "miss", "ask", "put_page", "put_page", "drop_pages", "flush"])
            )
            if step in ("listen", "miss"):
                getattr(exchange, step)(data.draw(st.integers(1, 25)))
            elif step == "flush":
                exchange.store.flush(everything=data.draw(st.booleans()))
                if data.draw(st.booleans()):
                    exchange.crash()
            else:
                getattr(exchange, step)()
            _none_twice(exchange.store, tape)
        exchange.at = len(tape)
        event(f"stretches: {len(exchange.store.footprint.ids.state().get('unseen', []))}")
        exchange.history()
        exact(exchange.store, tape, rule)
        before = exchange.store.footprint.trades
        exchange.history()
        assert exchange.store.footprint.trades == before


@NAMELESS
@given(data=st.data())
def test_a_crash_that_takes_unflushed_trades_away_is_mended_by_history_too(rule: IdRule, data: st.DataObject) -> None:
    tape = data.draw(tapes(rule))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "RECENT", FEW)
        exchange = Exchange(data, tape, PureStore(rule))
        for _ in range(data.draw(st.integers(1, 10))):
            exchange.listen(data.draw(st.integers(1, 12)))
            step = data.draw(st.sampled_from(["flush", "crash", "ask", "put_page"]))
            getattr(exchange.store if step == "flush" else exchange, step)()
        exchange.paused = True
        exchange.listen(len(tape))
        exchange.history()
        exact(exchange.store, tape, rule)


def _none_twice(store: PureStore, tape: Sequence[Trade]) -> None:
    want = minutes_of(tape)
    for start, bucket in store.minutes().items():
        assert bucket.seen <= want[start].seen


def exact(store: PureStore, tape: Sequence[Trade], rule: IdRule) -> None:
    found = {start: as_expected(m) for start, m in store.minutes().items()}
    want = minutes_of(tape, by_time=rule is IdRule.OPAQUE)
    for one in (*found.values(), *want.values()) if rule is IdRule.OPAQUE else ():
        one.open = one.close = one.high  # within one moment nothing tells which came first
        one.first_id = one.last_id = ""
    assert found == want


@NAMELESS
def test_what_a_pause_missed_is_taken_though_more_came_since_than_is_remembered(rule: IdRule) -> None:
    trades = told(stream(3 * recent.RECENT, every_s=0.05), rule)
    store = PureStore(rule)
    store.take(*trades[:100])
    store.take(*trades[200:], resumed=True)
    assert store.take(*trades[90:210], repair=True) == 100
    assert store.take(*trades[90:210], repair=True) == 0
    exact(store, trades, rule)


@NAMELESS
def test_dozens_of_trades_in_the_moment_at_which_a_pause_began_and_ended_are_each_taken_once(rule: IdRule) -> None:
    moments = [trade(n, "0:01" if n <= 40 else "0:02", size=str(n)) for n in range(1, 81)]
    later = [trade(n, f"0:{n // 20}", size=str(n)) for n in range(81, 81 + 2 * recent.RECENT)]
    trades = told([*moments, *later], rule)
    store = PureStore(rule)
    store.take(*trades[:20])
    store.take(*trades[60:], resumed=True)
    assert store.take(*trades[:80], repair=True) == 40
    assert store.take(*trades[:80], repair=True) == 0
    exact(store, trades, rule)


@NAMELESS
def test_a_page_that_begins_in_the_latest_moment_taken_leaves_what_lacks_in_it(rule: IdRule) -> None:
    moments = [trade(n, "0:01", size=str(n)) for n in range(1, 31)]
    trades = told([*moments, *(trade(n, f"0:{n // 20}") for n in range(40, 40 + 2 * recent.RECENT))], rule)
    store = PureStore(rule)
    store.take(*trades[:10])
    store.take(*trades[20:], repair=True)
    assert store.take(*trades[:30], repair=True) == 10
    exact(store, trades, rule)


@NAMELESS
def test_where_the_first_live_trades_after_a_pause_are_all_old_ones_the_next_ones_still_show_it(rule: IdRule) -> None:
    trades = told(stream(200 + 2 * recent.RECENT, every_s=0.05), rule)
    store = PureStore(rule)
    store.take(*trades[:100])
    store.take(*trades[50:100], resumed=True)
    store.flush()
    store.crash()
    store.take(*trades[150:])
    assert store.take(*trades[50:200], repair=True) == 50
    exact(store, trades, rule)


@NAMELESS
def test_history_that_comes_before_the_first_live_trades_after_a_pause_leaves_them_to_show_what_lacks(rule: IdRule) -> None:
    trades = told(stream(200 + 2 * recent.RECENT, every_s=0.05), rule)
    store = PureStore(rule)
    store.take(*trades[:100])
    store.take(*trades[50:100], resumed=True)
    store.take(*trades[90:120], repair=True)
    store.take(*trades[150:])
    assert store.take(*trades[110:160], repair=True) == 30
    exact(store, trades, rule)


@NAMELESS
def test_history_that_is_older_than_the_recording_is_taken_page_by_page_downwards(rule: IdRule) -> None:
    trades = told(stream(4 * recent.RECENT, every_s=0.05), rule)
    store = PureStore(rule)
    store.take(*trades[3 * recent.RECENT :])
    for end in range(3 * recent.RECENT + 5, 0, -70):
        store.take(*trades[max(0, end - 75) : end], apart=True)
    exact(store, trades, rule)


@NAMELESS
def test_only_history_is_no_beginning_of_a_recording(rule: IdRule) -> None:
    trades = told(stream(30), rule)
    store = PureStore(rule)
    assert not store.footprint.ids.began
    store.take(*trades[:10], apart=True)
    store.flush()
    store.crash()
    assert not store.footprint.ids.began
    store.take(*trades[20:])
    assert store.footprint.ids.began
    store.take(*trades[5:15], apart=True)
    assert store.footprint.ids.began


@NAMELESS
def test_what_was_not_taken_is_told_by_its_keys(rule: IdRule) -> None:
    trades = told([trade(n, f"0:{n}") for n in range(1, 50)], rule)
    store = PureStore(rule)
    keys = [int(t.trade_id) if rule is IdRule.MONOTONIC else t.ts_event_ns for t in trades]
    assert store.footprint.ids.unseen(keys[0], keys[-1]) == [(keys[0], keys[-1])]
    store.take(*trades[:10])
    store.take(*trades[20:40], resumed=True)
    store.take(*trades[:40], repair=True)
    found = store.footprint.ids.unseen(keys[0], keys[-1])
    assert found[-1] == (keys[39] + 1, keys[-1])
    assert all(a == b == keys[0] for a, b in found[:-1])  # at the end of a page of one moment there may be more


@NAMELESS
def test_a_cursor_without_stretches_is_read_as_before(rule: IdRule) -> None:
    trades = told(stream(20), rule)
    store = PureStore(rule)
    store.take(*trades)
    state = store.footprint.ids.state()
    old = RecentIds(rule, {k: state[k] for k in ("recent", "top", "floor")})
    assert old.last_id == trades[-1].trade_id
    assert old.began


def test_stretches_stay_few_and_the_narrowest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "RECENT", 4)
    monkeypatch.setattr(recent, "EDGE", 1)
    store = PureStore(IdRule.MONOTONIC)
    for n in range(3 * unseen.MAX_STRETCHES):
        store.take(*(trade(n * 1000 + 10 * i, f"{n}:{i}") for i in range(1 + n // 100, 9)), resumed=True)
    state = store.footprint.ids.state()
    assert len(state["unseen"]) == unseen.MAX_STRETCHES
    assert len(json.dumps(state)) < 64 * unseen.MAX_STRETCHES
    assert store.take(trade(500, "0:30"), repair=True) == 1  # the past is the widest, and known longest


def test_a_stored_minute_that_holds_what_the_cursor_lacks_was_written_by_a_run_that_it_forgot() -> None:
    store = PureStore(IdRule.MONOTONIC)
    store.take(trade(100, "0:10"), trade(110, "0:20"))
    store.take(trade(500, "5:00"), resumed=True)
    other = PureStore(IdRule.MONOTONIC)
    other.take(trade(300, "3:00"), trade(310, "3:01"))
    other.take(trade(100, "0:10"))
    forgotten, own = other.minutes()[min(other.minutes()) + 3], other.minutes()[min(other.minutes())]
    assert store.footprint.forgot(forgotten)
    assert not store.footprint.forgot(own)
    assert at("3:00") == forgotten.first_ns
