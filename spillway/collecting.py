"""One entry of `collect`: takes the leases that are free, collects for them, and stands by for the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime

import structlog
from structlog.typing import FilteringBoundLogger

from pipeline.errors import RedisUnavailable, VenueError, WriterHeld
from pipeline.feed import Feed
from pipeline.histogram import Histogram
from pipeline.instrument import Instrument
from pipeline.trade import Reject
from pipeline.writer import Counts
from sinks.dead_letters import for_day
from sinks.ledger.gap import GapSums
from spillway.app import App
from spillway.gap_keeper import GapKeeper
from spillway.settings import Collect
from spillway.sources import AnyCollector, Source, Tuning, source_of

TAKE_S = 1.0  # then those taken so far begin: nobody keeps their leases before
STANDBY_S = 1.0  # between two looks whether another writer's lease is free
COUNTERS = ("frames", "other", "rejected", "trades", "repaired", "connections", "replaced", "reconnects")
DROPPED = "dropped_frames"
REFUSED_S = 3600.0  # after a refusal that asking again won't change by itself


@dataclass(slots=True)
class Places:
    """How many more instruments this process may take: several processes share them by their leases."""

    free: int | None = None  # None: as many as there are

    def take(self) -> bool:
        """Whether there was a place."""
        if self.free is None:
            return True
        if not self.free:
            return False
        self.free -= 1
        return True

    def give_back(self) -> None:
        """A place is free again."""
        if self.free is not None:
            self.free += 1


@dataclass(slots=True)
class Collection:
    """One entry's collectors and feeds in this process."""

    app: App
    entry: Collect
    gap_log: GapKeeper | None
    places: Places = field(default_factory=Places)
    tuning: Tuning = field(default_factory=Tuning)
    feeds: dict[str, Feed] = field(default_factory=dict)
    collectors: list[AnyCollector] = field(default_factory=list)
    source: Source = field(init=False)
    refused: dict[str, str] = field(default_factory=dict)  # symbol -> why it isn't collected for now
    dead_letters: int = 0
    flush_seconds: Histogram = field(default_factory=Histogram)  # of all its writers
    _wanted: dict[str, float] = field(default_factory=dict)  # symbol -> loop time from which on it may be taken
    _standing_by: set[str] = field(default_factory=set)
    _ended: dict[str, int] = field(default_factory=dict)  # counters of collectors that have ended
    _ended_feeds: dict[str, Counts] = field(default_factory=dict)  # the same of writers, by symbol
    _blind: bool = False  # Redis doesn't answer who holds the leases
    _log: FilteringBoundLogger = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = dict.fromkeys(self.entry.symbols, 0.0)
        self._log = structlog.get_logger().bind(venue=self.entry.venue)
        self.source = source_of(self.entry, self.app.settings, self._log, self.tuning)

    @property
    def hopeless(self) -> str:
        """Why nothing can be collected, where the venue refuses all symbols; else empty."""
        return next(iter(self.refused.values())) if self.refused.keys() >= {*self.entry.symbols} else ""

    async def run(self, stop: asyncio.Event) -> None:
        """Collects until `stop`; then takes no more, flushes what came, and gives the leases up. Fenced, StorageError."""
        async with self.source.opened(), asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                for symbols in shards(await self._take_free(stop), self.source.most):
                    tasks.create_task(self._collect(symbols, stop), name=f"collect {self.entry.venue} {symbols[0]}")
                await pause(stop, STANDBY_S)

    async def _collect(self, symbols: Sequence[str], stop: asyncio.Event) -> None:
        """The symbols of one connection: their writers first, then the collector; at the end the other way round."""
        sinks = {symbol: self.feeds[symbol] for symbol in symbols}
        try:
            collector = self.source.collector(symbols, sinks, self.reject, self.gap_log)
            self.collectors.append(collector)
            try:
                await self._with_writers(collector, symbols, stop)
            finally:
                self._retire(collector)
        finally:
            # After an error the leases are still held, and flushes on their way; a writer that has stopped does nothing.
            writers = [self.feeds[symbol].writer for symbol in symbols]
            await asyncio.gather(*(writer.abandon() for writer in writers), return_exceptions=True)
            for symbol in symbols:
                self._ended_feeds[symbol] = self.counts(symbol)
                del self.feeds[symbol]
                self.places.give_back()

    async def _with_writers(self, collector: AnyCollector, symbols: Sequence[str], stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            for symbol in symbols:
                tasks.create_task(self.feeds[symbol].run(), name=f"write {self.entry.venue} {symbol}")
            await self._until_refused(collector, symbols, stop)
            for symbol in symbols:
                await self.feeds[symbol].close()
        await self.reconcile(symbols)

    async def _until_refused(self, collector: AnyCollector, symbols: Sequence[str], stop: asyncio.Event) -> None:
        """Collects until `stop`, or until the venue refuses for good: then it is asked again after an hour, not blindly."""
        try:
            await collector.run(stop)
        except VenueError as error:
            if not error.fatal:
                raise
            wait_s = max(REFUSED_S, error.retry_after_s)
            self._log.error("not collected", symbols=list(symbols), reason=str(error), again_in_s=wait_s)
            self._wanted |= dict.fromkeys(symbols, asyncio.get_running_loop().time() + wait_s)
            self.refused |= dict.fromkeys(symbols, str(error))

    def total(self, counter: str) -> int:
        """A counter of the collectors, summed; those that have ended are in it."""
        now: list[int] = [getattr(collector, counter, 0) for collector in self.collectors]
        return sum(now, self._ended.get(counter, 0))

    def counts(self, symbol: str) -> Counts:
        """What became of a symbol's trades in this process, over all times that it was the writer."""
        now = [self.feeds[symbol].writer.counts] if symbol in self.feeds else []
        return summed(self._ended_feeds.get(symbol, Counts()), *now)

    @property
    def dropped_frames(self) -> int:
        """Frames that could not be recorded."""
        return self._ended.get(DROPPED, 0) + (self.source.recorder.dropped_frames if self.source.recorder else 0)

    def count_on(self, other: Collection, *, totals: bool) -> None:
        """Goes on from what an ended collection of the venue counted of its symbols, and with `totals` of all of them."""
        for symbol in {*self.entry.symbols} & {*other.entry.symbols}:
            self._ended_feeds[symbol] = summed(self._ended_feeds.get(symbol, Counts()), other.counts(symbol))
        if not totals:
            return
        for counter in COUNTERS:
            self._ended[counter] = self._ended.get(counter, 0) + other.total(counter)
        self._ended[DROPPED] = self._ended.get(DROPPED, 0) + other.dropped_frames
        self.dead_letters += other.dead_letters
        self.flush_seconds.add(other.flush_seconds)

    @property
    def all_refused(self) -> dict[str, str]:
        """Symbols that the venue refuses, alone or with all others of their connection -> why."""
        alone = [getattr(collector, "refused", {}) for collector in self.collectors]
        return {symbol: reason for refused in (self.refused, *alone) for symbol, reason in refused.items()}

    @property
    def gap_sums(self) -> dict[Instrument, GapSums]:
        """What the ledger said of its symbols' gaps lately."""
        known = self.gap_log.sums if self.gap_log else {}
        return {instrument: sums for instrument, sums in known.items() if instrument.symbol in self.entry.symbols}

    @property
    def lag_ns(self) -> int:
        """From the newest trade's exchange time to its arrival: the worst of all connections."""
        return max((getattr(collector, "lag_ns", 0) for collector in self.collectors), default=0)

    @property
    def last_frame_ns(self) -> int:
        """When the last message came, on the connection that was silent for longest."""
        return min((collector.last_frame_ns for collector in self.collectors), default=0)

    def _retire(self, collector: AnyCollector) -> None:
        self.collectors.remove(collector)
        for counter in COUNTERS:
            self._ended[counter] = self._ended.get(counter, 0) + getattr(collector, counter, 0)

    async def reconcile(self, symbols: Iterable[str] | None = None) -> None:
        """Brings the ledger's gaps to what the writers know, of all symbols or of some."""
        if self.gap_log is None:
            return
        for symbol, feed in list(self.feeds.items()):
            if symbols is None or symbol in symbols:
                self.gap_log.note(symbol, feed)
        await self.gap_log.refresh()

    # --- leases ---------------------------------------------------------------------------------------------------------

    async def _take_free(self, stop: asyncio.Event) -> list[str]:
        """The symbols whose leases this process got just now: of the others another process is the writer."""
        now, taken = asyncio.get_running_loop().time(), []
        # One that was refused may be due again while its writer still closes: a second one here would fence it off.
        for symbol in [symbol for symbol, since in self._wanted.items() if since <= now and symbol not in self.feeds]:
            if stop.is_set() or not self.places.take():
                break
            if await self._take_or_wait(symbol):
                taken.append(symbol)
            else:
                self.places.give_back()
            if self._blind or asyncio.get_running_loop().time() - now > TAKE_S:
                break
        return taken

    async def _take_or_wait(self, symbol: str) -> bool:
        """As `_take`; while Redis is away nothing can be taken, and who collects already waits for it by himself."""
        was_blind, self._blind = self._blind, True
        try:
            if was_blind:
                await self.app.revive()  # it may have died with the process that this one stands by for
            taken = await self._take(symbol)
        except RedisUnavailable as error:
            if not was_blind:
                self._log.warning("can't see the leases", error=str(error))
            return False
        self._blind = False
        return taken

    async def _take(self, symbol: str) -> bool:
        instrument = Instrument(self.entry.venue, symbol)
        try:
            feed = await self._open_feed(instrument)
        except WriterHeld as held:
            if symbol not in self._standing_by:
                self._log.info("standing by", symbol=symbol, reason=str(held))
            self._standing_by.add(symbol)
            return False
        self.feeds[symbol] = feed
        del self._wanted[symbol]
        self._standing_by.discard(symbol)
        self.refused.pop(symbol, None)
        self._log.info("writing", symbol=symbol, last_id=feed.last_id())
        return True

    async def _open_feed(self, instrument: Instrument) -> Feed:
        async def reject(rejects: list[Reject]) -> None:
            await self.reject(instrument.symbol, *rejects)

        group = self.entry.price_group.get(instrument.symbol)
        writer = await self.app.writer(instrument, self.source.ids, reject, stream=self.source.stream, price_group=group)
        writer.flush_seconds = self.flush_seconds
        return Feed(writer, time.time_ns, self.app.settings.schedule.flush_ms / 1000)

    async def reject(self, symbol: str, *rejects: Reject) -> None:
        """To the day's dead letters."""
        self.dead_letters += len(rejects)
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        await for_day(self.app.settings.dead_letter_dir, self.entry.venue, day).put(rejects)
        self._log.warning("dead letters", symbol=symbol, count=len(rejects), reason=rejects[0].reason)


def summed(*counts: Counts) -> Counts:
    """Several as one."""
    return Counts(*map(sum, zip(*map(astuple, counts), strict=True)))


def shards(symbols: Sequence[str], most: int) -> Iterable[Sequence[str]]:
    """Symbols as even parts of at most `most`: one connection each."""
    parts = -(-len(symbols) // most)
    return [symbols[part::parts] for part in range(parts)]


async def pause(stop: asyncio.Event, seconds: float | None) -> None:
    """Until `stop` is set or the time is over, whatever comes first."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
