"""What fits into a picture, and how numbers and times are written in it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from spillway.plot.scale import axis_texts, bar_length, length_text, plain, row_height, short_texts, span_text, time_ticks
from spillway.times import bar_minutes

DAY = 1440
NOON = 28_828_080 // DAY * DAY + 720


@given(st.integers(1, 3_000_000), st.integers(1, 400))
def test_a_bar_is_long_enough_and_no_longer_than_it_must(span: int, most: int) -> None:
    length = bar_length(span, most)
    assert -(-span // length) <= most
    assert length % DAY == 0 or DAY % length == 0
    assert bar_minutes(length_text(length)) == length


@pytest.mark.parametrize(
    ("span", "length"), [(20, "1m"), (120, "5m"), (DAY, "1h"), (7 * DAY, "6h"), (31 * DAY, "2d"), (365 * DAY, "13d")]
)
def test_usual_ranges_get_usual_bars(span: int, length: str) -> None:
    assert length_text(bar_length(span, 30)) == length


def test_bars_that_are_longer_already_are_not_cut() -> None:
    assert bar_length(60, 30, native=7) == 7
    assert bar_length(600, 30, native=15) == 30


@given(st.decimals(0, 10**6, places=4), st.integers(1, 500), st.sampled_from([Decimal("0.0001"), Decimal("0.25"), Decimal(5)]))
def test_a_row_is_a_round_multiple_of_the_datas_own_step_and_high_enough(span: Decimal, most: int, native: Decimal) -> None:
    height = row_height(span, most, native)
    assert span / height < most
    assert (height / native).normalize().as_tuple().digits in ((1,), (2,), (5,))


def test_prices_no_picture_can_hold_are_refused() -> None:
    with pytest.raises(BadValue, match="too far apart"):
        row_height(Decimal("1e60"), 10, Decimal(1))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 0.512, 3.0, 0.001], ["0", ".51", "3", "~0"]),
        ([12345.0, 1500.0, 0.0], ["12.3k", "1500", "0"]),
        ([2.5e6, 123e6, 4e9, 150_000.0], ["2.5M", "123M", "4.0G", "150k"]),
        ([0.00021, 0.00043], [".00021", ".00043"]),
        ([9999.0, 3e15, 12.34e6], ["9999", "3000T", "12.3M"]),
        ([], []),
    ],
)
def test_sizes_are_told_in_few_characters(values: list[float], texts: list[str]) -> None:
    assert short_texts(values) == texts


@given(st.lists(st.floats(0, 1e12), max_size=20))
def test_what_is_something_never_reads_as_nothing(values: list[float]) -> None:
    for value, text in zip(values, short_texts(values), strict=True):
        assert (text == "0") == (value == 0)
        assert len(text) <= 9


@given(st.lists(st.floats(0.01, 999_000), min_size=1, max_size=20))
def test_compact_ones_have_four_characters_at_most(values: list[float]) -> None:
    for value, text in zip(values, short_texts(values, compact=True), strict=True):
        assert len(text) <= 4 or value < 1
        assert text.startswith("~") or float(text.replace("k", "e3")) == pytest.approx(value, rel=0.06, abs=0.5)


@pytest.mark.parametrize(
    ("places", "short", "texts"),
    [
        ([0.00149, 0.001489, 0.0014905], False, ["0.0014900", "0.0014890", "0.0014905"]),
        ([0.1, 0.2, 0.1 + 0.2], False, ["0.1", "0.2", "0.3"]),
        ([16_400_000.0, 16_600_000.0], False, ["16,400,000", "16,600,000"]),
        ([-25_000.0, 0.0, 12_500.0], True, ["-25.0k", "0", "12.5k"]),
        ([0.0, 2500.0, 5000.0], True, ["0", "2,500", "5,000"]),
        ([0.0, 2e7], True, ["0", "20M"]),
        ([], True, []),
    ],
)
def test_numbers_along_an_axis_have_the_same_decimals(places: list[float], short: bool, texts: list[str]) -> None:
    assert axis_texts(places, short=short) == texts


def test_numbers_stand_in_plain_digits() -> None:
    assert [plain(n) for n in (Decimal("1E+4"), Decimal("0.10"), 1e-7, 1234.5)] == ["10,000", "0.1", "0.0000001", "1,234.5"]


@pytest.mark.parametrize(
    ("first", "end", "text"),
    [
        (NOON, NOON + 20, "2024-10-23 12:00 to 12:20 UTC"),
        (NOON - 720, NOON + 720, "2024-10-23"),
        (NOON - 720, NOON + 720 + DAY, "2024-10-23 to 2024-10-24"),
        (NOON, NOON + DAY, "2024-10-23 12:00 to 2024-10-24 12:00 UTC"),
    ],
)
def test_a_title_tells_its_range(first: int, end: int, text: str) -> None:
    assert span_text(first, end) == text


@given(st.integers(NOON, NOON + 100_000), st.sampled_from([1, 5, 60, 360, DAY, 13 * DAY]), st.integers(1, 400))
def test_some_bars_get_their_time_and_the_first_its_date(start: int, every: int, bars: int) -> None:
    ticks = time_ticks(start // every * every, every, bars)
    assert 1 <= len(ticks) <= 15
    assert all(0 <= bar < bars for bar, _ in ticks)
    assert "\n20" in ticks[0][1]
