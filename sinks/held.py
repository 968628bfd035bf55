"""Tables that were read last, for who asks for the same again: a notebook draws one month in many ways.

A table is known by the file that it was read of as the system tells it from others; one that was written to since is read anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

import pyarrow as pa

MOST_BYTES = 128 << 20  # a year of minutes with the columns that bars take


class HeldTables:
    """So many bytes of tables, the oldest going first. Thread-safe."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._held: dict[Hashable, pa.Table] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], pa.Table]) -> pa.Table:
        """The table of this key; what `read` gives where it isn't held."""
        found = self._held.get(key)
        if found is None:
            found = read()
            self._put(key, found)
        return found

    def _put(self, key: Hashable, table: pa.Table) -> None:
        with self._lock:
            if key in self._held or table.get_total_buffer_size() > self._most:
                return
            self._held[key] = table
            self._bytes += table.get_total_buffer_size()
            while self._bytes > self._most:
                self._bytes -= self._held.pop(next(iter(self._held))).get_total_buffer_size()
