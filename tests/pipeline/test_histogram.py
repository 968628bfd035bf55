"""Histograms: each observation in its bucket, whichever thread makes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.histogram import SHORT_S, Histogram, together

TIMES = st.lists(st.one_of(st.sampled_from(SHORT_S), st.floats(0, 20)))


@given(TIMES)
def test_each_bound_counts_what_lies_at_or_below_it(times: list[float]) -> None:
    found = Histogram()
    for seconds in times:
        found.observe(seconds)
    assert found.cumulative == [*(sum(t <= bound for t in times) for bound in SHORT_S), len(times)]
    assert found.count == len(times)
    assert found.sum == pytest.approx(sum(times))


@given(TIMES, TIMES)
def test_two_together_are_as_if_one_had_seen_all(some: list[float], more: list[float]) -> None:
    parts, whole = (Histogram(), Histogram()), Histogram()
    for part, times in zip(parts, (some, more), strict=True):
        for seconds in times:
            part.observe(seconds)
            whole.observe(seconds)
    assert together(parts).cumulative == whole.cumulative


def test_what_fails_is_timed_too() -> None:
    found = Histogram()
    with pytest.raises(ValueError), found.timed():
        raise ValueError
    assert found.count == 1


def test_no_observation_of_many_threads_gets_lost() -> None:
    found = Histogram()

    def observe(n: int) -> None:
        for _ in range(2_000):
            found.observe(0.001)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(observe, range(4)))
    assert found.count == 8_000
