"""`spillway backfill`: a range of history from the venue's REST API into the same store, as far as it lacks there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import structlog

from collectors.backfill import Page, Past
from collectors.rest import RestClient
from collectors.venues.history import Reach, Span
from collectors.venues.venue import Venue, venue_of
from pipeline.errors import BadValue, JobRunning, WriterHeld
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.spill import Failure
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, Reject
from pipeline.writer import Counts, Writer
from sinks.dead_letters import for_day
from spillway.app import App
from spillway.times import minute_range

RENEW_S = 1.0
SPILL_S = 30.0  # between two spills, at least ...
SPILL_MINUTES = 500  # ... unless so many minutes were sealed since: months of them don't fit into Redis

Progress = Callable[[str, int, int, str], None]  # what, done, of how many, note

log = structlog.get_logger()


@dataclass(slots=True)
class BackfillSummary:
    """What became of the range."""

    instrument: Instrument
    since_ns: int
    until_ns: int
    requests: int = 0
    fetched: int = 0  # trades, each page's own
    counts: Counts = field(default_factory=Counts)
    spilled: int = 0
    failures: list[Failure] = field(default_factory=list)
    gap_ids: int = 0  # known to be missing now, wherever
    oldest_ns: int | None = None  # how far back the venue's answers went, where they were asked for the beginning
    seconds: float = 0.0


@dataclass(slots=True)
class Backfill:
    """One range of one instrument."""

    app: App
    venue: Venue
    past: Past
    open_end: bool  # the range ends now: live trades are meant to follow
    progress: Progress
    summary: BackfillSummary
    _from_start: bool = False  # the beginning of the range is asked for
    _done: int = 0
    _total: int = 0
    _spilling: asyncio.Task[None] | None = None
    _spill_at: float = 0.0  # loop time
    _spilled_up_to: int = 0  # minutes sealed by then

    async def run(self, price_group: Decimal | None) -> BackfillSummary:
        """Fetches what lacks. If Redis goes back meanwhile, what it forgot lacks again."""
        started = time.perf_counter()
        writer = await self._writer(price_group)
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(_keep_lease(writer), name="lease")
                await self._fill(writer)
                renewing.cancel()
            await self._end(writer)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await self._spilled()
            await writer.abandon()
        await self._spill()
        summary = self.summary
        summary.counts, summary.requests = writer.counts, self.past.requests
        summary.gap_ids = sum(map(len, writer.gaps()))
        summary.seconds = time.perf_counter() - started
        return summary

    async def _fill(self, writer: Writer) -> None:
        rewinds = -1
        while rewinds != writer.counts.rewinds:
            rewinds = writer.counts.rewinds
            parts = await self._parts(writer)
            self._done, self._total = 0, sum(size for _, size in parts)
            for span, size in parts:
                end = self._done + size
                async for page in self.past.pages(span):
                    await self._take(page, writer)
                    self._report(page, end)
                self._done = end
            await writer.flush(time.time_ns(), check=True)
            await writer.settle()

    async def _parts(self, writer: Writer) -> list[tuple[Span, int]]:
        """What lacks of the range, as the venue's history wants it told, and the size of each part for the progress."""
        since_ns, until_ns = self.summary.since_ns, self.summary.until_ns
        if self.venue.reach is Reach.NEWEST:
            self._from_start = True
            return [(Span(since_ns=since_ns, until_ns=until_ns - 1), 1)]
        if self.venue.reach is Reach.TIME:
            times = writer.unseen_ns(since_ns, until_ns - 1)
            self._from_start |= any(a == since_ns for a, _ in times)
            return [(Span(since_ns=a, until_ns=b), (b - a) // NS_PER_S) for a, b in times]
        self.progress("looking for the range", 0, 1, "")
        first, last = await self.past.ids(since_ns, until_ns)
        self.progress("looking for the range", 1, 1, "")
        parts = writer.unseen(first, last) if first <= last else []
        self._from_start |= any(a == first for a, _ in parts)
        # with the known trades at both ends: what lacks between them and what comes, the venue lacks
        return [(Span(max(first, a - 1), min(last, b + 1)), b - a + 1) for a, b in parts]

    async def _take(self, page: Page, writer: Writer) -> None:
        if page.rejects:
            writer.counts.rejected += len(page.rejects)
            await self._reject([reject for _, reject in page.rejects])
        await writer.take(page.trades, page.raws, apart=True)
        await writer.flush(time.time_ns())
        self.summary.fetched += len(page.trades.ts_ns)
        if page.oldest_ns is not None and self._from_start:
            self.summary.oldest_ns = min(page.oldest_ns, self.summary.oldest_ns or page.oldest_ns)
        await self._spill_now_and_then(writer)

    def _report(self, page: Page, end: int) -> None:
        trades = page.trades
        if len(trades.ts_ns):
            keys = trades.ts_ns // NS_PER_S if self.venue.reach is Reach.TIME else np.asarray(trades.ids)
            size = 1 if self.venue.reach is Reach.NEWEST else int(keys.max()) - int(keys.min())
            self._done = min(self._done + size, end)
            at = minute_text(int(trades.ts_ns[-1]) // NS_PER_MINUTE)
            self.progress("backfill", self._done, self._total, f"{self.summary.fetched:,} trades, at {at}")

    async def _end(self, writer: Writer) -> None:
        """Seals what is over, without waiting whether more comes for it."""
        if self.open_end:
            writer.begin()
        wait_ns = max(writer.options.grace_ns, writer.options.quiet_ns)
        await writer.flush(time.time_ns() + wait_ns)
        await writer.stop()

    async def _writer(self, price_group: Decimal | None) -> Writer:
        instrument = self.summary.instrument
        try:
            return await self.app.writer(
                instrument, self.venue.ids, self._reject, stream=self.venue.stream, price_group=price_group
            )
        except WriterHeld as held:
            raise WriterHeld(
                f"{held} (a `spillway run`: take {instrument.symbol} out of its settings, or stop it, until this is done; "
                "what it misses meanwhile it fetches when it starts again)"
            ) from None

    async def _reject(self, rejects: list[Reject]) -> None:
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        await for_day(self.app.settings.dead_letter_dir, self.summary.instrument.venue, day).put(rejects)

    # --- spilling meanwhile ---------------------------------------------------------------------------------------------

    async def _spill_now_and_then(self, writer: Writer) -> None:
        """Beside the fetching; one at a time."""
        now, sealed = asyncio.get_running_loop().time(), writer.counts.sealed - self._spilled_up_to
        due = sealed >= SPILL_MINUTES or (sealed and now >= self._spill_at)
        if not due or (self._spilling and not self._spilling.done()):
            return
        await self._spilled()
        self._spill_at, self._spilled_up_to = now + SPILL_S, writer.counts.sealed
        self._spilling = asyncio.create_task(self._spill(), name="spill")

    async def _spilled(self) -> None:
        task, self._spilling = self._spilling, None
        if task:
            await task

    async def _spill(self) -> None:
        try:
            report = await self.app.spill(only=self.summary.instrument)
        except JobRunning as running:  # by a service beside us: it spills these minutes as well
            log.info("spill skipped", reason=str(running))
            return
        self.summary.spilled += report.written
        self.summary.failures = report.failures


async def backfill(
    app: App,
    instrument: Instrument,
    start: str,
    end: str | None,
    *,
    requests_per_s: float | None = None,
    progress: Progress = lambda what, done, total, note: None,
) -> BackfillSummary:
    """Fetches what lacks of a time range. BadValue for a range or venue that can't be; VenueError where the venue fails.

    `requests_per_s`: instead of what the venue allows.
    """
    venue = venue_of(instrument.venue)
    since_ns, until_ns = time_range(start, end, time.time_ns())
    rest_url, price_group = _collected(app, instrument)
    summary = BackfillSummary(instrument, since_ns, until_ns)
    async with RestClient.within(venue.limits, rest_url or venue.rest_url, requests_per_s) as rest:
        past = Past(venue, instrument.symbol, rest, log.bind(venue=venue.name, symbol=instrument.symbol))
        return await Backfill(app, venue, past, end is None, progress, summary).run(price_group)


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


def describe(summary: BackfillSummary) -> list[str]:
    """A summary for people, line by line."""
    c, since, until = summary.counts, summary.since_ns // NS_PER_MINUTE, -(-summary.until_ns // NS_PER_MINUTE)
    lines = [
        f"{summary.instrument}: {minute_text(since)} to {minute_text(until)} UTC, {summary.requests:,} requests in "
        f"{summary.seconds:.1f} s",
        f"{c.taken:,} trades taken, {c.duplicates:,} seen before, {c.rejected:,} in the dead letters; "
        f"{c.sealed:,} minutes sealed, {summary.spilled:,} spilled",
    ]
    if summary.oldest_ns is not None and summary.oldest_ns > summary.since_ns + NS_PER_MINUTE:
        lines.append(f"the venue's answers reached back to {minute_text(summary.oldest_ns // NS_PER_MINUTE)} UTC, no further")
    if summary.gap_ids:
        lines.append(f"missing: {summary.gap_ids:,} trade ids were never seen; their minutes are marked degraded")
    return lines


def as_dict(summary: BackfillSummary) -> dict[str, object]:
    """A summary for machines."""
    oldest = None if summary.oldest_ns is None else minute_text(summary.oldest_ns // NS_PER_MINUTE)
    return {
        "venue": summary.instrument.venue,
        "symbol": summary.instrument.symbol,
        "from": minute_text(summary.since_ns // NS_PER_MINUTE),
        "to": minute_text(-(-summary.until_ns // NS_PER_MINUTE)),
        "requests": summary.requests,
        "fetched": summary.fetched,
        **asdict(summary.counts),
        "spilled": summary.spilled,
        "failed": len(summary.failures),
        "missing_ids": summary.gap_ids,
        "oldest": oldest,
        "seconds": round(summary.seconds, 3),
    }


async def _keep_lease(writer: Writer) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        await writer.renew()
