"""How the process does: its jobs, its ledger, its event loop, and which build it is."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from prometheus_client.core import GaugeMetricFamily, Metric

from pipeline.trade import NS_PER_S
from sinks.ledger.database import Database
from spillway.loop_lag import LoopLag
from spillway.metrics.families import PREFIX, Row, counters, gauges, histogram
from spillway.tally import JobTally, Tally

# Not `job`: Prometheus itself gives every sample that label, and would call ours `exported_job`.
_JOB = ("name",)
_JOBS: list[Row[JobTally]] = [
    Row("job_runs", "Runs of a job, the failed among them.", lambda job: job.runs),
    Row("job_failures", "Runs of a job that ended with an error.", lambda job: job.failures),
    Row("job_skips", "Runs of a job that were not due: another process, or the run before, was at it.", lambda job: job.skips),
]


def _last_success(job: JobTally) -> float | None:
    return job.last_success_ns / NS_PER_S or None


_LAST: list[Row[JobTally]] = [
    Row("job_last_success_timestamp_seconds", "When a job last ended without an error.", _last_success),
]
_MOVED: list[Row[Tally]] = [
    Row("spilled_buckets", "Minute buckets that left Redis for minute files.", lambda tally: tally.spilled_minutes),
    Row(
        "spilled_early_buckets", "Of these, those before their time: Redis neared its limit.", lambda tally: tally.spilled_early
    ),
    Row("spilled_bytes", "Bytes of the minute files written.", lambda tally: tally.spilled_bytes),
    Row("spill_failures", "Minute buckets that could not be spilled, and stay in Redis.", lambda tally: tally.spill_failures),
    Row(
        "compacted_buckets",
        "Minute buckets that went from minute files into the archive.",
        lambda tally: tally.compacted_minutes,
    ),
    Row("compaction_failures", "Minute files and days that could not be compacted.", lambda tally: tally.compaction_problems),
    Row("removed_partitions", "Days of an instrument that retention removed.", lambda tally: tally.removed_days),
    Row("settings_reloads", "Times that the settings were loaded again, the failed among them.", lambda tally: tally.reloads),
    Row("settings_reload_failures", "Times that they could not be used, and all went on.", lambda tally: tally.reload_failures),
]
_RESTARTS: list[Row[int]] = [Row("part_restarts", "Times that a part of the service failed and began again.", float)]


def of_tally(tally: Tally) -> Iterator[Metric]:
    """What the jobs did."""
    jobs = [((name,), job) for name, job in tally.jobs.items()]
    yield from counters(_JOBS, _JOB, jobs)
    yield from gauges(_LAST, _JOB, jobs)
    yield from counters(_MOVED, (), [((), tally)])
    yield from counters(_RESTARTS, ("part",), [((name,), restarts) for name, restarts in tally.restarts.items()])
    for what, job in (("spill", tally.job("spill")), ("compaction", tally.job("compact"))):
        yield histogram(f"{what}_seconds", f"A run of the {what}.", (), [((), job.seconds)])
        last = Row(f"{what}_last_success_timestamp_seconds", f"When the {what} last ended without an error.", _last_success)
        yield from gauges([last], (), [((), job)])


def of_process(database: Database | None, lag: LoopLag) -> Iterator[Metric]:
    """The ledger's times, the event loop's lag, and the build."""
    up = GaugeMetricFamily(PREFIX + "ledger_up", "1 where the ledger could be opened.")
    up.add_metric([], database is not None)
    yield up
    kinds = [(("read",), database.read_seconds), (("write",), database.write_seconds)] if database else []
    told = "A transaction or question of the ledger, by this process."
    yield histogram("ledger_operation_seconds", told, ("operation",), kinds)
    yield histogram("event_loop_lag_seconds", "How late the event loop woke who asked for it.", (), [((), lag.seconds)])
    build = GaugeMetricFamily(PREFIX + "build_info", "1; which Spillway runs, on which Python.", labels=["version", "python"])
    build.add_metric([_version(), platform.python_version()], 1)
    yield build


def _version() -> str:
    try:
        return metadata.version("spillway")
    except metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return "unknown"
