"""Parquet files that others read: each was found to be the very one of its manifest, byte for byte, before it is handed out.

Polars and DuckDB don't ask for page checksums, so a flipped bit would be a wrong number. A file is read once; then its mark
(inode, size, times) tells that it is still the same.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.errors import StorageError
from sinks import durable
from sinks.minute_files import Mark
from sinks.parquet import MISSING, Part, PartGone

_THREADS = 2
_HELD = 1 << 14  # files remembered: forty years of days


class WholeFiles:
    """Which files were found whole. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[Mark, str]] = {}
        self._lock = threading.Lock()

    def require(self, parts: Mapping[Path, Part]) -> None:
        """Reads what wasn't read before. PartGone where a file isn't there; StorageError where it is damaged."""
        with ThreadPoolExecutor(_THREADS, "whole") as pool:
            for _ in pool.map(self._require, parts.keys(), parts.values()):
                pass

    def _require(self, path: Path, part: Part) -> None:
        with durable.explained(path, "read"):
            try:
                mark = Mark.of(os.lstat(path))
                if self._found.get(path) == (mark, part.sha256):
                    return
                found = _sha256(path)
            except FileNotFoundError:
                raise PartGone(f"{path}: {MISSING}") from None
        if found != part.sha256:
            raise StorageError(f"{path}: damaged: its checksum is not the one that the manifest names")
        with self._lock:
            if len(self._found) >= _HELD:
                self._found.clear()
            self._found[path] = (mark, found)


def _sha256(path: Path) -> str:
    with open(path, "rb", opener=_no_link) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_link(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW)
