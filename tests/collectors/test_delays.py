"""When to try again, and whether at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from collectors.delays import Delays, is_fatal, retry_after


def test_only_client_errors_that_do_not_pass_are_fatal() -> None:
    assert [s for s in (200, 301, 400, 401, 403, 404, 408, 418, 429, 451, 500, 503) if is_fatal(s)] == [400, 401, 403, 404, 451]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), (None, 0), ("", 0), ("soon", 0), ("-1", 0), ("\u0967", 0), ("9" * 400, 259_200)],
    ids=["7", "none", "empty", "soon", "-1", "not ASCII", "too much"],
)
def test_a_retry_after_that_is_no_number_of_seconds_counts_as_none(header: str | None, seconds: float) -> None:
    assert retry_after(header) == seconds


def constant(value: float) -> Callable[[], float]:
    return lambda: value


def test_delays_double_up_to_the_cap_at_their_longest() -> None:
    delays = Delays(random=constant(1.0))
    assert [delays.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_delays_are_spread_over_all_between_their_least_and_their_longest() -> None:
    at: Iterator[float] = iter([0.0, 0.5, 1.0] * 2)
    delays = Delays(first_s=8, cap_s=8, random=lambda: next(at))
    assert [delays.next_s() for _ in range(3)] == [1.0, 4.5, 8.0]


def test_a_server_that_accepts_and_closes_gets_less_than_a_try_a_second_even_with_the_shortest_delays() -> None:
    delays, now, tries = Delays(random=constant(0.0)), 0.0, []
    while now < 600:
        tries.append(now)
        delays.ended(trades=0, lasted_s=0.01)
        now += delays.next_s()
    assert [b - a >= 1 for a, b in pairwise(tries[2:])] == [True] * (len(tries) - 3)
    assert len(tries) <= 602


@pytest.mark.parametrize(
    ("trades", "lasted_s", "next_s"),
    [(1, 5.0, 0.5), (0, 59.0, 4.0), (0, 60.0, 0.5), (999, 4.9, 4.0), (1000, 0.1, 0.5)],
    ids=["useful", "idle", "long", "short", "busy"],
)
def test_only_a_useful_connection_begins_the_delays_anew(trades: int, lasted_s: float, next_s: float) -> None:
    delays = Delays(random=constant(1.0))
    for _ in range(3):
        delays.next_s()
    delays.ended(trades, lasted_s)
    assert delays.next_s() == next_s


def test_delays_stay_finite_after_years_of_failure() -> None:
    delays = Delays(random=constant(1.0))
    delays.tries = 10_000
    assert delays.next_s() == 30
