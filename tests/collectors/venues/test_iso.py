"""Times as ISO texts: one by one and many at once they are the same nanoseconds, and what is no time is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.venues.iso import iso_ns, one_iso_ns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_NS = int((datetime(2262, 1, 1, tzinfo=UTC) - EPOCH) / timedelta(seconds=1)) * 10**9

_TIMES = st.integers(0, LAST_NS)


def text(ns: int, decimals: int = 9) -> str:
    whole = EPOCH + timedelta(seconds=ns // 10**9)
    return f"{whole:%Y-%m-%dT%H:%M:%S}." + f"{ns % 10**9:09d}"[:decimals] + "Z"


@given(st.lists(_TIMES, max_size=30))
def test_times_of_any_days_are_exact_to_the_nanosecond(times: list[int]) -> None:
    assert iso_ns([text(ns) for ns in times]).tolist() == times


@given(_TIMES, st.lists(st.integers(0, 86_400 * 10**9 - 1), min_size=20, max_size=40), st.integers(1, 9))
def test_many_times_of_one_day_are_exact_to_their_last_digit(start: int, offsets: list[int], decimals: int) -> None:
    day = start // (86_400 * 10**9) * 86_400 * 10**9
    unit: int = 10 ** (9 - decimals)
    times = [(day + offset) // unit * unit for offset in offsets]
    assert iso_ns([text(ns, decimals) for ns in times]).tolist() == times


@pytest.mark.parametrize(
    ("told", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2014-11-07T08:19:27.028459Z", 1_415_348_367_028_459_000),
        ("2014-11-07T08:19:27.028459", 1_415_348_367_028_459_000),
        ("2014-11-07 08:19:27.028459Z", 1_415_348_367_028_459_000),
        ("2014-11-07T17:19:27.028459+09:00", 1_415_348_367_028_459_000),
        ("2014-11-06T23:49:27.028459-08:30", 1_415_348_367_028_459_000),
        ("2014-11-07T08:19:27.0284591234567Z", 1_415_348_367_028_459_123),
        ("2014-11-07T08:19:27Z", 1_415_348_367_000_000_000),
        ("2016-02-29T23:59:59.999999999Z", 1_456_790_399_999_999_999),
    ],
)
def test_the_forms_that_venues_send_are_read(told: str, ns: int) -> None:
    assert one_iso_ns(told) == ns
    assert iso_ns([told] * 20).tolist() == [ns] * 20


@pytest.mark.parametrize(
    "told",
    [
        *("", "x", "2014-11-07", "1415348367", "2014-11-07T08:19Z", "2014-11-07T08:19:27.Z", "2014-11-07T08:19:27.1Zx"),
        *("2014-13-07T08:19:27.1Z", "2015-02-29T08:19:27.1Z", "2014-11-07T24:00:00.1Z", "2014-11-07T08:60:27.1Z"),
        *("2014-11-07T08:19:60.1Z", "1969-12-31T23:59:59.9Z", "9999-12-31T23:59:59.9Z", "2014-W45-5T08:19:27.1Z"),
        *("२०१४-11-07T08:19:27.1Z", "2014-11-07T08:19:27.१Z", "2014-11-07T08:19:27.1\ud800", "2014-11-07T0/:19:27.1Z"),
        *("\ud800" * 22, "0000-00-00T00:00:00.0Z", "2014-11-07T08:19:27.1z"),
    ],
)
def test_what_is_no_time_is_0_alone_and_among_others(told: str) -> None:
    good = "2014-11-07T08:19:27.1Z"
    assert one_iso_ns(told) == 0
    assert iso_ns([told] * 20).tolist() == [0] * 20
    assert iso_ns([good] * 20 + [told]).tolist() == [1_415_348_367_100_000_000] * 20 + [0]
    assert iso_ns([told] + [good] * 20).tolist() == [0] + [1_415_348_367_100_000_000] * 20


@given(st.lists(st.text(alphabet="0123456789-:.TZ +WW\x00é", min_size=19, max_size=30), max_size=20))
def test_texts_that_are_hardly_times_are_never_an_exception(texts: list[str]) -> None:
    assert iso_ns(texts).tolist() == [one_iso_ns(told) for told in texts]
