"""Bars and sessions on the axis of time, where clocks change too."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway import analysis
from spillway.analysis import Session
from spillway.analysis.sessions import bars_of
from tests.spillway.analysis import agree, reference

# Days around which clocks change: by an hour, by half of one, by a whole day, or never.
TURNS = {
    "America/New_York": ("2024-03-10", "2024-11-03"),
    "Europe/Berlin": ("2024-03-31", "2024-10-27"),
    "Australia/Lord_Howe": ("2024-04-07", "2024-10-06"),
    "Asia/Kathmandu": ("2024-01-01",),
    "Pacific/Apia": ("2011-12-30",),
    "UTC": ("2024-02-29",),
}
CLOCK = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))


def minute(text: str) -> int:
    return int(pd.Timestamp(text, tz="UTC").timestamp()) // 60


@st.composite
def times(draw: st.DrawFn, zone: str) -> list[int]:
    day = minute(draw(st.sampled_from(TURNS[zone])))
    offsets = draw(st.lists(st.integers(-1500, 3000), min_size=1, max_size=12, unique=True))
    return sorted(day + n for n in offsets)


@settings(max_examples=40)
@given(st.data(), CLOCK, st.none() | CLOCK, st.sampled_from([None, 1, 7, 60, 240]))
def test_each_minute_falls_into_the_session_that_the_local_clock_says(
    data: st.DataObject, start: str, end: str | None, length: int | None
) -> None:
    zone = data.draw(st.sampled_from(sorted(TURNS)))
    minutes = data.draw(times(zone))
    end = None if end == start else end
    bars, number = bars_of(np.array(minutes), f"{length}m" if length else "session", Session(start, zone, end))
    bar_of = reference.in_sessions(minutes, start, zone, end, length)
    wanted = [bar_of(m) for m in minutes]
    have = [None if n < 0 else (int(bars.starts[n]), int(bars.ends[n]), int(bars.sessions[n])) for n in number]
    assert have == wanted
    assert bars.starts.tolist() == sorted({w[0] for w in wanted if w})


def test_a_futures_day_has_23_hours_in_spring_and_25_in_autumn() -> None:
    session = Session("18:00", "America/New_York")
    for day, hours in (("2024-03-09", 23), ("2024-11-02", 25), ("2024-06-01", 24)):
        inside = np.array([minute(f"{day}T23:30")])
        bars, _ = bars_of(inside, "session", session)
        assert (bars.ends - bars.starts).tolist() == [hours * 60]


def test_regular_trading_hours_leave_out_what_lies_outside_them() -> None:
    frame = agree.levels((n, "10", "1", "0") for n in range(0, 1440, 10))  # from 2023-03-28 10:40 UTC, 06:40 in New York
    have = analysis.regroup(frame, every="1h", session=agree.NEW_YORK)
    assert have["timestamp"].iloc[0] == pd.Timestamp("2023-03-28T13:30Z")
    assert have["timestamp"].diff().dropna().unique().tolist() == [pd.Timedelta(hours=1)]
    assert len(have) == 7
    assert have["total_volume"].sum() == 39
    assert have["total_volume"].iloc[-1] == 3  # the last bar ends with the session, at 16:00


def test_a_session_may_run_past_midnight() -> None:
    night = Session("22:00", "UTC", "06:00")
    minutes = np.array([minute(t) for t in ("2024-01-01T21:59", "2024-01-01T22:00", "2024-01-02T05:59", "2024-01-02T06:00")])
    bars, number = bars_of(minutes, "session", night)
    assert number.tolist() == [-1, 0, 0, -1]
    assert bars.starts.tolist() == [minute("2024-01-01T22:00")]


def test_without_a_session_bars_are_cut_from_1970_and_days_are_utc_days() -> None:
    minutes = np.array([minute("2024-01-01T10:07"), minute("2024-01-01T23:59"), minute("2024-01-02T00:00")])
    for every, wanted in (
        ("7m", sorted({m // 7 * 7 for m in minutes.tolist()})),
        ("1d", [minute("2024-01-01"), minute("2024-01-02")]),
    ):
        assert bars_of(minutes, every, None)[0].starts.tolist() == wanted
    assert bars_of(minutes, "session", None)[0].starts.tolist() == bars_of(minutes, "1d", Session())[0].starts.tolist()
    one, number = bars_of(minutes, "all", None)
    assert (one.starts.tolist(), one.ends.tolist(), number.tolist()) == ([minutes[0]], [minutes[-1] + 1], [0, 0, 0])


def test_a_whole_session_is_one_bar_by_either_name() -> None:
    at = minute("2024-03-10T12:00")
    found = [bars_of(np.array([at]), every, agree.NEW_YORK)[0] for every in ("session", "1d")]
    assert [(b.starts.tolist(), b.ends.tolist()) for b in found] == [([], []), ([], [])]  # 08:00 in New York
    found = [bars_of(np.array([at + 90]), every, agree.NEW_YORK)[0] for every in ("session", "1d")]
    assert [(b.ends - b.starts).tolist() for b in found] == [[390], [390]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("24:00",), "expected hours and minutes"),
        (("9:30",), "expected hours and minutes"),
        (("09:30", "Mars/Olympus"), "time zone 'Mars/Olympus': unknown"),
        (("09:30", "../../etc/passwd"), "unknown"),
        (("09:30", "UTC", "09:30"), "no length"),
        (("09:30", "UTC", "later"), "expected hours and minutes"),
    ],
)
def test_a_session_that_is_none_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        Session(*arguments)


@pytest.mark.parametrize("every", ["90s", "soon", "0m", ""])
def test_a_bar_length_that_is_none_is_refused(every: str) -> None:
    with pytest.raises(BadValue, match="bar length"):
        bars_of(np.array([1]), every, None)


def test_a_bar_longer_than_a_session_is_refused() -> None:
    with pytest.raises(BadValue, match="longer than a session"):
        bars_of(np.array([1]), "2d", Session())


def test_one_bar_for_all_is_refused_beside_a_session() -> None:
    with pytest.raises(BadValue, match="can't reach over several sessions"):
        bars_of(np.array([1]), "all", Session())


def test_the_reference_finds_starts_that_the_clock_skips_or_shows_twice() -> None:
    spring, autumn = datetime(2024, 3, 10), datetime(2024, 11, 3)
    assert reference.reaches(spring, "02:30", "America/New_York") == minute("2024-03-10T07:00")  # 02:30 is 03:00 at once
    assert reference.reaches(autumn, "01:30", "America/New_York") == minute("2024-11-03T05:30")  # the first of two
    assert reference.reaches(autumn + timedelta(days=1), "01:30", "America/New_York") == minute("2024-11-04T06:30")
