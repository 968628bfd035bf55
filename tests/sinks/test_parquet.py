"""Parquet parts: what is read is what was written, or an error names the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline import codec
from pipeline.errors import StorageError
from pipeline.minute import Minute, Status
from sinks.merge import by_hour
from sinks.parquet import Part, PartGone, PartReader, PartWriter, digest, revisions_in
from sinks.tables import LEVELS, MINUTES, Tables, tables_of
from tests.pipeline.builders import START
from tests.sinks.days import flip_bit, random_day, random_minute


@pytest.fixture(scope="module")
def day() -> Tables:
    return tables_of([codec.split(codec.encode(one), "test") for one in random_day(40)], exact=True)


def write(path: Path, schema: pa.Schema, tables: list[pa.Table]) -> Part:
    writer = PartWriter(schema)
    for table in tables:
        writer.add(table)
    part, data = writer.finish(path.name, {"price_scale": "2"})
    path.write_bytes(data)
    return part


@pytest.fixture
def levels(tmp_path: Path, day: Tables) -> tuple[Path, Part]:
    path = tmp_path / "part-0.parquet"
    return path, write(path, LEVELS, [hour.levels for hour in by_hour(day)])


def test_what_was_written_is_read(levels: tuple[Path, Part], day: Tables) -> None:
    with PartReader(*levels) as reader:
        assert reader.read(range(5)).equals(day.levels)
    assert pq.read_metadata(levels[0]).metadata[b"price_scale"] == b"2"


def test_the_same_tables_give_the_same_bytes(tmp_path: Path, day: Tables, levels: tuple[Path, Part]) -> None:
    assert write(tmp_path / "part-0.parquet", LEVELS, [hour.levels for hour in by_hour(day)]) == levels[1]


def test_only_row_groups_of_the_range_are_chosen(levels: tuple[Path, Part]) -> None:
    with PartReader(*levels) as reader:
        assert reader.groups(START, START + 1440) == [0, 1, 2, 3, 4]
        assert reader.groups(START + 60, START + 120) == [1]
        assert reader.groups(START + 119, START + 127) == [1, 2]
        assert reader.groups(START + 120, START + 126) == []
        assert reader.groups(START + 1440, START + 2000) == []
        assert set(reader.read([1])["timestamp"].to_pylist()) <= set(reader.read([0, 1])["timestamp"].to_pylist())


def test_the_file_says_how_it_is_sorted_and_what_each_row_group_holds(levels: tuple[Path, Part]) -> None:
    group = pq.read_metadata(levels[0]).row_group(0)
    assert [sorting.column_index for sorting in group.sorting_columns] == [0, 1]
    assert group.column(0).statistics.has_min_max
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


@pytest.mark.parametrize("schema", [LEVELS, MINUTES], ids=["levels", "minutes"])
def test_no_flipped_bit_changes_silently_what_is_read(schema: pa.Schema, tmp_path: Path) -> None:
    """One bit flipped, here and there in the pages and the footer: an error that names the file, or the very same values."""
    few = tables_of([codec.split(codec.encode(one), "test") for one in random_day(3, step=1)], exact=True)
    table = few.levels if schema is LEVELS else few.minutes
    path = tmp_path / "part-0.parquet"
    part = write(path, schema, [table])
    pages = part.bytes - part.footer_bytes
    positions = [*range(0, pages, 7), *range(pages, part.bytes, 101)]
    noticed = sum(is_noticed(path, part, position, digest(table)) for position in positions)
    assert noticed > len(positions) * 0.6, "only a page's header has no checksum, and most of it matters not"


def test_what_the_footer_tells_of_a_column_is_what_reading_it_gives(tmp_path: Path) -> None:
    """One status and one scale throughout, or several: in a file of two row groups, read together and one by one."""
    for number, minutes in enumerate(([complete(START + n) for n in range(4)], [*random_day(3, step=1), complete(START + 3)])):
        table = tables_of([codec.split(codec.encode(one), "test") for one in minutes], exact=True).minutes
        path = tmp_path / f"part-{number}.parquet"
        part = write(path, MINUTES, [table.slice(0, 2), table.slice(2)])
        with PartReader(path, part) as reader:
            for groups in ([0], [1], [0, 1]):
                short = reader.read_minutes(groups, MINUTES.names).select(MINUTES.names)
                whole = reader.read(groups)
                assert short.schema == whole.schema
                assert short.to_pylist() == whole.to_pylist()


def test_only_row_groups_that_may_hold_a_price_are_chosen(tmp_path: Path, day: Tables) -> None:
    path, by_price = tmp_path / "part-0.parquet", [day.levels.filter(pc.less(day.levels["price_level"], 700.0)), day.levels]
    part = write(path, LEVELS, by_price)
    with PartReader(path, part) as reader:
        spans = [pc.min_max(reader.read([i])["price_level"]).as_py() for i in (0, 1)]
        for low, high in [
            (None, None),
            (700.0, None),
            (None, 600.0),
            (spans[0]["max"], spans[0]["max"]),
            (1e9, None),
            (None, 1),
        ]:
            found = reader.priced([0, 1], low, high)
            may = [i for i, s in enumerate(spans) if (low is None or s["max"] >= low) and (high is None or s["min"] <= high)]
            assert found == may
        assert reader.priced([0, 1], 700.0, None) == [1]


def test_a_column_of_one_value_needs_no_reading(tmp_path: Path) -> None:
    table = tables_of([codec.split(codec.encode(complete(START + n)), "test") for n in range(4)], exact=True).minutes
    path = tmp_path / "part-0.parquet"
    part = write(path, MINUTES, [table])
    chunk = pq.read_metadata(path).row_group(0).column(MINUTES.get_field_index("status"))
    flip_bit(path, chunk.dictionary_page_offset + chunk.total_compressed_size - 1)
    with PartReader(path, part) as reader:
        assert set(reader.read_minutes([0], ["timestamp", "status"])["status"].to_pylist()) == {"complete"}
        with pytest.raises(StorageError, match=str(path)):
            reader.read([0], ["timestamp", "status"])


def complete(start: int) -> Minute:
    """One of many minutes of one kind."""
    return replace(random_minute(start), status=Status.COMPLETE, missing=(), first_trade_id=7, last_trade_id=23)


def is_noticed(path: Path, part: Part, position: int, want: int) -> bool:
    """Whether a flipped bit is refused; what is read in spite of it must be right."""
    flip_bit(path, position, position % 8)
    try:
        with PartReader(path, part) as reader:
            assert digest(reader.read([0])) == want, f"byte {position}: a wrong value was read without an error"
        return False
    except StorageError as error:
        assert str(path) in str(error)
        return True
    finally:
        flip_bit(path, position, position % 8)


def test_a_truncated_a_longer_and_a_missing_file_are_errors_that_name_it(levels: tuple[Path, Part]) -> None:
    path, part = levels
    data = path.read_bytes()
    for wrong in (data[:-1], data + b"x", b""):
        path.write_bytes(wrong)
        with pytest.raises(StorageError, match=rf"{path}: damaged: {len(wrong)} bytes, and the manifest says {len(data)}"):
            PartReader(path, part)
    path.unlink()
    with pytest.raises(PartGone, match=str(path)):
        PartReader(path, part)


def test_a_link_in_place_of_a_part_is_refused(levels: tuple[Path, Part]) -> None:
    path, part = levels
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(StorageError, match="symbolic link"):
        PartReader(path, part)


def test_a_part_of_no_manifest_tells_its_minutes(levels: tuple[Path, Part]) -> None:
    assert revisions_in(levels[0]) == {one.start: 0 for one in random_day(40)}
    levels[0].write_bytes(b"nothing of the kind")
    with pytest.raises(StorageError, match=str(levels[0])):
        revisions_in(levels[0])


def test_a_digest_tells_any_value_apart_and_not_the_chunks(day: Tables) -> None:
    for table in (day.levels, day.minutes):
        halves = pa.concat_tables([table.slice(0, 9), table.slice(9)])
        assert digest(halves) == digest(table)
        for index in range(table.num_columns):
            swapped = table.set_column(index, table.schema.field(index), table.column(index).take([*range(1, len(table)), 0]))
            assert (digest(swapped) == digest(table)) == swapped.column(index).equals(table.column(index))
