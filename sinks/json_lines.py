"""An append-only file of JSON lines that several processes write at once, and its older parts.

A line is written whole by one write under a lock of the file, which ends with its process. What a killed writer left without
its newline is closed off by the next, so that it costs no line but its own. A file that would grow too large becomes
`NAME.0001.jsonl`, then `.0002`, and so on, and a new one begins. What a line holds is no matter of this file.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import StorageError
from sinks import durable, folders

_OPEN = os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in a file, without its newline, and where it stands."""

    text: bytes
    path: Path
    number: int


@dataclass(frozen=True, slots=True)
class JsonLines:
    """The lines of one name. Safe against other threads and processes. `fsync`: each line survives a power cut, too."""

    path: Path
    max_bytes: int
    fsync: bool = False

    def append(self, line: bytes) -> None:
        """Writes one line, which ends with its newline. StorageError or DiskFull where it can't; then none of it stays."""
        with durable.explained(self.path, "appended to"):
            while not self._append(line):  # another process began a new file just now, or we have to
                pass

    def lines(self) -> Iterator[Line]:
        """All lines that were whole when the reading began, the oldest first; what a writer adds meanwhile is left out."""
        with durable.explained(self.path, "read"):
            parts, newest = self._opened()
            with newest[0] if newest else nullcontext():
                for part in parts:
                    with part.open("rb") as file:
                        yield from _read(file, part, os.fstat(file.fileno()).st_size)
                if newest:
                    yield from _read(newest[0], self.path, newest[1])

    def older(self) -> list[Path]:
        """The full files, the oldest first."""
        pattern = re.compile(re.escape(self.path.stem) + r"\.(\d{4,9})\.jsonl", re.ASCII)
        found = [(int(name[1]), self.path.with_name(name[0])) for name in map(pattern.fullmatch, self._names()) if name]
        return [path for _, path in sorted(found)]

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return folders.names(self.path.parent)

    def _append(self, line: bytes) -> bool:
        handle = os.open(self.path, _OPEN, durable.FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise StorageError(f"{self.path}: can't be appended to: it is not a regular file")
            if not self._is_ours(facts):
                return False
            if facts.st_size and facts.st_size + len(line) > self.max_bytes:
                self._turn()
                return False
            _write(handle, facts.st_size, line)
            if self.fsync:
                os.fsync(handle)
                durable.sync_folder(self.path.parent)
            return True
        finally:
            os.close(handle)

    def _is_ours(self, facts: os.stat_result) -> bool:
        """Whether the file that we locked still has the name; who turned it over held the lock before us."""
        try:
            return os.path.samestat(facts, os.stat(self.path, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def _turn(self) -> None:
        older = self.older()
        number = int(older[-1].stem.rpartition(".")[2]) + 1 if older else 1
        os.rename(self.path, self.path.with_name(f"{self.path.stem}.{number:04}.jsonl"))

    def _opened(self) -> tuple[list[Path], tuple[BinaryIO, int] | None]:
        """The older files, and the newest with how long it is. It's opened before they are listed: if it becomes an older
        one between, then it's known by its inode, and what came after it is left out."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return self.older(), None
        with _shared(file):
            facts = os.fstat(file.fileno())
        before = takewhile(lambda path: not os.path.samestat(facts, path.stat()), self.older())
        return list(before), (file, facts.st_size)


def _write(handle: int, size: int, line: bytes) -> None:
    torn = size and os.pread(handle, 1, size - 1) != b"\n"
    rest = memoryview(b"\n" + line if torn else line)
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError:
        with suppress(OSError):  # the half line is closed off by the next append, if it can't be taken back now
            os.ftruncate(handle, size)
        raise


def _read(file: BinaryIO, path: Path, size: int) -> Iterator[Line]:
    number = 0
    while size > 0 and (text := file.readline(size)):
        size -= len(text)
        number += 1
        yield Line(text.rstrip(b"\r\n"), path, number)


@contextmanager
def _shared(file: BinaryIO) -> Iterator[None]:
    """Within it nobody is in the middle of a line."""
    fcntl.flock(file.fileno(), fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
