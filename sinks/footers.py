"""Parsed footers of Parquet files, remembered by their checksum, and what they alone tell of a column.

Parsing one takes as long as reading some columns. And where a column's statistics say that its least and its greatest value are
the same, and that none is missing, there is nothing to read.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_CHUNKS_HELD = 1 << 14  # columns of row groups: some 30 MB


@dataclass(frozen=True, slots=True)
class Footer:
    """A parsed footer, found to have these row groups."""

    groups: tuple[Any, ...]
    parsed: pq.FileMetaData
    _ones: dict[tuple[int, str], tuple[Any] | None] = field(default_factory=dict)
    _spans: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)

    @property
    def chunks(self) -> int:
        """Columns of row groups: what its size goes by."""
        return int(self.parsed.num_columns * self.parsed.num_row_groups)

    def constant(self, column: pa.Field, at: int, groups: Iterable[int], rows: int) -> pa.Array | None:
        """The column with number `at`, for so many rows; None where it may have several values in these row groups."""
        found = {self._one(group, column.name, at) for group in groups}
        one = found.pop() if len(found) == 1 else None
        return None if one is None else _repeated(one[0], rows, column.type)

    def span(self, at: int, group: int) -> tuple[float, float]:
        """The least and the greatest number in the column `at` of a row group; all there are, where that isn't told."""
        if (at, group) not in self._spans:
            found = self.parsed.row_group(group).column(at).statistics
            told = found is not None and found.has_min_max
            self._spans[at, group] = (found.min, found.max) if told else (-math.inf, math.inf)
        return self._spans[at, group]

    def _one(self, group: int, name: str, at: int) -> tuple[Any] | None:
        key = (group, name)
        if key not in self._ones:
            self._ones[key] = _only_value(self.parsed.row_group(group).column(at), name)
        return self._ones[key]


class Footers:
    """The footers that were parsed last. Thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, Footer] = {}
        self._chunks = 0
        self._lock = threading.Lock()

    def get(self, checksum: str, groups: tuple[Any, ...]) -> Footer | None:
        """The footer with this checksum and these row groups."""
        found = self._held.get(checksum)
        return found if found and (found.groups is groups or found.groups == groups) else None

    def remember(self, checksum: str, footer: Footer) -> None:
        """Holds it until there are too many others."""
        with self._lock:
            self._forget(checksum)
            self._held[checksum] = footer
            self._chunks += footer.chunks
            while self._chunks > _CHUNKS_HELD and len(self._held) > 1:
                self._forget(next(iter(self._held)))

    def _forget(self, checksum: str) -> None:
        if checksum in self._held:
            self._chunks -= self._held.pop(checksum).chunks


def _only_value(column: Any, name: str) -> tuple[Any] | None:
    """The value of all rows, in a tuple, for it may be null."""
    found = column.statistics
    if column.path_in_schema != name or found is None or not found.has_null_count:
        return None
    if found.null_count == column.num_values:
        return (None,)
    same = found.null_count == 0 and found.has_min_max and found.min == found.max
    return (found.min,) if same else None


def _repeated(value: Any, rows: int, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(rows, kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value], kind.value_type))
    return pa.repeat(pa.scalar(value, kind), rows)
