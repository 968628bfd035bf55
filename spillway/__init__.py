"""Spillway from Python: `store = spillway.open("data")`, then `store.levels(...)`, `store.minutes(...)`, `store.bars(...)`,
`store.trades(...)`, `store.coverage(...)`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spillway.settings import Redis, Settings

if TYPE_CHECKING:  # pandas takes half a second to import: only who reads needs it
    from spillway.store import Store

__all__ = ["Settings", "open"]


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
