"""When jobs run: by a tape's clock, or by the wall's through APScheduler, which must lose no run and cancel none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from pipeline.schedule import Job, Schedule
from pipeline.trade import NS_PER_S
from tests.pipeline.builders import START_NS

SOON_S = 0.01


def raising(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


class Runs:
    """A job that notes its runs, and may hang or fail."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.finished = 0
        self.at_once = 0
        self.most_at_once = 0
        self.ran = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def __call__(self, now_ns: int) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self.ran:
            self.times.append(now_ns)
            self.ran.notify_all()
        await self.gate.wait()
        self.at_once -= 1
        self.finished += 1
        if self.fails:
            raise ValueError("the job failed")

    async def until(self, count: int) -> None:
        """Waits for so many runs to have begun."""
        async with self.ran:
            await self.ran.wait_for(lambda: len(self.times) >= count)


# --- a tape's clock -----------------------------------------------------------------------------------------------------


def ns(seconds: float) -> int:
    return START_NS + round(seconds * NS_PER_S)


@pytest.mark.parametrize("every_s", [60, 10, 1, 0.5, 0.25, 1.5])
async def test_by_a_tape_s_clock_a_job_runs_once_in_each_interval(every_s: float) -> None:
    runs = Runs()
    schedule = Schedule([Job("job", every_s, runs)], raising)
    for step in range(12):
        for fraction in (0, 0.25, 0.5, 0.99):
            await schedule.advance(ns((step + fraction) * every_s))
    assert len(runs.times) == 12


async def test_however_far_the_tape_leaps_a_job_runs_once_and_gets_the_time() -> None:
    runs = Runs()
    schedule = Schedule([Job("job", 60, runs)], raising)
    for when in (0, 1, 3600 * 24 * 30, 3600 * 24 * 30 + 59, 3600 * 24 * 30 + 60):
        await schedule.advance(ns(when))
    assert runs.times == [ns(0), ns(3600 * 24 * 30), ns(3600 * 24 * 30 + 60)]


async def test_a_tape_s_runs_lie_on_a_grid_whenever_the_first_was() -> None:
    runs = Runs()
    schedule = Schedule([Job("job", 60, runs)], raising)
    for when in (37, 59.9, 60, 61, 119.9, 120.1):
        await schedule.advance(ns(when))
    assert runs.times == [ns(37), ns(60), ns(120.1)]


async def test_a_tape_that_steps_back_runs_nothing() -> None:
    runs = Runs()
    schedule = Schedule([Job("job", 60, runs)], raising)
    for when in (120, 0, 60, 179):
        await schedule.advance(ns(when))
    assert runs.times == [ns(120)]


async def test_by_a_tape_s_clock_each_job_has_its_own_interval_and_its_errors_are_raised() -> None:
    often, seldom, failing = Runs(), Runs(), Runs()
    schedule = Schedule([Job("often", 10, often), Job("seldom", 30, seldom)], raising)
    for when in range(0, 60, 5):
        await schedule.advance(ns(when))
    assert (len(often.times), len(seldom.times)) == (6, 2)
    failing.fails = True
    with pytest.raises(ValueError, match="the job failed"):
        await Schedule([Job("failing", 10, failing)], raising).advance(ns(0))


# --- the wall's clock ---------------------------------------------------------------------------------------------------

Start = Callable[..., Awaitable[Schedule]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a schedule of jobs by name, and stops it at the end."""
    made: list[Schedule] = []

    async def start(
        errors: list[tuple[str, BaseException]] | None = None, skipped: asyncio.Queue[str] | None = None, **runs: Runs
    ) -> Schedule:
        jobs = [Job(name, SOON_S, run) for name, run in runs.items()]
        schedule = Schedule(
            jobs,
            raising if errors is None else lambda name, error: errors.append((name, error)),
            (lambda name: None) if skipped is None else skipped.put_nowait,
        )
        schedule.start(time.time_ns)
        made.append(schedule)
        return schedule

    yield start
    for schedule in made:
        await schedule.stop()


async def test_by_the_wall_s_clock_jobs_run_at_once_and_then_again_and_again(start: Start) -> None:
    one, other = Runs(), Runs()
    before = time.time_ns()
    await start(one=one, other=other)
    await asyncio.gather(one.until(4), other.until(4))
    assert before <= one.times[0] <= one.times[1] <= time.time_ns()


async def test_a_job_that_is_under_way_is_not_started_again_and_the_skip_is_told(start: Start) -> None:
    runs, skipped = Runs(), asyncio.Queue[str]()
    runs.gate.clear()
    await start(skipped=skipped, job=runs)
    for _ in range(3):
        assert await skipped.get() == "job"
    assert len(runs.times) == 1
    runs.gate.set()
    await runs.until(3)
    assert runs.most_at_once == 1


async def test_runs_that_were_skipped_do_not_queue_up(start: Start) -> None:
    runs, skipped = Runs(), asyncio.Queue[str]()
    runs.gate.clear()
    schedule = await start(skipped=skipped, job=runs)
    for _ in range(3):
        await skipped.get()
    stopping = asyncio.create_task(schedule.stop())
    await asyncio.sleep(0)
    runs.gate.set()
    await stopping
    assert runs.finished == 1


async def test_a_run_that_is_hours_late_is_run_all_the_same(start: Start) -> None:
    runs, skipped = Runs(), asyncio.Queue[str]()
    schedule = Schedule([Job("job", 3600, runs)], raising, skipped.put_nowait)
    schedule.start(time.time_ns)
    await runs.until(1)
    assert schedule._scheduler
    schedule._scheduler.modify_job("job", next_run_time=datetime.now(UTC) - timedelta(hours=29.5))
    await runs.until(2)
    await schedule.stop()
    assert skipped.empty()
    assert len(runs.times) == 2


async def test_a_run_that_was_missed_is_made_up_once(start: Start) -> None:
    runs, skipped = Runs(), asyncio.Queue[str]()
    await start(skipped=skipped, job=runs)
    await runs.until(1)
    begun = len(runs.times)
    time.sleep(10 * SOON_S)  # the whole loop stands still: several runs are missed
    await asyncio.sleep(0)
    await runs.until(begun + 1)
    assert len(runs.times) <= begun + 2  # made up in one run, not in ten; the next may have begun
    assert skipped.empty()


async def test_an_error_is_told_and_the_job_runs_on(start: Start) -> None:
    errors: list[tuple[str, BaseException]] = []
    failing, other = Runs(), Runs()
    failing.fails = True
    await start(errors=errors, failing=failing, other=other)
    await asyncio.gather(failing.until(3), other.until(3))
    assert len(errors) >= 2
    assert {(name, str(error)) for name, error in errors} == {("failing", "the job failed")}


async def test_stopping_waits_for_the_run_that_is_under_way_and_begins_no_other(start: Start) -> None:
    runs = Runs()
    runs.gate.clear()
    schedule = await start(job=runs)
    await runs.until(1)
    stopping = asyncio.create_task(schedule.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    runs.gate.set()
    await stopping
    assert (runs.finished, len(runs.times)) == (1, 1)
    await asyncio.sleep(3 * SOON_S)  # nothing can be waited for here: nothing must happen
    assert len(runs.times) == 1
    await schedule.stop()  # again: does nothing


async def test_stopping_cancels_no_run_not_even_one_that_was_just_submitted(start: Start) -> None:
    first, second = Runs(), Runs()
    second.gate.clear()
    schedule = await start(first=first, second=second)
    await asyncio.gather(first.until(1), second.until(1))
    first.gate.clear()
    begun = len(first.times)

    async def let_go() -> None:
        await first.until(begun + 1)
        second.gate.set()
        for _ in range(20):
            await asyncio.sleep(0)
        first.gate.set()

    letting_go = asyncio.create_task(let_go())
    assert schedule._scheduler
    schedule._scheduler.modify_job("first", next_run_time=datetime.now(UTC))
    schedule._scheduler._process_jobs()  # submits the first job; its task has not begun yet
    await schedule.stop()
    await letting_go
    assert (first.finished, second.finished) == (len(first.times), len(second.times))


async def test_a_schedule_that_never_started_stops_at_once() -> None:
    await Schedule([Job("job", 1, Runs())], raising).stop()
