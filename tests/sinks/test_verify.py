"""Verifying: what is whole is said to be, and every kind of damage is named with its file and what to do."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import codec
from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY
from sinks import durable, signed
from sinks.damage import Damage
from sinks.manifest import FORMAT, KINDS, Kind, Manifest, Month, content_of, load
from sinks.parquet import Group, PartWriter
from sinks.part_writing import facts
from sinks.tables import LEVELS, MINUTES, Tables
from sinks.verify import Found, Verifier, Wanted
from sinks.verify_parts import check_record
from tests.pipeline.builders import BTC
from tests.sinks.days import (
    FIRST_OF_MONTH,
    LATE,
    MONTH,
    Store,
    compacted_month,
    flip_bit,
    random_day,
    random_minute,
    tree,
)

ALL = Wanted(0, 1 << 30)
START = FIRST_OF_MONTH * MINUTES_PER_DAY


def verify(store: Store, wanted: Wanted = ALL, *, deep: bool = True) -> Found:
    return Verifier(store.files, store.archive, deep=deep).verify(wanted)


def only(store: Store) -> Damage:
    """The one thing that is found damaged."""
    found = verify(store)
    assert len(found.damages) == 1, found.damages
    return found.damages[0]


def mixed(store: Store) -> None:
    """Minute files, three days, of which two are in a merged month, and kraken's."""
    compacted_month(store, days=2)
    store.merger.merge_month(BTC, MONTH)
    store.put(random_minute(START + 40 * MINUTES_PER_DAY))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH + 40)
    store.put(random_minute(START + 41 * MINUTES_PER_DAY), random_minute(START, instrument=Instrument("kraken", "BTC/USD")))


def test_what_is_whole_is_said_to_be_whole(store: Store) -> None:
    mixed(store)
    before = tree(store.folder)
    found = verify(store)
    assert (found.damages, found.notes) == ([], [])
    assert (found.minute_files, found.days, found.months, found.minutes, found.levels) == (2, 3, 1, 13, 156)
    assert found.bytes == sum(
        p.stat().st_size for p in store.folder.rglob("*") if p.suffix == ".parquet" or "trades_" in p.name
    )
    assert len(found.read) == 8
    assert tree(store.folder) == before


def test_it_tells_how_far_it_is(store: Store) -> None:
    mixed(store)
    steps: list[tuple[int, int]] = []
    Verifier(store.files, store.archive).verify(ALL, lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps) and steps[0][0] == 0 and steps[-1][0] == steps[-1][1] > 0
    assert len({total for _, total in steps}) == 1


def test_only_what_is_wanted_is_read(store: Store) -> None:
    mixed(store)
    december = START + 40 * MINUTES_PER_DAY
    assert verify(store, Wanted(december, december + 1)).days == 1
    assert verify(store, Wanted(0, 1 << 30, venue="kraken")).minute_files == 1
    assert verify(store, Wanted(0, 1 << 30, symbol="BTCUSDT")).minute_files == 1


def test_an_empty_store_is_whole(store: Store) -> None:
    assert verify(store) == Found()


# --- flipped, cut, missing ------------------------------------------------------------------------------------------------


@cache
def example() -> Path:
    """A small store of every kind of file, made once."""
    folder = Path(tempfile.mkdtemp(prefix="spillway-verify-"))
    mixed(Store(folder))
    return folder


def data_files(folder: Path) -> list[str]:
    return [name for name in tree(folder) if not name.endswith(".lock")]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_anywhere_passes_unseen(data: st.DataObject) -> None:
    store = Store(example())
    name = data.draw(st.sampled_from(data_files(store.folder)))
    path = store.folder / name
    good = path.read_bytes()
    flip_bit(path, data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7)))
    try:
        found = verify(store, deep=False)
        assert path in {damage.path for damage in found.damages}
        assert all(damage.what and damage.todo for damage in found.damages)
    finally:
        path.write_bytes(good)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_cut_file_passes_unseen(data: st.DataObject) -> None:
    store = Store(example())
    path = store.folder / data.draw(st.sampled_from(data_files(store.folder)))
    good = path.read_bytes()
    path.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    try:
        assert path in {damage.path for damage in verify(store, deep=False).damages}
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("name", ["levels", "minutes"])
@pytest.mark.parametrize("file", ["month-0.parquet", "part-0.parquet"])
def test_a_missing_part_is_named_with_the_way_to_get_it_back(name: str, file: str, store: Store) -> None:
    mixed(store)
    path = next((store.archive.root / name).rglob(file))
    path.unlink()
    damage = only(store)
    assert damage.path == path and damage.what == "the manifest names it, and it isn't there"
    first, after = ("2023-11-01", "2023-11-03") if "month" in file else ("2023-12-11", "2023-12-12")
    assert f"spillway backfill --venue binance --symbol BTCUSDT --from {first} --to {after}" in damage.todo


def test_a_missing_manifest_is_told_by_the_parts_that_nothing_names(store: Store) -> None:
    mixed(store)
    store.archive.layout.manifest(BTC, FIRST_OF_MONTH + 40).unlink()
    found = verify(store)
    assert {d.path.name for d in found.damages} == {"part-0.parquet"} and len(found.damages) == 2
    assert all(d.what == "no manifest names it: 2023-12-11.json is missing" for d in found.damages)


def test_a_missing_manifest_of_a_month_is_told_too(store: Store) -> None:
    mixed(store)
    store.archive.layout.month(BTC, MONTH).unlink()
    assert {d.path.name for d in verify(store).damages} == {"month-0.parquet"}


def test_reads_of_what_is_damaged_refuse_and_those_of_the_rest_do_not(store: Store) -> None:
    mixed(store)
    flip_bit(next(store.folder.rglob("levels/**/month-0.parquet")), 600)
    with pytest.raises(StorageError, match=r"month-0\.parquet: damaged"):
        store.archive.read_levels(BTC, START, START + MINUTES_PER_DAY)
    december = START + 40 * MINUTES_PER_DAY
    assert len(store.archive.read_levels(BTC, december, december + 1)) == 12


# --- manifests that lie ---------------------------------------------------------------------------------------------------


def lie(store: Store, change: Callable[[Manifest], Manifest]) -> Path:
    """A day whose manifest is signed, and says something else than its files."""
    store.put(*random_day(6, start=START))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH)
    path = store.archive.layout.manifest(BTC, FIRST_OF_MONTH)
    found = load(path)
    assert found is not None
    path.write_bytes(signed.encode(change(found)))
    return path


def _content(**changes: object) -> Callable[[Manifest], Manifest]:
    return lambda m: msgspec.structs.replace(m, content=msgspec.structs.replace(m.content, **changes))


def _levels(**changes: object) -> Callable[[Manifest], Manifest]:
    return lambda m: msgspec.structs.replace(m, levels=msgspec.structs.replace(m.levels, **changes))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_content(minutes=7), "lies: it has 7 minutes, and 6 rows of them"),
        (_content(status={"complete": 6}), "lies: its totals, status or scales of 2023-11-01"),
        (_content(totals={}), "lies: its totals, status or scales of 2023-11-01"),
        (_content(last_minute=START + 34), "lies: its levels don't go from 2023-11-01 00:00 to 2023-11-01 00:34"),
        (_content(price_scale=9), "lies: its totals, status or scales of 2023-11-01"),
        (_content(totals={"buy_volume": "1"}), "lies: its totals, status or scales of 2023-11-01"),
        (_levels(rows=1), "it has 1 rows of levels"),
        (_levels(groups=(Group(START, START + 35, 71),)), "it has 72 rows of levels"),
        (_levels(groups=(Group(START, START + 7, 72),)), "its levels don't go from"),
        (_levels(groups=(Group(START, START + 20, 36), Group(START + 20, START + 35, 36))), "row groups of levels overlap"),
        (_levels(groups=(Group(START, START + 20, 36), Group(START + 21, START + 35, 36))), "its row groups are not those"),
        (_levels(groups=(), rows=0), "its levels don't go from"),
        (_levels(file="part-1.parquet"), "its generation is 0, and its levels are part-1.parquet"),
        (lambda m: msgspec.structs.replace(m, generation=1), "its generation is 1, and its levels are part-0.parquet"),
        (lambda m: msgspec.structs.replace(m, date="2023-11-02"), "is the manifest of binance BTCUSDT 2023-11-02"),
        (lambda m: msgspec.structs.replace(m, open=("2023-12-01T00:00",)), "is no minute of 2023-11-01"),
    ],
)
def test_a_manifest_that_lies_is_named(change: Callable[[Manifest], Manifest], says: str, store: Store) -> None:
    path = lie(store, change)
    found = verify(store)
    assert any(says in str(damage) for damage in found.damages), found.damages
    assert all(damage.path.parent == path.parent or damage.path.suffix == ".parquet" for damage in found.damages)


@pytest.mark.parametrize("field", ["bytes", "sha256", "footer_sha256"])
def test_a_manifest_that_lies_about_a_files_bytes_makes_the_file_damaged(field: str, store: Store) -> None:
    changes: dict[str, object] = {"bytes": 5, "sha256": "00", "footer_sha256": "00"}
    lie(store, _levels(**{field: changes[field]}))
    assert any("damaged" in str(damage) for damage in verify(store).damages)


def test_a_manifest_that_is_another_days_is_named(store: Store) -> None:
    path = lie(store, lambda m: m)
    os.rename(path, path.with_name("2023-11-02.json"))
    found = verify(store)
    told = {d.path.name: d.what for d in found.damages}
    assert told["2023-11-02.json"] == "is the manifest of binance BTCUSDT 2023-11-01"
    assert told["part-0.parquet"] == "no manifest names it: 2023-11-01.json is missing"


def test_a_month_that_lies_about_a_day_is_named(store: Store) -> None:
    compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    path = store.archive.layout.month(BTC, MONTH)
    found = signed.load(path, Month, FORMAT)
    assert found is not None
    first, second, third = found.days
    levels = [msgspec.structs.replace(day, levels=n) for day, n in zip((first, second), (71, 73), strict=True)]
    path.write_bytes(signed.encode(msgspec.structs.replace(found, days=(*levels, third))))
    assert str(only(store)) == f"{path}: lies: its days don't have as many levels as it says"
    path.write_bytes(signed.encode(msgspec.structs.replace(found, days=(first, third))))
    assert f"{path}: lies: its days have 144 levels, and its file 216" in map(str, verify(store).damages)


def written_anew(
    store: Store, change: Callable[[Tables], Tables], says: dict[str, str], *, group_rows: int = 1 << 20
) -> Manifest:
    """A day of which the files and the manifest agree with each other, checksums and all, and not with what was traded."""
    path = lie(store, lambda m: m)
    old = load(path)
    assert old is not None
    tables = change(store.archive.read_day(BTC, old))
    parts = {}
    for kind, schema, table in zip(KINDS, (LEVELS, MINUTES), (tables.levels, tables.minutes), strict=True):
        writer = PartWriter(schema)
        for at in range(0, len(table), group_rows):
            writer.add(table.slice(at, group_rows))
        parts[kind], data = writer.finish("part-0.parquet", says)
        store.archive.layout.part(kind, BTC, FIRST_OF_MONTH, "part-0.parquet").write_bytes(data)
    new = msgspec.structs.replace(old, **parts, content=content_of(tables.minutes))
    path.write_bytes(signed.encode(new))
    return new


def _set(kind: Kind, name: str, change: Callable[[pa.ChunkedArray], object]) -> Callable[[Tables], Tables]:
    def set_in(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        return table.set_column(at, table.schema.field(at), change(table[name]))

    def changed(tables: Tables) -> Tables:
        found = {"levels": tables.levels, "minutes": tables.minutes}
        found[kind] = set_in(found[kind])
        return Tables(**found)

    return changed


def _twice(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(pc.multiply(column.cast(pa.float64()), 2.0), column.type)


GOOD = facts(BTC, {"price_scale": 2, "size_scale": 8})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("levels", "trade_count", lambda c: pc.add(c, 1)), "levels' trade_count do not add up"),
        (_set("levels", "buy_volume", lambda c: pc.add(c, 1.0)), "levels' buy_volume do not add up"),
        (lambda t: Tables(t.levels.slice(1), t.minutes), "do not add up"),
        (lambda t: Tables(t.levels.take([1, 0, *range(2, len(t.levels))]), t.minutes), "don't stand in price order"),
        (lambda t: Tables(t.levels, t.minutes.take([0, 0, *range(1, 6)])), "one stands twice"),
        (lambda t: Tables(t.levels, t.minutes.slice(1)), "its levels don't go from 2023-11-01 00:07"),
        (lambda t: Tables(t.levels, t.minutes.take([0, 1, 3, 4, 5])), "its levels are not those of its minutes"),
        (_set("minutes", "status", lambda c: pa.array(["fine"] * len(c)).dictionary_encode()), "has the status 'fine'"),
        (
            _set("minutes", "notional", _twice),
            "is not the minute that was compacted",
        ),
        (_set("minutes", "open", lambda c: pc.add(c, 1.0)), "is not the minute that was compacted"),
    ],
)
def test_files_that_agree_with_their_manifest_and_not_with_themselves_are_named(
    change: Callable[[Tables], Tables], says: str, store: Store
) -> None:
    written_anew(store, change, GOOD)
    found = verify(store)
    assert any(says in str(damage) for damage in found.damages), found.damages


def test_row_groups_of_levels_without_any_minute_are_named(store: Store) -> None:
    def in_groups(tables: Tables) -> Tables:
        return Tables(tables.levels, tables.minutes.take([0, 4, 5]))

    written_anew(store, in_groups, GOOD, group_rows=12)
    assert any("has levels that are of no minute, about 2023-11-01 00:14" in str(damage) for damage in verify(store).damages)


def test_a_file_of_another_instrument_is_named(store: Store) -> None:
    written_anew(store, lambda tables: tables, GOOD | {"symbol": "ETHUSDT"})
    assert "names a file of binance ETHUSDT" in str(verify(store).damages[0])


def test_a_file_written_anew_that_is_right_passes(store: Store) -> None:
    written_anew(store, lambda tables: tables, GOOD)
    assert verify(store).damages == []


# --- minute files ---------------------------------------------------------------------------------------------------------


def test_a_minute_file_whose_totals_are_not_its_levels_is_named(store: Store) -> None:
    one = random_minute(START)
    store.put(one)
    path = store.path(one)
    count = str(one.totals[3])
    body = path.read_bytes().rpartition(b',"checksum"')[0]
    head, _, tail = body.rpartition(f'"trade_count":{count}'.encode())
    body = head + f'"trade_count":{int(count) + 1}'.encode() + tail
    path.write_bytes(body + b',"checksum":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n')
    damage = only(store)
    assert str(damage) == f"{path}: its totals are not those of its levels"
    assert "--from 2023-11-01 --to 2023-11-02" in damage.todo


def test_a_minute_file_under_anothers_name_is_named(store: Store) -> None:
    one = random_minute(START)
    store.put(one)
    other = store.files.path(BTC, START + 1)
    os.rename(store.path(one), other)
    assert only(store).path == other and "expected" in only(store).what


def test_a_minute_file_that_differs_from_the_archive_is_named(store: Store) -> None:
    one = random_minute(START)
    store.put(one)
    store.compactor.compact_day(BTC, FIRST_OF_MONTH)
    store.put(random_minute(START, seed=7))
    assert only(store).what == "differs from the archive in revision 1: which is right can't be told"


def test_a_late_revision_beside_the_archive_is_no_damage(store: Store) -> None:
    store.put(random_minute(START))
    store.compactor.compact_day(BTC, FIRST_OF_MONTH)
    store.put(random_minute(START, revision=2))
    assert verify(store).damages == []


# --- what nothing names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "storage/notes.txt",
        "storage/binance/notes.txt",
        "storage/binance/BTCUSDT/notes.txt",
        "archive/notes.txt",
        "archive/other/notes.txt",
        "archive/levels/data.parquet",
        "archive/levels/venue=binance/data.parquet",
        "archive/levels/venue=binance/symbol=BTCUSDT/data.parquet",
        "archive/levels/venue=binance/symbol=BTCUSDT/date=2023-11-01/data.parquet",
        "archive/minutes/venue=binance/symbol=BTCUSDT/date=2023-11-01/part-0.parquet",
        "archive/minutes/venue=binance/symbol=BTCUSDT/date=2023-11-01/month-7.parquet",
        "archive/minutes/venue=binance/symbol=BTCUSDT/other/deep/data.parquet",
        "archive/manifest/venue=binance/symbol=BTCUSDT/notes.txt",
        "archive/levels/venue=okx/symbol=ABC/date=2023-11-01/part-0.parquet",
    ],
)
def test_a_foreign_file_is_named(name: str, store: Store) -> None:
    mixed(store)
    durable.make_folder(store.folder / "archive/levels/venue=okx")
    path = store.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    found = verify(store)
    want = store.folder / "archive/other" if "other/notes" in name else path
    assert [damage.path for damage in found.damages] == [want]
    assert found.damages[0].todo


def test_a_day_that_its_month_superseded_is_told_as_left_over(store: Store, tmp_path: Path) -> None:
    compacted_month(store)
    shutil.copytree(store.folder, tmp_path / "days")
    store.merger.merge_month(BTC, MONTH)
    shutil.copytree(tmp_path / "days", store.folder, dirs_exist_ok=True)
    found = verify(store)
    assert len(found.damages) == 9 and all("run `spillway compact`" in d.todo for d in found.damages)
    store.merger.merge_month(BTC, MONTH)
    assert verify(store).damages == []


def test_beside_a_running_compaction_it_says_what_it_did_not_look_for(store: Store) -> None:
    mixed(store)
    with durable.job_lock(store.archive.root, "compact"):
        found = verify(store)
    assert found.damages == [] and len(found.notes) == 1 and "runs it already" in found.notes[0]


def test_a_day_that_is_compacted_anew_while_it_is_read_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    compacted_month(store)
    real, runs = check_record, iter(range(10))

    def check_and_compact(*arguments: object, **named: object) -> list[Damage]:
        if next(runs) == 0:
            store.put(random_minute(START, revision=2))
            store.compactor.compact_day(BTC, FIRST_OF_MONTH)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("sinks.verify.check_record", check_and_compact)
    found = verify(store)
    assert found.damages == [] and found.days == 3


def test_a_minute_file_and_its_archived_copy_agree_to_the_byte(store: Store) -> None:
    """What `deep` compares: the minute made anew from Parquet has the checksum of the file that was compacted."""
    minutes = compacted_month(store)
    table = store.archive.read_minutes(BTC, START, LATE + MINUTES_PER_DAY * 40, ["checksum"])
    assert table["checksum"].to_pylist() == [codec.split(codec.encode(one), "test").checksum for one in minutes]
