"""What the service exposes is named by Prometheus's rules, and `docs/metrics.md` tells of each metric, and of no other."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from spillway.app import opened
from spillway.service import Service
from spillway.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \| (.*) \|")
LABELS = {"venue", "symbol", "name", "folder", "operation", "version", "python", "quantity", "part"}
NOT_BASE = {"minutes", "hours", "days", "milliseconds", "ms", "ns", "kb", "mb", "percent", "age"}
KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


@asynccontextmanager
async def families(folder: Path) -> AsyncIterator[list[Metric]]:
    async with opened(Settings(data_dir=folder)) as app:
        yield list(Service(app).parts.collect())


def exposed_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


async def test_each_metric_has_a_help_a_type_and_a_name_by_prometheus_rules(tmp_path: Path) -> None:
    async with families(tmp_path) as found:
        assert len(found) > 50
        assert len({family.name for family in found}) == len(found)
        for family in found:
            name = family.name
            assert re.fullmatch(r"spillway_[a-z_]+", name), name
            assert family.documentation.endswith(".") and len(family.documentation) > 10, name
            assert isinstance(family, KINDS[family.type]), name
            assert not NOT_BASE & set(name.split("_")), f"{name}: base units"
            assert set(family._labelnames) <= LABELS, name  # type: ignore[attr-defined]
            assert not name.endswith(("_total", "_count", "_sum", "_bucket")), f"{name}: a suffix that its type adds"
            if family.type == "histogram":
                assert name.endswith("_seconds"), name
            if "timestamp" in name:
                assert name.endswith("_timestamp_seconds") and family.type == "gauge", name


async def test_the_documentation_tells_of_each_metric_and_of_no_other(tmp_path: Path) -> None:
    told = {row[0]: row[1:] for row in ROW.findall(DOCS.read_text())}
    async with families(tmp_path) as found:
        exposed = {
            exposed_name(f): (f.type, ", ".join(f"`{name}`" for name in f._labelnames), f.documentation)  # type: ignore[attr-defined]
            for f in found
        }
    assert told == exposed
