"""What the audit found: the one number that must be 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from pipeline.trade import NS_PER_S
from spillway.audit import Audit
from spillway.metrics.families import INSTRUMENT, PREFIX, Row, gauges

_TIMES: list[Row[Audit]] = [
    Row("audit_timestamp_seconds", "When the instrument was audited last.", lambda audit: audit.seen_ns / NS_PER_S or None),
    Row(
        "audit_baseline_timestamp_seconds",
        "Since when its imbalance is counted.",
        lambda audit: audit.baseline_ns / NS_PER_S or None,
    ),
]


def of_audits(audits: Sequence[Audit]) -> Iterator[Metric]:
    """The imbalance of each instrument that was audited, and when that was."""
    told = "What window, files and archive hold less what was accepted, since the baseline: 0, or something is wrong."
    imbalance = GaugeMetricFamily(f"{PREFIX}imbalance", told, labels=[*INSTRUMENT, "quantity"])
    named = [((audit.instrument.venue, audit.instrument.symbol), audit) for audit in audits]
    for names, audit in named:
        if audit.seen_ns:
            for quantity, value in audit.imbalance._asdict().items():
                imbalance.add_metric([*names, quantity], float(value))
    yield imbalance
    yield from gauges(_TIMES, INSTRUMENT, named)
