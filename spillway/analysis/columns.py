"""Frames as they come in: pandas or Arrow, of levels or of minutes, from wherever. Their columns as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.errors import BadValue
from spillway.analysis.exact import Floats, Integers

Frame: TypeAlias = pd.DataFrame | pa.Table

US_PER_MINUTE = 60_000_000
_INSTRUMENT = ("venue", "symbol")


def require(frame: Frame, names: Iterable[str]) -> None:
    """BadValue unless the frame has these columns, and is of one instrument."""
    present = names_of(frame)
    missing = [name for name in names if name not in present]
    if missing:
        raise BadValue(f"the frame has no column {', '.join(missing)}; it has {', '.join(present)}")
    for name in _INSTRUMENT:
        if name in present and len(found := pd.unique(series(frame, name))) > 1:
            raise BadValue(f"the frame holds several instruments ({name} {', '.join(map(str, found[:3]))}): take one at a time")


def names_of(frame: Frame) -> list[str]:
    """A frame's columns, the index of a pandas frame among them where it is called timestamp."""
    if isinstance(frame, pa.Table):
        return list(frame.column_names)
    return [*map(str, frame.columns), *(["timestamp"] if frame.index.name == "timestamp" else [])]


def series(frame: Frame, name: str) -> pd.Series:
    """One column."""
    if isinstance(frame, pa.Table):
        column: pd.Series = frame[name].to_pandas()
        return column
    return frame[name] if name in frame.columns else frame.index.to_series()


def numbers(frame: Frame, name: str) -> Floats:
    """One column as float64."""
    try:
        return np.ascontiguousarray(series(frame, name).to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise BadValue(f"{name}: expected a column of numbers") from None


def counts(frame: Frame, name: str) -> Integers:
    """One column of whole numbers."""
    values = numbers(frame, name)
    if not np.isfinite(values).all():
        raise BadValue(f"{name}: row {int(np.argmin(np.isfinite(values)))} is no number")
    return values.astype(np.int64)


def minutes_of(frame: Frame) -> Integers:
    """The column timestamp as minutes since 1970 UTC; naive times are UTC. BadValue for what is no whole minute."""
    column = series(frame, "timestamp")
    if not isinstance(column.dtype, pd.DatetimeTZDtype) and column.dtype.kind != "M":
        raise BadValue("timestamp: expected a column of times")
    times = pd.DatetimeIndex(column).as_unit("us").asi8
    minutes = times // US_PER_MINUTE
    if (minutes * US_PER_MINUTE != times).any():
        raise BadValue(f"timestamp: row {int(np.argmax(minutes * US_PER_MINUTE != times))} is no whole minute")
    return minutes


def timestamps(minutes: Integers) -> pd.DatetimeIndex:
    """Minutes since 1970 as the column timestamp of all frames: UTC, microseconds."""
    return pd.DatetimeIndex((minutes * US_PER_MINUTE).view("M8[us]")).tz_localize("UTC")
