"""Minutes against klines: what is equal, what differs, and what can't be told yet."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from collectors.venues.kline import Kline
from pipeline.minute import Minute, Status
from sinks.ledger.klines import Figures
from spillway.kline_check import check, compare, figures_of
from tests.pipeline.builders import START, minute

OLD = START + 10_000  # all minutes of these tests are older


def kline(at: int, volume: str = "2.37", buy: str | None = "1.5", count: int | None = 17) -> Kline:
    """By default, what the builder's minute has."""
    return Kline(START + at, Decimal(volume), None if buy is None else Decimal(buy), count)


def ours(*at: int, **other: object) -> dict[int, Minute]:
    return {START + n: minute(start=START + n, **other) for n in at}  # type: ignore[arg-type]


def test_a_minutes_figures_are_its_exact_sums() -> None:
    assert figures_of(minute()) == Figures(Decimal("2.37"), Decimal("1.50"), 17)


def test_figures_agree_whatever_zeros_the_venue_writes() -> None:
    assert check(START, minute(), Figures(Decimal("2.37000000"), Decimal("1.50000000"), 17)).equal


def test_one_unit_in_the_last_place_differs() -> None:
    for theirs in (
        Figures(Decimal("2.37000001"), Decimal("1.5"), 17),
        Figures(Decimal("2.37"), Decimal("1.49999999"), 17),
        Figures(Decimal("2.37"), Decimal("1.5"), 18),
    ):
        assert not check(START, minute(), theirs).equal


def test_what_the_venue_does_not_tell_is_not_compared() -> None:
    assert check(START, minute(), Figures(Decimal("2.37"))).equal
    assert not check(START, minute(), Figures(Decimal("2.38"))).equal


def test_a_difference_is_a_wonder_only_where_nothing_is_known_to_lack() -> None:
    theirs = Figures(Decimal(3))
    verdicts = {status: check(START, minute(status=status), theirs).unexplained for status in Status}
    assert verdicts == {Status.COMPLETE: True, Status.REPAIRED: True, Status.DEGRADED: False, Status.UNKNOWN: False}
    assert check(START, None, theirs).unexplained
    assert not check(START, None, Figures(Decimal(0), Decimal(0), 0)).unexplained


def test_a_difference_tells_both_sides_of_all_that_the_venue_tells() -> None:
    told = check(START, minute(), Figures(Decimal("2.50000000"), None, 170)).told()
    assert told == {"volume": "ours 2.37, theirs 2.5", "trade_count": "ours 17, theirs 170"}


def test_minutes_are_compared_one_by_one() -> None:
    found = compare(range(START, START + 3), ours(0, 1), [kline(0), kline(1, "9"), kline(2, "0", "0", 0)], young=OLD)
    assert [(c.minute - START, c.equal) for c in found.checks] == [(0, True), (1, False), (2, True)]
    assert (found.until, found.unanswered) == (START + 2, 0)


def test_a_minute_that_we_have_nothing_of_differs_where_the_venue_traded() -> None:
    (only,) = compare(range(START, START + 1), {}, [kline(0)], young=OLD).checks
    assert (only.revision, only.status, only.equal) == (0, "none", False)


def test_a_minute_that_the_venue_leaves_out_between_others_had_no_trade() -> None:
    found = compare(range(START, START + 4), ours(0, 2, 3), [kline(0), kline(3)], young=OLD)
    assert [(c.minute - START, c.equal) for c in found.checks] == [(0, True), (1, True), (2, False), (3, True)]


def test_young_minutes_after_the_answer_are_asked_for_again() -> None:
    found = compare(range(START, START + 5), ours(0, 1, 2, 3, 4), [kline(0), kline(1)], young=START)
    assert (found.until, len(found.checks), found.unanswered) == (START + 1, 2, 0)
    nothing = compare(range(START, START + 5), ours(0), [], young=START)
    assert (nothing.until, nothing.checks, nothing.unanswered) == (START - 1, [], 0)


def test_young_minutes_that_the_venue_leaves_out_before_later_ones_had_no_trade() -> None:
    found = compare(range(START, START + 3), ours(1), [kline(2, "0", "0", 0)], young=START)
    assert [c.equal for c in found.checks] == [True, False, True]


def test_old_minutes_that_the_answer_does_not_reach_stay_unanswered() -> None:
    found = compare(range(START, START + 5), ours(0, 1, 2, 3, 4), [kline(2)], young=OLD)
    assert (found.until, len(found.checks), found.unanswered) == (START + 4, 1, 4)


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(-2, 12)), st.integers(-2, 14))
def test_each_minute_is_checked_left_unanswered_or_asked_for_again(mine: set[int], theirs: set[int], young: int) -> None:
    found = compare(range(START, START + 10), ours(*mine), [kline(n) for n in sorted(theirs)], young=START + young)
    checked = [c.minute - START for c in found.checks]
    assert checked == sorted(set(checked))
    assert len(checked) + found.unanswered == found.until - START + 1
    assert theirs & set(range(10)) <= set(checked)  # what the venue told is never passed over
    again = range(found.until - START + 1, 10)
    assert all(n >= young and n > max(theirs, default=-1) for n in again)
    for each in found.checks:
        n = each.minute - START
        assert each.equal == ((n in mine) == (n in theirs))
