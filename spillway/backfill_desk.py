"""The service's side of `spillway backfill`: takes requests up for what it writes, beside the live trades, which go first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

import structlog

from collectors.backfill import Page, Past
from pipeline.errors import BadValue, RedisUnavailable, SpillwayError
from pipeline.feed import Feed
from pipeline.instrument import Instrument
from pipeline.patience import patiently
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from pipeline.writer import Counts, Writer
from spillway.app import App
from spillway.backfill_requests import Request, Requests
from spillway.backfill_summary import BackfillSummary, packed
from spillway.backfill_walk import Walk
from spillway.collecting import Collection
from spillway.sources import VenueSource

LOOK_S = 1.0  # between two looks at what is asked for
AT_ONCE = 2  # instruments of one entry: then half of the REST requests that may be under way are left to live trades
LIVE_NS = 10 * NS_PER_S  # what is so new is the live trades' matter: history may not have all of it yet

log = structlog.get_logger()


@dataclass(slots=True)
class FeedTarget:
    """The writer of a running collection, behind its queue."""

    symbol: str
    feed: Feed
    collection: Collection
    _sums: Counts = field(default_factory=Counts)
    _minutes: set[int] = field(default_factory=set)  # for which something came: they seal by themselves
    _rewinds: int = field(init=False)  # before

    def __post_init__(self) -> None:
        self._rewinds = self.writer.counts.rewinds

    @property
    def writer(self) -> Writer:
        """The collection's; all is written by its feed alone."""
        return self.feed.writer

    @property
    def counts(self) -> Counts:
        """What became of the pages; live trades aren't in it."""
        sums = self._sums
        rewinds = self.writer.counts.rewinds - self._rewinds
        return Counts(sums.taken, sums.duplicates, sums.late, sums.rejected, sums.flushes, len(self._minutes), rewinds)

    async def take(self, page: Page) -> None:
        """Through the queue, and only then the next."""
        if page.rejects:
            self._sums.rejected += len(page.rejects)
            await self.collection.reject(self.symbol, *[reject for _, reject in page.rejects])
        if not len(page.trades.ts_ns):
            return
        came = await self.feed.take(page.trades, page.raws)
        self._sums.taken += came.taken
        self._sums.duplicates += came.duplicates
        self._sums.late += came.late
        self._sums.rejected += came.rejected
        self._sums.flushes += 1
        if came.taken:
            self._minutes.update((page.trades.ts_ns // NS_PER_MINUTE).tolist())

    async def keep(self) -> None:
        """All is in Redis."""
        await self.feed.keep()


@dataclass(slots=True)
class _Job:
    request: Request
    collection: Collection
    feed: Feed
    said: dict[str, str | int] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    def report(self, what: str, done: int, total: int, note: str) -> None:
        self.said = {"what": what, "done": done, "total": total, "note": note}


@dataclass(slots=True)
class Desk:
    """All that is asked of one service. What it was at when it ends stays asked for."""

    app: App
    collections: Sequence[Collection]
    _requests: Requests = field(init=False)
    _jobs: dict[Instrument, _Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._requests = Requests(self.app.window)

    async def run(self, stop: asyncio.Event) -> None:
        """Looks, and works, until `stop`; then leaves all as it is at once: whatever was taken is taken."""
        looking = asyncio.create_task(self._look_on(), name="look for backfills")
        stopping = asyncio.create_task(stop.wait(), name="stop of backfills")
        try:
            await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                looking.result()  # it only ends by an error
        finally:
            tasks = [looking, stopping, *[job.task for job in self._jobs.values() if job.task]]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_on(self) -> None:
        while True:
            with suppress(RedisUnavailable):  # the writers see to it; what is asked stays asked
                await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        for instrument, job in list(self._jobs.items()):
            if job.task and (job.task.done() or job.collection.feeds.get(instrument.symbol) is not job.feed):
                job.task.cancel()  # where another process is the writer now, that one goes on
                del self._jobs[instrument]
        for instrument in await self._requests.announced():
            for collection in self.collections:
                feed = collection.feeds.get(instrument.symbol)
                if feed is not None and collection.entry.venue == instrument.venue:
                    await self._serve(instrument, collection, feed)

    async def _serve(self, instrument: Instrument, collection: Collection, feed: Feed) -> None:
        """Starts the oldest request of an instrument, if none is under way; the others wait, and are told so."""
        for request in await self._requests.of(instrument):
            job = self._jobs.get(instrument)
            if job is None and self._has_room(collection):
                job = self._jobs[instrument] = _Job(request, collection, feed)
                job.task = asyncio.create_task(self._work(instrument, job), name=f"backfill {instrument}")
                log.info("backfill", instrument=str(instrument), range=request.id)
            at_work = job is not None and job.request.id == request.id
            said = job.said if job and at_work else {"what": "waiting", "note": "for another backfill"}
            beat = {"beat": time.time_ns()} | ({} if job and job.task and job.task.done() else said)
            await self._requests.tell(instrument, request, beat)

    def _has_room(self, collection: Collection) -> bool:
        return sum(job.collection is collection for job in self._jobs.values()) < AT_ONCE

    async def _work(self, instrument: Instrument, job: _Job) -> None:
        try:
            outcome: tuple[str, str | bytes] = ("done", packed(await self._walked(instrument, job)))
        except RedisUnavailable as error:  # the next look begins it anew
            log.warning("backfill interrupted", instrument=str(instrument), range=job.request.id, error=str(error))
            return
        except SpillwayError as error:
            outcome = ("failed", str(error))
        except Exception as error:  # a fault of ours must not end what collects
            log.exception("backfill failed", instrument=str(instrument), range=job.request.id)
            outcome = ("failed", f"{instrument}: {type(error).__name__}: {error}: see the service's log")
        log.info("backfill ended", instrument=str(instrument), range=job.request.id, state=outcome[0])
        with suppress(RedisUnavailable):  # for longer than a minute: the request is still there
            await patiently(lambda: self._requests.end(instrument, job.request, *outcome), self.app.revive)

    async def _walked(self, instrument: Instrument, job: _Job) -> BackfillSummary:
        source, request, began = job.collection.source, job.request, time.perf_counter()
        if not isinstance(source, VenueSource):
            raise BadValue(f"{instrument}: its history can't be walked through")
        _check_group(instrument, request, job.collection.entry.price_group.get(instrument.symbol))
        open_end = request.until_ns is None
        until_ns = min(request.until_ns or time.time_ns(), time.time_ns() - LIVE_NS)
        past = Past(source.venue, instrument.symbol, source.rest, log.bind(venue=instrument.venue, symbol=instrument.symbol))
        target = FeedTarget(instrument.symbol, job.feed, job.collection)
        summary = BackfillSummary(instrument, request.since_ns, until_ns)
        walk = Walk(self.app, source.venue, past, target, open_end, job.report, summary)
        await walk.run()
        return await walk.finish(time.perf_counter() - began)


def _check_group(instrument: Instrument, request: Request, ours: Decimal | None) -> None:
    theirs = None if request.price_group is None else Decimal(request.price_group)
    if theirs != ours:
        raise BadValue(
            f"{instrument}: the service that writes it has price_group {ours or 'none'}, the settings here {theirs or 'none'}: "
            "expected the same"
        )
