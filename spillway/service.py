"""The collector service: collect, seal, spill, compact, until told to stop. Stopping is ordered, and loses nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import structlog

from collectors.live import LiveCollector
from collectors.venues.venue import VENUES
from pipeline.errors import BadValue, Fenced, JobRunning, SpillwayError, WriterHeld
from pipeline.feed import Feed
from pipeline.instrument import Instrument, id_rule
from pipeline.schedule import Job, Schedule
from pipeline.trade import NS_PER_S, Reject
from sinks.dead_letters import for_day
from spillway.app import App
from spillway.compact import as_dict, compact_finished
from spillway.settings import Collect

log = structlog.get_logger()

STANDBY_S = 1.0  # between two looks whether another writer's lease is free


@dataclass(slots=True)
class Service:
    """All collectors of the settings, with their writers and jobs, in one process."""

    app: App
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    feeds: dict[Instrument, Feed] = field(default_factory=dict)
    collectors: list[LiveCollector] = field(default_factory=list)

    async def run(self) -> None:
        """Runs until `stop` is set; then takes no more, flushes what came, finishes jobs, and returns."""
        schedule = self._schedule()
        schedule.start(time.time_ns)
        try:
            async with asyncio.TaskGroup() as tasks:
                for entry in self.app.settings.collect:
                    tasks.create_task(self._collect(entry), name=f"collect {entry.venue}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await schedule.stop()

    async def _collect(self, entry: Collect) -> None:
        """One venue's symbols: writers first, then the collector; at the end the other way round."""
        feeds = {symbol: await self._feed(entry, symbol) for symbol in entry.symbols if not self.stop.is_set()}
        if self.stop.is_set():
            return
        collector = self._collector(entry, feeds)
        self.collectors.append(collector)
        async with asyncio.TaskGroup() as tasks:
            for symbol, feed in feeds.items():
                tasks.create_task(feed.run(), name=f"write {entry.venue} {symbol}")
            await collector.run(self.stop)
            for feed in feeds.values():
                await feed.close()

    def _collector(self, entry: Collect, feeds: dict[str, Feed]) -> LiveCollector:
        venue = VENUES[entry.venue]
        return LiveCollector(
            venue=venue,
            symbols=list(entry.symbols),
            ws_url=entry.ws_url or venue.ws_url,
            rest_url=entry.rest_url or venue.rest_url,
            sinks=feeds,
            reject=self._reject(entry.venue),
            clock_ns=time.time_ns,
            log=log.bind(venue=entry.venue),
        )

    async def _feed(self, entry: Collect, symbol: str) -> Feed:
        """A symbol's feed, as soon as no other process writes it: until then this one stands by."""
        instrument = Instrument(entry.venue, symbol)
        group = entry.price_group.get(symbol)
        waiting = False
        while True:
            try:
                feed = await self._open_feed(instrument, group)
                break
            except WriterHeld as held:
                if not waiting:
                    log.info("standing by", instrument=str(instrument), reason=str(held))
                waiting = True
                await _pause(self.stop, STANDBY_S)
                if self.stop.is_set():
                    raise
        self.feeds[instrument] = feed
        log.info("writing", instrument=str(instrument), last_id=feed.last_id())
        return feed

    async def _open_feed(self, instrument: Instrument, group: Decimal | None) -> Feed:
        async def reject(rejects: list[Reject]) -> None:
            await self._reject(instrument.venue)(instrument.symbol, *rejects)

        stream = VENUES[instrument.venue].stream
        writer = await self.app.writer(instrument, id_rule(instrument.venue), reject, stream=stream, price_group=group)
        return Feed(writer, time.time_ns, self.app.settings.schedule.flush_ms / 1000)

    def _reject(self, venue: str) -> Callable[..., Awaitable[None]]:
        async def reject(symbol: str, *rejects: Reject) -> None:
            day = f"{datetime.now(UTC):%Y-%m-%d}"
            await for_day(self.app.settings.dead_letter_dir, venue, day).put(rejects)
            log.warning("dead letters", venue=venue, symbol=symbol, count=len(rejects), reason=rejects[0].reason)

        return reject

    # --- jobs -----------------------------------------------------------------------------------------------------------

    def _schedule(self) -> Schedule:
        times = self.app.settings.schedule
        jobs = [
            Job("seal", times.seal_every_s, self._seal),
            Job("spill", times.spill_every_s, self._spill),
            Job("compact", times.compact_every_s, self._compact),
        ]
        return Schedule(jobs, lambda name, error: log.error("job failed", job=name, error=str(error)))

    async def _seal(self, now_ns: int) -> None:
        for feed in self.feeds.values():
            feed.tick()

    async def _spill(self, now_ns: int) -> None:
        try:
            report = await self.app.spill()
        except JobRunning as running:
            log.info("spill skipped", reason=str(running))
            return
        if report.written:
            log.info("spilled", minutes=report.written, bytes=report.bytes, early=report.early)
        for failure in report.failures:
            log.error("spill failed", instrument=str(failure.instrument), minute=failure.minute, error=str(failure.error))

    async def _compact(self, now_ns: int) -> None:
        delay_s = (self.app.settings.redis.window_hours + self.app.settings.schedule.compact_delay_hours) * 3600
        try:
            for day in await compact_finished(self.app, now_ns - int(delay_s * NS_PER_S)):
                log.info("compacted", **as_dict(day))
        except JobRunning as running:
            log.info("compaction skipped", reason=str(running))


async def run_service(app: App) -> None:
    """Runs the service until SIGTERM or SIGINT. BadValue for venues that can't be collected."""
    unknown = sorted({c.venue for c in app.settings.collect} - VENUES.keys())
    if unknown:
        raise BadValue(f"collect: venue {unknown[0]!r} can't be collected live: expected one of {', '.join(sorted(VENUES))}")
    if not app.settings.collect:
        raise BadValue("collect: nothing to collect: expected at least one venue with symbols in the settings")
    service = Service(app)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop.set)
    try:
        await service.run()
    except Fenced as fenced:
        raise SpillwayError(f"stopped: {fenced}") from None
    except WriterHeld:
        if not service.stop.is_set():
            raise


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
