"""The lines of a chunk: how many, where each stands, and which of them no parser should see. Found with arrays, not loops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from collectors.tapes.block import MAX_RAW
from pipeline.trade import Reject

_NUL, _NEWLINE, _RETURN, _QUOTE = 0, 10, 13, 34


@dataclass(frozen=True)
class Lines:
    """Whole lines, each ending in a newline; `first` is the number of the first in its file, from 1."""

    data: bytes
    first: int
    file_name: str

    @cached_property
    def count(self) -> int:
        """How many lines."""
        return int(np.count_nonzero(self._bytes == _NEWLINE))

    def text(self, line: int) -> str:
        """A line (from 0) as text without its end; what is no UTF-8 shows as a replacement character."""
        return self._line(line).decode("utf-8", "replace")

    def raw(self, line: int) -> tuple[str, str]:
        """A line as a refused one is kept: not longer than need be, and where it stands."""
        return self.text(line)[:MAX_RAW], self.where(line)

    def where(self, line: int) -> str:
        """A line's place for people: `file.csv:123`."""
        return f"{self.file_name}:{self.first + line}"

    def reject(self, line: int, reason: str) -> Reject:
        """A line as a refused one."""
        return Reject(*self.raw(line), reason)

    def without(self, lines: dict[int, str]) -> bytes:
        """The bytes of all lines but these."""
        edges = [(self._start(line), int(self._ends[line]) + 1) for line in sorted(lines)]
        starts, ends = [0, *(end for _, end in edges)], [*(start for start, _ in edges), len(self.data)]
        return b"".join(self.data[a:b] for a, b in zip(starts, ends, strict=True))

    @cached_property
    def blank(self) -> NDArray[np.bool_]:
        """Which lines are empty."""
        lengths = np.diff(self._ends, prepend=-1) - 1
        blank: NDArray[np.bool_] = (lengths == 0) | ((lengths == 1) & (self._bytes[self._ends - 1] == _RETURN))
        return blank

    @cached_property
    def flawed(self) -> dict[int, str]:
        """Lines that a csv parser would misread, or let misread their neighbours, and why. Usually none, and then quick."""
        reasons: dict[int, str] = {}
        data = self.data
        if b'"' in data:
            quotes = np.diff(np.searchsorted(np.flatnonzero(self._bytes == _QUOTE), self._ends), prepend=0)
            reasons |= dict.fromkeys(np.flatnonzero(quotes % 2).tolist(), "a quote that is not closed on its line")
        if b"\r" in data:
            inside = np.flatnonzero((self._bytes[:-1] == _RETURN) & (self._bytes[1:] != _NEWLINE))
            reasons |= dict.fromkeys(self._lines_of(inside), "a carriage return inside it")
        if b"\0" in data:
            reasons |= dict.fromkeys(self._lines_of(np.flatnonzero(self._bytes == _NUL)), "a NUL byte in it")
        if not data.isascii():
            suspects = self._lines_of(np.flatnonzero(self._bytes >= 128))
            reasons |= {line: "not valid UTF-8" for line in suspects if not _is_utf8(self._line(line))}
        return reasons

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.data, dtype=np.uint8)

    @cached_property
    def _ends(self) -> NDArray[np.intp]:
        return np.flatnonzero(self._bytes == _NEWLINE)

    def _lines_of(self, positions: NDArray[np.intp]) -> list[int]:
        lines: list[int] = np.unique(np.searchsorted(self._ends, positions)).tolist()
        return lines

    def _start(self, line: int) -> int:
        return int(self._ends[line - 1]) + 1 if line else 0

    def _line(self, line: int) -> bytes:
        return self.data[self._start(line) : int(self._ends[line])].removesuffix(b"\r")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
