"""What a writer remembers of the trades that it sent, to tell them again to a Redis that went back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pipeline.trade import NS_PER_S, TradeBatch

RING_TRADES = 200_000
# A Redis that syncs its file each second forgets two seconds; a writer waits about a minute for one that is gone. What is
# older comes by REST, as after any outage: with hundreds of instruments in a process, what is kept here is most of its memory.
RING_NS = 120 * NS_PER_S


class Ring:
    """The last batches: so many trades at most, and none older than the time, but always the last one."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, TradeBatch]] = deque()
        self._trades = 0

    def __len__(self) -> int:
        return self._trades

    def __iter__(self) -> Iterator[TradeBatch]:
        return iter([batch for _, batch in self._batches])

    def add(self, batch: TradeBatch, now_ns: int) -> None:
        """Remembers a batch, and forgets those that are too many or too old."""
        self._batches.append((now_ns, batch))
        self._trades += len(batch)
        while len(self._batches) > 1 and (self._trades > RING_TRADES or self._batches[0][0] < now_ns - RING_NS):
            self._trades -= len(self._batches.popleft()[1])
