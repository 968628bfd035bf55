"""The catalog: of all that is told of a day, the highest generation counts; of equal ones the month's, then the removal."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipeline.errors import StorageError
from sinks import removed, signed
from sinks.manifest import KINDS, load
from sinks.removed import Removal
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, MONTH, Store, compacted_month, late_month


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
    assert catalog.stretches(BTC, days) == [days[:1], days[1:2], days[2:]], "the second has a generation of its own"
    store.merger.merge_month(BTC, MONTH)
    assert catalog.stretches(BTC, days) == [days]
    together = catalog.stretch(BTC, days)
    assert together is not None and together.content.last_minute // 1440 == days[-1]
    assert catalog.stretch(BTC, days[:1]) is None


def test_what_is_remembered_of_a_month_is_that_of_the_file_that_is_there(store: Store) -> None:
    late_month(store)
    before = store.archive.catalog.month(BTC, MONTH)
    store.merger.merge_month(BTC, MONTH)
    after = store.archive.catalog.month(BTC, MONTH)
    assert before is not None and after is not None and (before.generation, after.generation) == (0, 1)
    store.archive.layout.month(BTC, MONTH).write_bytes(b"{}")
    with pytest.raises(StorageError, match=r"2023-11\.json: damaged"):
        store.archive.catalog.month(BTC, MONTH)
