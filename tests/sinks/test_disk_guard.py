"""The disk guard: it warns before the disk is full, and says by how much it is short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DiskFull
from sinks.compact import Compactor
from sinks.disk_guard import Bounds, Disk, Rate, disk_of, rate_of, warnings
from tests.pipeline.builders import BTC
from tests.sinks.days import DAY, FIRST_OF_MONTH, MONTH, Store, compacted_month, flip_bit, random_day, random_minute, tree

HERE = Path("/somewhere")


@pytest.mark.parametrize(
    ("free", "says"),
    [
        (30_000_000, []),
        (25_000_000, []),
        (24_000_000, ["/somewhere: 24 MB are free, and 7 days at the present rate take 25 MB"]),
        (
            1_000_000,
            [
                "/somewhere: 1 MB are free: less than the 5 MB that should be",
                "/somewhere: 1 MB are free, and 7 days at the present rate take 25 MB",
            ],
        ),
    ],
)
def test_it_warns_by_what_is_free_and_by_what_the_next_days_take(free: int, says: list[str]) -> None:
    rate = Rate(archive_bytes=3_000_000, file_bytes=4_000_000)
    assert warnings(Disk(HERE, 1, free, 10**9), rate, Bounds(5_000_000, 7)) == says


def test_a_disk_is_found_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    there, later = disk_of(tmp_path), disk_of(tmp_path / "not" / "yet")
    assert there.id == later.id and 0 < later.free <= later.total == there.total


def test_the_rate_is_what_the_last_whole_days_took(store: Store) -> None:
    compacted_month(store)
    sizes = sum(p.stat().st_size for p in store.folder.rglob("*.parquet"))
    today = FIRST_OF_MONTH + 3
    assert rate_of(store.files, store.archive, today) == Rate(sizes / 3, 0)
    store.put(random_minute(today * 1440), random_minute((today + 1) * 1440))
    size = store.files.size(BTC, [today * 1440])
    assert rate_of(store.files, store.archive, today + 1) == Rate(sizes / 3, size), "the day that is not over doesn't count"
    assert rate_of(store.files, store.archive, today + 100).archive_bytes == 0


def test_of_a_merged_month_the_rate_is_the_last_days_share(store: Store) -> None:
    compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    size = sum(p.stat().st_size for p in store.folder.rglob("*.parquet"))
    found = rate_of(store.files, store.archive, FIRST_OF_MONTH + 9)  # which sees the last of its three days
    assert found.archive_bytes == pytest.approx(size / 3, rel=0.01)


def test_a_damaged_instrument_does_not_keep_it_from_telling(store: Store) -> None:
    compacted_month(store)
    flip_bit(store.archive.layout.manifest(BTC, FIRST_OF_MONTH), 40)
    assert rate_of(store.files, store.archive, FIRST_OF_MONTH + 3) == Rate()


def test_a_compaction_leaves_room_for_the_spill(store: Store) -> None:
    store.put(*random_day(3))
    before = tree(store.folder)
    with pytest.raises(DiskFull, match="nothing was begun"):
        Compactor(store.files, store.archive, reserve=1 << 60).compact_day(BTC, DAY)
    assert tree(store.folder) == before


@pytest.mark.privileged
def test_where_neither_compaction_nor_merge_may_begin_a_spill_still_takes_what_fits(small_disk: Callable[..., Path]) -> None:
    small = Store(small_disk("1m"))
    day = random_day(3)
    small.put(*day)
    with pytest.raises(DiskFull, match="nothing was begun"):
        Compactor(small.files, small.archive, reserve=16 << 20).compact_day(BTC, DAY)
    late = random_minute(day[0].start + 1)
    small.put(late)
    assert small.files.load(BTC, late.start) == late
