"""What the service does again and again beside collecting: seal, spill, compact, back up, survey. Each run is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from pipeline.errors import JobRunning, StorageError
from pipeline.schedule import Job, Schedule
from pipeline.trade import NS_PER_S
from sinks.ledger.ledger import Ledger
from spillway import ledger_backups, retention
from spillway.app import App
from spillway.auditor import AUDIT_S, Auditor
from spillway.collecting import Collection
from spillway.compact import as_dict, compact_finished, merge_months
from spillway.survey import Survey
from spillway.tally import Tally

log = structlog.get_logger()

RECONCILE_S = 10.0  # between two looks at what became of the gaps
SURVEY_S = 10.0  # between two looks at what lies where


@dataclass(slots=True)
class Jobs:
    """The jobs of a service. `collections` may grow."""

    app: App
    ledger: Ledger | None
    collections: Sequence[Collection]
    survey: Survey
    auditor: Auditor
    tally: Tally = field(default_factory=Tally)

    def schedule(self) -> Schedule:
        """All of them, with their times. An error in one is logged, and it comes again at its next time."""
        times = self.app.settings.schedule
        jobs = [
            Job("seal", times.seal_every_s, self._seal),
            Job("reconcile", RECONCILE_S, self._reconcile),
            Job("spill", times.spill_every_s, self._spill),
            Job("compact", times.compact_every_s, self._compact),
            Job("ledger backup", ledger_backups.LOOK_S, self._back_up),
            Job("survey", SURVEY_S, self.survey.look),
            Job("audit", AUDIT_S, self.auditor.run),
        ]
        return Schedule([self._counted(job) for job in jobs], _failed, self._skipped)

    def _counted(self, job: Job) -> Job:
        """The job, with its runs counted. JobRunning is no failure: another process does it."""
        tally = self.tally.job(job.name)
        tally.every_s = job.every_s

        async def run(now_ns: int) -> None:
            tally.begin(time.monotonic())
            try:
                await job.run(now_ns)
            except JobRunning as running:
                tally.skips += 1
                log.info("job skipped", job=job.name, reason=str(running))
            except BaseException:
                tally.failures += 1
                raise
            else:
                tally.last_success_ns = time.time_ns()
            finally:
                tally.end(time.monotonic())

        return Job(job.name, job.every_s, run)

    def _skipped(self, name: str) -> None:
        self.tally.job(name).skips += 1

    # --- the jobs -------------------------------------------------------------------------------------------------------

    async def _seal(self, now_ns: int) -> None:
        for collection in self.collections:
            for feed in list(collection.feeds.values()):
                feed.tick()

    async def _reconcile(self, now_ns: int) -> None:
        for collection in self.collections:
            await collection.reconcile()

    async def _spill(self, now_ns: int) -> None:
        report = await self.app.spill()
        self.tally.spilled(report)
        if report.written or report.early:
            log.info("spilled", minutes=report.written, bytes=report.bytes, early=report.early)
        for failure in report.failures:
            log.error("spill failed", instrument=str(failure.instrument), minute=failure.minute, error=str(failure.error))
        if report.failures:
            raise StorageError(f"{len(report.failures)} minutes stay in Redis: {report.failures[0].error}")

    async def _compact(self, now_ns: int) -> None:
        """Retention first, which makes room; then the days that are over, and the months."""
        delay_s = (self.app.settings.redis.window_hours + self.app.settings.schedule.compact_delay_hours) * 3600
        swept = await retention.remove_expired(self.app, now_ns)
        for removed in swept.found:
            log.info("removed by retention", **retention.as_dict(removed))
        self.tally.removed_days += sum(len(removed.unit.days) for removed in swept.found if not removed.stays)
        days = await compact_finished(self.app, now_ns - int(delay_s * NS_PER_S))
        self.tally.compacted(days)
        for day in days:
            log.info("compacted", **as_dict(day))
        for merged in await merge_months(self.app, now_ns):
            log.info("merged", **merged.as_dict())
        for line in [*map(str, swept.problems), *await retention.disk_warnings(self.app, now_ns)]:
            log.warning(line)

    async def _back_up(self, now_ns: int) -> None:
        if self.ledger is None:
            return
        done = await asyncio.to_thread(ledger_backups.back_up_when_due, self.app.settings, self.ledger.database)
        if done:
            log.info("ledger backed up", file=str(done.made.path), removed=len(done.removed))


def _failed(name: str, error: BaseException) -> None:
    log.error("job failed", job=name, error=str(error) or type(error).__name__)
