"""Backups of the ledger on a schedule: when they are due, where they lie, which stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import JobRunning
from sinks import durable
from sinks.ledger.backup_file import opened
from sinks.ledger.ledger import open_ledger
from spillway.ledger_backups import back_up_when_due
from spillway.settings import Ledger, Settings

HOUR_NS = 3_600_000_000_000


def test_one_is_made_when_due_and_old_ones_go(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, ledger=Ledger(backup_every_hours=6, backup_keep_days=1))
    with open_ledger(settings.ledger_url) as ledger:
        clock = [1_729_693_800 * 10**9]
        ledger.database.clock_ns = lambda: clock[0]
        made = []
        for hour in range(0, 60, 3):
            clock[0] = 1_729_693_800 * 10**9 + hour * HOUR_NS
            if done := back_up_when_due(settings, ledger.database):
                made.append(hour)
                assert opened(done.made.path).label.schema == ledger.database.schema
        assert made == list(range(0, 60, 6))
        assert len(list((tmp_path / "backups").glob("ledger-*.db"))) == 5  # of the last 24 hours


def test_none_is_made_where_the_settings_want_none(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, ledger=Ledger(backup_every_hours=0))
    with open_ledger(settings.ledger_url) as ledger:
        assert back_up_when_due(settings, ledger.database) is None
    assert not (tmp_path / "backups").exists()


def test_they_lie_where_the_settings_say_and_two_processes_do_not_make_two(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, ledger=Ledger(backup_dir=tmp_path / "elsewhere"))
    with open_ledger(settings.ledger_url) as ledger:
        with durable.job_lock(tmp_path / "elsewhere", "backup"), pytest.raises(JobRunning):
            back_up_when_due(settings, ledger.database)
        done = back_up_when_due(settings, ledger.database)
    assert done is not None
    assert done.made.path.parent == tmp_path / "elsewhere"
