"""The history of one instrument at its venue: where a time range lies in it, and its pages, asked as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from structlog.typing import FilteringBoundLogger

from collectors.delays import Delays
from collectors.rest import RestClient
from collectors.search import Search
from collectors.venues.history import Reach, Span
from collectors.venues.parsed import Parsed, Raws
from collectors.venues.venue import Venue
from pipeline.errors import VenueError
from pipeline.instrument import IdRule
from pipeline.minute import IdRange
from pipeline.trade import RawTrades, Reject

TRIES = 12  # failures in a row, waited for ever longer, before a venue is given up


@dataclass(frozen=True, slots=True)
class Page:
    """What of an answer was asked for, the trade before it first, so that nothing lies between; and where the answer began."""

    trades: RawTrades
    raws: Raws
    rejects: list[tuple[str, Reject]]
    oldest_ns: int | None  # of the whole answer; None if it was empty


class Past:
    """Asks a venue for one instrument's past, after all that is urgent, and again where it fails."""

    def __init__(
        self,
        venue: Venue,
        symbol: str,
        rest: RestClient,
        log: FilteringBoundLogger,
        *,
        tries: int = TRIES,
        delays: Callable[[], Delays] = lambda: Delays(first_s=1.0, cap_s=60.0),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.requests = 0
        self._venue = venue
        self._symbol = symbol
        self._rest = rest
        self._log = log
        self._tries = tries
        self._delays = delays
        self._sleep = sleep

    async def ids(self, since_ns: int, until_ns: int) -> IdRange:
        """The ids of the trades at since_ns <= time < until_ns; the second is below the first where there are none.

        For histories that are addressed by ids. BadValue, VenueError.
        """
        newest = await self._answer(Span(), None)
        first = await self._search(Search(since_ns, self._venue.limits.page_size), newest)
        end = await self._search(Search(until_ns, self._venue.limits.page_size, low=first), newest)
        return first, end - 1

    async def pages(self, span: Span) -> AsyncIterator[Page]:
        """The pages of a span, in the venue's own order. VenueError where it is fatal, or lasts."""
        page: RawTrades | None = None
        before: Parsed | None = None
        while (answer := await self._answer(span, page)) is not None:
            page = answer.trades[self._symbol]
            oldest_ns = int(page.ts_ns.min()) if len(page.ts_ns) else None
            part = self._within(answer, span)
            trades, raws = self._joined(before, part)
            yield Page(trades, raws, answer.rejects, oldest_ns)
            before = part if len(part.trades[self._symbol].ts_ns) else before

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _search(self, search: Search, first: Parsed | None) -> int:
        if first is not None:
            search.first_answer(first.trades[self._symbol])
        while (at := search.next_id) is not None:
            try:
                found = await self._answer(Span(at, at + self._venue.limits.page_size - 1), None)
            except VenueError as error:  # it answered before, so that it refuses this place alone: it is too old
                if not error.fatal:
                    raise
                found = None
            search.answer(at, None if found is None else found.trades[self._symbol])
        return search.end_id

    async def _answer(self, span: Span, page: RawTrades | None) -> Parsed | None:
        """The next whole answer of a walk; None after the last."""
        path = self._venue.history_path(self._symbol, span, page)
        if path is None:
            return None
        delays = self._delays()
        for left in reversed(range(self._tries)):
            try:
                self.requests += 1
                return self._venue.parse_history(self._symbol, await self._rest.get(path, urgent=False))
            except VenueError as error:
                if error.fatal or not left:
                    raise
                wait_s = max(delays.next_s(), error.retry_after_s)
                self._log.warning("history failed", error=str(error), again_in_s=round(wait_s, 1))
            await self._sleep(wait_s)
        raise AssertionError("unreachable: the last try returns or raises")

    def _within(self, answer: Parsed, span: Span) -> Parsed:
        """What of an answer lies in the span. By time that is all from the lowest to the highest id there: none lacks."""
        if self._venue.reach is Reach.ID:
            return answer.within(self._symbol, Span(span.first_id, span.last_id))
        inside = answer.within(self._symbol, Span(since_ns=span.since_ns, until_ns=span.until_ns))
        ids = np.asarray(inside.trades[self._symbol].ids)
        if self._venue.ids is IdRule.OPAQUE or not len(ids):
            return inside
        return answer.within(self._symbol, Span(int(ids.min()), int(ids.max())))

    def _joined(self, before: Parsed | None, part: Parsed) -> tuple[RawTrades, Raws]:
        """The part with that trade of the one before which is next to it: what lacks between the two, the venue lacks."""
        trades, raws = part.trades[self._symbol], part.raws(self._symbol)
        if before is None or self._venue.ids is IdRule.OPAQUE or not len(trades.ts_ns):
            return trades, raws
        earlier = before.trades[self._symbol]
        known, new = np.asarray(earlier.ids), np.asarray(trades.ids)
        if new.min() > known.max():
            row = int(known.argmax())
        elif new.max() < known.min():
            row = int(known.argmin())
        else:
            return trades, raws
        before_raws = before.raws(self._symbol)
        return _prepended(earlier, row, trades), lambda number: raws(number - 1) if number else before_raws(row)


def _prepended(earlier: RawTrades, row: int, trades: RawTrades) -> RawTrades:
    """One row of other trades, and then these."""
    one = slice(row, row + 1)
    counts = None
    if earlier.count is not None and trades.count is not None:
        counts = np.concatenate((earlier.count[one], trades.count))
    return RawTrades(
        np.concatenate((np.asarray(earlier.ids)[one], np.asarray(trades.ids))),
        np.concatenate((earlier.ts_ns[one], trades.ts_ns)),
        [earlier.price[row], *trades.price],
        [earlier.size[row], *trades.size],
        np.concatenate((earlier.side[one], trades.side)),
        counts,
        {number + 1: why for number, why in trades.reasons.items()},
    )
