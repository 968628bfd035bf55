"""When jobs run. APScheduler's triggers tell the times; whose clock they run by is an argument.

The scheduler only wakes a job: what there is to do, the job finds in the state, so that a missed or doubled run harms nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from pipeline.trade import NS_PER_S


@dataclass(slots=True)
class Job:
    """A repeated piece of work. `run` gets the time, in ns since 1970, of the clock that drives the schedule."""

    name: str
    every_s: float
    run: Callable[[int], Awaitable[None]]
    next_ns: int = 0  # by the tape's clock only
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Schedule:
    """Jobs, driven either by wall time (`start`) or by a tape's own time (`advance`)."""

    jobs: list[Job]
    on_error: Callable[[str, BaseException], None]
    on_skip: Callable[[str], None] = lambda name: None
    _scheduler: AsyncIOScheduler | None = None

    def start(self, clock_ns: Callable[[], int]) -> None:
        """Runs the jobs by wall time. A run that was missed (the loop was busy, the machine slept) is made up, once."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        for job in self.jobs:
            scheduler.add_job(
                self._woken,
                IntervalTrigger(seconds=job.every_s, timezone=UTC),
                args=[job, clock_ns],
                id=job.name,
                next_run_time=datetime.now(UTC),
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )
        scheduler.add_listener(self._heard, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)
        scheduler.start()
        self._scheduler = scheduler

    async def stop(self) -> None:
        """Starts no more runs, and waits for those that are under way: APScheduler itself would cancel them."""
        if self._scheduler:
            self._scheduler.pause()
            while running := [job for job in self.jobs if job.busy.locked()]:  # again: one may have been about to begin
                async with running[0].busy:
                    pass
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    async def advance(self, now_ns: int) -> None:
        """Runs what is due by a tape's clock: each job at most once, however far the clock has moved."""
        for job in self.jobs:
            if now_ns >= job.next_ns:
                job.next_ns = _after(job, now_ns)
                await job.run(now_ns)

    async def _woken(self, job: Job, clock_ns: Callable[[], int]) -> None:
        async with job.busy:
            await job.run(clock_ns())

    def _heard(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_ERROR:
            self.on_error(event.job_id, event.exception)
        else:
            self.on_skip(event.job_id)


def _after(job: Job, now_ns: int) -> int:
    """The job's next time, on the grid of its interval."""
    interval_ns = max(1, round(job.every_s * NS_PER_S))
    return (now_ns // interval_ns + 1) * interval_ns
