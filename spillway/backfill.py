"""`spillway backfill`: a range of history from the venue's REST API into the same store, as far as it lacks there.

Where nobody writes the instrument, this process does. Where the running service does, it is asked to fetch the range beside its
live trades, and this process tells how far it is.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import structlog

from collectors.backfill import Page, Past
from collectors.rest import RestClient
from collectors.venues.venue import Venue, venue_of
from pipeline.errors import BadValue, WriterHeld
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_MINUTE, Reject
from pipeline.writer import Counts, Writer
from sinks.dead_letters import for_day
from spillway.app import App
from spillway.backfill_asking import Asker
from spillway.backfill_requests import Request
from spillway.backfill_summary import BackfillSummary, as_dict, describe
from spillway.backfill_walk import Progress, Walk
from spillway.times import minute_range

__all__ = ["BackfillSummary", "as_dict", "backfill", "describe", "time_range"]

RENEW_S = 1.0

log = structlog.get_logger()


def say(line: str) -> None:
    """What a user should know at once, on standard error."""
    print(f"spillway: {line}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class WriterTarget:
    """A writer of our own."""

    writer: Writer

    @property
    def counts(self) -> Counts:
        """All that it counted."""
        return self.writer.counts

    async def take(self, page: Page) -> None:
        """Takes, while what it took before is sent."""
        if page.rejects:
            self.writer.counts.rejected += len(page.rejects)
            await self.writer.reject([reject for _, reject in page.rejects])
        await self.writer.take(page.trades, page.raws, apart=True)
        await self.writer.flush(time.time_ns())

    async def keep(self) -> None:
        """All is in Redis."""
        await self.writer.flush(time.time_ns(), check=True)
        await self.writer.settle()


@dataclass(frozen=True, slots=True)
class Backfill:
    """One range of one instrument, as this process fetches it."""

    app: App
    venue: Venue
    instrument: Instrument
    request: Request
    rest_url: str | None
    requests_per_s: float | None
    progress: Progress

    async def run(self) -> BackfillSummary:
        """Takes the lease and fetches what lacks. WriterHeld, VenueError."""
        began = time.perf_counter()
        group = self.request.price_group
        writer = await self.app.writer(
            self.instrument,
            self.venue.ids,
            self._reject,
            stream=self.venue.stream,
            price_group=None if group is None else Decimal(group),
        )
        walk = None
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(_keep_lease(writer), name="lease")
                walk = await self._walked(writer)
                renewing.cancel()
            await _end(writer)
        except BaseExceptionGroup as group_of_one:
            raise group_of_one.exceptions[0] from None
        finally:
            await writer.abandon()
        return await walk.finish(time.perf_counter() - began)

    async def _walked(self, writer: Writer) -> Walk:
        until_ns = min(self.request.until_ns or time.time_ns(), time.time_ns())
        summary = BackfillSummary(self.instrument, self.request.since_ns, until_ns)
        bound = log.bind(venue=self.venue.name, symbol=self.instrument.symbol)
        async with RestClient.within(self.venue.limits, self.rest_url or self.venue.rest_url, self.requests_per_s) as rest:
            past = Past(self.venue, self.instrument.symbol, rest, bound)
            open_end = self.request.until_ns is None
            walk = Walk(self.app, self.venue, past, WriterTarget(writer), open_end, self.progress, summary)
            await walk.run()
        return walk

    async def _reject(self, rejects: list[Reject]) -> None:
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        await for_day(self.app.settings.dead_letter_dir, self.instrument.venue, day).put(rejects)


async def backfill(
    app: App,
    instrument: Instrument,
    start: str,
    end: str | None,
    *,
    requests_per_s: float | None = None,
    progress: Progress = lambda what, done, total, note: None,
    notice: Callable[[str], None] = say,
) -> BackfillSummary:
    """Fetches what lacks of a time range. BadValue for a range or venue that can't be; VenueError where the venue fails.

    Where a running service writes the instrument, it is asked to; SpillwayError with what it ran into. `requests_per_s`:
    instead of what the venue allows, where this process fetches. `notice`: told who fetches, in a line.
    """
    venue, now_ns = venue_of(instrument.venue), time.time_ns()
    since_ns, _ = time_range(start, end, now_ns)
    rest_url, group = _collected(app, instrument)
    until_ns = None if end is None else minute_range(start, end)[1] * NS_PER_MINUTE
    request = Request(since_ns, until_ns, None if group is None else str(group), now_ns)
    own = Backfill(app, venue, instrument, request, rest_url, requests_per_s, progress)
    asker = Asker(app, instrument, request, progress, notice)
    while True:
        try:
            summary = await own.run()
        except WriterHeld as held:
            if (found := await asker.ask(held)) is not None:
                return found
            continue
        await asker.done_here()
        return summary


def time_range(start: str, end: str | None, now_ns: int) -> tuple[int, int]:
    """Whole minutes as ns, up to now at most. BadValue for what is no time, is empty, or has not come yet."""
    first, last = minute_range(start, end)
    since_ns, until_ns = first * NS_PER_MINUTE, min(last * NS_PER_MINUTE, now_ns)
    if since_ns >= now_ns:
        raise BadValue(f"--from {start}: expected a time in the past")
    if since_ns >= until_ns:
        raise BadValue(f"time range {start} to {end}: expected an end after the start")
    return since_ns, until_ns


def _collected(app: App, instrument: Instrument) -> tuple[str | None, Decimal | None]:
    """Where the settings say that this instrument's REST API is, and how its prices are grouped."""
    entries = [c for c in app.settings.collect if c.venue == instrument.venue]
    own = [c for c in entries if instrument.symbol in c.symbols]
    url = next((c.rest_url for c in [*own, *entries] if c.rest_url), None)
    return url, own[0].price_group.get(instrument.symbol) if own else None


async def _end(writer: Writer) -> None:
    """Seals what is over, without waiting whether more comes for it."""
    wait_ns = max(writer.options.grace_ns, writer.options.quiet_ns)
    await writer.flush(time.time_ns() + wait_ns)
    await writer.stop()


async def _keep_lease(writer: Writer) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        await writer.renew()
