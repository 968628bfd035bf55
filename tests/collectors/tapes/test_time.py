from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.time import Clock, clock_of, clock_of_number, numbers_ns, times_ns

NS = 1_516_488_365_673_000_000  # 2018-01-20 22:46:05.673 UTC
UNITS = {Clock.SECONDS: 9, Clock.MILLISECONDS: 6, Clock.MICROSECONDS: 3, Clock.NANOSECONDS: 0}


def one(text: str, clock: Clock) -> int | str:
    """The time of a text, or why it has none."""
    values, bad = times_ns(pa.array([text], pa.string()), clock)
    return bad.get(0, int(values[0]))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2018-01-21T07:46:05.673+09:00", NS),
        ("2018-01-21T07:46:05.673+0900", NS),
        ("2018-01-21 07:46:05,673+09", NS),
        ("2018-01-20T22:46:05.673Z", NS),
        ("2018-01-20 22:46:05.673 UTC", NS),
        ("2018-01-20T22:46:05.673", NS),
        (" 2018-01-20T22:46:05.673 ", NS),
        ("2018-01-20T22:46:05.673123456Z", NS + 123_456),
        ("2018-01-20T22:46:05.6731234569999", NS + 123_456),
        ("2018-01-20T22:46", NS - 5_673_000_000),
        ("2018-01-20", NS - 5_673_000_000 - (22 * 60 + 46) * 60 * 10**9),
        ("2262-12-31T00:00:00Z", 2**63 - 1),
        ("", 0),
    ],
)
def test_an_iso_time_is_read_exactly(text: str, ns: int) -> None:
    assert one(text, Clock.ISO) == ns


@pytest.mark.parametrize(
    "text", ["51000-01-01T00:00:00Z", "2018-13-01T00:00:00Z", "2018-02-30", "20180121", "yesterday", "12:00:00", "1516488365"]
)
def test_what_is_no_iso_time_says_so(text: str) -> None:
    assert one(text, Clock.ISO) == f"time {text!r} can't be read"


@pytest.mark.parametrize(
    ("text", "clock", "ns"),
    [
        ("1516488365", Clock.SECONDS, NS - 673_000_000),
        ("1516488365.673", Clock.SECONDS, NS),
        ("1516488365.673000000999", Clock.SECONDS, NS),
        ("1.516488365673E9", Clock.SECONDS, NS),
        (" 1516488365.673", Clock.SECONDS, NS),
        ("1516488365673", Clock.MILLISECONDS, NS),
        ("1516488365673.0", Clock.MILLISECONDS, NS),
        ("1516488365673.25", Clock.MILLISECONDS, NS + 250_000),
        ("1516488365673000", Clock.MICROSECONDS, NS),
        (str(NS), Clock.NANOSECONDS, NS),
        ("", Clock.SECONDS, 0),
        ("-1", Clock.SECONDS, -(10**9)),
    ],
)
def test_a_time_as_a_number_is_read_exactly(text: str, clock: Clock, ns: int) -> None:
    assert one(text, clock) == ns


@pytest.mark.parametrize("text", ["1547286031000000", "99999999999999999999", "1547286031000000.5", "1e30"])
def test_a_time_of_the_year_51000_lies_beyond_all_others(text: str) -> None:
    value = one(text, Clock.MILLISECONDS)
    assert isinstance(value, int)
    assert value > 2**63 - 10**9


@pytest.mark.parametrize("text", ["abc", "1516488365x", "0x5a63", "nan", "inf", "1e999999999", "--1", "9" * 200])
def test_what_is_no_number_says_so(text: str) -> None:
    assert str(one(text, Clock.SECONDS)).endswith("can't be read")


@given(st.integers(10**18, 2**62), st.sampled_from(list(UNITS)))
def test_a_units_own_decimals_are_exact_to_the_nanosecond(ns: int, clock: Clock) -> None:
    text = format(Decimal(ns).scaleb(-UNITS[clock]), "f")
    assert one(text, clock) == ns
    assert clock_of([text]) == clock


MOMENTS = st.datetimes(datetime(2009, 1, 2), datetime(2200, 1, 1)).map(lambda d: d.replace(tzinfo=UTC))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.lists(st.tuples(MOMENTS, OFFSETS), min_size=1, max_size=80), st.data())
def test_a_column_with_odd_texts_in_it_has_the_same_times_as_its_texts_alone(
    moments: list[tuple[datetime, timezone]], data: st.DataObject
) -> None:
    texts = [moment.astimezone(offset).isoformat() for moment, offset in moments]
    for at in data.draw(st.sets(st.integers(0, len(texts) - 1), max_size=5)):
        texts[at] = data.draw(st.sampled_from(["", "abc", "2018-13-01", " 2018-01-20T22:46:05.673Z"]))
    values, bad = times_ns(pa.array(texts), Clock.ISO)
    for row, text in enumerate(texts):
        assert bad.get(row, int(values[row])) == one(text, Clock.ISO)
        if text == moments[row][0].astimezone(moments[row][1]).isoformat():
            assert (
                int(values[row]) == int((moments[row][0] - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
            )


def test_one_odd_text_among_many_is_told_by_its_row() -> None:
    texts = [str(1_516_488_365_673 + n) for n in range(10_000)]
    texts[7777] = "abc"
    values, bad = times_ns(pa.array(texts), Clock.MILLISECONDS)
    assert bad == {7777: "time 'abc' can't be read"}
    assert values[7777] == 0
    assert values[9999] == NS + 9999 * 10**6


def test_a_slice_of_a_column_is_read_as_itself() -> None:
    texts = pa.array(["x", "1516488365.673", "1516488366.673", "y"])[1:3]
    assert times_ns(texts, Clock.SECONDS)[0].tolist() == [NS, NS + 10**9]


@pytest.mark.parametrize(("value", "clock"), [(1_516_488_365, 9), (1_516_488_365_673, 6), (NS // 1000, 3), (NS, 0)])
def test_a_unit_is_told_by_the_magnitude(value: int, clock: int) -> None:
    assert clock_of_number(value) == clock
    assert clock_of(["", "x", str(value), str(value), "1e99"]) == clock


def test_the_clock_is_what_most_times_say_and_iso_by_default() -> None:
    assert clock_of(["2018-01-21", "2018-01-21", "1516488365"]) is Clock.ISO
    assert clock_of([]) is Clock.ISO
    assert clock_of(["1547286031000000", "1516488365673", "1516488365673"]) is Clock.MILLISECONDS


def test_numbers_too_large_for_their_unit_stop_at_the_end_of_time() -> None:
    assert numbers_ns([1_516_488_365_673, 2**63 - 1], Clock.MILLISECONDS).tolist() == [NS, (2**63 - 1) // 10**6 * 10**6]
