"""Minutes as tables: every number can be recovered, or is refused."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import codec
from pipeline.codec import Parts
from pipeline.minute import Minute
from pipeline.trade import TradeId
from sinks import tables
from sinks.tables import LEVELS, LIMIT, MINUTES, Tables, Unfit
from tests.pipeline.builders import START, minute
from tests.sinks.days import random_day, rebuilt


def parts(*minutes: Minute) -> list[Parts]:
    return [codec.split(codec.encode(one), "test") for one in minutes]


def shapes(digits: int, scales: st.SearchStrategy[int]) -> st.SearchStrategy[Minute]:
    """Minutes of any levels whose prices and sizes have up to so many digits."""
    size = st.integers(0, 10**digits)
    rows = st.dictionaries(st.integers(1, 10**digits), st.tuples(size, size, size, st.integers(1, 10**6)), min_size=1)
    ids = st.sampled_from([(1, 5), (2**63 - 1, -(2**63)), ('aé"-1', "")])
    return st.builds(shaped, rows, scales, scales, ids)


def shaped(rows: dict[int, tuple[int, int, int, int]], p: int, s: int, ids: tuple[TradeId, TradeId]) -> Minute:
    levels = {price: (buy, sell, buy + sell + none + 1, n) for price, (buy, sell, none, n) in rows.items()}
    return minute(levels, price_scale=p, size_scale=s, first_trade_id=ids[0], last_trade_id=ids[1])


any_minute = st.one_of(shapes(6, st.integers(0, 11)), shapes(12, st.integers(7, 11)))


@given(any_minute)
def test_each_minute_is_rebuilt_from_its_tables_to_the_last_byte(one: Minute) -> None:
    found = tables.tables_of(parts(one), exact=True)
    assert codec.encode(rebuilt(found, one)) == codec.encode(one)


@given(any_minute)
def test_the_shortest_text_of_each_float_is_the_exact_decimal(one: Minute) -> None:
    found = tables.tables_of(parts(one), exact=True).levels.to_pylist()
    for row, level in zip(found, one.price_levels(), strict=True):
        assert Decimal(repr(row["price_level"])) == level.price
        assert Decimal(repr(row["buy_volume"])) == level.buy_volume
        assert Decimal(repr(row["sell_volume"])) == level.sell_volume
        assert Decimal(repr(row["total_volume"])) == level.total_volume
        assert Decimal(repr(row["delta"])) == level.delta
        assert row["trade_count"] == level.trade_count


def test_many_minutes_of_different_scales_and_ids_stand_in_one_table() -> None:
    day = random_day(40)
    found = tables.tables_of(parts(*day), exact=True)
    assert found.levels.schema == LEVELS and found.minutes.schema == MINUTES
    assert all(codec.encode(rebuilt(found, one)) == codec.encode(one) for one in day)
    assert tables.starts(found.minutes) == [one.start for one in day]


def test_no_minute_gives_empty_tables_with_the_same_columns() -> None:
    found = tables.tables_of([], exact=True)
    assert found.levels.schema == LEVELS and found.minutes.schema == MINUTES and not len(found.levels)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (minute({10**15 + 1: (1, 1, 2, 1)}), "price_level 100000000000000.1 has more digits"),
        (minute({1: (10**15 + 1, 0, 10**15 + 1, 1)}, size_scale=5), "buy_volume 10000000000.00001 has more digits"),
        (minute({1: (6 * 10**14 + 1, 0, 6 * 10**14 + 1, 1), 2: (6 * 10**14, 0, 6 * 10**14, 1)}, size_scale=5), "buy_volume"),
        (minute({1234567890123456789: (1, 1, 2, 1)}, price_scale=18), "price_level 1.234567890123456. has more digits"),
        (minute({1: (1, 1, 2, 1)}, price_scale=23), "notional 0.0000000000000000000000002 has more digits"),
        (minute({1: (1, 1, 2, 1)}, notional=10**19), "notional 10000000000000000.0 has more digits"),
        (minute({1: (1, 1, 2, 1)}, first_trade_id=2**63), "first_trade_id 9223372036854775808 has more than 64 bits"),
        (minute({1: (1, 1, 2, 2**63)}), "CSV|int"),
    ],
    ids=["price", "size", "total of fit sizes", "18 decimals", "23 decimals", "notional", "id", "count"],
)
def test_what_a_float_or_a_64_bit_integer_does_not_give_back_is_refused(one: Minute, says: str) -> None:
    with pytest.raises(Unfit, match=says) as refused:
        tables.tables_of(parts(one), exact=True)
    assert "2023-11-15" in str(refused.value), "the minute is named"


@pytest.mark.parametrize("price_scale", [18, 23])
def test_a_view_shows_the_nearest_float_of_what_the_archive_refuses(price_scale: int) -> None:
    one = minute({1234567890123456789: (1, 1, 2, 1)}, price_scale=price_scale)
    found = tables.tables_of(parts(one), exact=False)
    assert found.levels["price_level"].to_pylist() == [float(Decimal(1234567890123456789).scaleb(-price_scale))]


def test_a_view_shows_what_it_can_of_numbers_beyond_its_columns() -> None:
    one = minute({1: (1, 1, 2, 1)}, notional=10**19, first_trade_id=2**63)
    row = tables.tables_of(parts(one), exact=False).minutes.to_pylist()[0]
    assert (row["notional"], row["first_trade_id"], row["first_trade_name"]) == (None, None, str(2**63))


def test_a_price_of_18_decimals_but_few_digits_is_kept() -> None:
    one = minute({12345: (1, 1, 2, 1)}, price_scale=18)
    assert codec.encode(rebuilt(tables.tables_of(parts(one), exact=True), one)) == codec.encode(one)


@pytest.mark.parametrize("column", ["buy_volume", "sell_volume", "total_volume", "delta", "trade_count"])
def test_levels_that_do_not_make_their_minutes_totals_are_refused(column: str) -> None:
    found = tables.tables_of(parts(*random_day(3)), exact=True)
    wrong = found.levels[column].to_pylist()
    wrong[-1] += 1
    index = LEVELS.get_field_index(column)
    levels = found.levels.set_column(index, LEVELS.field(index), pa.array(wrong, LEVELS.field(index).type))
    with pytest.raises(Unfit, match=rf"00:14: its levels' {column} do not add up"):
        tables.check(Tables(levels, found.minutes))


def test_a_lost_level_a_lost_minute_and_a_wrong_order_are_refused() -> None:
    found = tables.tables_of(parts(*random_day(3)), exact=True)
    with pytest.raises(Unfit, match="levels are not those of its minutes"):
        tables.check(Tables(found.levels, found.minutes.slice(0, 2)))
    with pytest.raises(Unfit, match="levels are not those of its minutes"):
        tables.check(Tables(found.levels.slice(0, 12), found.minutes))
    with pytest.raises(Unfit, match="do not add up"):
        tables.check(Tables(found.levels.slice(1), found.minutes))
    swapped = found.levels.take([1, 0, *range(2, len(found.levels))])
    with pytest.raises(Unfit, match="price order"):
        tables.check(Tables(swapped, found.minutes))


def test_sums_beyond_64_bits_are_still_exact() -> None:
    values = np.full(18_000, LIMIT - 1)
    assert tables._sums(values, np.array([0, 9_000]), np.array([9_000, 9_000])).tolist() == [9_000 * (LIMIT - 1)] * 2
    assert tables._sums(values, np.array([0]), np.array([18_000])).tolist() == [18_000 * (LIMIT - 1)]


def test_totals_are_exact_decimal_texts() -> None:
    day = [
        minute({1: (1, 2, 3, 1)}, start=START, price_scale=1, size_scale=1),
        minute({3: (10**8 - 1, 1, 10**8, 2)}, start=START + 1, price_scale=0, size_scale=8),
    ]
    assert tables.totals(tables.tables_of(parts(*day), exact=True).minutes) == {
        "buy_volume": "1.09999999",
        "sell_volume": "0.20000001",
        "total_volume": "1.3",
        "notional": "3.03",
        "trade_count": "3",
    }


@given(st.lists(st.lists(st.sampled_from("abc"))), st.booleans())
def test_codes_are_places_in_the_names_whatever_each_chunks_dictionary(chunks: list[list[str]], encoded: bool) -> None:
    kind = pa.dictionary(pa.int32(), pa.string()) if encoded else pa.string()
    column = pa.chunked_array([pa.array(chunk, pa.string()).cast(kind) for chunk in chunks], kind)
    assert tables.codes_of(column, "abc").tolist() == ["abc".index(name) for chunk in chunks for name in chunk]
