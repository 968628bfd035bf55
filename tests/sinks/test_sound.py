"""A manifest that contradicts itself, or its file's footer, is refused: readers choose by it what they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.errors import StorageError
from sinks.manifest import FORMAT, KINDS, Content, DayOfMonth, Manifest, Month
from sinks.parquet import Group, Part, PartReader
from sinks.sound import contradictions, require_sound
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, MONTH, Store, compacted_month

HERE = Path("/somewhere/2023-11-01.json")
START = FIRST_OF_MONTH * 1440


def manifests(store: Store) -> tuple[Manifest, Month]:
    """A day's and a merged month's, as they are written."""
    compacted_month(store)
    day = store.archive.manifest(BTC, FIRST_OF_MONTH)
    store.merger.merge_month(BTC, MONTH)
    month = store.archive.catalog.month(BTC, MONTH)
    assert day and month
    return day, month


def test_what_is_written_is_sound(store: Store) -> None:
    for record in manifests(store):
        assert list(contradictions(record)) == []
        require_sound(record, HERE)


INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(START - 5, START + 2000) | st.integers(-1, 3)
GROUPS = st.lists(st.builds(Group, INTEGERS, INTEGERS, INTEGERS), max_size=3).map(tuple)
PARTS = st.builds(
    Part,
    file=st.sampled_from(["part-0.parquet", "month-0.parquet", "", "../part-0.parquet"]),
    bytes=INTEGERS,
    sha256=st.just("00"),
    rows=INTEGERS,
    footer_bytes=INTEGERS,
    footer_sha256=st.just("00"),
    groups=GROUPS,
)
CONTENTS = st.builds(Content, INTEGERS, INTEGERS, INTEGERS, st.just({}), st.just({}), INTEGERS, INTEGERS)
OPEN = st.lists(st.sampled_from(["2023-11-01T00:07", "x"]), max_size=1).map(tuple)
NAMES: tuple[Any, ...] = (st.just(FORMAT), st.just("binance"), st.just("BTCUSDT"))
DAYS = st.builds(Manifest, *NAMES, st.just("2023-11-01"), INTEGERS, PARTS, PARTS, CONTENTS, OPEN)
MERGED = st.lists(st.builds(DayOfMonth, INTEGERS, INTEGERS, CONTENTS, OPEN), max_size=3).map(tuple)
MONTHS = st.builds(Month, *NAMES, st.just(MONTH), INTEGERS, PARTS, PARTS, MERGED)


@given(DAYS | MONTHS)
def test_whatever_numbers_a_manifest_holds_it_passes_or_is_refused_by_name(record: Manifest | Month) -> None:
    try:
        require_sound(record, HERE)
    except StorageError as error:
        assert str(error).startswith(f"{HERE}: lies: ")
        return
    contents = [record.content] if isinstance(record, Manifest) else [day.content for day in record.days]
    for kind in KINDS:
        part = record.part(kind)
        assert (part.groups[0].first, part.groups[-1].last) == (contents[0].first_minute, contents[-1].last_minute)
        assert sum(group.rows for group in part.groups) == part.rows
    assert sum(content.minutes for content in contents) == record.minutes.rows


@pytest.mark.parametrize(
    "groups",
    [
        lambda g: (replace(g, first=g.first + 1),),
        lambda g: (replace(g, last=g.last - 1),),
        lambda g: (replace(g, rows=g.rows - 1),),
        lambda g: (),
        lambda g: (replace(g, last=g.first, rows=12), replace(g, first=g.first + 1, rows=g.rows - 12)),
    ],
)
def test_row_groups_that_are_not_the_files_own_are_refused_also_where_its_footer_is_known(groups: Any, store: Store) -> None:
    compacted_month(store, days=1)
    day = store.archive.manifest(BTC, FIRST_OF_MONTH)
    assert day
    path = store.archive.part("levels", BTC, day)
    with PartReader(path, day.levels):
        pass
    with pytest.raises(StorageError, match=r"part-0\.parquet: its row group.* lies"):
        PartReader(path, replace(day.levels, groups=groups(day.levels.groups[0])))
