"""Minute files that stay after compaction: never counted twice, read again only where they changed, and gone in time."""

from __future__ import annotations

import pytest

from sinks.compact import Compactor, DayReport
from sinks.kept import KeptFiles
from tests.pipeline.builders import BTC
from tests.sinks.days import DAY, Store, random_day, random_minute, tree

HOUR_NS = 3600 * 10**9


class Clock:
    def __init__(self) -> None:
        self.hours = 0.0

    def __call__(self) -> int:
        return int(self.hours * HOUR_NS) + 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def compact(store: Store, clock: Clock, keep_hours: float = 24) -> DayReport:
    return Compactor(store.files, store.archive, keep_s=keep_hours * 3600, clock=clock).compact_day(BTC, DAY)


def test_files_stay_for_so_long_and_then_go(store: Store, clock: Clock) -> None:
    day = random_day(5)
    store.put(*day)
    report = compact(store, clock)
    assert (report.merged, report.deleted, report.kept) == (5, 0, 5)
    clock.hours = 23.9
    report = compact(store, clock)
    assert (report.merged, report.deleted, report.kept, report.generation) == (0, 0, 5, 0)
    assert len(store.files.of_day(BTC, DAY)) == 5
    clock.hours = 24.1
    report = compact(store, clock)
    assert (report.merged, report.deleted, report.kept) == (0, 5, 0)
    assert store.files.of_day(BTC, DAY) == [] and store.holds(day)
    assert not list(store.folder.rglob("kept-*"))


def test_kept_files_and_their_archived_copies_are_the_same_minutes(store: Store, clock: Clock) -> None:
    """Both have the same revision: who reads both takes one of them."""
    day = random_day(5)
    store.put(*day)
    compact(store, clock)
    revisions = store.archive.read_minutes(BTC, DAY * 1440, DAY * 1440 + 1440, ["revision"])["revision"].to_pylist()
    assert revisions == [one.revision for one in day]
    assert [store.files.load(BTC, one.start) for one in day] == [store.archive.load(BTC, one.start) for one in day]


def test_while_they_stay_they_are_not_read_again(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(*random_day(5))
    compact(store, clock)
    before = tree(store.folder)

    def reading(*_: object) -> None:
        raise AssertionError("a kept file was read again")

    monkeypatch.setattr(store.files, "parts", reading)
    assert compact(store, clock).kept == 5
    assert tree(store.folder) == before


def test_a_late_revision_among_kept_files_is_merged_at_once(store: Store, clock: Clock) -> None:
    day = random_day(5)
    store.put(*day)
    compact(store, clock)
    late = random_minute(day[2].start, revision=2)
    store.put(late)
    report = compact(store, clock)
    assert (report.merged, report.kept, report.generation) == (1, 5, 1)
    assert store.holds([*day[:2], late, *day[3:]])
    clock.hours = 24.1
    assert compact(store, clock).deleted == 5


def test_a_lost_or_damaged_note_only_makes_them_stay_longer(store: Store, clock: Clock) -> None:
    day = random_day(5)
    store.put(*day)
    compact(store, clock)
    note = KeptFiles(store.files, store.archive.layout).path(BTC, DAY)
    for wreck in (note.unlink, lambda: note.write_bytes(b"{")):
        wreck()
        clock.hours += 24.1
        assert compact(store, clock).kept == 5
    clock.hours += 24.1
    assert compact(store, clock).deleted == 5
    assert store.holds(day)


def test_files_that_the_archive_could_not_take_are_told_each_time(store: Store, clock: Clock) -> None:
    day = random_day(5)
    store.put(*day)
    store.path(day[1]).write_bytes(b"")
    for _ in range(2):
        report = compact(store, clock)
        assert len(report.problems) == 1 and str(store.path(day[1])) in report.problems[0]
    assert store.holds([day[0], *day[2:]])


def test_without_the_wish_to_keep_them_kept_files_go_at_once(store: Store, clock: Clock) -> None:
    store.put(*random_day(5))
    compact(store, clock)
    assert compact(store, clock, keep_hours=0).deleted == 5
