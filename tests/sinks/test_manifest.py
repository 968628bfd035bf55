"""The manifest: what counts, or an error that says why it can't be told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline import codec
from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from sinks import durable, manifest
from sinks.manifest import Layout, Manifest
from sinks.parquet import Group, Part
from sinks.tables import tables_of
from tests.pipeline.builders import BTC, START, minute
from tests.sinks.days import DAY, ODD


def example() -> Manifest:
    part = Part("part-0.parquet", 10, "00", 2, 4, "11", (Group(START, START + 5, 2),))
    day = tables_of([codec.split(codec.encode(minute()), "test")], exact=True)
    content = manifest.content_of(day.minutes)
    return Manifest(1, "binance", "BTCUSDT", "2023-11-15", 0, part, part, content, ("2023-11-15T00:07",))


def test_a_manifest_comes_back_with_its_checksum_and_people_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(manifest.encode(example()))
    found = manifest.load(tmp_path / "m.json")
    assert found is not None and replace(found, checksum="") == example() and found.checksum
    doc = json.loads((tmp_path / "m.json").read_text())
    assert doc["format"] == 1 and doc["generation"] == 0 and doc["open"] == ["2023-11-15T00:07"]
    assert doc["content"]["totals"] == {
        "buy_volume": "1.5",
        "sell_volume": "0.85",
        "total_volume": "2.37",
        "notional": "237.007",
        "trade_count": "17",
    }
    assert doc["content"]["status"] == {"complete": 1}


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert manifest.load(tmp_path / "m.json") is None


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path, good = tmp_path / "m.json", manifest.encode(example())
    path.write_bytes(good)
    want = manifest.load(path)
    for position in range(0, len(good), 3):
        path.write_bytes(good[:position] + bytes([good[position] ^ (1 << position % 8)]) + good[position + 1 :])
        try:
            assert manifest.load(path) == want
        except StorageError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2: this version reads format 1"),
        ({"generation": 7}, "its checksum is not that of its content"),
        ({"extra": 1}, "unknown field"),
        ({"levels": None}, "damaged"),
    ],
)
def test_what_is_no_manifest_of_ours_is_refused_by_name(change: dict[str, object], says: str, tmp_path: Path) -> None:
    doc = json.loads(manifest.encode(example())) | change
    (tmp_path / "m.json").write_text(json.dumps(doc))
    with pytest.raises(StorageError, match=says) as refused:
        manifest.load(tmp_path / "m.json")
    assert str(tmp_path / "m.json") in str(refused.value)


@pytest.mark.parametrize("instrument", [BTC, *ODD], ids=str)
def test_all_paths_stay_inside_the_root_and_tell_their_instrument(instrument: Instrument, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for path in (layout.part("levels", instrument, DAY, "part-0.parquet"), layout.manifest(instrument, DAY)):
        assert path.resolve().is_relative_to(tmp_path.resolve())
        assert len(path.relative_to(tmp_path).parts) in (4, 5)
    durable.make_folder(layout.manifest(instrument, DAY).parent)
    assert layout.instruments() == []
    layout.manifest(instrument, DAY).write_bytes(b"")
    assert layout.instruments() == [instrument]
    assert layout.days(instrument) == [DAY]


def test_a_part_outside_its_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="expected a part"):
        Layout(tmp_path).part("levels", BTC, DAY, "../part-0.parquet")


def test_only_parts_and_manifests_are_listed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    folder = layout.folder("levels", BTC, DAY)
    durable.make_folder(folder)
    for name in ("part-1.parquet", "part-0.parquet", "part-x.parquet", ".tmp-part-0.parquet-1-ff", "notes.txt"):
        (folder / name).write_bytes(b"")
    assert [path.name for path in layout.parts("levels", BTC, DAY)] == ["part-0.parquet", "part-1.parquet"]
    durable.make_folder(layout.manifest(BTC, DAY).parent)
    for name in ("2023-11-15.json", "2023-13-15.json", "2023-11-15.json~", ".tmp-2023-11-16.json-1-ff"):
        (layout.manifest(BTC, DAY).parent / name).write_bytes(b"")
    assert layout.days(BTC) == [DAY]
