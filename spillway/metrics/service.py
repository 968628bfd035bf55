"""All metrics of a service, as one page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pipeline.instrument import Instrument
from sinks.ledger.database import Database
from spillway.auditor import Auditor
from spillway.collecting import Collection
from spillway.klines import KlineChecker
from spillway.loop_lag import LoopLag
from spillway.metrics.auditing import of_audits
from spillway.metrics.collecting import of_collections, of_klines
from spillway.metrics.running import of_process, of_tally
from spillway.metrics.storage import of_survey
from spillway.survey import Survey
from spillway.tally import Tally


@dataclass(frozen=True, slots=True, eq=False)
class Parts(Collector):
    """What a service's metrics are read from. Called at each scrape, in the service's own event loop."""

    collections: Sequence[Collection]
    checkers: Sequence[KlineChecker]
    survey: Survey
    tally: Tally
    lag: LoopLag
    database: Database | None
    auditor: Auditor

    def collect(self) -> Iterable[Metric]:
        """Every family, also those that have nothing to tell yet."""
        yield from of_collections(self.collections)
        yield from of_klines(self.checkers)
        instruments = [Instrument(c.entry.venue, symbol) for c in self.collections for symbol in c.entry.symbols]
        audits = self.auditor.audits
        yield from of_audits([audits[instrument] for instrument in instruments if instrument in audits])
        yield from of_survey(self.survey, instruments)
        yield from of_tally(self.tally)
        yield from of_process(self.database, self.lag)


def registry_of(parts: Parts) -> CollectorRegistry:
    """The service's metrics, and the process's own: memory, CPU, open files, start."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(parts)
    ProcessCollector(registry=registry)
    return registry


def exposed(registry: CollectorRegistry) -> bytes:
    """The metrics in Prometheus' text format."""
    return generate_latest(registry)
