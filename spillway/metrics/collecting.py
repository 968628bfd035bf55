"""What became of the trades: of each instrument, and of each venue's connections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pipeline.feed import Feed
from pipeline.histogram import together
from pipeline.trade import NS_PER_S
from pipeline.writer import Counts
from spillway.collecting import Collection
from spillway.klines import KlineChecker
from spillway.metrics.families import INSTRUMENT, VENUE, Labelled, Row, counters, gauges, histogram

_COUNTS: list[Row[Counts]] = [
    Row("trades", "Trades taken into Redis.", lambda counts: counts.taken),
    Row("duplicates", "Trades dropped because their ids were taken before.", lambda counts: counts.duplicates),
    Row("late", "Trades of a minute that was sealed before; it got a new revision.", lambda counts: counts.late),
    Row("malformed", "Trades that were none: no time, no price, no size.", lambda counts: counts.rejected),
    Row("flushes", "Writes to Redis.", lambda counts: counts.flushes),
    Row("sealed_buckets", "Minute buckets sealed.", lambda counts: counts.sealed),
    Row(
        "sealed_whole_buckets",
        "Of these, those whose trade ids prove that nothing is missing: complete or repaired.",
        lambda counts: counts.whole,
    ),
    Row("rewinds", "Times that Redis had gone back and was told again.", lambda counts: counts.rewinds),
]
_LEASE: list[Row[bool]] = [Row("lease_held", "1 while this process is the instrument's writer, 0 while it stands by.", float)]
_FEED: list[Row[Feed]] = [
    Row("watermark_timestamp_seconds", "The latest exchange time taken.", lambda feed: feed.writer.watermark_ns / NS_PER_S),
    Row("last_price", "The close of the newest open minute, as it stands.", lambda feed: _number(feed.writer.last_price)),
    Row("gap_ids_open", "Trade ids that are missing now.", lambda feed: sum(map(len, feed.gaps()))),
]
_VOLUMES: list[Row[Feed]] = [
    Row("buy_volume", "What takers bought, since recording began.", lambda feed: float(feed.writer.sided_volumes[0])),
    Row("sell_volume", "What takers sold, since recording began.", lambda feed: float(feed.writer.sided_volumes[1])),
]


def _summed(value: Callable[[Collection], int]) -> Callable[[Sequence[Collection]], float]:
    return lambda entries: sum(map(value, entries))


def _total(counter: str) -> Callable[[Sequence[Collection]], float]:
    return _summed(lambda entry: entry.total(counter))


def _number(exact: Decimal | None) -> float | None:
    """A picture needs no more than that; what has to be exact is never read from a metric."""
    return None if exact is None else float(exact)


def _last_frame(entries: Sequence[Collection]) -> float | None:
    """None until a message came: a time of 1970 would look like a feed that was silent for decades."""
    return min((ns for entry in entries if (ns := entry.last_frame_ns)), default=0) / NS_PER_S or None


# All entries of a venue together: it may stand in the settings more than once.
_VENUE_COUNTERS: list[Row[Sequence[Collection]]] = [
    Row("frames", "Websocket messages received.", _total("frames")),
    Row("other_frames", "Messages that held no trade: acknowledgements, heartbeats.", _total("other")),
    Row("rejected_frames", "Messages or trades in them that could not be read.", _total("rejected")),
    Row("repaired_trades", "Trades fetched by REST.", _total("repaired")),
    Row("connections", "Connections opened because none was there.", _total("connections")),
    Row("replaced_connections", "Connections replaced before the venue cut them.", _total("replaced")),
    Row("reconnects", "Connections lost and opened again.", _total("reconnects")),
    Row("dead_letters", "What went to the dead letters.", _summed(lambda entry: entry.dead_letters)),
    Row("recording_dropped_frames", "Frames that could not be recorded.", _summed(lambda entry: entry.dropped_frames)),
]
_VENUE_GAUGES: list[Row[Sequence[Collection]]] = [
    Row("refused_symbols", "Symbols that the venue refuses.", _summed(lambda entry: len(entry.all_refused))),
    Row("connections_up", "Connections open now.", _summed(lambda entry: sum(each.connected for each in entry.collectors))),
    Row(
        "exchange_lag_seconds",
        "From the newest trade's exchange time to its arrival, the worst of all connections.",
        lambda entries: max(entry.lag_ns for entry in entries) / NS_PER_S,
    ),
    Row(
        "last_frame_timestamp_seconds",
        "When the last message came, on the connection that was silent for longest.",
        _last_frame,
    ),
]


def of_collections(collections: Sequence[Collection]) -> Iterator[Metric]:
    """All that is known of what is collected."""
    symbols = [(c, symbol, (c.entry.venue, symbol)) for c in collections for symbol in c.entry.symbols]
    yield from counters(_COUNTS, INSTRUMENT, [(names, c.counts(symbol)) for c, symbol, names in symbols])
    yield from gauges(_LEASE, INSTRUMENT, [(names, symbol in c.feeds) for c, symbol, names in symbols])
    feeds = [(names, c.feeds[symbol]) for c, symbol, names in symbols if symbol in c.feeds]
    yield from gauges(_FEED, INSTRUMENT, feeds)
    yield from counters(_VOLUMES, INSTRUMENT, feeds)
    venues = _by_venue(collections)
    yield from counters(_VENUE_COUNTERS, VENUE, venues)
    yield from gauges(_VENUE_GAUGES, VENUE, venues)
    flushes = [(names, together(entry.flush_seconds for entry in entries)) for names, entries in venues]
    yield histogram("flush_seconds", "A write to Redis, with all its tries.", VENUE, flushes)
    yield from _gaps(collections)


def of_klines(checkers: Iterable[KlineChecker]) -> Iterator[Metric]:
    """What came of the comparison with the venue's own minutes."""
    checked = CounterMetricFamily("spillway_klines_checked", "Minutes compared with the venue's.", labels=INSTRUMENT)
    differing = CounterMetricFamily("spillway_klines_differing", "Of these, those that differ.", labels=INSTRUMENT)
    for checker in checkers:
        for instrument, sums in checker.sums.items():
            checked.add_metric([instrument.venue, instrument.symbol], sums.checked)
            differing.add_metric([instrument.venue, instrument.symbol], sums.differing)
    yield from (checked, differing)


def _by_venue(collections: Sequence[Collection]) -> list[Labelled[Sequence[Collection]]]:
    found: defaultdict[str, list[Collection]] = defaultdict(list)
    for collection in collections:
        found[collection.entry.venue].append(collection)
    return [((venue,), entries) for venue, entries in found.items()]


def _gaps(collections: Sequence[Collection]) -> Iterator[Metric]:
    found = CounterMetricFamily("spillway_gap_ids_found", "Trade ids found missing, ever.", labels=INSTRUMENT)
    repaired = CounterMetricFamily("spillway_gap_ids_repaired", "Of these, those that came later.", labels=INSTRUMENT)
    lost = GaugeMetricFamily("spillway_gap_ids_lost", "Of these, those that the venue doesn't have.", labels=INSTRUMENT)
    failed = CounterMetricFamily("spillway_gap_log_failures", "Times that the ledger took no gap.")
    for collection in collections:
        for instrument, sums in collection.gap_sums.items():
            for family, value in ((found, sums.found), (repaired, sums.repaired), (lost, sums.lost)):
                family.add_metric([instrument.venue, instrument.symbol], value)
    logs = {id(c.gap_log): c.gap_log for c in collections if c.gap_log}  # all entries of a venue have one
    failed.add_metric([], sum(gap_log.failed for gap_log in logs.values()))
    yield from (found, repaired, lost, failed)
