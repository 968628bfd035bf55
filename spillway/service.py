"""The collector service: collect, seal, spill, compact, until told to stop. Stopping is ordered, and loses nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from pipeline.errors import BadValue, Fenced, SpillwayError, StorageError
from sinks.ledger.ledger import Ledger, open_ledger
from spillway.app import App
from spillway.auditor import Auditor
from spillway.backfill_desk import Desk
from spillway.collecting import Collection, Places, pause
from spillway.gap_keeper import GapKeeper
from spillway.http import served
from spillway.jobs import Jobs
from spillway.klines import KlineChecker, KlineRules, StoredMinutes
from spillway.loop_lag import LoopLag
from spillway.metrics import Parts, exposed, registry_of
from spillway.sources import VenueSource, check_venues
from spillway.survey import Survey

log = structlog.get_logger()

CHECK_S = 60.0  # between two looks at a venue's klines, at least
LOOK_S = 1.0  # between two looks whether there is anything left to collect


@dataclass(slots=True)
class Service:
    """All collections of the settings, with their writers and jobs, in one process."""

    app: App
    ledger: Ledger | None = None
    places: Places = field(default_factory=Places)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    collections: list[Collection] = field(default_factory=list)
    checkers: list[KlineChecker] = field(default_factory=list)
    lag: LoopLag = field(default_factory=LoopLag)
    jobs: Jobs = field(init=False)
    parts: Parts = field(init=False)  # what its metrics are read from
    _registry: CollectorRegistry = field(init=False)

    def __post_init__(self) -> None:
        auditor = Auditor(self.app, self.collections, self.stop)
        self.jobs = Jobs(self.app, self.ledger, self.collections, Survey(self.app), auditor)
        database = self.ledger.database if self.ledger else None
        self.parts = Parts(
            self.collections, self.checkers, self.jobs.survey, self.jobs.tally, self.lag, database, auditor
        )
        self._registry = registry_of(self.parts)

    async def run(self) -> None:
        """Runs until `stop` is set; then takes no more, flushes what came, finishes jobs, and returns."""
        for entry in self.app.settings.collect:
            self.collections.append(Collection(self.app, entry, self._gap_log(entry.venue), self.places))
        schedule = self.jobs.schedule()
        schedule.start(time.time_ns)
        http = self.app.settings.http
        try:
            async with served(http.host, http.port, metrics=self.metrics, ready=self.lacking), asyncio.TaskGroup() as tasks:
                for collection in self.collections:
                    tasks.create_task(collection.run(self.stop), name=f"collect {collection.entry.venue}")
                    tasks.create_task(self._check(collection), name=f"check {collection.entry.venue}")
                tasks.create_task(Desk(self.app, self.collections).run(self.stop), name="backfills")
                tasks.create_task(self._while_there_is_hope(), name="hope")
                tasks.create_task(self.lag.run(self.stop), name="loop lag")
        except BaseExceptionGroup as group:
            raise first_of(group) from None
        finally:
            await schedule.stop()

    def metrics(self) -> bytes:
        """What Prometheus is told."""
        return exposed(self._registry)

    def lacking(self) -> str:
        """What is missing for all to be collected; empty where nothing is."""
        lacks = []
        for c in self.collections:
            refused = c.all_refused
            lacks += [f"{c.entry.venue}: {symbol} is refused: {reason}" for symbol, reason in refused.items()]
            idle = [symbol for symbol in c.entry.symbols if symbol not in {*c.feeds, *refused}]
            lacks += [f"{c.entry.venue}: standing by for {', '.join(idle)}"] if idle else []
            lacks += [f"{c.entry.venue}: not connected" for each in c.collectors if not each.connected]
        return "; ".join(lacks)

    async def _while_there_is_hope(self) -> None:
        """A service that every venue refuses for good, and that has collected nothing, ends with that error."""
        while not self.stop.is_set():
            reasons = [collection.hopeless for collection in self.collections]
            if all(reasons) and not any(collection.total("trades") for collection in self.collections):
                raise SpillwayError(reasons[0])
            await pause(self.stop, LOOK_S)

    async def _check(self, collection: Collection) -> None:
        """Holds the venue's minutes against its own account of them, as far as this process writes them."""
        source = collection.source
        if self.ledger is None or not isinstance(source, VenueSource):
            return
        symbols = collection.entry.symbols
        checker = KlineChecker(
            venue=source.venue,
            symbols=symbols,
            get=partial(source.rest.get, urgent=False),
            minutes=StoredMinutes(self.app.window, self.app.keeper),
            book=self.ledger.klines,
            mine=lambda instrument: instrument.symbol in collection.feeds,
            rules=KlineRules(every_s=max(CHECK_S, 2 * len(symbols) / source.venue.limits.requests_per_s)),
        )
        self.checkers.append(checker)
        checking = asyncio.create_task(checker.run(self.stop), name=f"klines {collection.entry.venue}")
        try:
            await self.stop.wait()
        finally:
            checking.cancel()  # a request may have long to wait until the venue wants to hear from us again
            await asyncio.gather(checking, return_exceptions=True)

    def _gap_log(self, venue: str) -> GapKeeper | None:
        return GapKeeper(self.ledger.gaps, venue, time.time_ns) if self.ledger else None


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error itself, of a group in which there may be groups: what was cancelled for its sake tells nothing."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def run_service(app: App, *, most: int | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT. `most`: so many instruments; others are left to other processes.

    BadValue for venues that can't be collected.
    """
    check_venues(app.settings.collect)
    if not app.settings.collect:
        raise BadValue("collect: nothing to collect: expected at least one venue with symbols in the settings")
    with _ledger(app.settings.ledger_url) as ledger:
        service = Service(app, ledger, Places(most))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop.set)
        try:
            await service.run()
        except Fenced as fenced:
            raise SpillwayError(f"stopped: {fenced}") from None


@contextmanager
def _ledger(url: str) -> Iterator[Ledger | None]:
    """The ledger; None, loudly, where it can't be opened: trades are collected all the same."""
    with ExitStack() as stack:
        ledger = None
        try:
            ledger = stack.enter_context(open_ledger(url))
        except StorageError as error:
            log.error("no ledger: gaps are not written down", error=str(error))
        yield ledger
