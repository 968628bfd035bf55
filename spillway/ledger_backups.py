"""The ledger's backups in `spillway run`: one when the newest is old enough, and the old ones removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sinks.ledger.backup_file import Backup
from sinks.ledger.backups import Backups
from sinks.ledger.database import Database
from sinks.ledger.dump import Told, untold
from spillway.settings import Settings

LOOK_S = 300.0  # between two looks whether one is due


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup that was made, and those that were removed."""

    made: Backup
    removed: list[Path]


def back_up_when_due(settings: Settings, database: Database, told: Told = untold) -> Kept | None:
    """Makes one if the settings want it now. JobRunning where another process does, StorageError."""
    kept, every_hours = Backups(database, settings.backup_dir), settings.ledger.backup_every_hours
    if not every_hours or not kept.is_due(database.now(), every_hours):
        return None
    made = kept.make(told)
    return Kept(made, kept.prune(database.now(), settings.ledger.backup_keep_days))
