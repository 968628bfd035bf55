"""What all repairs share: the history of one instrument, asked answer by answer, and more seldom while the venue fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from structlog.typing import FilteringBoundLogger

from collectors.delays import Delays
from collectors.venues.history import Span
from collectors.venues.parsed import Parsed, Raws
from pipeline.errors import VenueError
from pipeline.minute import Gap, IdRange
from pipeline.trade import RawTrades, Reject

# What is wanted and the last answer's trades (None at first) -> the next whole answer of the walk, None after the last.
History: TypeAlias = Callable[[Span, RawTrades | None], Awaitable[Parsed | None]]
OnReject: TypeAlias = Callable[[str, Reject], Awaitable[None]]  # (symbol, or "" where that can't be told; what and why)


class TradeSink(Protocol):
    """Where one instrument's trades go. `put` is called from two tasks: live trades from one, repairs from the other."""

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
        """Takes trades; waits while the writer is behind. Those known already are dropped there.

        `resumed`: the first live ones of a connection: between them and those before, some may never have been seen.
        """

    def last_id(self) -> int | None:
        """The highest id put so far, or stored by a former run; None if there is none, or ids are no numbers."""

    def last_ns(self) -> int | None:
        """The latest exchange time put so far, or stored by a former run; None if there is none."""

    def gaps(self) -> list[Gap]:
        """Holes known now."""


class GapLog(Protocol):
    """Where it is written down what was missing, and what became of it."""

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        """Ids that were never seen; they will be asked for."""

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        """Ids that the venue can't give."""

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        """Nobody listened between the trades of these times, and ids prove nothing; `fetched`: history gave what was missed."""


class NoLog:
    """Writes nothing down."""

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        """Nothing."""

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        """Nothing."""

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class RepairRules:
    """How holes are filled. Times in seconds."""

    hold_pages: int = 50  # live trades wait for the repair of holes of fewer requests than this ...
    hold_s: float = 1.0  # ... but no longer than this
    check_s: float = 30.0  # how often the sink is asked for holes
    quiet_s: float = 1.0  # without a live trade on a new connection: then history is asked for the newest ones
    tries: int = 5  # how often ids are asked for before they are taken for lost: history lags behind the stream
    lag_s: float = 1.0  # before the second try; doubles with each
    delays: Callable[[], Delays] = lambda: Delays(first_s=1.0, cap_s=60.0)  # while the venue fails


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument as repairs see it."""

    symbol: str
    sink: TradeSink
    history: History
    reject: OnReject
    gap_log: GapLog
    log: FilteringBoundLogger


class Asking:
    """Walks through an instrument's history and puts what lies in the span that was asked for."""

    def __init__(self, of: Market, rules: RepairRules) -> None:
        self.repaired = 0  # trades fetched
        self.of = of
        self.rules = rules
        self.failing_until = 0.0  # loop time
        self._delays = rules.delays()

    async def ask(self, span: Span, page: RawTrades | None) -> Parsed | None:
        """The next whole answer of the walk after `page`, not put yet; None when there is no more. VenueError."""
        answer = await self.of.history(span, page)
        if answer is not None:
            self._delays.tries = 0
            for symbol, reject in answer.rejects:
                await self.of.reject(symbol, reject)
        return answer

    async def put(self, answer: Parsed, span: Span) -> RawTrades:
        """Puts what lies in the span, and returns it."""
        answer = answer.within(self.of.symbol, span)
        trades = answer.trades[self.of.symbol]
        if len(trades.ts_ns):
            await self.of.sink.put(trades, answer.raws(self.of.symbol), repair=True)
            self.repaired += len(trades.ts_ns)
        return trades

    def failed(self, error: VenueError, holes: int) -> None:
        """The venue failed: it is left alone for a while."""
        wait_s = max(self._delays.next_s(), error.retry_after_s)
        self.failing_until = asyncio.get_running_loop().time() + wait_s
        self.of.log.warning("repair failed", holes=holes, error=str(error), again_in_s=round(wait_s, 1))
