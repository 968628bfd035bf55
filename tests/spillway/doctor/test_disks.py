"""For how long a disk will do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, day_of, minute_of
from sinks.disk_guard import Disk, Rate
from spillway.doctor import disks
from spillway.doctor.disks import Shared, days_left, of_inodes, of_room
from spillway.doctor.finding import Level
from spillway.settings import Archive, Collect, Settings
from tests.sinks.days import random_minute
from tests.spillway.kept import stored

GB = 10**9


def shared(free: int) -> Shared:
    return Shared(Disk(Path("/d"), 1, free, 1000 * GB), ("data", "storage"))


def test_days_are_what_is_free_beside_a_day_of_minute_files() -> None:
    assert days_left(shared(100 * GB).disk, Rate(archive_bytes=2 * GB, file_bytes=20 * GB)) == 40
    assert days_left(shared(10 * GB).disk, Rate(archive_bytes=2 * GB, file_bytes=20 * GB)) == 0
    assert days_left(shared(10 * GB).disk, Rate()) is None


@pytest.mark.parametrize(
    ("free", "rate", "level", "told"),
    [
        (100 * GB, Rate(), Level.OK, "no rate is known"),
        (100 * GB, Rate(archive_bytes=2 * GB), Level.OK, "50 days"),
        (100 * GB, Rate(archive_bytes=20 * GB), Level.WARNING, "archive.warn_days asks for 7"),
        (GB, Rate(), Level.WARNING, "archive.warn_free_bytes asks for 2.00 GB"),
        (GB // 100, Rate(), Level.WRONG, "it is full"),
    ],
)
def test_a_short_disk_is_a_warning_and_a_full_one_wrong(free: int, rate: Rate, level: Level, told: str) -> None:
    found = of_room(shared(free), rate, Settings())
    assert found.level is level and told in found.found
    assert level is Level.OK or "archive.keep_days" in found.todo


@pytest.mark.parametrize(
    ("free", "total", "wanted", "level"),
    [
        (0, 0, 10_000, Level.OK),  # btrfs tells no number
        (900_000, 1_000_000, 10_000, Level.OK),
        (40_000, 1_000_000, 0, Level.WARNING),
        (900_000, 1_000_000, 950_000, Level.WARNING),
        (0, 1_000_000, 0, Level.WRONG),
    ],
)
def test_inodes_must_do_for_the_minute_files_until_they_are_compacted(free: int, total: int, wanted: int, level: Level) -> None:
    assert of_inodes(shared(GB), free, total, wanted).level is level


def test_minute_files_to_come_are_those_of_each_symbol_until_compaction() -> None:
    settings = Settings(
        collect=(Collect(venue="binance", symbols=("BTCUSDT", "ETHUSDT")),), archive=Archive(keep_json_days=3.0)
    )
    assert disks.files_to_come(settings) == 2 * MINUTES_PER_DAY * 5


def test_each_disk_is_told_once_with_the_rate_of_what_is_archived_there(tmp_path: Path) -> None:
    yesterday = day_of(minute_of(time.time_ns())) - 1
    btc = Instrument("binance", "BTCUSDT")
    data = stored(tmp_path / "data", [random_minute(yesterday * MINUTES_PER_DAY + n, instrument=btc) for n in range(50)])
    found = list(disks.look(Settings(data_dir=data), time.time_ns()))
    assert [f.what for f in found] == [f"{of}disk of data, storage, archive, backups, redis" for of in ("", "files on the ")]
    assert "days at the present" in found[0].found
