"""The catalog: of all that is told of a day, the highest generation counts; of equal ones the month's, then the removal."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipeline.errors import StorageError
from pipeline.minute import day_text
from sinks import removed, signed
from sinks.catalog import stretch, stretches
from sinks.manifest import KINDS, load
from sinks.removed import Removal
from sinks.tables import starts
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, MONTH, Store, compacted_month, late_month


def side_by_side(store: Store) -> list[list[int]]:
    """The days that are read with one look at a file."""
    found = store.archive.catalog.between(BTC, 0, 2**20).values()
    return [[manifest.day for manifest in group] for group in stretches(list(found))]


def put_back(store: Store, day: int, generation: int, data: bytes) -> None:
    """A day's own manifest as a run that died would leave it."""
    path = store.archive.layout.manifest(BTC, day)
    path.write_bytes(data)
    found = load(path)
    assert found is not None
    levels, minutes = (replace(found.part(kind), file=f"part-{generation}.parquet") for kind in KINDS)
    path.write_bytes(signed.encode(replace(found, generation=generation, levels=levels, minutes=minutes)))


@pytest.mark.parametrize(("generation", "in_month"), [(0, True), (1, False)])
def test_a_days_own_manifest_counts_only_above_its_months(generation: int, in_month: bool, store: Store) -> None:
    compacted_month(store)
    data = store.archive.layout.manifest(BTC, FIRST_OF_MONTH).read_bytes()
    store.merger.merge_month(BTC, MONTH)
    put_back(store, FIRST_OF_MONTH, generation, data)
    found = store.archive.catalog.day(BTC, FIRST_OF_MONTH)
    assert found is not None and found.in_month is in_month
    assert store.archive.catalog.next_generation(BTC, FIRST_OF_MONTH) == generation + 1


@pytest.mark.parametrize(("generation", "counts"), [(0, True), (1, False), (2, False)])
def test_a_removal_counts_for_its_generation_and_those_before(generation: int, counts: bool, store: Store) -> None:
    late_month(store)  # its second day has generation 1
    record = removed.empty(BTC).with_(Removal("now", "a test", {"2023-11-02": generation}, 1, 1))
    store.archive.layout.removed(BTC).write_bytes(signed.encode(record))
    assert (FIRST_OF_MONTH + 1 in store.archive.days(BTC)) is counts
    assert (FIRST_OF_MONTH + 1 in store.archive.catalog.removed_days(BTC)) is not counts
    assert store.archive.catalog.next_generation(BTC, FIRST_OF_MONTH + 1) == max(generation, 1 if counts else 0) + 1


def test_days_of_one_months_file_are_read_together_and_others_by_themselves(store: Store) -> None:
    late_month(store)
    catalog, days = store.archive.catalog, store.archive.days(BTC)
    assert side_by_side(store) == [days[:1], days[1:2], days[2:]], "the second has a generation of its own"
    store.merger.merge_month(BTC, MONTH)
    assert side_by_side(store) == [days]
    together = stretch(list(catalog.between(BTC, days[0], days[-1]).values()))
    assert (together.day, together.content.last_minute // 1440) == (days[0], days[-1])


def test_what_lies_between_two_days_of_a_months_file_is_not_read_with_them(store: Store) -> None:
    late_month(store)
    store.merger.merge_month(BTC, MONTH)
    first, second, *rest = store.archive.days(BTC)
    generation = store.archive.catalog.next_generation(BTC, second) - 1
    record = removed.empty(BTC).with_(Removal("now", "a test", {day_text(second): generation}, 1, 1))
    store.archive.layout.removed(BTC).write_bytes(signed.encode(record))
    assert side_by_side(store) == [[first], rest]
    assert second not in {minute // 1440 for minute in starts(store.archive.read_minutes(BTC, first * 1440, rest[-1] * 1440))}


def test_a_range_of_days_counts_as_each_of_them_does(store: Store) -> None:
    late_month(store)
    catalog, days = store.archive.catalog, store.archive.days(BTC)
    for first, last in [(days[0], days[-1]), (days[1], days[1]), (days[-1] + 1, days[-1] + 9), (0, days[0])]:
        each = {day: catalog.day(BTC, day) for day in days if first <= day <= last}
        assert catalog.between(BTC, first, last) == each
        assert list(catalog.between(BTC, first, last)) == list(each)


def test_what_is_remembered_of_a_month_is_that_of_the_file_that_is_there(store: Store) -> None:
    late_month(store)
    before = store.archive.catalog.month(BTC, MONTH)
    store.merger.merge_month(BTC, MONTH)
    after = store.archive.catalog.month(BTC, MONTH)
    assert before is not None and after is not None and (before.generation, after.generation) == (0, 1)
    store.archive.layout.month(BTC, MONTH).write_bytes(b"{}")
    with pytest.raises(StorageError, match=r"2023-11\.json: damaged"):
        store.archive.catalog.month(BTC, MONTH)
