"""Tables put together hold each minute once, in order."""

from __future__ import annotations

from pipeline import codec
from pipeline.minute import Minute
from sinks import merge, tables
from sinks.tables import Tables
from tests.sinks.days import random_day, random_minute, rebuilt


def exact(*minutes: Minute) -> Tables:
    return tables.tables_of([codec.split(codec.encode(one), "test") for one in minutes], exact=True)


def test_new_minutes_replace_old_ones_and_stand_in_order() -> None:
    day = random_day(10)
    later = [random_minute(day[4].start, revision=2), random_minute(day[4].start + 1)]
    old, new = exact(*day), exact(*later)
    both = merge.updated(old, new)
    tables.check(both)
    want = sorted([*day[:4], *day[5:], *later], key=lambda one: one.start)
    assert tables.starts(both.minutes) == [one.start for one in want]
    assert all(codec.encode(rebuilt(both, one)) == codec.encode(one) for one in want)


def test_hours_put_together_are_the_whole_again() -> None:
    whole = exact(*random_day(40))
    hours = list(merge.by_hour(whole))
    assert len(hours) == 5
    assert merge.concat(hours).levels.equals(whole.levels)
    assert merge.concat(hours).minutes.equals(whole.minutes)


def test_nothing_put_together_is_empty_and_nothing_new_changes_nothing() -> None:
    none, some = merge.concat([]), exact(*random_day(3))
    assert list(merge.by_hour(none)) == [] and not len(none.levels)
    same = merge.updated(some, none)
    assert same.levels.equals(some.levels) and same.minutes.equals(some.minutes)
