"""What lies where: window, minute files, archive, Redis, disks; as the last survey saw it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from pipeline.window_facts import Fill, RedisFacts
from sinks.disk_guard import Disk
from spillway.metrics.families import INSTRUMENT, Labelled, Row, T, counters, gauges
from spillway.survey import Kept, Survey

_FILLS: list[Row[Fill]] = [
    Row("window_buckets", "Sealed minute buckets in the Redis window.", lambda fill: fill.minutes),
    Row("window_bytes", "What they take of Redis's memory.", lambda fill: fill.bytes),
    Row(
        "oldest_unspilled_minute_timestamp_seconds",
        "When the oldest sealed minute in the window began.",
        lambda fill: None if fill.oldest is None else fill.oldest * NS_PER_MINUTE / NS_PER_S,
    ),
]
_KEPT: list[Row[Kept]] = [
    Row("minute_files", "Minute files that lie there.", lambda kept: kept.minute_files),
    Row("archive_partitions", "Days of the instrument in the Parquet archive.", lambda kept: kept.archive_days),
    Row("archive_bytes", "What they take of the disk.", lambda kept: kept.archive_bytes),
]
_REDIS: list[Row[RedisFacts]] = [
    Row("redis_used_memory_bytes", "Memory that Redis uses.", lambda redis: redis.used_bytes),
    Row("redis_max_memory_bytes", "Memory that Redis may use; 0: as much as there is.", lambda redis: redis.limit_bytes),
    Row("redis_persistence_ok", "1 while Redis appends each write to its file, and can.", lambda redis: redis.persists),
    Row("redis_eviction_policy_ok", "1 while Redis would refuse writes before it evicts.", lambda redis: redis.keeps_all),
]
_EVICTED: list[Row[RedisFacts]] = [Row("redis_evicted_keys", "Keys that Redis threw away.", lambda redis: redis.evicted_keys)]
_DISKS: list[Row[Disk]] = [
    Row("disk_free_bytes", "Free on the disk that holds the folder, for a user who isn't root.", lambda disk: disk.free),
    Row("disk_size_bytes", "Size of that disk.", lambda disk: disk.total),
]
_SURVEYS: list[Row[Survey]] = [
    Row(
        "window_length_seconds",
        "How far the window reaches back by the settings: what is older has to be spilled.",
        lambda survey: survey.app.settings.redis.window_hours * 3600,
    ),
    Row("redis_up", "1 while Redis answered the last survey.", lambda survey: survey.redis_up if survey.seen_ns else None),
    Row(
        "survey_timestamp_seconds",
        "When window, Redis and disks were looked at last.",
        lambda survey: survey.seen_ns / NS_PER_S or None,
    ),
    Row(
        "backup_last_success_timestamp_seconds",
        "When the ledger's newest backup was made.",
        lambda survey: survey.backup_ns / NS_PER_S or None,
    ),
]


def of_survey(survey: Survey, instruments: Sequence[Instrument]) -> Iterator[Metric]:
    """What the last survey saw, of the instruments of this service."""
    yield from gauges(_SURVEYS, (), [((), survey)])
    redis: list[Labelled[RedisFacts]] = [((), survey.redis)] if survey.redis else []
    yield from gauges(_REDIS, (), redis)
    yield from counters(_EVICTED, (), redis)
    yield from gauges(_DISKS, ("folder",), [((name,), disk) for name, disk in survey.disks.items()])
    yield from gauges(_FILLS, INSTRUMENT, _of(survey.fills, instruments))
    yield from gauges(_KEPT, INSTRUMENT, _of(survey.kept, instruments))


def _of(found: dict[Instrument, T], instruments: Sequence[Instrument]) -> list[Labelled[T]]:
    return [((i.venue, i.symbol), found[i]) for i in instruments if i in found]
