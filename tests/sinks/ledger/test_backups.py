"""Backups: whole or not at all, refused where a bit differs; a restore is seen by all, or nothing of it by anybody."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import DiskFull, JobRunning, Stale, StorageError
from pipeline.trading.money import Currency
from sinks import durable
from sinks.ledger import backup_file, backups
from sinks.ledger.audit import audit
from sinks.ledger.backup_file import opened, seal
from sinks.ledger.backups import Backups, restore, verify, write
from sinks.ledger.integrity import problems
from sinks.ledger.ledger import Ledger, open_ledger, read_ledger
from tests.sinks.ledger.filled import START, condition, content, deposit, fill


@pytest.fixture(params=["sqlite", "sqlite, portable", "postgresql", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def portable(request: pytest.FixtureRequest) -> bool:
    """Whether rows are saved instead of a file; on other engines they are anyway."""
    return "portable" in request.node.callspec.params["url"]


@pytest.fixture
def filled(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as ledger:
        fill(ledger)
        yield ledger


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        fill(ledger)
        yield ledger


def change(ledger: Ledger) -> None:
    """What a restore must undo: something more, something less, something else."""
    ledger.transactions.post(deposit(7, "USDT"), "acc_001")
    ledger.trades.delete("t1")
    ledger.conditions.save(condition("c2"))
    order = ledger.orders.find_by_id("o1")
    assert order is not None
    order.execute(executed_price=45100)
    ledger.orders.save(order)


def without_versions(found: dict[str, list[tuple[object, ...]]]) -> dict[str, list[tuple[object, ...]]]:
    """Rows without what a restore may move on: version and time of the last change of what was changed since."""
    return {name: [row[:-2] if name in {"orders", "accounts"} else row for row in rows] for name, rows in found.items()}


def test_a_restore_brings_back_what_a_backup_saved_and_first_saves_what_was_there(
    filled: Ledger, tmp_path: Path, portable: bool
) -> None:
    database, folder = filled._database, tmp_path / "backups"
    before = content(database)
    backup = write(database, folder / "one", portable=portable)
    change(filled)
    changed = content(database)
    saved = restore(database, backup.path, folder)
    assert without_versions(content(database)) == without_versions(before)
    assert saved.parent == folder
    restore(database, saved, folder)
    assert without_versions(content(database)) == without_versions(changed)
    assert sorted(backup.label.rows) == sorted(before.keys() | {"kline_checks", "kline_differences"})


def test_who_holds_a_later_version_than_the_restored_one_does_not_write_over_it(
    filled: Ledger, tmp_path: Path, portable: bool
) -> None:
    backup = write(filled._database, tmp_path / "one", portable=portable)
    held = filled.orders.find_by_id("o1")
    assert held is not None
    held.execute(executed_price=45100)
    filled.orders.save(held)
    restore(filled._database, backup.path, tmp_path)
    again = filled.orders.find_by_id("o1")
    assert again is not None
    assert again.filled_quantity == 0
    assert again.version > held.version
    with pytest.raises(Stale):
        filled.orders.save(held)


def test_who_follows_the_changes_is_told_of_a_restore(filled: Ledger, tmp_path: Path, portable: bool) -> None:
    database = filled._database
    asked = "SELECT change_id, entity_id, change FROM changes ORDER BY change_id"

    def changes() -> list[tuple[int, str, str]]:
        with database.reading() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(asked)]

    backup = write(database, tmp_path / "one", portable=portable)
    filled.conditions.save(condition("c2"))
    filled.conditions.delete("c1")
    before, rung = changes(), []
    database.when_written(lambda: rung.append(1))
    restore(database, backup.path, tmp_path)
    assert rung
    now = changes()
    assert now[: len(before)] == before
    told = {(entity, change) for number, entity, change in now[len(before) :] if number > before[-1][0]}
    assert {("c2", "deleted"), ("c1", "created")} <= told


def test_a_backup_of_one_engine_restores_on_the_other(lite: Ledger, postgres_url: str, tmp_path: Path) -> None:
    before = content(lite._database)
    image = write(lite._database, tmp_path / "image")
    with open_ledger(postgres_url) as other:
        restore(other._database, image.path, tmp_path)
        assert content(other._database) == before
        rows = write(other._database, tmp_path / "rows")
        assert rows.label.kind == backup_file.ROWS
        change(lite)
        restore(lite._database, rows.path, tmp_path)
        assert without_versions(content(lite._database)) == without_versions(before)


def test_a_backup_of_a_sqlite_ledger_is_a_sqlite_file(lite: Ledger, tmp_path: Path) -> None:
    write(lite._database, tmp_path / "one.db")
    with sqlite3.connect(tmp_path / "one.db") as connection:
        assert connection.execute("SELECT count(*) FROM transactions").fetchone() == (6,)
    connection.close()
    assert sorted(p.name for p in tmp_path.iterdir() if "one" in p.name or "tmp" in p.name) == ["one.db"]


def test_a_backup_is_of_one_moment_while_others_write(filled: Ledger, tmp_path: Path) -> None:
    stop = threading.Event()
    written: list[int] = []

    def write_on() -> None:
        while not stop.is_set() and len(written) < 100:
            with filled.transaction():
                for _ in range(2):  # two at a time: an odd number would be half of a transaction
                    filled.transactions.post(deposit(1, "EUR"), "acc_001")
            written.append(1)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        while len(written) < 3:
            stop.wait(0.001)
        backup = write(filled._database, tmp_path / "one")
    finally:
        stop.set()
        writer.join()
    with open_ledger(f"sqlite:///{tmp_path / 'other.db'}") as other:
        restore(other._database, backup.path, tmp_path)
        found = other.transactions.get_sum_by_currency("acc_001", "EUR")
        account = other.accounts.find_by_id("acc_001")
        assert account is not None
        assert account.balance.total(Currency.EUR) == found
        assert found.amount % 2 == 0
        assert found.amount >= 6


def test_readers_of_a_held_snapshot_read_on_and_other_connections_see_the_restored_content(
    lite: Ledger, tmp_path: Path
) -> None:
    backup = write(lite._database, tmp_path / "one")
    change(lite)
    reader = read_ledger(f"sqlite:///{lite.where}")
    assert reader is not None
    with reader:
        with reader.snapshot():
            assert len(reader.transactions.find_all()) == 7
            thread = threading.Thread(target=restore, args=(lite._database, backup.path, tmp_path))
            thread.start()
            thread.join()
            assert len(reader.transactions.find_all()) == 7
        assert len(reader.transactions.find_all()) == 6
    lite.transactions.post(deposit(7, "USDT"), "acc_001")
    assert len(lite.transactions.find_all()) == 7


WRITER = """
import sys
from sinks.ledger.ledger import open_ledger
from tests.sinks.ledger.filled import deposit

with open_ledger(sys.argv[1]) as ledger:
    for line in sys.stdin:
        for _ in range(int(line)):
            ledger.transactions.post(deposit(1, "USDT"), "acc_001")
        print("done", flush=True)
"""


def test_another_process_that_has_the_ledger_open_writes_on_before_and_after_a_restore(lite: Ledger, tmp_path: Path) -> None:
    backup = write(lite._database, tmp_path / "one")
    command = [sys.executable, "-c", WRITER, f"sqlite:///{lite.where}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def have_written(count: int) -> None:
            print(count, file=other.stdin, flush=True)

        for restored in range(3):
            have_written(3)
            assert other.stdout.readline() == "done\n"
            assert len(lite.transactions.find_all()) == 9
            if restored == 2:
                have_written(20)  # while the ledger is replaced under it
            restore(lite._database, backup.path, tmp_path)
        assert other.stdout.readline() == "done\n"
        other.stdin.close()
    assert problems(lite._database) == []
    assert [line for line in audit(lite._database).differences if line.startswith("account")] == []
    assert 6 <= len(lite.transactions.find_all()) <= 26


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("portable", [False, True])
def test_a_flipped_bit_anywhere_is_refused_and_nothing_is_touched(lite: Ledger, tmp_path: Path, portable: bool) -> None:
    whole = write(lite._database, tmp_path / "one", portable=portable).path.read_bytes()
    change(lite)
    before = content(lite._database)
    places = {0, 17, len(whole) - 1, len(whole) - 9, len(whole) - 17, len(whole) - 49, len(whole) - 60}
    places |= set(random.Random(5).sample(range(len(whole)), 60))
    for place in sorted(places):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (tmp_path / "flipped").write_bytes(flipped)
        with pytest.raises(StorageError, match="flipped: "):
            restore(lite._database, tmp_path / "flipped", tmp_path / "saved")
    for length in (0, 10, 47, 48, len(whole) // 2, len(whole) - 1):
        (tmp_path / "short").write_bytes(whole[:length])
        with pytest.raises(StorageError, match="short: "):
            restore(lite._database, tmp_path / "short", tmp_path / "saved")
    assert content(lite._database) == before
    assert not (tmp_path / "saved").exists()


def test_what_is_no_backup_and_what_is_of_a_newer_schema_is_refused(lite: Ledger, tmp_path: Path) -> None:
    before = content(lite._database)
    letter, ledger, newer = tmp_path / "letter", tmp_path / "copy.db", tmp_path / "newer"
    letter.write_text("Dear ledger, " * 100)
    with open_ledger(f"sqlite:///{ledger}"):
        pass
    label = write(lite._database, newer).label
    durable.replace_durably(newer, newer.read_bytes()[: opened(newer).size])
    seal(newer, backup_file.Label(**{name: getattr(label, name) for name in label.__struct_fields__} | {"schema": 77}))
    for path, told in (
        (letter, "is no backup"),
        (ledger, "is no backup"),
        (newer, "schema has version 77"),
        (tmp_path, "can't be"),
    ):
        with pytest.raises(StorageError, match=told):
            restore(lite._database, path, tmp_path)
    with pytest.raises(StorageError, match="can't be read"):
        restore(lite._database, tmp_path / "nowhere", tmp_path)
    assert content(lite._database) == before


def test_a_backup_whose_label_lies_is_refused(lite: Ledger, tmp_path: Path) -> None:
    for portable in (False, True):
        backup = write(lite._database, tmp_path / "one", portable=portable)
        durable.replace_durably(backup.path, backup.path.read_bytes()[: backup.size])
        values = {name: getattr(backup.label, name) for name in backup.label.__struct_fields__}
        seal(backup.path, backup_file.Label(**values | {"rows": backup.label.rows | {"orders": 2}}))
        with pytest.raises(StorageError, match="orders: 1 rows, not 2"):
            verify(opened(backup.path))


def damage_pages(path: Path) -> None:
    """Overwrites the pages of the transactions, as a failing disk would."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'transactions'").fetchone()
    connection.close()
    with open(path, "r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)


def test_a_damaged_ledger_gets_no_backup_but_can_be_restored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with open_ledger(url) as ledger:
        fill(ledger)
        before = content(ledger._database)
        good = write(ledger._database, tmp_path / "good")
    damage_pages(tmp_path / "ledger.db")
    with open_ledger(url) as ledger:
        with pytest.raises(StorageError, match="damaged, and so there is no backup"):
            write(ledger._database, tmp_path / "bad")
        assert not (tmp_path / "bad").exists()
        saved = restore(ledger._database, good.path, tmp_path / "saved")
        assert ".damaged-" in saved.name
        assert content(ledger._database) == before


@pytest.mark.privileged
def test_a_full_disk_leaves_the_old_backup_and_the_ledger_as_it_was(lite: Ledger, small_disk: Callable[..., Path]) -> None:
    folder = small_disk("1m")
    backup = write(lite._database, folder / "one")
    with lite.transaction():
        for _ in range(1500):
            lite.transactions.post(deposit(1, "USDT"), "acc_001")
    for fails in (lambda: write(lite._database, folder / "one"), lambda: restore(lite._database, backup.path, folder)):
        with pytest.raises(DiskFull):
            fails()
        assert [p.name for p in folder.iterdir() if p.is_file()] == ["one"]
        assert opened(folder / "one").label.rows["transactions"] == 6
        assert lite.transactions.count() == 1506


# --- schedule -----------------------------------------------------------------------------------------------------------


def test_backups_are_due_by_age_and_kept_by_age_but_never_fewer_than_some(lite: Ledger, tmp_path: Path) -> None:
    clock = [int(START.timestamp()) * 10**9]
    lite._database.clock_ns = lambda: clock[0]
    kept = Backups(lite._database, tmp_path / "backups")
    assert kept.is_due(lite._database.now(), 24)
    for _ in range(5):
        assert opened(kept.make().path).label.rows["transactions"] == 6
        assert not kept.is_due(lite._database.now() + timedelta(hours=23), 24)
        clock[0] += 24 * 3600 * 10**9
        assert kept.is_due(lite._database.now(), 24)
    (tmp_path / "backups" / "ledger-notes.txt").touch()
    assert [p.name[:15] for p in kept.prune(lite._database.now(), 3)] == ["ledger-20241023", "ledger-20241024"]
    clock[0] += 365 * 24 * 3600 * 10**9
    assert kept.prune(lite._database.now(), 3) == []
    assert len(kept.all()) == backups.KEEP_AT_LEAST
    assert (tmp_path / "backups" / "ledger-notes.txt").exists()


def test_one_process_at_a_time_makes_them_and_sweeps_what_a_dead_one_left(lite: Ledger, tmp_path: Path) -> None:
    kept = Backups(lite._database, tmp_path)
    (tmp_path / ".tmp-ledger-dead").touch()
    with durable.job_lock(tmp_path, "backup"), pytest.raises(JobRunning):
        kept.make()
    kept.make()
    assert not (tmp_path / ".tmp-ledger-dead").exists()


# --- kill -9 ------------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from sinks.ledger import backups, sqlite_image
from sinks.ledger.database import Database

what, url, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
phases_left, share = int(sys.argv[4]), int(sys.argv[5])
sqlite_image.PAGES = 4
last = ""

def told(phase, done, total):
    global last, phases_left
    phases_left -= phase != last
    last = phase
    if phases_left == 0 and 100 * done >= share * total:
        os.kill(os.getpid(), signal.SIGKILL)

database = Database(url)
if what == "restore":
    backups.restore(database, path, path.parent, told)
else:
    backups.write(database, path, told=told)
"""


def killed(what: str, url: str, path: Path, phase: int, share: int = 0, **environment: str) -> bool:
    """Whether it was killed, at such a share of that phase."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, what, url, str(path), str(phase), str(share)], env=os.environ | environment, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.parametrize("step", [1, 50, 100, "file.written", "file.renamed"])
def test_a_killed_backup_leaves_the_old_one_or_the_new_one(lite: Ledger, tmp_path: Path, step: int | str) -> None:
    path = tmp_path / "one"
    write(lite._database, path)
    change(lite)
    url = f"sqlite:///{lite.where}"
    if isinstance(step, int):
        assert killed("backup", url, path, 1, step)
    else:
        assert killed("backup", url, path, -1, SPILLWAY_CRASH_AT=step)
    backup = opened(path)
    verify(backup)
    assert backup.label.rows["transactions"] == (7 if step == "file.renamed" else 6)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("phase", "share"), [pytest.param(1, 50, marks=LONG), pytest.param(2, 100, marks=LONG), (3, 1), (3, 60), (3, 100)]
)
def test_a_killed_restore_leaves_the_old_content_or_the_new_one(tmp_path: Path, phase: int, share: int) -> None:
    """It saves what is there, then copies the backup, then puts it in place."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with open_ledger(url) as ledger:
        fill(ledger)
        path = write(ledger._database, tmp_path / "one").path
        old = without_versions(content(ledger._database))
        change(ledger)
        new = without_versions(content(ledger._database))
    assert killed("restore", url, path, phase, share)
    with open_ledger(url) as ledger:
        found = without_versions(content(ledger._database))
        assert found == (old if share == 100 and phase == 3 else new)
        restore(ledger._database, path, tmp_path)
        assert without_versions(content(ledger._database)) == old
    assert [p for p in tmp_path.iterdir() if p.is_dir() and p.name.startswith(".tmp-")] == []
