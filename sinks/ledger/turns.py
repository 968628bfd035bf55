"""Turns between processes: a lock on a file, and one on a second file for who is next, so that none is starved.

Whoever wants a turn first becomes the next one, and only then waits for the turn itself: a process that writes again and again
has to queue like all others.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import StorageError
from sinks import durable

_SHORTEST_S, _LONGEST_S = 0.0002, 0.005  # between two looks whether a lock is free


class Turns:
    """Turns at one database. One thread of a process at a time."""

    def __init__(self, database: Path) -> None:
        self._path = database
        self._turn = _open(database.with_name(f".{database.name}.lock"))
        self._next = _open(database.with_name(f".{database.name}.next"))

    @contextmanager
    def one(self, longest_s: float) -> Iterator[None]:
        """A turn. StorageError where others hold it for longer than `longest_s`."""
        deadline = time.monotonic() + longest_s
        self._wait_for(self._next, deadline, longest_s)
        try:
            self._wait_for(self._turn, deadline, longest_s)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives up the files."""
        os.close(self._turn)
        os.close(self._next)

    def _wait_for(self, lock: int, deadline: float, longest_s: float) -> None:
        pause_s = _SHORTEST_S
        while not self._locked(lock):
            if time.monotonic() > deadline:
                raise StorageError(f"{self._path}: another process is writing it for more than {longest_s:g} s")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    def _locked(self, lock: int) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise durable.failure(error, self._path, "locked") from error
        return True


def _open(path: Path) -> int:
    with durable.explained(path, "opened"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, durable.FILE_MODE)
