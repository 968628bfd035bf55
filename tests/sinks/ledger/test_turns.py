"""Turns between processes. Two objects stand for two processes: the locks belong to open files."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from sinks.ledger.turns import Turns


def someone_is_next(database: Path) -> bool:
    handle = os.open(database.with_name(f".{database.name}.next"), os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_whoever_waits_comes_before_the_one_who_wants_another_turn(tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    eager, patient = Turns(database), Turns(database)
    order: list[str] = []

    def wait() -> None:
        with patient.one(30):
            order.append("patient")

    with ThreadPoolExecutor(1) as pool:
        with eager.one(30):
            order.append("eager")
            waiting = pool.submit(wait)
            while not someone_is_next(database):
                threading.Event().wait(0.001)
        with eager.one(30):
            order.append("eager again")
        waiting.result(30)
    assert order == ["eager", "patient", "eager again"]
    eager.close()
    patient.close()


def test_one_that_waits_for_too_long_is_told_and_gives_up_its_place(tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    holder, impatient = Turns(database), Turns(database)
    with holder.one(30):
        with (
            pytest.raises(StorageError, match=r"ledger\.db: another process is writing it for more than 0 s"),
            impatient.one(0),
        ):
            pass
        assert not someone_is_next(database)
    with impatient.one(0):
        pass
    holder.close()
    impatient.close()


def test_a_turn_ends_with_an_error_too(tmp_path: Path) -> None:
    first, second = Turns(tmp_path / "ledger.db"), Turns(tmp_path / "ledger.db")
    with pytest.raises(ValueError, match="no"), first.one(30):
        raise ValueError("no")
    with second.one(0):
        pass
    first.close()
    second.close()


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".ledger.db.next").symlink_to("/dev/null")
    with pytest.raises(StorageError, match=r"ledger\.db\.next"):
        Turns(tmp_path / "ledger.db")
