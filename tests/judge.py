"""Judges what a data folder holds against the trades it was fed: plain decimals, plain dictionaries, none of our code."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Levels = dict[tuple[int, Decimal], list[Any]]  # (minute, price) -> buy, sell, total, count


def expected(rows: Iterable[dict[str, str]]) -> Levels:
    """The levels of csv-like rows with time (ms), id, price, size, side; an id that comes again counts once."""
    levels: Levels = defaultdict(lambda: [Decimal(0), Decimal(0), Decimal(0), 0])
    seen = set()
    for row in rows:
        if row["id"] in seen:
            continue
        seen.add(row["id"])
        level = levels[int(row["time"]) // 60_000, Decimal(row["price"]).normalize()]
        size = Decimal(row["size"])
        if row["side"]:
            level[0 if row["side"] == "buy" else 1] += size
        level[2] += size
        level[3] += 1
    return dict(levels)


def stored(data: Path) -> Levels:
    """All levels in the minute files and the Parquet below a folder; of a minute in both, the higher revision."""
    best: dict[int, tuple[int, Levels]] = {}
    for minute, revision, levels in [*_in_files(data), *_in_parquet(data)]:
        if minute not in best or revision > best[minute][0]:
            best[minute] = (revision, levels)
    return {key: row for _, levels in best.values() for key, row in levels.items()}


def differences(want: Levels, have: Levels) -> list[str]:
    """The levels that differ, for people; empty when all are equal."""
    keys = sorted(want.keys() | have.keys())
    return [f"{k}: expected {want.get(k)}, stored {have.get(k)}" for k in keys if want.get(k) != have.get(k)]


def write_tape(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    """Rows as a csv tape with a header."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["time", "id", "price", "size", "side"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def _in_files(data: Path) -> Iterator[tuple[int, int, Levels]]:
    for path in sorted(data.rglob("trades_*.json")):
        doc = json.loads(path.read_text(), parse_float=Decimal, parse_int=Decimal)
        when = datetime.fromisoformat(doc["timestamp"]).replace(tzinfo=UTC)
        assert path.name == f"trades_{when:%Y%m%d_%H%M}.json"
        minute = int(when.timestamp()) // 60
        yield minute, int(doc["revision"]), {(minute, Decimal(k).normalize()): _row(v) for k, v in doc["price_levels"].items()}


def _in_parquet(data: Path) -> Iterator[tuple[int, int, Levels]]:
    for path in sorted(data.rglob("levels/**/*.parquet")):
        beside = Path(str(path).replace("/levels/", "/minutes/"))
        if not beside.exists():
            continue  # a compaction died before it was done: the minute files are still the data
        levels, minutes = pq.ParquetFile(path).read().to_pylist(), pq.ParquetFile(beside).read().to_pylist()
        revisions = {int(row["timestamp"].timestamp()) // 60: row["revision"] for row in minutes}
        found: dict[int, Levels] = defaultdict(dict)
        for row in levels:
            minute = int(row["timestamp"].timestamp()) // 60
            key = (minute, Decimal(str(row["price_level"])).normalize())
            assert key not in found[minute], f"{path}: {key} stands twice"
            found[minute][key] = _row(row)
        for minute, rows in found.items():
            yield minute, revisions[minute], rows


def _row(values: dict[str, Any]) -> list[Any]:
    buy, sell, total = (Decimal(str(values[name])) for name in ("buy_volume", "sell_volume", "total_volume"))
    assert Decimal(str(values["delta"])) == buy - sell
    return [buy, sell, total, int(values["trade_count"])]
