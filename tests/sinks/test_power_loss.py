"""The power goes: what was not fsynced is gone. A file system of its own is shut down at each step, and mounted again.

SIGKILL can't show a missing fsync, for the kernel still has the pages. ext4's shutdown call drops them, and its journal too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.minute import Minute, day_text
from sinks.retention import Retention
from tests.pipeline.builders import BTC
from tests.sinks.days import DAY, FIRST_OF_MONTH, MONTH, Store, compacted_month, random_day, random_minute, tree

pytestmark = pytest.mark.privileged

# Shuts the file system down, unflushed, at the nth crash point, or else when the job is over.
LOSE_POWER = """
import fcntl, os, struct, sys
from pathlib import Path
from pipeline import crash
from sinks.retention import Limits, Retention, expired
from tests.sinks.days import BTC, DAY, MONTH, Store, random_day, random_minute
from tests.pipeline.builders import START
folder, when, job = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
names = []
def lose_power(code):
    fcntl.ioctl(os.open(folder, os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
    os._exit(code)
def point(name):
    names.append(name)
    if len(names) == when:
        lose_power(9)
crash.point = point
store = Store(folder)
if job == "spill":
    store.put(*random_day(3), random_minute(START, revision=2))
elif job == "merge":
    store.merger.merge_month(BTC, MONTH)
elif job == "retention":
    found = Retention(store.files, store.archive)
    for one in expired(found.units(), Limits(keep_days=1), DAY + 100):
        found.remove(one, "2024-01-01T00:00:00Z")
else:
    store.compactor.compact_day(BTC, DAY)
lose_power(0)
"""


class Disk:
    """A small ext4 in a file."""

    def __init__(self, folder: Path) -> None:
        self.image, self.folder = folder / "image", folder / "disk"
        self.folder.mkdir()
        with self.image.open("wb") as file:
            file.truncate(24 << 20)
        done = subprocess.run(["mkfs.ext4", "-q", "-F", os.fspath(self.image)], capture_output=True, check=False)
        if os.geteuid() != 0 or done.returncode or not self.mount():
            pytest.skip("an ext4 can't be mounted here: it needs root, mkfs.ext4 and loop devices")

    def mount(self) -> bool:
        command = ["mount", "-o", "loop", os.fspath(self.image), os.fspath(self.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", os.fspath(self.folder)], check=True)

    def lose_power(self, when: int, job: str) -> bool:
        """Runs the job until its nth crash point, then the power goes and comes back. False: the job came to its end."""
        command = [sys.executable, "-c", LOSE_POWER, os.fspath(self.folder / "data"), str(when), job]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 9), done.stderr
        self.unmount()
        assert self.mount()
        return done.returncode == 9


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        found = Disk(tmp_path)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4 here")
    yield found
    found.unmount()


def prepared(disk: Disk, *minutes: Minute) -> Store:
    """A store whose minutes are as durable as a spill makes them."""
    (disk.folder / "data").mkdir()
    store = Store(disk.folder / "data")
    store.put(*minutes)
    return store


@pytest.mark.parametrize("when", range(1, 14))
def test_a_compaction_that_loses_power_at_any_step_loses_no_minute_and_ends_in_the_same_bytes(
    when: int, disk: Disk, tmp_path: Path
) -> None:
    day = random_day(5)
    store = prepared(disk, *day)
    assert disk.lose_power(when, "compact")
    for one in day:
        assert store.files.load(BTC, one.start) or store.archive.load(BTC, one.start)
    store.compactor.compact_day(BTC, DAY)
    assert store.holds(day)
    other = Store(tmp_path / "other")
    other.put(*day)
    other.compactor.compact_day(BTC, DAY)
    assert tree(store.folder) == tree(other.folder)


@pytest.mark.parametrize("when", range(1, 19))
def test_a_merge_that_loses_power_at_any_step_loses_no_minute_and_ends_in_the_same_bytes(
    when: int, disk: Disk, tmp_path: Path
) -> None:
    (disk.folder / "data").mkdir()
    store = Store(disk.folder / "data")
    minutes = compacted_month(store, days=2)
    assert disk.lose_power(when, "merge")
    found = store.archive.read_minutes(BTC, 0, 1 << 30, ["timestamp"])
    assert len(found) == len(minutes) and store.holds(minutes)
    store.merger.merge_month(BTC, MONTH)
    other = Store(tmp_path / "other")
    compacted_month(other, days=2)
    other.merger.merge_month(BTC, MONTH)
    assert tree(store.folder) == tree(other.folder) and store.holds(minutes)


@pytest.mark.parametrize("when", range(1, 15))
def test_a_retention_that_loses_power_at_any_step_left_each_day_whole_or_is_known_to_have_removed_it(
    when: int, disk: Disk
) -> None:
    (disk.folder / "data").mkdir()
    store = Store(disk.folder / "data")
    minutes = compacted_month(store, days=2)
    assert disk.lose_power(when, "retention")
    there, gone = store.archive.days(BTC), store.archive.catalog.removed_days(BTC)
    assert sorted([*there, *gone]) == [FIRST_OF_MONTH, FIRST_OF_MONTH + 1]
    assert store.holds(one for one in minutes if one.start // 1440 in there)
    found = Retention(store.files, store.archive)
    found.finish()
    left = {name.rpartition("date=")[2][:10] for name in tree(store.folder) if "date=" in name}
    assert left == {day_text(day) for day in there}


@pytest.mark.parametrize("when", range(1, 13))
def test_a_spill_that_loses_power_at_any_step_leaves_whole_files_or_none(when: int, disk: Disk) -> None:
    first = random_minute(DAY * 1440)
    store = prepared(disk, first)
    disk.lose_power(when, "spill")
    minutes = store.files.of_day(BTC, DAY)
    assert DAY * 1440 in minutes, "the old revision or the new one"
    for start in minutes:
        assert store.files.load(BTC, start)
    store.put(random_minute(DAY * 1440, revision=2), *random_day(3)[1:])
    assert store.files.of_day(BTC, DAY) == [one.start for one in random_day(3)]


def test_what_was_settled_is_there_after_the_power_went(disk: Disk) -> None:
    (disk.folder / "data").mkdir()
    assert not disk.lose_power(99, "spill"), "the job was over"
    store = Store(disk.folder / "data")
    assert store.files.of_day(BTC, DAY) == [one.start for one in random_day(3)]
