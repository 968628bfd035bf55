"""Minute files: found by their names, replaced only by higher revisions, deleted only while they are what was read."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import codec
from pipeline.errors import DamagedMinute, StorageError
from pipeline.instrument import Instrument
from pipeline.ports import Keeper, MinuteWriter
from sinks import durable
from sinks.minute_files import MinuteFiles
from tests.pipeline.builders import BTC, START, minute
from tests.sinks.days import DAY, ODD, Store, flip_bit, random_day, random_minute, tree


def test_it_is_what_the_pipeline_asks_for(tmp_path: Path) -> None:
    files = MinuteFiles(tmp_path)
    writer: MinuteWriter = files
    keeper: Keeper = files
    assert writer.read(BTC, START) is None
    assert keeper.load(BTC, START) is None
    assert keeper.newest(BTC) is None


def test_a_minute_comes_back_as_it_was_written(store: Store) -> None:
    one = random_minute(START + 61)
    store.put(one)
    assert store.path(one) == store.folder / "storage/binance/BTCUSDT/trades_20231115_0101.json"
    assert store.files.read(BTC, one.start) == codec.encode(one)
    found = store.files.load(BTC, one.start)
    assert found is not None and codec.encode(found) == codec.encode(one)


@pytest.mark.parametrize("instrument", ODD, ids=str)
def test_an_instrument_of_any_name_has_one_folder_inside_the_root(instrument: Instrument, store: Store) -> None:
    one = random_minute(START, instrument=instrument)
    store.put(one)
    assert store.path(one).resolve().parent.parent.parent == (store.folder / "storage").resolve()
    assert store.files.instruments() == [instrument]
    assert store.files.of_day(instrument, DAY) == [START]
    assert store.files.newest(instrument) == START


def test_days_and_minutes_are_told_by_the_names(store: Store) -> None:
    starts = [START - 1, START, START + 5, START + 1439, START + 1440]
    store.put(*(minute(start=start) for start in reversed(starts)))
    assert store.files.days(BTC) == [DAY - 1, DAY, DAY + 1]
    assert store.files.of_day(BTC, DAY) == starts[1:4]
    assert store.files.between(BTC, START, START + 6) == starts[1:3]
    assert store.files.newest(BTC) == START + 1440


def test_strays_are_no_minutes_and_are_reported(store: Store) -> None:
    one = minute()
    store.put(one)
    folder = store.path(one).parent
    names = [
        "notes.txt",
        "trades_20231115_0001.json~",
        "trades_20231315_0001.json",
        "trades_20231115_2400.json",
        "xtrades_20231115_0001.json",
    ]
    for name in names:
        (folder / name).write_bytes(b"x")
    (folder / "trades_20231115_0002.json").symlink_to(store.path(one))
    (folder / "trades_20231115_0003.json").mkdir()
    (folder / ".tmp-trades_20231115_0004.json-1-ff").write_bytes(b"half")
    assert store.files.of_day(BTC, DAY) == [START]
    reported = {path.name for path in store.files.strays(BTC)}
    assert reported == {*names, "trades_20231115_0002.json", "trades_20231115_0003.json"}


def test_a_folder_that_no_instrument_has_is_passed_over(store: Store) -> None:
    store.put(minute())
    for name in ("BTC%2fUSD", "%00", "a b"):
        odd = store.folder / "storage" / "binance" / name
        odd.mkdir()
        (odd / "trades_20231115_0000.json").write_bytes(b"x")
    assert store.files.instruments() == [BTC]


def test_writing_a_minute_again_writes_nothing(store: Store) -> None:
    one = random_minute(START)
    store.put(one)
    before = store.path(one).stat()
    store.put(one)
    assert store.path(one).stat().st_ino == before.st_ino


def test_a_higher_revision_replaces_a_lower_one(store: Store) -> None:
    first, second = random_minute(START), random_minute(START, revision=2)
    store.put(first)
    store.put(second)
    assert store.files.read(BTC, START) == codec.encode(second)


def test_a_lower_revision_leaves_the_higher_one_as_it_is(store: Store) -> None:
    kept = random_minute(START, revision=2)
    store.put(kept)
    before = store.path(kept).stat()
    store.put(random_minute(START, revision=1))
    assert store.files.read(BTC, START) == codec.encode(kept)
    assert store.path(kept).stat().st_ino == before.st_ino


def test_other_bytes_of_the_same_revision_are_refused_and_the_file_stays(store: Store) -> None:
    kept = random_minute(START, revision=2)
    store.put(kept)
    says = f"{store.path(kept)}: can't be written: it holds other bytes of the same revision 2"
    with pytest.raises(StorageError, match=says):
        store.put(random_minute(START, revision=2, seed=5))
    assert store.files.read(BTC, START) == codec.encode(kept)


def test_a_damaged_file_is_not_written_over(store: Store) -> None:
    one = random_minute(START)
    store.put(one)
    flip_bit(store.path(one), 99)
    damaged = store.path(one).read_bytes()
    with pytest.raises(DamagedMinute, match=str(store.path(one))):
        store.put(random_minute(START, revision=2))
    assert store.path(one).read_bytes() == damaged


def test_of_two_writers_at_once_the_higher_revision_stays(store: Store) -> None:
    versions = [random_minute(START, revision=revision) for revision in range(1, 9)]
    threads = [threading.Thread(target=store.put, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.files.read(BTC, START) == codec.encode(versions[-1])
    assert list(tree(store.folder)) == ["storage/binance/BTCUSDT/trades_20231115_0000.json"]


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "unknown format", "another minute", "another instrument"])
def test_a_damaged_file_is_refused_by_name_and_left_where_it_is(damage: str, store: Store) -> None:
    one = random_minute(START)
    store.put(one)
    path = store.path(one)
    damaged(path, damage)
    before = path.read_bytes()
    for read in (store.files.load, store.files.parts):
        with pytest.raises(DamagedMinute, match=str(path)):
            read(BTC, START)
    assert path.read_bytes() == before


def damaged(path: Path, how: str) -> None:
    """Damages a minute file; the last two kinds have a checksum that is right."""
    data = path.read_bytes()
    others = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "another minute": codec.encode(random_minute(START + 1)),
        "another instrument": codec.encode(random_minute(START, instrument=Instrument("binance", "ETHUSDT"))),
    }
    if how == "flipped":
        flip_bit(path, len(data) // 2)
    elif how == "unknown format":
        path.write_bytes(resigned(data.replace(b'"format":1', b'"format":9')))
    else:
        path.write_bytes(others[how])


def resigned(data: bytes) -> bytes:
    """The same bytes with a checksum that fits them."""
    import hashlib

    body = data[: data.rindex(b',"checksum"')]
    return body + b',"checksum":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def test_only_the_marked_files_are_deleted(store: Store) -> None:
    day = random_day(4)
    store.put(*day)
    marks = {one.start: found[1] for one in day[:3] if (found := store.files.parts(BTC, one.start))}
    store.put(replace(day[1], revision=2))  # a late trade, after the day was read
    store.path(day[2]).unlink()
    assert store.files.delete(BTC, marks) == [day[0].start]
    assert store.files.of_day(BTC, DAY) == [day[1].start, day[3].start]


def test_a_revision_never_slips_in_between_the_look_and_the_deletion(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = random_minute(START), random_minute(START, revision=2)
    store.put(first)
    found = store.files.parts(BTC, START)
    assert found is not None
    spill = threading.Thread(target=store.put, args=(second,))
    unlink = os.unlink

    def slow_unlink(name: str | Path, *, dir_fd: int | None = None) -> None:
        if os.fspath(name).startswith("trades_"):
            spill.start()
            spill.join(0.2)  # it waits for the folder's lock: without that it would be deleted unread
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", slow_unlink)
    assert store.files.delete(BTC, {START: found[1]}) == [START]
    spill.join()
    assert store.files.read(BTC, START) == codec.encode(second)


def test_temporary_files_of_dead_runs_are_cleaned(store: Store) -> None:
    store.put(minute())
    stale = store.path(minute()).with_name(".tmp-trades_20231115_0000.json-1-ff")
    stale.write_bytes(b"half")
    assert store.files.clean() == [stale]
    assert store.files.of_day(BTC, DAY) == [START]


def test_a_folder_that_cannot_be_made_is_named(store: Store) -> None:
    (store.folder / "storage").mkdir(parents=True)
    (store.folder / "storage" / "binance").write_bytes(b"a file")
    with pytest.raises(StorageError, match="storage/binance/BTCUSDT: can't be made"):
        store.put(minute())


def test_settling_makes_every_name_durable_up_to_the_root(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.files.write(BTC, START, codec.encode(minute()))
    synced: list[str] = []
    monkeypatch.setattr(durable, "_fsync_folder", lambda path: synced.append(path.name))
    store.files.settle([BTC])
    assert synced == ["BTCUSDT", "binance", "storage"]


def test_the_loader_of_the_seed_reads_the_files_unchanged(store: Store) -> None:
    """It takes `timestamp` and `price_levels` and iterates over the levels' dictionaries."""
    one = minute({1000: (150, 80, 230, 15)}, price_scale=1, size_scale=2)
    store.put(one)
    doc = json.loads(store.path(one).read_text())
    assert list(doc)[:2] == ["timestamp", "price_levels"]
    assert doc["price_levels"] == {
        "100.0": {
            "price_level": 100.0,
            "buy_volume": 1.5,
            "sell_volume": 0.8,
            "total_volume": 2.3,
            "delta": 0.7,
            "trade_count": 15,
        }
    }


def test_many_files_come_as_tables_and_missing_ones_are_left_out(store: Store) -> None:
    day = random_day(5)
    store.put(*day)
    tables = store.files.tables(BTC, [one.start for one in reversed(day)] + [START + 1000])
    assert len(tables.minutes) == 5
    assert len(tables.levels) == sum(len(one.levels) for one in day)
    assert tables.minutes["timestamp"].to_pylist() == sorted(tables.minutes["timestamp"].to_pylist())
