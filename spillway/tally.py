"""What the service's jobs did since it started: counted where they run, told by the metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.histogram import LONG_S, Histogram
from pipeline.spill import SpillReport
from sinks.compact import DayReport


def _long() -> Histogram:
    return Histogram(LONG_S)


@dataclass(slots=True)
class JobTally:
    """One job's runs. A skip is a run that another process's, or its own that isn't over, made needless."""

    every_s: float = 0.0
    runs: int = 0
    failures: int = 0
    skips: int = 0
    last_success_ns: int = 0
    seconds: Histogram = field(default_factory=_long)
    began_s: float | None = None  # of a run that isn't over, by a monotonic clock

    def begin(self, now_s: float) -> None:
        """A run begins."""
        self.runs += 1
        self.began_s = now_s

    def end(self, now_s: float) -> None:
        """It ends, one way or the other."""
        self.seconds.observe(now_s - (self.began_s if self.began_s is not None else now_s))
        self.began_s = None


@dataclass(slots=True)
class Tally:
    """All jobs, and what the spill and the compaction moved."""

    jobs: dict[str, JobTally] = field(default_factory=dict)
    spilled_minutes: int = 0
    spilled_early: int = 0
    spilled_bytes: int = 0
    spill_failures: int = 0
    compacted_minutes: int = 0
    compaction_problems: int = 0
    removed_days: int = 0
    reloads: int = 0  # of the settings, the failed among them
    reload_failures: int = 0
    restarts: dict[str, int] = field(default_factory=dict)  # of parts that failed, by their names

    def restarted(self, part: str) -> None:
        """Counts that a part failed, and begins again."""
        self.restarts[part] = self.restarts.get(part, 0) + 1

    def job(self, name: str) -> JobTally:
        """A job's tally."""
        return self.jobs.setdefault(name, JobTally())

    def spilled(self, report: SpillReport) -> None:
        """Counts what a spill did."""
        self.spilled_minutes += report.written + report.early
        self.spilled_early += report.early
        self.spilled_bytes += report.bytes
        self.spill_failures += len(report.failures)

    def compacted(self, days: Iterable[DayReport]) -> None:
        """Counts what a compaction did."""
        for day in days:
            self.compacted_minutes += day.merged
            self.compaction_problems += len(day.problems)
