"""Looks that hang, fail or take long stop no other look."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from pipeline.errors import RedisUnavailable
from spillway.doctor.finding import Finding, Level, ok, warning
from spillway.doctor.looking import Look, look_at
from tests.spillway.doctor.found import levels


def test_what_was_found_is_told_in_the_looks_order_whoever_ends_first() -> None:
    first_may_end = threading.Event()

    def first() -> Iterator[Finding]:
        assert first_may_end.wait(30)
        yield ok("first", "1")

    def second() -> Iterator[Finding]:
        first_may_end.set()
        yield warning("second", "2", "do")
        yield ok("second", "3")

    report = look_at([Look("first", first, 30), Look("second", second, 30)])
    assert [finding.found for finding in report.findings] == ["1", "2", "3"]
    assert report.ok and not report.late


def test_a_look_that_hangs_is_given_up_in_its_time_and_told_with_its_level() -> None:
    never = threading.Event()

    def hangs() -> Iterator[Finding]:
        never.wait()
        yield ok("hangs", "")

    began = time.monotonic()
    looks = [
        Look("hangs", hangs, 0.1, Level.WARNING, "wait longer"),
        Look("hangs too", hangs, 0.1),
        Look("fine", lambda: [ok("fine", "")], 30),
    ]
    report = look_at(looks)
    never.set()
    assert time.monotonic() - began < 20
    assert levels(report.findings) == [Level.WARNING, Level.WRONG, Level.OK]
    assert (report.findings[0].found, report.findings[0].todo) == ("no answer within 0.1 s", "wait longer")
    assert report.late and not report.ok


def test_an_error_is_a_finding_and_stops_no_other_look() -> None:
    def refused() -> Iterator[Finding]:
        yield ok("lost", "what was found before is not half told")
        raise RedisUnavailable("Redis at x can't be reached")

    def faulty() -> Iterator[Finding]:
        yield ok("x", str(1 // 0))

    report = look_at([Look("refused", refused, 30), Look("faulty", faulty, 30), Look("fine", lambda: [ok("fine", "")], 30)])
    assert [str(f.found) for f in report.findings[:2]] == [
        "Redis at x can't be reached",
        "ZeroDivisionError: integer division or modulo by zero",
    ]
    assert levels(report.findings) == [Level.WRONG, Level.WRONG, Level.OK]


def test_a_report_tells_people_what_to_do_and_machines_the_counts() -> None:
    report = look_at([Look("a", lambda: [ok("a", "is fine"), warning("b", "is odd", "mend it")], 30)])
    assert report.lines() == [
        "ok       a: is fine",
        "warning  b: is odd\n           -> mend it",
        "2 things looked at: 0 wrong, 1 warnings",
    ]
    assert report.as_dict() == {
        "ok": True,
        "wrong": 0,
        "warnings": 1,
        "findings": [
            {"what": "a", "level": "ok", "found": "is fine", "todo": ""},
            {"what": "b", "level": "warning", "found": "is odd", "todo": "mend it"},
        ],
    }
