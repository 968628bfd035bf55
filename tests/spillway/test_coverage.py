"""What is known of each minute: told as a slow and obvious count tells it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spillway
from pipeline import codec
from pipeline.errors import BadValue
from pipeline.minute import IdRange, Minute, Status
from sinks.archive import Archive
from sinks.minute_files import MinuteFiles
from sinks.retention import Limits, Retention, expired
from sinks.tables import tables_of
from spillway.coverage import NEEDED, STATES, WHOLE, count_ids, coverage_of, table_of
from spillway.plot.coverage_view import CoverageView
from spillway.plot.job import Drawing, draw
from tests.pipeline.builders import BTC, START, minute
from tests.spillway.kept import stored

NAMES = (BTC.venue, BTC.symbol)


def one(offset: int, ids: IdRange, status: Status = Status.COMPLETE, missing: tuple[IdRange, ...] = ()) -> Minute:
    """A minute with these ids."""
    return minute(
        {60_000: (3, 2, 5, 2)},
        start=START + offset,
        first_trade_id=ids[0],
        last_trade_id=ids[1],
        id_ranges=(ids,),
        status=status,
        missing=missing,
    )


def table(minutes: list[Minute]) -> pa.Table:
    return tables_of([codec.split(codec.encode(m), "here") for m in minutes], exact=True).minutes.select(NEEDED)


DAY = [
    one(0, (1, 10), Status.UNKNOWN),
    one(1, (11, 20)),
    one(4, (21, 30), Status.REPAIRED),  # minutes 2 and 3: ids join, nothing was traded
    one(5, (31, 38), Status.DEGRADED, ((39, 40),)),
    one(6, (41, 50), Status.DEGRADED, ((39, 40), (51, 55))),
    one(9, (56, 60)),  # 7 and 8: ids 51 to 55 may be theirs
    one(10, (61, 70)),
]
EXPECTED = [
    "unknown",
    "complete",
    "empty",
    "empty",
    "repaired",
    "degraded",
    "degraded",
    "absent",
    "absent",
    "complete",
    "complete",
]


def test_each_minute_has_its_status() -> None:
    found = table_of(coverage_of(table(DAY), START, START + 11), "minute").to_pandas()
    assert found["status"].tolist() == EXPECTED
    assert found["whole"].tolist() == [state in WHOLE for state in EXPECTED]
    assert found["missing_ids"].tolist() == [0] * 5 + [2, 7] + [0] * 4
    assert found["trade_count"].sum() == 14
    assert found["timestamp"].iloc[0] == pd.Timestamp(START * 60, unit="s", tz="UTC")


def test_runs_of_one_status_are_ranges_and_an_id_that_two_minutes_miss_counts_once() -> None:
    found = table_of(coverage_of(table(DAY), START, START + 11), "range").to_pandas()
    assert found["status"].tolist() == ["unknown", "complete", "empty", "repaired", "degraded", "absent", "complete"]
    assert found["minutes"].tolist() == [1, 1, 2, 1, 2, 2, 2]
    assert found["missing_ids"].tolist() == [0, 0, 0, 0, 7, 0, 0]
    assert (found["end"].iloc[:-1].to_numpy() == found["start"].iloc[1:].to_numpy()).all()


def test_hours_and_days_count_their_minutes() -> None:
    minutes = [one(n, (n * 10 + 1, n * 10 + 10)) for n in range(50, 130)]
    found = table_of(coverage_of(table(minutes), START + 50, START + 130), "hour").to_pandas()
    assert found["minutes"].tolist() == [10, 60, 10]
    assert found["complete"].tolist() == [10, 60, 10]
    assert found["whole"].tolist() == [True, True, True]
    day = table_of(coverage_of(table(DAY), START, START + 11), "day").to_pandas()
    assert day[list(STATES)].iloc[0].tolist() == [EXPECTED.count(state) for state in STATES]
    assert not day["whole"].iloc[0]
    assert day["missing_ids"].tolist() == [7]


def test_names_for_ids_prove_nothing() -> None:
    named = [
        minute({1: (1, 0, 1, 1)}, start=START + n, first_trade_id=f"a{n}", last_trade_id=f"b{n}", status=Status.UNKNOWN)
        for n in (0, 2)
    ]
    found = table_of(coverage_of(table(named), START, START + 3), "minute").to_pandas()
    assert found["status"].tolist() == ["unknown", "absent", "unknown"]


def test_nothing_kept_is_nothing_known() -> None:
    nothing = coverage_of(table([]), 0, 0)
    for by in ("minute", "range", "hour", "day"):
        assert len(table_of(nothing, by)) == 0


def test_another_way_to_sum_is_refused() -> None:
    with pytest.raises(BadValue, match=r"by='week'.*minute, hour, day, range"):
        table_of(coverage_of(table(DAY), START, START + 11), "week")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda p: (p[0], p[0] + p[1])), max_size=8))
def test_ids_of_overlapping_ranges_count_once(ranges: list[IdRange]) -> None:
    assert count_ids(ranges) == len({i for first, last in ranges for i in range(first, last + 1)})


@st.composite
def recorded(draw: st.DrawFn) -> list[Minute]:
    """Minutes at some distance from each other, whose ids join or don't."""
    minutes, at, next_id = [], 0, 1
    for _ in range(draw(st.integers(1, 12))):
        count = draw(st.integers(1, 5))
        status = draw(st.sampled_from(list(Status)))
        lost = ((next_id + count, next_id + count + 2),) if status is Status.DEGRADED else ()
        minutes.append(one(at, (next_id, next_id + count - 1), status, lost))
        next_id += count + (3 if lost else draw(st.sampled_from((0, 0, 0, 4))))
        at += draw(st.integers(1, 4))
    return minutes


def slowly(minutes: list[Minute], first: int, last: int) -> list[str]:
    """Each minute's status, found by looking at all others."""
    states = []
    for at in range(first, last):
        here = [m for m in minutes if m.start == at]
        before = max((m for m in minutes if m.start < at), key=lambda m: m.start, default=None)
        after = min((m for m in minutes if m.start > at), key=lambda m: m.start, default=None)
        proven = before and after and not before.status == after.status == Status.UNKNOWN
        joins = proven and before and after and int(before.last_trade_id) + 1 == int(after.first_trade_id)
        states.append(str(here[0].status) if here else "empty" if joins else "absent")
    return states


@given(recorded(), st.integers(0, 5), st.integers(0, 5))
def test_coverage_is_what_a_slow_look_at_each_minute_finds(minutes: list[Minute], less: int, fewer: int) -> None:
    first, last = START + less, max(START + less, minutes[-1].start + 1 - fewer)
    found = coverage_of(table(minutes), first, last)
    assert table_of(found, "minute")["status"].to_pylist() == slowly(minutes, first, last)
    starts = list(range(first // 3 * 3, last, 3))
    runs = [range(at, at + 3) for at in starts]
    states = dict(zip(range(first, last), slowly(minutes, first, last), strict=True))
    whole = [all(states.get(at) in WHOLE for at in run) for run in runs]
    assert found.whole_in(np.array(starts, np.int64), 3).tolist() == whole
    inside = [m for m in minutes if first <= m.start < last]
    lost = [{i for m in inside if m.start in run for a, b in m.missing for i in range(a, b + 1)} for run in runs]
    assert found.missing_in(np.array(starts, np.int64), np.array(starts, np.int64) + 3).tolist() == list(map(len, lost))


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return stored(tmp_path / "data", DAY, compacted=request.param)


def test_the_store_tells_coverage_between_the_first_and_the_last_minute_kept(folder: Path) -> None:
    with spillway.open(folder) as store:
        assert store.coverage(*NAMES, by="minute")["status"].tolist() == EXPECTED
        assert store.coverage("binance", "ETHUSDT").empty
        assert store.coverage(*NAMES, "2030").empty


def test_a_range_inside_a_hole_is_told_by_what_lies_around_it(folder: Path) -> None:
    def within(first: int, last: int) -> list[str]:
        times = [pd.Timestamp((START + at) * 60, unit="s") for at in (first, last)]
        with spillway.open(folder) as store:
            found: list[str] = store.coverage(*NAMES, *times, by="minute")["status"].tolist()
        return found

    assert within(2, 4) == ["empty", "empty"]
    assert within(3, 5) == ["empty", "repaired"]
    assert within(7, 9) == ["absent", "absent"]


# --- removed ------------------------------------------------------------------------------------------------------------


def removed_all_before(folder: Path, keep_days: int, today: int) -> None:
    """Retention, as the command does it."""
    job = Retention(MinuteFiles(folder / "storage"), Archive(folder / "archive"))
    for expiry in expired(job.units(), Limits(keep_days), today):
        job.remove(expiry, "2023-12-01T00:00:00Z")


def day_of_minutes(day: int) -> list[Minute]:
    """Ten minutes of a day, whose ids go on where the day before ended."""
    return [one(1440 * day + n, (100 * day + 10 * n + 1, 100 * day + 10 * n + 10)) for n in range(10)]


def test_what_retention_removed_is_told_apart_from_what_was_never_there(tmp_path: Path) -> None:
    minutes = [m for day in (0, 1, 3, 4) for m in day_of_minutes(day)]  # of the third day there never was anything
    folder = stored(tmp_path / "data", minutes)
    today = START // 1440
    removed_all_before(folder, 1, today + 4)  # which leaves the last two
    with spillway.open(folder) as store:
        days = store.coverage(*NAMES, by="day")
        assert days["removed"].tolist() == [1440, 1440, 0, 0, 0]
        assert days["absent"].tolist() == [0, 0, 1440, START % 1440, 0]
        assert days["complete"].tolist() == [0, 0, 0, 10, 10]
        assert not days["whole"].iloc[:2].any()
        assert days["minutes"].tolist() == [1440, 1440, 1440, 1440, START % 1440 + 10]
        runs = store.coverage(*NAMES)
        assert runs.iloc[0][["minutes", "status", "whole"]].tolist() == [2880, "removed", False]
        assert str(runs["start"].iloc[0]) == "2023-11-15 00:00:00+00:00"
        assert (
            store.coverage(*NAMES, "2023-11-15 12:00", "2023-11-15 13:00", by="minute")["status"].tolist() == ["removed"] * 60
        )
        assert store.bars(*NAMES, every="1d")["timestamp"].dt.day.tolist() == [18, 19]


def test_a_removed_day_that_came_back_is_not_removed_and_one_that_waits_as_files_only_where_it_lacks(tmp_path: Path) -> None:
    folder = stored(tmp_path / "data", [m for day in (0, 1, 2) for m in day_of_minutes(day)])
    removed_all_before(folder, 1, START // 1440 + 3)
    stored(folder, day_of_minutes(0))
    stored(folder, day_of_minutes(1)[:4], compacted=False)
    with spillway.open(folder) as store:
        days = store.coverage(*NAMES, by="day")
        assert days["removed"].tolist() == [0, 1440 - 4, 0]
        assert days["complete"].tolist() == [10, 4, 10]


def test_an_instrument_of_which_all_was_removed_is_told_as_removed(tmp_path: Path) -> None:
    folder = stored(tmp_path / "data", day_of_minutes(0))
    removed_all_before(folder, 1, START // 1440 + 9)
    with spillway.open(folder) as store:
        runs = store.coverage(*NAMES)
        assert runs[["minutes", "status"]].to_numpy().tolist() == [[1440, "removed"]]
        assert store.minutes(*NAMES).empty and store.bars(*NAMES).empty


def test_the_calendar_begins_with_what_is_there_and_shows_what_was_removed_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = stored(tmp_path / "data", [m for day in (0, 600) for m in day_of_minutes(day)])
    removed_all_before(folder, 100, START // 1440 + 600)
    with spillway.open(folder) as store:
        late = draw(store, Drawing(BTC, tmp_path / "out.png", "coverage"))
        early = draw(store, Drawing(BTC, tmp_path / "out.png", "coverage", "2023-11-15", "2023-11-16"))
    assert isinstance(late.view, CoverageView) and isinstance(early.view, CoverageView)
    assert (late.view.total("removed"), late.view.total("complete")) == (0, 10)
    assert early.view.total("removed") == 1440
    for picture, name in ((late, "late"), (early, "early")):
        picture.save(tmp_path / f"{name}.png")
        picture.save(tmp_path / f"{name}.html")


# --- bars ---------------------------------------------------------------------------------------------------------------


def test_bars_say_whether_they_are_whole_and_how_many_ids_they_miss(folder: Path) -> None:
    with spillway.open(folder) as store:
        bars = store.bars(*NAMES)
        assert bars["whole"].tolist() == [False, True, True, False, False, True, True]
        assert bars["missing_ids"].tolist() == [0, 0, 0, 2, 7, 0, 0]
        assert store.bars(*NAMES, whole_only=True)["timestamp"].tolist() == bars["timestamp"][bars["whole"]].tolist()


def test_a_bar_of_empty_and_complete_minutes_is_whole_and_one_that_goes_on_is_not(tmp_path: Path) -> None:
    minutes = [one(n, (n + 1, n + 1)) for n in (0, 1)] + [one(4, (3, 3)), one(5, (4, 4))]
    with spillway.open(stored(tmp_path / "data", minutes)) as store:
        assert store.bars(*NAMES, every="3m")[["whole", "minutes"]].to_numpy().tolist() == [[True, 2], [True, 2]]
        assert store.bars(*NAMES, every="4m")["whole"].tolist() == [True, False]
        assert store.bars(*NAMES, pd.Timestamp((START + 1) * 60, unit="s"), every="3m")["whole"].tolist() == [False, True]
