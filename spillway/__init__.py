"""Spillway from Python: `store = spillway.open("data")`, then `store.levels(...)`, `store.minutes(...)`, `store.bars(...)`,
`store.trades(...)`, `store.coverage(...)`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from spillway.settings import Redis, Settings

if TYPE_CHECKING:  # pandas takes half a second to import: only who reads needs it
    from spillway.sample import data_or_sample
    from spillway.store import Store
    from spillway.timeseries import TimeSeriesDataStore

__all__ = ["Settings", "TimeSeriesDataStore", "data_or_sample", "open"]


def open(source: str | Path | Settings = "data", *, data_dir: str | Path | None = None) -> Store:
    """A store to read from: a data folder, a Redis URL (with `data_dir` for what left Redis), or settings.

    Raises a SpillwayError whose one line says what is wrong: RedisUnavailable, StorageError, SettingsError.
    """
    from spillway.store import Store

    if isinstance(source, Settings):
        return Store(source)
    if "://" in str(source):
        return Store(Settings(data_dir=Path(data_dir or "data"), redis=Redis(url=str(source))))
    return Store(Settings(data_dir=Path(source)))


def __getattr__(name: str) -> object:
    """What is imported only when it is asked for."""
    if name == "TimeSeriesDataStore":
        return import_module("spillway.timeseries").TimeSeriesDataStore
    if name == "data_or_sample":
        return import_module("spillway.sample").data_or_sample
    if name in ("analysis", "plot"):
        return import_module(f"spillway.{name}")
    raise AttributeError(f"module 'spillway' has no attribute {name!r}")
