"""`spillway verify` and `spillway retention` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline.minute import MINUTES_PER_DAY
from pipeline.window import RedisWindow
from sinks.archive import Archive
from sinks.compact import Compactor
from sinks.minute_files import MinuteFiles
from spillway import open as spillway_open
from spillway.app import App
from spillway.cli import app
from spillway.compact import merge_months
from spillway.retention import disk_warnings, remove_expired
from spillway.settings import Archive as ArchiveSettings
from spillway.settings import Settings, SettingsError, load_settings
from spillway.store import Store as ReadStore
from tests.pipeline.builders import BTC
from tests.sinks.conftest import store
from tests.sinks.days import FIRST_OF_MONTH, MONTH, Store, compacted_month, flip_bit, random_minute, tree

__all__ = ["store"]  # the fixture
DAY_NS = 86_400 * 10**9
LATER = (FIRST_OF_MONTH + 100) * DAY_NS


def spillway(*args: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def parts(store: Store, **archive: float | bool) -> App:
    """The parts of a folder whose window nobody asks."""
    settings = Settings(data_dir=store.folder, archive=ArchiveSettings.model_validate(archive))
    window = RedisWindow.connect("redis://127.0.0.1:1")
    return App(settings, window, MinuteFiles(settings.storage_dir), Archive(settings.archive_dir), None)


def test_what_is_whole_is_told_in_a_line_and_exits_with_0(store: Store) -> None:
    compacted_month(store)
    store.put(random_minute((FIRST_OF_MONTH + 9) * MINUTES_PER_DAY))
    done = spillway("verify", "--data", store.folder)
    assert done.exit_code == 0, done.stderr
    assert "1 minute files, 3 archived days" in done.stdout
    assert "all is whole: 18 archived minutes, 216 levels add up" in done.stdout


def test_what_is_damaged_is_told_with_its_file_and_what_to_do_and_exits_with_1(store: Store) -> None:
    compacted_month(store)
    part = next(store.folder.rglob("levels/**/*.parquet"))
    flip_bit(part, 500)
    done = spillway("verify", "--data", store.folder)
    assert done.exit_code == 1
    assert f"{part}: damaged: its checksum is not the one that the manifest names" in done.stdout
    assert "spillway backfill --venue binance --symbol BTCUSDT --from" in done.stdout
    assert "1 files are damaged or out of place" in done.stdout


def test_a_notebook_is_told_the_same_by_the_store(store: Store) -> None:
    compacted_month(store)
    with spillway_open(store.folder) as opened:
        report = opened.verify()
        assert report.whole and report.damages.empty
        assert repr(report).endswith("all is whole: 18 archived minutes, 216 levels add up")
        part = next(store.folder.rglob("levels/**/*.parquet"))
        flip_bit(part, 500)
        report = opened.verify(BTC.venue, BTC.symbol)
        assert not report.whole and f"{part}: damaged:" in repr(report)
        assert report.damages["file"].tolist() == [str(part)]
        assert "spillway backfill" in report.damages["todo"][0]
        assert opened.verify("kraken").whole


def test_a_machine_is_told_the_same(store: Store) -> None:
    compacted_month(store)
    part = next(store.folder.rglob("levels/**/*.parquet"))
    found = json.loads(spillway("verify", "--data", store.folder, "--json", "--deep").stdout)
    assert found["whole"] and found["days"] == 3 and "files" not in found
    part.unlink()
    done = spillway("verify", "--data", store.folder, "--json", "--files", "--venue", "binance")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and not found["whole"]
    assert [damage["file"] for damage in found["damages"]] == [str(part)]
    assert len(found["files"]) == 9


def test_each_file_is_listed_if_asked_for(store: Store) -> None:
    compacted_month(store)
    part = next(store.folder.rglob("levels/**/*.parquet"))
    flip_bit(part, 500)
    lines = spillway("verify", "--data", store.folder, "--files").stdout.splitlines()
    assert f"damaged  {part}" in lines
    assert sum(line.startswith("whole    ") for line in lines) == 8


def test_a_folder_that_keeps_nothing_is_not_called_whole(tmp_path: Path) -> None:
    done = spillway("verify", "--data", tmp_path / "mistyped")
    assert done.exit_code == 1 and "nothing is kept there" in done.stderr


def test_a_time_that_is_none_is_refused(store: Store) -> None:
    compacted_month(store)
    assert "yesterday" in spillway("verify", "--data", store.folder, "--from", "yesterday").stderr


# --- retention ------------------------------------------------------------------------------------------------------------


async def test_by_default_nothing_is_removed(store: Store) -> None:
    compacted_month(store)
    before = tree(store.folder)
    assert (await remove_expired(parts(store), LATER)).found == []
    assert tree(store.folder) == before


async def test_a_dry_run_says_what_would_go_and_leaves_it(store: Store) -> None:
    compacted_month(store)
    before = tree(store.folder)
    app = parts(store, keep_days=30)
    dry = (await remove_expired(app, LATER, dry_run=True)).found
    assert len(dry) == 3 and tree(store.folder) == before
    assert (await remove_expired(app, LATER)).found == dry
    assert store.archive.days(BTC) == []


async def test_a_budget_is_kept(store: Store) -> None:
    compacted_month(store)
    await remove_expired(parts(store, max_bytes=1), LATER)
    assert store.archive.days(BTC) == []
    assert store.archive.catalog.removals(BTC)[0].at == "2024-02-09T00:00:00Z"


def test_the_command_says_what_it_removed(store: Store, tmp_path: Path) -> None:
    compacted_month(store)
    config = tmp_path / "spillway.yaml"
    config.write_text(f"data_dir: {store.folder}\narchive: {{keep_days: 30, warn_free_bytes: 0}}\n")
    dry = spillway("retention", "--dry-run", "-c", config)
    assert dry.exit_code == 0, dry.stderr
    assert "binance BTCUSDT 2023-11-01: would be removed, " in dry.stdout and len(store.archive.days(BTC)) == 3
    done = json.loads(spillway("retention", "-c", config, "--json").stdout)
    assert [each["first"] for each in done["removed"]] == ["2023-11-01", "2023-11-02", "2023-11-03"]
    assert "nothing to remove" in spillway("retention", "-c", config).stdout


async def test_a_disk_that_is_short_is_told(store: Store) -> None:
    compacted_month(store)
    assert await disk_warnings(parts(store, warn_free_bytes=0), LATER) == []
    lines = await disk_warnings(parts(store, warn_free_bytes=1 << 60), LATER)
    assert len(lines) == 1 and "are free: less than the" in lines[0], "two folders on one disk are told once"


def test_files_may_not_be_kept_longer_than_their_days(tmp_path: Path) -> None:
    config = tmp_path / "spillway.yaml"
    config.write_text("archive: {keep_days: 3, keep_json_days: 4}")
    with pytest.raises(SettingsError, match="keep_json_days of at most keep_days"):
        load_settings(config, environ={})


# --- months, and files that are kept --------------------------------------------------------------------------------------


async def test_months_are_merged_only_where_asked_for_and_once_they_are_closed(store: Store) -> None:
    minutes = compacted_month(store)
    assert await merge_months(parts(store), LATER) == []
    early = (FIRST_OF_MONTH + 30 + 8) * DAY_NS  # the month ended, and is not out of the window for a week
    assert await merge_months(parts(store, merge_months=True, warn_free_bytes=0), early) == []
    steps: list[tuple[int, int]] = []
    app = parts(store, merge_months=True, warn_free_bytes=0)
    found = await merge_months(app, early + 2 * DAY_NS, lambda done, total: steps.append((done, total)))
    assert [(m.report.month, m.report.written, m.problem) for m in found] == [(MONTH, True, "")]
    assert steps == [(0, 1), (1, 1)] and store.holds(minutes)
    assert "3 days in one" in str(found[0]) and found[0].as_dict()["days"] == 3


def test_by_hand_months_are_merged_once_and_a_dry_run_says_which_and_how_large(store: Store, tmp_path: Path) -> None:
    compacted_month(store)
    store.put(random_minute((FIRST_OF_MONTH + 9) * MINUTES_PER_DAY))
    config = tmp_path / "spillway.yaml"
    config.write_text(f"data_dir: {store.folder}\narchive: {{warn_free_bytes: 0}}")
    before = [tree(store.folder / name) for name in ("archive", "storage")]
    size = sum(path.stat().st_size for path in store.folder.rglob("*.parquet"))
    dry = spillway("compact", "-c", config, "--merge-months", "--dry-run")
    day, month = dry.stdout.splitlines()
    assert day.startswith("binance BTCUSDT 2023-11-10: 1 files, ")
    assert month == f"binance BTCUSDT 2023-11: 6 files, {size:,} bytes, would become two"
    due = json.loads(spillway("compact", "-c", config, "--dry-run", "--json").stdout)["due"]
    assert [one["what"] for one in due] == ["2023-11-10"], "without the option the settings count"
    assert [tree(store.folder / name) for name in ("archive", "storage")] == before
    done = spillway("compact", "-c", config, "--merge-months")
    assert "binance BTCUSDT 2023-11: 4 days in one" in done.stdout, done.stderr
    assert len(list(store.folder.rglob("month-0.parquet"))) == 2
    assert "nothing to compact or to merge" in spillway("compact", "-c", config, "--merge-months", "--dry-run").stdout


async def test_what_the_settings_ask_for_may_be_refused_by_hand(store: Store) -> None:
    compacted_month(store)
    app = parts(store, merge_months=True, warn_free_bytes=0)
    assert await merge_months(app, LATER, wanted=False) == []
    assert len(await merge_months(app, LATER)) == 1


async def test_a_month_that_can_not_be_merged_is_reported_and_changes_nothing(store: Store) -> None:
    compacted_month(store)
    flip_bit(next(store.folder.rglob("levels/**/*.parquet")), 500)
    before = tree(store.folder)
    found = await merge_months(parts(store, merge_months=True, warn_free_bytes=0), LATER)
    assert len(found) == 1 and "damaged" in found[0].problem and "damaged" in str(found[0])
    assert tree(store.folder) == before


def test_kept_files_beside_the_archive_are_read_once(store: Store) -> None:
    day = [random_minute(FIRST_OF_MONTH * MINUTES_PER_DAY + n) for n in range(5)]
    store.put(*day)
    report = Compactor(store.files, store.archive, keep_s=86_400).compact_day(BTC, FIRST_OF_MONTH)
    assert report.kept == 5 and len(store.files.of_day(BTC, FIRST_OF_MONTH)) == 5
    with ReadStore(Settings(data_dir=store.folder)) as reader:
        frame = reader.levels("binance", "BTCUSDT")
    assert len(frame) == sum(len(one.levels) for one in day)
    assert int(frame["trade_count"].sum()) == sum(one.totals[3] for one in day)
