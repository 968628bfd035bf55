"""An archive looked at quickly and whole, and what couldn't be taken counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY
from sinks.archive import Archive as Kept
from sinks.months import MonthMerger
from spillway.doctor import archive
from spillway.doctor.finding import Level
from spillway.progress import progress
from spillway.settings import Settings
from tests.sinks.days import random_minute
from tests.spillway.doctor.found import levels, only
from tests.spillway.kept import stored

BTC = Instrument("binance", "BTCUSDT")
DAY = 19_000  # in January 2022


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    minutes = [random_minute((DAY + d) * MINUTES_PER_DAY + n, instrument=BTC) for d in range(3) for n in range(5)]
    return Settings(data_dir=stored(tmp_path / "data", minutes))


def deep(settings: Settings) -> list[Level]:
    with progress(quiet=True) as report:
        return levels(archive.deep(settings, report))


def test_a_whole_archive_is_told_with_its_days(settings: Settings) -> None:
    found = only(archive.look(settings))
    assert found.level is Level.OK and "3 days" in found.found
    assert deep(settings) == [Level.OK]


def test_nothing_archived_yet_is_only_noted(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    assert levels(archive.look(settings)) == [Level.NOTE]
    assert deep(settings) == [Level.NOTE]


def test_a_part_that_is_gone_or_cut_short_is_wrong(settings: Settings) -> None:
    gone, short, *_ = sorted(settings.archive_dir.rglob("*.parquet"))
    gone.unlink()
    os.truncate(short, 100)
    found = list(archive.look(settings))
    assert levels(found) == [Level.WRONG, Level.WRONG]
    assert str(gone) in found[0].found and str(short) in found[1].found and "100 bytes" in found[1].found


def test_a_damaged_manifest_is_wrong_and_hides_no_other(settings: Settings) -> None:
    first, *_, last = sorted((settings.archive_dir / "manifest").rglob("*.json"))
    first.write_bytes(first.read_bytes().replace(b'"minutes"', b'"minuten"'))
    last.write_bytes(b"{")
    found = [f.found for f in archive.look(settings)]
    assert len(found) == 2 and str(first) in found[0] and str(last) in found[1]


def test_a_flipped_bit_is_seen_by_the_deep_look_alone(settings: Settings) -> None:
    part = sorted(settings.archive_dir.rglob("*.parquet"))[0]
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    assert levels(archive.look(settings)) == [Level.OK]
    assert Level.WRONG in deep(settings)


def test_of_many_damages_the_first_are_told_and_the_rest_counted(settings: Settings) -> None:
    for part in settings.archive_dir.rglob("*.parquet"):
        part.unlink()
    found = list(archive.look(settings))
    assert len(found) == 6 and found[-1].found == "1 more"


def test_dead_letters_are_counted_and_warned_of_while_they_are_new(tmp_path: Path) -> None:
    assert only(archive.dead_letters(tmp_path, 0)).level is Level.OK
    file = tmp_path / "binance" / "live_2024-10-23.jsonl"
    file.parent.mkdir()
    file.write_text('{"reason":"a"}\n{"reason":"b"}\n')
    written_s = file.stat().st_mtime
    new, old = (only(archive.dead_letters(tmp_path, written_s + hours * 3600)) for hours in (23, 25))
    assert new.level is Level.WARNING and "2 in 1 files" in new.found and str(file) in new.todo
    assert old.level is Level.OK and "2 in 1 files" in old.found


def test_a_merged_months_file_is_looked_at_once(settings: Settings) -> None:
    assert Kept(settings.archive_dir).days(BTC) == [DAY, DAY + 1, DAY + 2]
    MonthMerger(Kept(settings.archive_dir)).merge_month(BTC, "2022-01")
    assert only(archive.look(settings)).level is Level.OK
    (part,) = (settings.archive_dir / "levels").rglob("month-*.parquet")
    os.truncate(part, 100)
    assert str(part) in only(archive.look(settings)).found
