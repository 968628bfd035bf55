"""How long things took, counted in buckets: what a part keeps of its own times, cheap enough for its hottest path."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from time import perf_counter

SHORT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG_S = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Histogram:
    """Counts of observations up to each bound (the bound included), and their sum. Thread-safe."""

    def __init__(self, bounds: tuple[float, ...] = SHORT_S) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Counts one more."""
        with self._lock:
            self._counts[bisect_left(self.bounds, value)] += 1
            self.sum += value

    def add(self, other: Histogram) -> None:
        """Counts what another one of the same bounds has counted, too."""
        with self._lock:
            self.sum += other.sum
            self._counts = [mine + more for mine, more in zip(self._counts, other._counts, strict=True)]

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Counts how long the block takes, in seconds, also where it fails."""
        began = perf_counter()
        try:
            yield
        finally:
            self.observe(perf_counter() - began)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    @property
    def cumulative(self) -> list[int]:
        """How many lay at or below each bound; the last of them are all."""
        return list(accumulate(self._counts))


def together(parts: Iterable[Histogram], bounds: tuple[float, ...] = SHORT_S) -> Histogram:
    """Several histograms of the same bounds as one."""
    found = Histogram(bounds)
    for part in parts:
        found.add(part)
    return found
