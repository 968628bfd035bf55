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

from pipeline.errors import Fenced, SpillwayError, StorageError
from sinks.ledger.ledger import Ledger, open_ledger
from spillway.app import App
from spillway.auditor import Auditor
from spillway.backfill_desk import Desk
from spillway.collecting import Collection, Places, pause
from spillway.health import Health
from spillway.http import Pages, served
from spillway.jobs import Jobs
from spillway.klines import KlineChecker
from spillway.loop_lag import LoopLag
from spillway.metrics import Parts, exposed, registry_of
from spillway.reload import Reloader, SettingsFile, check_entries
from spillway.roster import Roster
from spillway.supervise import GaveUp, essential, exit_later, restarted, until_stopped
from spillway.survey import Survey
from spillway.systemd import Notices

Part: TypeAlias = Callable[[], Awaitable[None]]

log = structlog.get_logger()

STDERR = 2  # what it is, also where it is closed
LOOK_S = 1.0  # between two looks whether there is anything left to collect


@dataclass(slots=True)
class Service:
    """All collections of the settings, with their writers and jobs, in one process."""

    app: App
    ledger: Ledger | None = None
    places: Places = field(default_factory=Places)
    source: SettingsFile | None = None  # looked at again while it runs
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)  # set to have the settings loaded again
    collections: list[Collection] = field(default_factory=list)
    checkers: list[KlineChecker] = field(default_factory=list)
    lag: LoopLag = field(default_factory=LoopLag)
    jobs: Jobs = field(init=False)
    parts: Parts = field(init=False)  # what its metrics are read from
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by their names
    health: Health = field(init=False)
    roster: Roster = field(init=False)
    _notices: Notices = field(init=False)
    _registry: CollectorRegistry = field(init=False)

    def __post_init__(self) -> None:
        auditor = Auditor(self.app, self.collections, self.stop)
        self.jobs = Jobs(self.app, self.ledger, self.collections, Survey(self.app), auditor)
        self.roster = Roster(
            self.app, self.ledger, self.places, self.stop, self.jobs.tally, self.collections, self.checkers, self.tasks
        )
        self._notices = Notices.of(os.environ)
        database = self.ledger.database if self.ledger else None
        self.parts = Parts(self.collections, self.checkers, self.jobs.survey, self.jobs.tally, self.lag, database, auditor)
        self._registry = registry_of(self.parts)
        self.health = Health(self.app, self.collections, self.jobs.survey, self.jobs.tally, self.lag, self.tasks)

    async def run(self) -> None:
        """Runs until `stop` is set; then takes no more, flushes what came, finishes jobs, and returns."""
        crews = self.roster.enter(self.app.settings.collect)
        schedule = self.jobs.schedule()
        schedule.start(time.time_ns)
        http = self.app.settings.http
        pages = Pages(self.metrics, self.health.alive, self.health.ready, http.token.get_secret_value() if http.token else "")
        try:
            async with served(http.host, http.port, pages), asyncio.TaskGroup() as tasks:
                tasks.create_task(self.roster.run(), name="roster")
                self.roster.begin(crews, tasks)
                for name, part in self._essential():
                    self.tasks[name] = tasks.create_task(essential(name, part, self.stop), name=name)
                for name, part in self._restarted(tasks):
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
        """Without these, and those who collect, the service is none."""
        yield "hope", self._while_there_is_hope
        yield "loop lag", partial(self.lag.run, self.stop)

    def _restarted(self, group: asyncio.TaskGroup) -> Iterator[tuple[str, Part]]:
        """What fails in here is logged, and begins again."""
        yield "backfills", partial(Desk(self.app, self.collections).run, self.stop)
        yield "systemd", partial(self._notices.run, self.stop, self.health.alive)
        if self.source:
            change = partial(self.roster.change, group=group)
            reloader = Reloader(self.app, self.source, change, self._notices, self.jobs.tally, self.reload)
            yield "settings", partial(reloader.run, self.stop)

    async def _while_there_is_hope(self) -> None:
        """A service that every venue refuses for good, and that has collected nothing, ends with that error."""
        while not self.stop.is_set():
            reasons = [collection.hopeless for collection in self.collections]
            collected = self.roster.has_collected or any(collection.total("trades") for collection in self.collections)
            if all(reasons) and not collected:
                raise SpillwayError(reasons[0])
            await pause(self.stop, LOOK_S)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error itself, of a group in which there may be groups: what was cancelled for its sake tells nothing."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def run_service(app: App, *, most: int | None = None, source: SettingsFile | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT. `most`: so many instruments; others are left to other processes.

    SIGHUP has the settings loaded again from `source`, but where it comes from a terminal that was closed: that is as SIGTERM.
    BadValue for venues that can't be collected.
    """
    check_entries(app.settings.collect)
    with _ledger(app.settings.ledger_url) as ledger:
        service, hurry = Service(app, ledger, Places(most), source), asyncio.Event()

        def told() -> None:
            (hurry if service.stop.is_set() else service.stop).set()

        on_terminal = os.isatty(STDERR)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, lambda: told() if on_terminal and hung_up() else service.reload.set()
        )
        try:
            await until_stopped(service, hurry, app.settings.schedule.stop_s)
        except Fenced as fenced:
            raise SpillwayError(f"stopped: {fenced}") from None
        except GaveUp as error:
            exit_later(str(error))
            raise


def hung_up() -> bool:
    """Whether the terminal that the logs went to is gone; they then go nowhere, since each line would be an error."""
    if os.isatty(STDERR):
        return False
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), STDERR)
    return True


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
