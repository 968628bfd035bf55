"""What the service tells Prometheus: read from its parts at each scrape, so that no part needs to know of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.feed import Feed
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_S
from pipeline.writer import Counts
from spillway.collecting import Collection
from spillway.klines import KlineChecker

T = TypeVar("T")

_INSTRUMENT = ["venue", "symbol"]
_VENUE = ["venue"]

# name, help, and what it is of an instrument's counts
_COUNTERS: list[tuple[str, str, Callable[[Counts], int]]] = [
    ("trades", "Trades taken into Redis.", lambda counts: counts.taken),
    ("duplicates", "Trades dropped because their ids were taken before.", lambda counts: counts.duplicates),
    ("late", "Trades of a minute that was sealed before; it got a new revision.", lambda counts: counts.late),
    ("malformed", "Trades that were none: no time, no price, no size.", lambda counts: counts.rejected),
    ("flushes", "Writes to Redis.", lambda counts: counts.flushes),
    ("sealed_minutes", "Minutes sealed.", lambda counts: counts.sealed),
    ("rewinds", "Times that Redis had gone back and was told again.", lambda counts: counts.rewinds),
]
_LEASE = [("lease_held", "1 while this process is the instrument's writer, 0 while it stands by.", float)]
_FEED_GAUGES: list[tuple[str, str, Callable[[Feed], float]]] = [
    ("watermark_timestamp_seconds", "The latest exchange time taken.", lambda feed: feed.writer.watermark_ns / NS_PER_S),
    ("gap_ids_open", "Trade ids that are missing now.", lambda feed: sum(map(len, feed.gaps()))),
]
_COLLECTION_COUNTERS: list[tuple[str, str, Callable[[Collection], int]]] = [
    ("frames", "Websocket messages received.", lambda c: c.total("frames")),
    ("other_frames", "Messages that held no trade: acknowledgements, heartbeats.", lambda c: c.total("other")),
    ("rejected_frames", "Messages or trades in them that could not be read.", lambda c: c.total("rejected")),
    ("repaired_trades", "Trades fetched by REST.", lambda c: c.total("repaired")),
    ("connections", "Connections opened because none was there.", lambda c: c.total("connections")),
    ("replaced_connections", "Connections replaced before the venue cut them.", lambda c: c.total("replaced")),
    ("reconnects", "Connections lost and opened again.", lambda c: c.total("reconnects")),
    ("dead_letters", "What went to the dead letters.", lambda c: c.dead_letters),
    (
        "recording_dropped_frames",
        "Frames that could not be recorded.",
        lambda c: c.source.recorder.dropped_frames if c.source.recorder else 0,
    ),
]
_COLLECTION_GAUGES: list[tuple[str, str, Callable[[Collection], float]]] = [
    ("refused_symbols", "Symbols that the venue refuses.", lambda c: len(c.all_refused)),
    ("connections_up", "Connections open now.", lambda c: sum(1 for each in c.collectors if each.connected)),
    ("exchange_lag_seconds", "From the newest trade's exchange time to its arrival.", lambda c: c.lag_ns / NS_PER_S),
    ("last_frame_timestamp_seconds", "When the last message came.", lambda c: c.last_frame_ns / NS_PER_S),
]


@dataclass(frozen=True, slots=True, eq=False)
class ServiceMetrics(Collector):
    """All metrics of a service."""

    collections: Sequence[Collection]
    checkers: Sequence[KlineChecker]

    def collect(self) -> Iterable[Metric]:
        """Called at each scrape, in the service's own event loop."""
        symbols = [(c, symbol, [c.entry.venue, symbol]) for c in self.collections for symbol in c.entry.symbols]
        counts = [(names, c.counts(symbol)) for c, symbol, names in symbols]
        feeds = [(names, c.feeds[symbol]) for c, symbol, names in symbols if symbol in c.feeds]
        yield from _families(CounterMetricFamily, _COUNTERS, _INSTRUMENT, counts)
        yield from _families(
            GaugeMetricFamily, _LEASE, _INSTRUMENT, [(names, symbol in c.feeds) for c, symbol, names in symbols]
        )
        yield from _families(GaugeMetricFamily, _FEED_GAUGES, _INSTRUMENT, feeds)
        collections = [([c.entry.venue], c) for c in self.collections]
        yield from _families(CounterMetricFamily, _COLLECTION_COUNTERS, _VENUE, collections)
        yield from _families(GaugeMetricFamily, _COLLECTION_GAUGES, _VENUE, collections)
        yield from self._gaps()
        yield from self._klines()

    def _gaps(self) -> Iterator[Metric]:
        found = CounterMetricFamily("spillway_gap_ids_found", "Trade ids found missing, ever.", labels=_INSTRUMENT)
        repaired = CounterMetricFamily("spillway_gap_ids_repaired", "Of these, those that came later.", labels=_INSTRUMENT)
        lost = GaugeMetricFamily("spillway_gap_ids_lost", "Of these, those that the venue doesn't have.", labels=_INSTRUMENT)
        failed = CounterMetricFamily("spillway_gap_log_failures", "Times that the ledger took no gap.")
        for collection in self.collections:
            for instrument, sums in collection.gap_sums.items():
                for family, value in ((found, sums.found), (repaired, sums.repaired), (lost, sums.lost)):
                    family.add_metric(_names(instrument), value)
        failed.add_metric([], sum(c.gap_log.failed for c in self.collections if c.gap_log))
        yield from (found, repaired, lost, failed)

    def _klines(self) -> Iterator[Metric]:
        checked = CounterMetricFamily("spillway_klines_checked", "Minutes compared with the venue's.", labels=_INSTRUMENT)
        differing = CounterMetricFamily("spillway_klines_differing", "Of these, those that differ.", labels=_INSTRUMENT)
        for checker in self.checkers:
            for instrument, sums in checker.sums.items():
                checked.add_metric(_names(instrument), sums.checked)
                differing.add_metric(_names(instrument), sums.differing)
        yield from (checked, differing)


def exposed(collections: Sequence[Collection], checkers: Sequence[KlineChecker]) -> bytes:
    """The service's metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(ServiceMetrics(collections, checkers))
    return generate_latest(registry)


def _families(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    rows: Sequence[tuple[str, str, Callable[[T], float]]],
    labels: list[str],
    parts: Sequence[tuple[list[str], T]],
) -> Iterator[Metric]:
    for name, told, value in rows:
        family = kind(f"spillway_{name}", told, labels=labels)
        for names, part in parts:
            family.add_metric(names, value(part))
        yield family


def _names(instrument: Instrument) -> list[str]:
    return [instrument.venue, instrument.symbol]
