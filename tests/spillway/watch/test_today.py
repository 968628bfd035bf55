"""Coverage of one day by the notices of sealed minutes."""

from __future__ import annotations

import pytest

from pipeline.codec import Head, encode, split
from pipeline.minute import MINUTES_PER_DAY, Status
from spillway.watch.facts import Coverage
from spillway.watch.today import Today
from tests.pipeline.builders import START, minute

DAY = START // MINUTES_PER_DAY  # which it begins


def head(start: int, first: int, last: int, status: Status = Status.COMPLETE) -> Head:
    return split(encode(minute(start=start, first_trade_id=first, last_trade_id=last, status=status)), "a test").head


def today(*notices: tuple[int, str]) -> Today:
    found = Today()
    found.begin(DAY)
    for at, status in notices:
        found.note(START + at, status)
    return found


def coverage(found: Today) -> Coverage | None:
    return found.coverage(proves=True)


def test_a_day_without_a_minute_has_no_coverage() -> None:
    assert coverage(today()) is None
    assert coverage(today((-5, "complete"))) is None


def test_minutes_count_by_what_was_told_of_them_last() -> None:
    found = today((3, "degraded"), (4, "complete"), (5, "unknown"), (6, "repaired"), (3, "repaired"))
    assert coverage(found) == Coverage(known=4, whole=3, degraded=0, absent=0, proves=True)


def test_a_minute_between_others_is_absent_unless_the_ids_beside_it_join() -> None:
    found = today((3, "complete"), (5, "complete"), (8, "complete"))
    holes = found.unproven()
    assert holes == [(START + 3, START + 5), (START + 5, START + 8)]
    heads = {START + 3: head(START + 3, 1, 9), START + 5: head(START + 5, 10, 20), START + 8: head(START + 8, 22, 30)}
    found.prove(holes, heads)
    assert found.unproven() == []
    assert coverage(found) == Coverage(known=6, whole=4, degraded=0, absent=2, proves=True)


def test_ids_of_minutes_that_prove_nothing_do_not_join() -> None:
    found = today((3, "unknown"), (5, "unknown"))
    found.prove(found.unproven(), {START + n: head(START + n, n, n, Status.UNKNOWN) for n in (3, 4, 5)})
    found.prove([], {})
    assert coverage(found) == Coverage(known=3, whole=0, degraded=0, absent=1, proves=True)


def test_a_hole_is_looked_at_again_when_a_minute_in_it_or_beside_it_was_sealed_anew() -> None:
    found = today((3, "complete"), (5, "complete"))
    found.prove(found.unproven(), {})
    found.note(START + 4, "repaired")
    assert found.unproven() == []
    assert coverage(found) == Coverage(known=3, whole=3, degraded=0, absent=0, proves=True)


@pytest.mark.parametrize(("joins", "whole", "absent"), [(True, 4, 0), (False, 1, 3)])
def test_a_day_counts_from_its_begin_where_an_earlier_minute_is_known(joins: bool, whole: int, absent: int) -> None:
    found = today((-10, "complete"), (3, "complete"))
    heads = {START - 10: head(START - 10, 1, 9), START + 3: head(START + 3, 10 if joins else 11, 20)}
    found.prove(found.unproven(), heads)
    assert coverage(found) == Coverage(known=4, whole=whole, degraded=0, absent=absent, proves=True)


def test_a_new_day_begins_anew() -> None:
    found = today((3, "complete"))
    found.begin(DAY + 1)
    assert coverage(found) is None
    assert found.last_notice == ""
