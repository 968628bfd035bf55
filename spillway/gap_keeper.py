"""Keeps the ledger's gaps of one venue up to date while the service runs. The ledger may fail meanwhile: collecting goes on."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import structlog
from structlog.typing import FilteringBoundLogger

from pipeline.errors import BadValue, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import Gap, IdRange
from pipeline.trade import NS_PER_S
from sinks.ledger.gap import GapState, GapSums
from sinks.ledger.gaps import GapBook

MOST_WAITING = 1000  # words that wait for a ledger that fails; of the oldest then only the reasons get lost
AGAIN_S = 5.0  # between two tries at a ledger that fails

# What the last reconciliation went by: the gaps, from which id on ids were remembered, and up to which that mattered.
_Seen: TypeAlias = tuple[list[Gap], int, int]


class Tracking(Protocol):
    """Who knows which ids are missing now, and of which ids it knows: the truth, durable with every flush."""

    def gaps(self) -> list[Gap]:
        """Holes known now."""

    def known_ids(self) -> IdRange | None:
        """From the first to the last id remembered; None where ids prove nothing."""


class GapKeeper:
    """Where a collector of one venue writes down what was missing, and what became of it."""

    def __init__(
        self,
        book: GapBook,
        venue: str,
        clock_ns: Callable[[], int] = time.time_ns,
        *,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self.sums: dict[Instrument, GapSums] = {}
        self._read = False  # `sums` were read from the ledger
        self.failed = 0  # tries at a ledger that failed
        self._book = book
        self._venue = venue
        self._clock_ns = clock_ns
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(venue=venue)
        self._waiting: deque[Callable[[], object]] = deque(maxlen=MOST_WAITING)
        self._one = asyncio.Lock()
        self._not_before = 0  # ns
        self._reconcile: dict[str, Callable[[], object]] = {}  # what waits likewise, the latest of each symbol
        self._seen: dict[str, _Seen] = {}
        self._newest: dict[str, int] = {}  # the highest id that the ledger holds as missing

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        """Ids that were never seen; they will be asked for."""
        if not gaps:
            return
        instrument, now = self._told(symbol, max(gap.last_id for gap in gaps))
        await self._write(lambda: self._book.found(instrument, gaps, now))

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        """Ids that the venue can't give."""
        instrument, now = self._told(symbol, ids[1])
        await self._write(lambda: self._book.lost(instrument, *ids, why, now))

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        """Nobody listened between the trades of these times, and ids prove nothing; `fetched`: history gave what was missed."""
        instrument, now = self._told(symbol)
        first, last = sorted((before_ns, after_ns))
        state = GapState.REPAIRED if fetched else GapState.LOST
        await self._write(lambda: self._book.outage(instrument, first, last, now, state=state, how=how))

    async def reconcile(self, symbol: str, feed: Tracking) -> None:
        """Brings the ledger to what is missing now; costs nothing while that stays the same."""
        self.note(symbol, feed)
        await self._write()

    def note(self, symbol: str, feed: Tracking) -> None:
        """The same, with the next `refresh`: one for all symbols."""
        gaps, known = feed.gaps(), feed.known_ids()
        if known is None or self._seen.get(symbol) == self._mark(symbol, gaps, known):
            return
        if not gaps and self._clean(symbol):
            return
        instrument, now = self._told(symbol)

        def work() -> None:
            self._book.reconcile(instrument, gaps, now, known=known)
            self._newest[symbol] = max(self._newest.get(symbol, -1), self._book.newest_missing(instrument) or -1)
            self._seen[symbol] = self._mark(symbol, gaps, known)

        self._reconcile[symbol] = work

    async def refresh(self) -> None:
        """Writes what still waits, and takes up the sums: for the beginning of a run, and its end."""
        async with self._one:
            await self._write_all()

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _told(self, symbol: str, last_id: int = -1) -> tuple[Instrument, int]:
        """The instrument, and the time now. Ids up to `last_id` are about to be written down as missing."""
        self._newest[symbol] = max(self._newest.get(symbol, -1), last_id)
        return Instrument(self._venue, symbol), self._clock_ns()

    def _clean(self, symbol: str) -> bool:
        """Whether the ledger holds nothing of a symbol as missing."""
        sums = self.sums.get(Instrument(self._venue, symbol), GapSums())
        return self._read and not self._waiting and not (sums.open or sums.lost)

    def _mark(self, symbol: str, gaps: list[Gap], known: IdRange) -> _Seen:
        """What a reconciliation goes by. That ids go on above all that are missing makes no difference."""
        return gaps, known[0], min(known[1], self._newest.get(symbol, known[1]))

    async def _write(self, word: Callable[[], object] | None = None) -> None:
        """Does this after all that waits, in a thread. Each may be done twice."""
        if word is not None:
            if len(self._waiting) == MOST_WAITING:
                self._log.error("the ledger of gaps loses its oldest unwritten word", waiting=MOST_WAITING)
            self._waiting.append(word)
        async with self._one:
            if self._clock_ns() >= self._not_before and (self._waiting or self._reconcile):
                await self._write_all()

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                first = self._waiting[0]
                try:
                    await asyncio.to_thread(first)
                except BadValue as error:  # it can't be written later either
                    self._log.error("a gap was refused", error=str(error))
                if self._waiting and self._waiting[0] is first:  # else it was pushed out meanwhile
                    self._waiting.popleft()
            for symbol, work in list(self._reconcile.items()):
                await asyncio.to_thread(work)
                if self._reconcile.get(symbol) is work:  # else there is a later one
                    del self._reconcile[symbol]
            self.sums |= await asyncio.to_thread(lambda: self._book.sums(venue=self._venue))
            self._read = True
        except StorageError as error:
            self.failed += 1
            self._not_before = self._clock_ns() + int(AGAIN_S * NS_PER_S)
            self._log.error("can't write gaps down", waiting=len(self._waiting), error=str(error), again_in_s=AGAIN_S)
