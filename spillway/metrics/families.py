"""Metrics as Prometheus wants them: a row says a metric's name, what it tells, and how it is read from a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from pipeline.histogram import Histogram

T = TypeVar("T")
Labelled: TypeAlias = tuple[Sequence[str], T]  # a part, with the values of its metrics' labels

PREFIX = "spillway_"
INSTRUMENT = ("venue", "symbol")
VENUE = ("venue",)


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A metric. `value` gives None where a part has nothing to tell."""

    name: str  # without the prefix, and without `_total`
    told: str
    value: Callable[[T], float | None]


def counters(rows: Sequence[Row[T]], labels: Sequence[str], parts: Sequence[Labelled[T]]) -> Iterator[Metric]:
    """What only goes up."""
    return _plain(CounterMetricFamily, rows, labels, parts)


def gauges(rows: Sequence[Row[T]], labels: Sequence[str], parts: Sequence[Labelled[T]]) -> Iterator[Metric]:
    """What goes up and down."""
    return _plain(GaugeMetricFamily, rows, labels, parts)


def histogram(name: str, told: str, labels: Sequence[str], parts: Sequence[Labelled[Histogram]]) -> Metric:
    """How long something took, in seconds."""
    family = HistogramMetricFamily(PREFIX + name, told, labels=list(labels))
    for names, part in parts:
        bounds = [*map(str, part.bounds), "+Inf"]
        family.add_metric(list(names), list(zip(bounds, part.cumulative, strict=True)), part.sum)
    return family


def _plain(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    rows: Sequence[Row[T]],
    labels: Sequence[str],
    parts: Sequence[Labelled[T]],
) -> Iterator[Metric]:
    for row in rows:
        family = kind(PREFIX + row.name, row.told, labels=list(labels))
        for names, part in parts:
            value = row.value(part)
            if value is not None:
                family.add_metric(list(names), value)
        yield family
