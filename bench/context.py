"""What every row is given: how often to measure, and where to put its files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"  # on the disk of the repository: /tmp may be memory, where an fsync costs nothing


@dataclass(frozen=True, slots=True)
class Context:
    """One run of the bench."""

    runs: int
    quick: bool
    work: Path
    keep: Path | None = None  # where a generated year lies, to be read again

    @property
    def cache(self) -> Path:
        """Where generated input stays between runs."""
        folder = WORK / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def folder(self, name: str) -> Path:
        """A new folder, which goes with the others when the bench ends."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))


@contextmanager
def context(runs: int, *, quick: bool, keep: Path | None = None) -> Iterator[Context]:
    """A context whose files are gone after the block."""
    WORK.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
    try:
        yield Context(runs, quick, work, keep)
    finally:
        shutil.rmtree(work, ignore_errors=True)
