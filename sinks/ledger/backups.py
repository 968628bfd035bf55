"""Backups of a ledger: made while others write, verified before they count, kept by age; and a ledger restored from one.

A SQLite ledger is saved as a SQLite file, any other as its rows; rows go back into either engine. A restore is one transaction
of the ledger in its place, after what was there has been saved, too.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.errors import DiskFull, StorageError
from pipeline.trade import NS_PER_S
from sinks import durable
from sinks.ledger import dump, sqlite_image
from sinks.ledger.announced import announced, carry_on
from sinks.ledger.backup_file import ROWS, SQLITE, Backup, Label, copy_saved, opened, same_content, seal
from sinks.ledger.database import Database
from sinks.ledger.dump import Told, untold
from sinks.ledger.migrate import version
from sinks.ledger.sqlite import MemoryEngine, SqliteEngine

KEEP_AT_LEAST = 3  # backups, however old
_NAME = re.compile(r"ledger-(\d{8}T\d{6}\.\d{6}Z)(-before-restore)?\.(db|rows)")
_TIME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Backups:
    """The backups of a ledger in a folder, named by the time in UTC."""

    database: Database
    folder: Path

    def make(self, told: Told = untold) -> Backup:
        """Saves the ledger. JobRunning where another process does, StorageError where the ledger is damaged."""
        with durable.job_lock(self.folder, "backup"):
            durable.remove_stale([self.folder])
            return write(self.database, self.folder / name_of(self.database), told=told)

    def all(self) -> list[Path]:
        """Those there are, the oldest first."""
        return sorted(path for path in self.folder.glob("ledger-*") if _NAME.fullmatch(path.name))

    def is_due(self, now: datetime, every_hours: float) -> bool:
        """Whether the newest is older than that, or there is none."""
        newest = max(map(_made_at, self.all()), default=None)
        return newest is None or not newest <= now < newest + timedelta(hours=every_hours)

    def prune(self, now: datetime, keep_days: float, at_least: int = KEEP_AT_LEAST) -> list[Path]:
        """Removes those older than that, but leaves the newest so many; those removed."""
        old = [path for path in self.all()[: -at_least or None] if _made_at(path) < now - timedelta(days=keep_days)]
        for path in old:
            with durable.explained(path, "removed"):
                path.unlink()
        return old


def newest_made(folder: Path) -> int:
    """When the newest backup in a folder was made, in ns since 1970; 0 where there is none."""
    made = max((_made_at(path) for path in folder.glob("ledger-*") if _NAME.fullmatch(path.name)), default=None)
    return int(made.timestamp()) * NS_PER_S if made else 0


def name_of(database: Database, why: str = "", *, portable: bool = False) -> str:
    """What a backup that is made now is called."""
    ending = "db" if _is_file(database) and not portable else "rows"
    return f"ledger-{database.now():{_TIME}}{why}.{ending}"


def write(database: Database, path: Path, *, portable: bool = False, told: Told = untold) -> Backup:
    """Saves a ledger to a file: there whole, durable and verified, or not at all. `portable`: as rows, also of SQLite."""
    with durable.streamed(path) as temporary:
        if _is_file(database) and not portable:
            label = _save_file(database, temporary, told)
        else:
            label = _save_rows(database, temporary, told)
        with _named(path, temporary):
            seal(temporary, label)
            verify(opened(temporary), told)
        durable.settle_streamed(temporary, path)
    durable.sync_folder(path.parent)
    return opened(path)


def verify(backup: Backup, told: Told = untold) -> None:
    """Reads what was saved again, and holds it against the label. StorageError for what differs."""
    if backup.label.kind == ROWS:
        found, content = dump.read(backup.path, backup.size), dump.Content()
        for table, columns, rows in found:
            content.count(table, columns, rows)
        wrong = same_content(content.rows, backup.label) or _other_sum(content.sums, backup.label.sums)
    else:
        wrong = sqlite_image.damage(backup.path) or same_content(sqlite_image.counts_of(backup.path), backup.label)
    if wrong:
        raise StorageError(f"{backup.path}: is damaged: {wrong}")


def restore(database: Database, path: Path, saved_to: Path, told: Told = untold) -> Path:
    """Puts a backup's content in the place of all that the ledger holds; gives the backup of what that was, in `saved_to`.

    StorageError for what is damaged, of something else, or of a newer schema; and then the ledger is as it was. In other
    processes that have the ledger open the next transaction sees the restored content.
    """
    backup = opened(path)
    _require_known(backup, database)
    verify(backup, told)
    durable.make_folder(saved_to)
    if backup.label.kind == SQLITE and _is_file(database):
        return _restore_file(database, backup, saved_to, told)
    with database.writing() as connection:
        saved = write(database, saved_to / name_of(database, "-before-restore", portable=True), portable=True, told=told).path
        with _rows_of(backup, told) as found:
            content = dump.put(connection, found, sum(backup.label.rows.values()), told)
        wrong = same_content(content.rows, backup.label) or _other_sum(content.sums, backup.label.sums or content.sums)
        if wrong or dump.row_counts(connection) != content.rows:
            raise StorageError(f"{path}: was not restored: {wrong or 'the ledger holds other rows than were put into it'}")
    return saved


# --- inside -------------------------------------------------------------------------------------------------------------


def _is_file(database: Database) -> bool:
    return isinstance(database.engine, SqliteEngine) and not isinstance(database.engine, MemoryEngine)


def _file(database: Database) -> Path:
    assert isinstance(database.engine, SqliteEngine)
    return database.engine.path


def _made_at(path: Path) -> datetime:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return datetime.strptime(found[1], _TIME).replace(tzinfo=UTC)


def _save_file(database: Database, temporary: Path, told: Told) -> Label:
    try:
        counts = sqlite_image.save(_file(database), temporary, told)
    except sqlite3.Error as error:
        raise database.engine.failure(error) from error
    damage = sqlite_image.damage(temporary)
    if damage:
        raise StorageError(f"{database.where}: is damaged, and so there is no backup of it: {damage}")
    return _label(database, SQLITE, counts, {})


def _save_rows(database: Database, temporary: Path, told: Told) -> Label:
    with database.reading() as connection:
        total = sum(dump.row_counts(connection).values())
        content = dump.write(temporary, dump.batches(connection), total, told)
    return _label(database, ROWS, content.rows, content.sums)


def _label(database: Database, kind: str, rows: dict[str, int], sums: dict[str, str]) -> Label:
    made_at = f"{database.now():%Y-%m-%dT%H:%M:%S.%fZ}"
    with database.reading() as connection:
        schema = version(connection)
    return Label(kind=kind, schema=schema, made_at=made_at, source=database.where, rows=rows, sums=sums)


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """Tells of the file by the name that the user knows."""
    try:
        yield
    except StorageError as error:
        raise type(error)(str(error).replace(str(temporary), str(path))) from None


def _require_known(backup: Backup, database: Database) -> None:
    label = backup.label
    if label.kind not in (SQLITE, ROWS):
        raise StorageError(f"{backup.path}: a backup of the kind {label.kind!r}, which this Spillway doesn't know")
    if label.schema > database.schema:
        raise StorageError(
            f"{backup.path}: its schema has version {label.schema}, and this Spillway knows none above {database.schema}: "
            "use a newer one"
        )


def _other_sum(found: dict[str, str], wanted: dict[str, str]) -> str:
    names = sorted(name for name in {*found, *wanted} if found.get(name, "0") != wanted.get(name, "0"))
    return f"{names[0]} comes to {found.get(names[0], '0')}, not {wanted.get(names[0], '0')}" if names else ""


@contextmanager
def _rows_of(backup: Backup, told: Told) -> Iterator[Iterator[dump.Batch]]:
    if backup.label.kind == ROWS:
        yield dump.read(backup.path, backup.size)
        return
    with _staged(backup, Path(tempfile.gettempdir()), told) as staged, staged.reading() as connection:
        yield dump.batches(connection)


@contextmanager
def _staged(backup: Backup, beside: Path, told: Told) -> Iterator[Database]:
    """What a backup saved as a SQLite ledger of its own, brought up to date; removed again."""
    with durable.explained(beside, "written"):
        folder = Path(tempfile.mkdtemp(prefix=f"{durable.TEMPORARY}restore-", dir=beside))
    try:
        copy_saved(backup, folder / "ledger.db", lambda done, total: told("bytes", done, total))
        database = Database(f"sqlite:///{folder / 'ledger.db'}")
        try:
            yield database
        finally:
            database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _restore_file(database: Database, backup: Backup, saved_to: Path, told: Told) -> Path:
    path = _file(database)
    _remove_dead(path.parent)
    with database.alone():
        saved = _save_present(database, saved_to, told)
        with _staged(backup, path.parent, told) as staged:
            carry_on(staged, announced(database))
            staged.close()  # all of it is in the one file then
            try:
                sqlite_image.replace(path, _file(staged), told)
            except sqlite3.Error as error:
                raise database.engine.failure(error) from error
    with database.writing():
        pass  # a commit of ours, after which those who follow the changes are told
    return saved


def _save_present(database: Database, folder: Path, told: Told) -> Path:
    """A backup of what is there; of what is damaged its very bytes."""
    try:
        return write(database, folder / name_of(database, "-before-restore"), told=told).path
    except DiskFull:
        raise
    except StorageError:
        path = _file(database)
        copy = folder / f"{path.name}.damaged-{database.now():{_TIME}}"
        with durable.explained(copy, "written"):
            for ending in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        return copy


def _remove_dead(folder: Path) -> None:
    """What a restore that was killed has left. Its process held the ledger alone, as we are about to."""
    for dead in folder.glob(f"{durable.TEMPORARY}restore-*"):
        shutil.rmtree(dead, ignore_errors=True)
