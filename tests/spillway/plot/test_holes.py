"""What is shaded: each minute that is not whole, however short beside the range."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from spillway.plot.holes import Holes, Span, bounds, holes_of
from tests.spillway.plot.frames import minutes


def test_runs_of_minutes_that_are_not_whole_are_found_with_their_state() -> None:
    frame = minutes("complete", "degraded", "degraded", None, "unknown", "repaired")
    first, end = bounds(frame)
    found = holes_of(frame, first, end)
    assert [(s.state, s.start - first, s.end - first) for s in found.spans] == [
        ("degraded", 1, 3),
        ("absent", 3, 4),
        ("unknown", 4, 5),
    ]
    assert found.text("degraded") == "degraded: 2 of 6 minutes"


def test_a_minute_without_a_row_whose_neighbours_ids_join_is_no_hole() -> None:
    frame = minutes("complete", None, "complete").assign(first_trade_id=[1, 6], last_trade_id=[5, 9], missing="[]")
    assert holes_of(frame, *bounds(frame)).spans == ()


def test_where_nothing_is_known_nothing_is_told() -> None:
    assert holes_of(None, 0, 10) == Holes()
    assert holes_of(minutes("unknown").drop(columns="status"), 0, 10) == Holes()


def test_a_range_with_no_whole_minute_is_told_as_such_and_shaded_lightly() -> None:
    frame = minutes("unknown", "unknown")
    found = holes_of(frame, *bounds(frame))
    assert found.text("unknown") == "unknown: all 2 minutes"
    assert found.strength("unknown") < holes_of(
        minutes("complete", "unknown"), *bounds(minutes("complete", "unknown"))
    ).strength("unknown")


@given(st.sets(st.integers(0, 5000), max_size=300))
def test_each_hole_is_wide_enough_to_be_seen_and_they_are_few(at: set[int]) -> None:
    holes = Holes(tuple(Span("absent", minute, minute + 1) for minute in sorted(at)), 10_000)
    drawn = holes.wide("absent", shares=100)
    assert all(any(start <= minute < start + length for start, length in drawn) for minute in at)
    assert all(length >= 100 for _, length in drawn)
    assert len(drawn) <= 100
    assert holes.count("absent") == len(at)


def test_times_without_an_offset_and_rows_in_any_order_are_taken() -> None:
    frame = minutes("complete", None, "degraded").iloc[::-1]
    frame["timestamp"] = pd.DatetimeIndex(frame["timestamp"]).tz_localize(None)
    assert [span.state for span in holes_of(frame, *bounds(frame)).spans] == ["absent", "degraded"]
