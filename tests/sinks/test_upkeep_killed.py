"""All upkeep at once, killed at any moment: late minutes, compaction, merged months, retention. Each minute is there once, or
known to be removed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import spillway
from pipeline import codec
from pipeline.minute import Minute, day_text
from sinks.verify import Verifier, Wanted
from tests.pipeline.builders import BTC
from tests.sinks.days import FIRST_OF_MONTH, Store, random_minute

UPKEEP = """
import random, sys
from pathlib import Path
from sinks.compact import Compactor
from sinks.retention import Limits, Retention, expired
from tests.sinks.days import FIRST_OF_MONTH, Store

store, dice, keep_s = Store(Path(sys.argv[1])), random.Random(int(sys.argv[2])), float(sys.argv[3])
compactor = Compactor(store.files, store.archive, keep_s=keep_s)
print("ready", flush=True)
for _ in range(int(sys.argv[4])):
    for instrument in store.files.instruments():
        for day in store.files.days(instrument):
            compactor.compact_day(instrument, day)
    for instrument in store.archive.instruments():
        for month in store.merger.due(instrument, FIRST_OF_MONTH + 62):
            store.merger.merge_month(instrument, month)
    job = Retention(store.files, store.archive)
    job.finish()
    if dice.random() < 0.1:
        units = job.units()
        for one in expired(units, Limits(max_bytes=max(1, sum(u.bytes for u in units) * 9 // 10)), FIRST_OF_MONTH + 100):
            if not one.stays:
                job.remove(one, "2024-01-01T00:00:00Z")
    job.hold_room()
"""
DAYS = (*range(FIRST_OF_MONTH, FIRST_OF_MONTH + 4), *range(FIRST_OF_MONTH + 30, FIRST_OF_MONTH + 33))


@dataclass
class Model:
    """What must be kept: each minute in its latest revision."""

    store: Store
    dice: random.Random
    minutes: dict[int, Minute] = field(default_factory=dict)
    removals: int = 0

    def some_come(self) -> None:
        """Minutes, new ones or later revisions, are spilled."""
        for _ in range(self.dice.randrange(1, 9)):
            start = self.dice.choice(DAYS) * 1440 + self.dice.randrange(8) * 7
            revision = self.minutes[start].revision + 1 if start in self.minutes else 1
            self.minutes[start] = random_minute(start, revision=revision, seed=self.dice.randrange(1000))
            self.store.put(self.minutes[start])

    def some_are_gone(self) -> None:
        """What the record of removals says. A unit with minute files stays, so all that a day had then is gone."""
        removals = self.store.archive.catalog.removals(BTC)
        gone = {date for removal in removals[self.removals :] for date in removal.days}
        self.minutes = {start: one for start, one in self.minutes.items() if day_text(start // 1440) not in gone}
        self.removals = len(removals)

    def check(self) -> None:
        """Each minute once, in its latest revision, with all of its levels."""
        with spillway.open(self.store.folder) as store:
            minutes = store.minutes(BTC.venue, BTC.symbol, columns=["timestamp", "checksum"])
            levels = store.levels(BTC.venue, BTC.symbol, columns=["timestamp"])
        starts = (minutes["timestamp"].astype("int64") // 60_000_000).tolist()
        kept = sorted(self.minutes.items())
        checksums = [codec.split(codec.encode(one), "here").checksum for _, one in kept]
        assert list(zip(starts, minutes["checksum"], strict=True)) == list(
            zip((start for start, _ in kept), checksums, strict=True)
        )
        assert len(levels) == sum(len(one.levels) for _, one in kept)


def upkeep(folder: Path, seed: int, keep_s: float, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", UPKEEP, os.fspath(folder), str(seed), str(keep_s), str(rounds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr and process.stdout.readline() == "ready\n", (
        process.stderr and process.stderr.read()
    )
    return process


@pytest.mark.parametrize(("seed", "kills"), [(1, 4), *(pytest.param(seed, 30, marks=pytest.mark.long) for seed in (2, 3))])
def test_killed_at_any_moment_each_minute_is_there_once_or_known_to_be_removed(seed: int, kills: int, store: Store) -> None:
    model = Model(store, random.Random(seed))
    for _ in range(kills):
        model.some_come()
        model.check()
        with upkeep(store.folder, model.dice.randrange(10**6), model.dice.choice((0, 0, 0, 3)), 6) as process:
            time.sleep(model.dice.random() * model.dice.choice((0.05, 0.2, 0.6)))  # the moment of the kill, not a wait
            process.kill()
            assert process.stderr and process.stderr.read() == ""
        model.some_are_gone()
        model.check()
    with upkeep(store.folder, 1, 0, 1) as process:
        assert process.wait() == 0
    model.some_are_gone()
    model.check()
    assert Verifier(store.files, store.archive, deep=True).verify(Wanted(0, 1 << 30)).damages == []
