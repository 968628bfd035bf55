"""Whatever is damaged, missing or a lie: `verify` names it, and each way to read refuses, or leaves out and says so."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

import spillway
from pipeline.errors import StorageError
from sinks import signed
from sinks.manifest import FORMAT, Kind, Manifest, Month
from spillway.cli import app
from spillway.store import IncompleteWarning
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, MONTH, Store, compacted_month, flip_bit, random_day, random_minute

NAMES = (BTC.venue, BTC.symbol)
DAY = FIRST_OF_MONTH + 40  # one that is in no month
Harm: TypeAlias = Callable[[Store], Path]
Where: TypeAlias = str


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days in a merged month, two days alone, and a minute file."""
    store = Store(tmp_path_factory.mktemp("kept") / "data")
    compacted_month(store)
    store.merger.merge_month(BTC, MONTH)
    for day in (DAY, DAY + 1):
        store.put(*random_day(6, start=day * 1440))
        store.compactor.compact_day(BTC, day)
    store.put(random_minute((DAY + 2) * 1440))
    return store.folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    shutil.copytree(whole, tmp_path / "data")
    return Store(tmp_path / "data")


# --- ways to read -------------------------------------------------------------------------------------------------------


def command(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def through_store(folder: Path, what: str, **options: Any) -> pd.DataFrame:
    with spillway.open(folder) as store:
        found: Any = getattr(store, what)(*NAMES, **options)
        if options.get("as_") == "lazy":
            found = found.collect().to_arrow().to_pandas()
        frame: pd.DataFrame = found.to_arrow_table().to_pandas() if options.get("as_") == "duckdb" else found
    return frame


def day_by_day(folder: Path) -> pd.DataFrame:
    with spillway.open(folder) as store:
        frames: list[pd.DataFrame] = list(store.iter_levels(*NAMES))
    return pd.concat(frames, ignore_index=True)


def exported(folder: Path, what: str) -> pd.DataFrame:
    """By the command, whose error is raised and whose notes are warnings again."""
    target = folder.parent / "out.parquet"
    target.unlink(missing_ok=True)
    done = command("export", "--venue", BTC.venue, "--symbol", BTC.symbol, "--what", what, "-o", target, "--data", folder)
    if done.exit_code:
        assert done.exit_code == 1 and not target.exists()
        assert len(done.stderr.strip().splitlines()) == 1
        raise StorageError(done.stderr.removeprefix("spillway: ").strip())
    for note in done.stdout.splitlines()[1:]:
        warnings.warn(note, IncompleteWarning, stacklevel=1)
    return pd.read_parquet(target)


READS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "levels": partial(through_store, what="levels"),
    "minutes": partial(through_store, what="minutes"),
    "bars": partial(through_store, what="bars", every="1h"),
    "footprints": partial(through_store, what="bars", every="1h", price_group=10),
    "whole minutes": partial(through_store, what="levels", whole_only=True),
    "lazy levels": partial(through_store, what="levels", as_="lazy"),
    "levels in DuckDB": partial(through_store, what="levels", as_="duckdb"),
    "lazy minutes": partial(through_store, what="minutes", as_="lazy"),
    "days": day_by_day,
    "export of levels": partial(exported, what="levels"),
    "export of bars": partial(exported, what="bars"),
}


@pytest.fixture(scope="module")
def truth(whole: Path) -> dict[str, pd.DataFrame]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)  # an export notes bars that are not whole
        return {name: read(whole) for name, read in READS.items()}


def outcome(read: Callable[[Path], pd.DataFrame], folder: Path, want: pd.DataFrame) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IncompleteWarning)
        try:
            found = read(folder)
        except StorageError as error:
            return "refused" if str(folder / "archive") in str(error) else f"refused without a file's name: {error}"
    if found.equals(want):
        return "right"
    said = [str(one.message) for one in caught if "is missing" in str(one.message)]
    return "said so" if said and len(found) < len(want) else f"silently wrong: {len(found)} of {len(want)} rows"


def named(folder: Path) -> set[Path]:
    """The files that `spillway verify` finds damaged."""
    done = command("verify", "--data", folder, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == (1 if found["damages"] else 0)
    assert all(damage["what"] and damage["todo"] for damage in found["damages"])
    return {Path(damage["file"]) for damage in found["damages"]}


def judged(store: Store, truth: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {name: outcome(read, store.folder, truth[name]) for name, read in READS.items()}


def test_what_is_whole_is_read_by_all_and_nothing_is_named(store: Store, truth: dict[str, pd.DataFrame]) -> None:
    assert named(store.folder) == set()
    assert set(judged(store, truth).values()) == {"right"}


# --- harms --------------------------------------------------------------------------------------------------------------


def part(store: Store, kind: Kind, where: Where) -> Path:
    return store.archive.layout.part(kind, BTC, FIRST_OF_MONTH if where == "month" else DAY, f"{where}-0.parquet")


def record(store: Store, where: Where) -> Path:
    return store.archive.layout.month(BTC, MONTH) if where == "month" else store.archive.layout.manifest(BTC, DAY)


def flipped(kind: Kind, where: Where, share: float, store: Store) -> Path:
    path = part(store, kind, where)
    flip_bit(path, int(share * (path.stat().st_size - 1)))
    return path


def missing(kind: Kind, where: Where, store: Store) -> Path:
    path = part(store, kind, where)
    path.unlink()
    return path


def cut(kind: Kind, where: Where, store: Store) -> Path:
    path = part(store, kind, where)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def swapped(where: Where, store: Store) -> Path:
    """Another whole Parquet file in its place."""
    path = part(store, "levels", where)
    path.write_bytes(part(store, "levels", "part" if where == "month" else "month").read_bytes())
    return path


def cut_record(where: Where, store: Store) -> Path:
    path = record(store, where)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def flipped_record(where: Where, store: Store) -> Path:
    path = record(store, where)
    path.write_bytes(path.read_bytes().replace(b'"rows": 7', b'"rows": 8').replace(b'"rows": 2', b'"rows": 3'))
    return path


def seldom(name: str) -> list[pytest.MarkDecorator]:
    """Variants of what is tested already."""
    return [pytest.mark.long] if name.startswith("flipped") and "30%" not in name and "95%" not in name else []


SHARES = (0, 0.05, 0.3, 0.75, 0.95, 1)  # of the file: magic, pages, statistics, footer, magic
HARMS: list[tuple[str, Harm]] = [
    (f"flipped {share:.0%} into {where} of {kind}", partial(flipped, kind, where, share))
    for kind in ("levels", "minutes")
    for where in ("part", "month")
    for share in SHARES
]
for _where in ("part", "month"):
    for _kind in ("levels", "minutes"):
        HARMS.append((f"{_where} of {_kind} missing", partial(missing, _kind, _where)))
        HARMS.append((f"{_where} of {_kind} cut", partial(cut, _kind, _where)))
    HARMS.append((f"{_where} swapped", partial(swapped, _where)))
    HARMS.append((f"manifest of {_where} cut", partial(cut_record, _where)))
    HARMS.append((f"manifest of {_where} flipped", partial(flipped_record, _where)))


@pytest.mark.parametrize("harm", [pytest.param(harm, id=name, marks=seldom(name)) for name, harm in HARMS])
def test_what_is_damaged_is_named_and_no_read_is_silently_wrong(harm: Harm, store: Store, truth: dict[str, Any]) -> None:
    path = harm(store)
    assert path in named(store.folder)
    found = judged(store, truth)
    assert set(found.values()) <= {"refused", "right"}, found
    assert "refused" in found.values() or path.suffix == ".parquet"


def test_a_flipped_bit_of_levels_does_not_keep_minutes_and_other_days_from_being_read(store: Store) -> None:
    flipped("levels", "month", 0.3, store)
    with spillway.open(store.folder) as opened:
        assert len(opened.minutes(*NAMES)) == 31
        assert len(opened.levels(*NAMES, "2023-12-11")) == 156
        with pytest.raises(StorageError, match=r"month-0\.parquet: damaged"):
            opened.levels(*NAMES, "2023-11-02", "2023-11-03")


# --- manifests that lie, with a checksum of their own that is right --------------------------------------------------------


def lying(where: Where, change: Callable[[Any], Any], store: Store) -> Path:
    path = record(store, where)
    found: Any = signed.load(path, Month if where == "month" else Manifest, FORMAT)
    path.write_bytes(signed.encode(change(found)))
    return path


def of_part(kind: Kind, **changes: Any) -> Callable[[Any], Any]:
    return lambda m: replace(m, **{kind: replace(m.part(kind), **changes)})


def of_group(kind: Kind, **steps: int) -> Callable[[Any], Any]:
    def changed(m: Any) -> Any:
        *others, last = m.part(kind).groups
        new = replace(last, **{name: getattr(last, name) + step for name, step in steps.items()})
        return replace(m, **{kind: replace(m.part(kind), groups=(*others, new))})

    return changed


def of_content(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of a day; of a month's second day."""

    def content(old: Any) -> Any:
        return replace(old, **{name: change(getattr(old, name)) for name, change in changes.items()})

    def changed(m: Any) -> Any:
        if isinstance(m, Manifest):
            return replace(m, content=content(m.content))
        days = (m.days[0], replace(m.days[1], content=content(m.days[1].content)), *m.days[2:])
        return replace(m, days=days)

    return changed


LIES: dict[str, Callable[[Any], Any]] = {
    "total": of_content(totals=lambda old: old | {"buy_volume": "1"}),
    "trade count": of_content(totals=lambda old: old | {"trade_count": "1"}),
    "minutes": of_content(minutes=lambda old: old + 1),
    "first minute": of_content(first_minute=lambda old: old + 1),
    "last minute": of_content(last_minute=lambda old: old - 1),
    "status": of_content(status=lambda old: {"complete": sum(old.values()) + 1}),
    "scale": of_content(price_scale=lambda old: old + 1),
    "rows of levels": of_part("levels", rows=1),
    "rows of minutes": of_part("minutes", rows=1),
    "no row groups": of_part("levels", rows=0, groups=()),
    "a row group's end": of_group("levels", last=-1),
    "a row group's begin": of_group("minutes", first=1),
    "a row group's rows": of_group("levels", rows=-1),
    "checksum of levels": of_part("levels", sha256="00"),
    "checksum of minutes": of_part("minutes", sha256="00"),
    "checksum of a footer": of_part("levels", footer_sha256="00"),
    "size": of_part("minutes", bytes=7),
    "generation": lambda m: replace(m, generation=m.generation + 1),
    "file": of_part("levels", file="part-7.parquet"),
    "levels for minutes": lambda m: replace(m, minutes=m.levels),
    "instrument": lambda m: replace(m, symbol="ETHUSDT"),
}
HARMLESS = {  # reads don't go by them
    "part": ("total", "trade count", "status", "scale"),
    "month": ("total", "trade count", "status", "scale", "first minute", "last minute"),
}


@pytest.mark.parametrize("where", ["part", "month"])
@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_named_and_no_read_is_silently_wrong(
    lie: str, where: Where, store: Store, truth: dict[str, pd.DataFrame]
) -> None:
    path = lying(where, LIES[lie], store)
    found = judged(store, truth)
    assert set(found.values()) <= {"refused", "right"}, found
    assert "refused" in found.values() or lie in HARMLESS[where]
    told = named(store.folder) & {path, part(store, "levels", where), part(store, "minutes", where)}
    assert told


def test_a_month_that_leaves_out_a_day_is_named_and_refused(store: Store, truth: dict[str, pd.DataFrame]) -> None:
    for leave in (0, 1, 2):
        path = record(store, "month")
        good = path.read_bytes()
        lying("month", lambda m, leave=leave: replace(m, days=(*m.days[:leave], *m.days[leave + 1 :])), store)  # type: ignore[misc]
        assert path in named(store.folder)
        assert set(judged(store, truth).values()) == {"refused"}
        path.write_bytes(good)


# --- manifests that are gone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["part", "month"])
def test_a_missing_manifest_is_named_and_each_read_says_what_it_leaves_out(
    where: Where, store: Store, truth: dict[str, pd.DataFrame]
) -> None:
    path = record(store, where)
    path.unlink()
    assert part(store, "levels", where) in named(store.folder)
    assert set(judged(store, truth).values()) == {"said so"}
    with spillway.open(store.folder) as opened, pytest.warns(IncompleteWarning) as caught:
        opened.levels(*NAMES)
    (told,) = caught
    assert re.search(
        rf"binance BTCUSDT: .*/minutes/.*\.parquet: left out: {re.escape(str(path))} is missing", str(told.message)
    )
    assert told.filename == __file__


@pytest.mark.parametrize("where", ["part", "month"])
def test_a_read_of_an_hour_says_so_too(where: Where, store: Store) -> None:
    record(store, where).unlink()
    day = "2023-12-11" if where == "part" else "2023-11-02"
    with spillway.open(store.folder) as opened, pytest.warns(IncompleteWarning, match="left out"):
        assert opened.minutes(*NAMES, day, f"{day} 01:00").empty


def test_a_read_of_other_times_says_nothing_of_it(store: Store) -> None:
    record(store, "part").unlink()
    record(store, "month").unlink()
    with spillway.open(store.folder) as opened:  # warnings are errors here
        assert len(opened.minutes(*NAMES, "2023-12-12")) == 7
        assert opened.minutes(*NAMES, "2023-11-04", "2023-11-05").empty


def test_parts_without_a_manifest_whose_minutes_are_files_are_a_compaction_under_way(store: Store) -> None:
    day = random_day(6, start=(DAY + 5) * 1440)
    store.put(*day)
    store.compactor.compact_day(BTC, DAY + 5)
    store.archive.layout.manifest(BTC, DAY + 5).unlink()
    store.put(*day)
    with spillway.open(store.folder) as opened:
        assert len(opened.minutes(*NAMES, "2023-12-16", "2023-12-17")) == 6


def test_what_verify_says_is_a_line_with_file_and_a_line_with_what_to_do(store: Store) -> None:
    path = flipped("levels", "part", 0.3, store)
    done = command("verify", "--data", store.folder)
    assert done.exit_code == 1
    first, second, last = done.stdout.strip().splitlines()
    assert first == f"{path}: damaged: its checksum is not the one that the manifest names"
    assert second.startswith("    restore it from a backup")
    assert "1 files are damaged or out of place" in last


def test_the_record_of_removals_is_named_where_it_is_damaged_and_reads_refuse(store: Store) -> None:
    path = store.archive.layout.removed(BTC)
    path.write_bytes(b"{}")
    assert path in named(store.folder)
    with spillway.open(store.folder) as opened, pytest.raises(StorageError, match=re.escape(str(path))):
        opened.levels(*NAMES)
