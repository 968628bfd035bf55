"""The collector service: collect, seal, spill, compact, until told to stop. Stopping is ordered, and loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import structlog
from prometheus_client import CollectorRegistry

from pipeline.errors import BadValue, Fenced, SpillwayError, StorageError
from sinks.ledger.ledger import Ledger, open_ledger
from spillway.app import App
from spillway.auditor import Auditor
from spillway.backfill_desk import Desk
from spillway.collecting import Collection, Places, pause
from spillway.gap_keeper import GapKeeper
from spillway.health import Health
from spillway.http import Pages, served
from spillway.jobs import Jobs
from spillway.klines import KlineChecker, KlineRules, StoredMinutes
from spillway.loop_lag import LoopLag
from spillway.metrics import Parts, exposed, registry_of
from spillway.sources import VenueSource, check_venues
from spillway.supervise import GaveUp, essential, exit_later, restarted, until_stopped
from spillway.survey import Survey
from spillway.systemd import Notices

Part: TypeAlias = Callable[[], Awaitable[None]]

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
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by their names
    health: Health = field(init=False)
    _registry: CollectorRegistry = field(init=False)

    def __post_init__(self) -> None:
        auditor = Auditor(self.app, self.collections, self.stop)
        self.jobs = Jobs(self.app, self.ledger, self.collections, Survey(self.app), auditor)
        database = self.ledger.database if self.ledger else None
        self.parts = Parts(self.collections, self.checkers, self.jobs.survey, self.jobs.tally, self.lag, database, auditor)
        self._registry = registry_of(self.parts)
        self.health = Health(self.app, self.collections, self.jobs.survey, self.jobs.tally, self.lag, self.tasks)

    async def run(self) -> None:
        """Runs until `stop` is set; then takes no more, flushes what came, finishes jobs, and returns."""
        for entry in self.app.settings.collect:
            self.collections.append(Collection(self.app, entry, self._gap_log(entry.venue), self.places))
        schedule = self.jobs.schedule()
        schedule.start(time.time_ns)
        http = self.app.settings.http
        pages = Pages(self.metrics, self.health.alive, self.health.ready, http.token.get_secret_value() if http.token else "")
        try:
            async with served(http.host, http.port, pages), asyncio.TaskGroup() as tasks:
                for name, part in self._essential():
                    self.tasks[name] = tasks.create_task(essential(name, part, self.stop), name=name)
                for name, part in self._restarted():
                    self.jobs.tally.restarts[name] = 0
                    running = restarted(name, part, self.stop, self.jobs.tally.restarted)
                    self.tasks[name] = tasks.create_task(running, name=name)
        except BaseExceptionGroup as group:
            raise first_of(group) from None
        finally:
            await schedule.stop()

    def metrics(self) -> bytes:
        """What Prometheus is told."""
        return exposed(self._registry)

    def unfinished(self) -> list[str]:
        """What hasn't ended yet: parts, jobs, and instruments whose writers still hold their leases."""
        parts = [name for name, task in self.tasks.items() if not task.done()]
        jobs = [f"job {name}" for name, job in self.jobs.tally.jobs.items() if job.began_s is not None]
        writers = [f"writer of {c.entry.venue} {symbol}" for c in self.collections for symbol in c.feeds]
        return [*parts, *jobs, *writers]

    # --- parts ----------------------------------------------------------------------------------------------------------

    def _essential(self) -> Iterator[tuple[str, Part]]:
        """Without these the service is none."""
        for collection in self.collections:
            yield f"collect {collection.entry.venue}", partial(collection.run, self.stop)
        yield "hope", self._while_there_is_hope
        yield "loop lag", partial(self.lag.run, self.stop)

    def _restarted(self) -> Iterator[tuple[str, Part]]:
        """What fails in here is logged, and begins again."""
        for collection in self.collections:
            checker = self._checker(collection)
            if checker:
                self.checkers.append(checker)
                yield f"klines {collection.entry.venue}", partial(self._until_stop, partial(checker.run, self.stop))
        yield "backfills", partial(Desk(self.app, self.collections).run, self.stop)
        yield "systemd", partial(Notices.of(os.environ).run, self.stop, self.health.alive)

    async def _until_stop(self, part: Part) -> None:
        """A part that is left as it is at `stop`: a request may have long to wait until the venue wants to hear from us."""
        running, stopping = asyncio.ensure_future(part()), asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            stopping.cancel()
            await asyncio.gather(running, stopping, return_exceptions=True)

    async def _while_there_is_hope(self) -> None:
        """A service that every venue refuses for good, and that has collected nothing, ends with that error."""
        while not self.stop.is_set():
            reasons = [collection.hopeless for collection in self.collections]
            if all(reasons) and not any(collection.total("trades") for collection in self.collections):
                raise SpillwayError(reasons[0])
            await pause(self.stop, LOOK_S)

    def _checker(self, collection: Collection) -> KlineChecker | None:
        """Who holds the venue's minutes against its own account of them, as far as this process writes them."""
        source = collection.source
        if self.ledger is None or not isinstance(source, VenueSource):
            return None
        symbols = collection.entry.symbols
        return KlineChecker(
            venue=source.venue,
            symbols=symbols,
            get=partial(source.rest.get, urgent=False),
            minutes=StoredMinutes(self.app.window, self.app.keeper),
            book=self.ledger.klines,
            mine=lambda instrument: instrument.symbol in collection.feeds,
            rules=KlineRules(every_s=max(CHECK_S, 2 * len(symbols) / source.venue.limits.requests_per_s)),
        )

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
        service, hurry = Service(app, ledger, Places(most)), asyncio.Event()

        def told() -> None:
            (hurry if service.stop.is_set() else service.stop).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told)
        try:
            await until_stopped(service, hurry, app.settings.schedule.stop_s)
        except Fenced as fenced:
            raise SpillwayError(f"stopped: {fenced}") from None
        except GaveUp as error:
            exit_later(str(error))
            raise


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
