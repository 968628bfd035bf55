"""Walks through simulated histories: every id of the span is visited, the walk ends, and asks no page for nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from collectors.venues.history import Span, ascending, descending, onward
from pipeline.trade import RawTrades

Trades: TypeAlias = list[tuple[int, int]]  # id and time in ns, both rising

_GAPS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), max_size=60)
_SIZES = st.integers(1, 7)
_EDGES = st.one_of(st.none(), st.integers(0, 150))


def history(gaps: Sequence[tuple[int, int]], first_id: int = 1) -> Trades:
    trades, trade_id, ts_ns = [], first_id, 1000
    for id_gap, ns_gap in gaps:
        trades.append((trade_id, ts_ns))
        trade_id, ts_ns = trade_id + id_gap, ts_ns + ns_gap
    return trades


def page_of(trades: Trades) -> RawTrades:
    n = len(trades)
    return RawTrades(
        np.array([i for i, _ in trades], np.int64),
        np.array([t for _, t in trades], np.int64),
        ["1"] * n,
        ["1"] * n,
        np.ones(n, np.int8),
    )


def walked(follow: Callable[[RawTrades | None], Trades | None]) -> list[Trades]:
    """The pages of a walk. `follow`: the last page -> the next one, None at the end."""
    pages: list[Trades] = []
    page: RawTrades | None = None
    while (trades := follow(page)) is not None:
        pages.append(trades)
        page = page_of(trades)
        assert len(pages) < 500, "the walk does not end"
    return pages


def check(pages: list[Trades], wanted: set[int], *, spare: int) -> None:
    """All that is wanted came, and at most `spare` pages, at the end, brought nothing new of it."""
    seen: set[int] = set()
    idle = 0
    for page in pages:
        new = {i for i, _ in page} & wanted - seen
        assert new or len(pages) == 1 or page is pages[-1], "a page in the midst was asked for nothing"
        idle += not new
        seen |= new
    assert seen == wanted
    assert idle <= spare


@given(_GAPS, _SIZES, _EDGES, _EDGES, st.integers(0, 50))
def test_a_walk_up_by_ids_visits_all_of_its_span(
    gaps: Sequence[tuple[int, int]], size: int, first: int | None, last: int | None, oldest: int
) -> None:
    trades = history(gaps, oldest)
    span = Span(first, last)

    def follow(page: RawTrades | None) -> Trades | None:
        from_id = ascending(span, page)
        return None if from_id is None else [trade for trade in trades if trade[0] >= from_id][:size]

    wanted = {i for i, _ in trades if (first or 0) <= i and (last is None or i <= last)}
    check(walked(follow), wanted, spare=0 if last in wanted else 1)


@given(_GAPS, _SIZES, _EDGES, _EDGES, st.integers(0, 50))
def test_a_walk_down_by_ids_visits_all_of_its_span(
    gaps: Sequence[tuple[int, int]], size: int, first: int | None, last: int | None, oldest: int
) -> None:
    assume(last is None or first is None or first <= last)
    trades = history(gaps, oldest)
    span = Span(first, last)
    wanted = {i for i, _ in trades if (first or 0) <= i and (last is None or i <= last)}
    check(walked(lambda page: below(trades, size, span, page)), wanted, spare=0 if first in wanted else 1)


@given(_GAPS, _SIZES, st.integers(990, 1200))
def test_a_walk_down_by_ids_to_a_time_visits_all_since_then(gaps: Sequence[tuple[int, int]], size: int, since_ns: int) -> None:
    trades = history(gaps)
    pages = walked(lambda page: below(trades, size, Span(since_ns=since_ns), page))
    check(pages, {i for i, t in trades if t >= since_ns}, spare=1)


def below(trades: Trades, size: int, span: Span, page: RawTrades | None) -> Trades | None:
    again, top = descending(span, page)
    return [trade for trade in trades if top is None or trade[0] < top][-size:] if again else None


def test_a_walk_down_ends_at_a_venue_that_gives_the_newest_whatever_it_is_asked_for() -> None:
    newest = page_of([(900, 1), (901, 2)])
    assert descending(Span(10, 20), newest)[0] is False


@given(_GAPS, st.integers(2, 7), st.one_of(st.none(), st.integers(0, 150)), st.integers(990, 1150), st.integers(0, 80))
def test_a_walk_by_times_visits_all_of_its_span(
    gaps: Sequence[tuple[int, int]], size: int, last: int | None, since_ns: int, width_ns: int
) -> None:
    trades = history(gaps)
    assume(no_burst(trades, size, 0))
    span = Span(None, last, since_ns, since_ns + width_ns)
    wanted = {i for i, t in trades if t >= since_ns and (t <= since_ns + width_ns if last is None else i <= last)}
    check(walked(lambda page: since(trades, size, span, page)), wanted, spare=1)


@given(_GAPS, st.integers(3, 9), st.integers(1, 5), st.integers(900, 1150))
def test_a_walk_by_blurred_times_visits_all_of_its_span(
    gaps: Sequence[tuple[int, int]], size: int, blur_ns: int, since_ns: int
) -> None:
    trades = [(i, t * 2) for i, t in history(gaps)]
    overlap_ns = 2 * blur_ns
    assume(no_burst(trades, size, 3 * overlap_ns))
    span = Span(since_ns=since_ns)

    def follow(page: RawTrades | None) -> Trades | None:
        given_trades = since(trades, size, span, page, overlap_ns)
        return given_trades and [(i, (t + blur_ns // 2) // blur_ns * blur_ns) for i, t in given_trades]

    check(walked(follow), {i for i, t in trades if t >= since_ns}, spare=1)


def since(trades: Trades, size: int, span: Span, page: RawTrades | None, overlap_ns: int = 0) -> Trades | None:
    at_ns = onward(span, page, page_size=size, overlap_ns=overlap_ns)
    if at_ns is None:
        return None
    start = bisect_left([t for _, t in trades], at_ns)
    return trades[start : start + size]


def no_burst(trades: Trades, size: int, within_ns: int) -> bool:
    """Whether nowhere so many trades fall so close together that they fill a page."""
    times = [t for _, t in trades]
    return all(late - early > within_ns for early, late in zip(times, times[size - 1 :], strict=False))


def test_trades_of_one_time_that_fill_a_page_do_not_stop_a_walk() -> None:
    trades = [(i, 1000) for i in range(1, 8)] + [(8, 1001), (9, 1002)]
    pages = walked(lambda page: since(trades, 3, Span(since_ns=0), page))
    assert {8, 9} <= {i for page in pages for i, _ in page}
