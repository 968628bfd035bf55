"""The service's jobs: each run is counted for what it was, and what fails comes again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pipeline.errors import JobRunning, StorageError
from pipeline.instrument import Instrument
from pipeline.schedule import Job
from pipeline.spill import Failure, SpillReport
from sinks import durable
from spillway.app import App, opened
from spillway.jobs import Jobs
from spillway.service import Service
from spillway.settings import Settings
from spillway.tally import JobTally


@pytest_asyncio.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Jobs]:
    async with opened(Settings(data_dir=tmp_path / "data")) as app:
        yield Service(app).jobs


def job_of(jobs: Jobs, name: str) -> Job:
    return next(job for job in jobs.schedule().jobs if job.name == name)


def counts(tally: JobTally) -> tuple[int, int, int, bool]:
    assert tally.seconds.count == tally.runs and tally.began_s is None
    return tally.runs, tally.failures, tally.skips, tally.last_success_ns > 0


async def test_a_run_that_ends_well_is_its_last_success(jobs: Jobs) -> None:
    before = time.time_ns()
    await job_of(jobs, "spill").run(before)
    assert counts(jobs.tally.job("spill")) == (1, 0, 0, True)
    assert jobs.tally.job("spill").last_success_ns >= before


async def test_a_run_that_another_process_makes_needless_is_skipped_and_no_failure(jobs: Jobs) -> None:
    with durable.job_lock(jobs.app.settings.storage_dir, "spill"):
        await job_of(jobs, "spill").run(0)
    assert counts(jobs.tally.job("spill")) == (1, 0, 1, False)


async def test_a_run_that_fails_is_counted_and_its_error_goes_on_to_the_schedule(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spill(self: App) -> SpillReport:
        failure = Failure(Instrument("binance", "BTCUSDT"), 0, StorageError("no room"))
        return SpillReport(written=3, bytes=30, failures=[failure, failure], early=2)

    monkeypatch.setattr(App, "spill", spill)
    with pytest.raises(StorageError, match="2 minutes stay in Redis: no room"):
        await job_of(jobs, "spill").run(0)
    assert counts(jobs.tally.job("spill")) == (1, 1, 0, False)
    tally = jobs.tally
    assert (tally.spilled_minutes, tally.spilled_early, tally.spilled_bytes, tally.spill_failures) == (5, 2, 30, 2)


async def test_while_it_runs_it_is_known_since_when(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    async def spill(self: App) -> SpillReport:
        assert jobs.tally.job("spill").began_s is not None
        raise JobRunning("enough seen")

    monkeypatch.setattr(App, "spill", spill)
    await job_of(jobs, "spill").run(0)
    assert jobs.tally.job("spill").began_s is None


async def test_the_survey_keeps_what_it_saw_of_a_redis_that_is_gone(jobs: Jobs) -> None:
    await job_of(jobs, "survey").run(1)
    seen = jobs.survey.redis
    assert seen and jobs.survey.redis_up and seen.persists and seen.keeps_all
    assert set(jobs.survey.disks) == {"data", "storage", "archive", "backups", "redis"}
    await jobs.app.window.client.config_set("maxmemory-policy", "allkeys-lru")
    await job_of(jobs, "survey").run(2)
    assert jobs.survey.redis and not jobs.survey.redis.keeps_all
    working = jobs.app.window.client
    jobs.app.window.client = type(working)(unix_socket_path="/nowhere.sock")
    await job_of(jobs, "survey").run(3)
    assert (jobs.survey.redis_up, jobs.survey.redis is not None, jobs.survey.seen_ns) == (False, True, 3)
    assert "can't be reached" in jobs.survey.redis_problem
    await jobs.app.window.client.aclose()
    jobs.app.window.client = working
