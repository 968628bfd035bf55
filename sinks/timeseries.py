"""Time series of the user's own: entries as JSON lines, `{symbol}_timeseries.jsonl`, and OHLCV frames as Parquet.

Entries are appended by any number of processes at once. Loading skips what can't be read, and tells how much that was.
A Decimal stands in the file digit by digit. Nothing here knows of footprints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import structlog

from pipeline.errors import BadValue, StorageError
from sinks import durable
from sinks.json_lines import JsonLines
from sinks.ohlcv_files import Day, OhlcvFile, OhlcvFiles, safe_name, utc

ROTATE_BYTES = 1_000_000_000
_TOLD = 10  # of the malformed lines, so many are told by place
_SURE_DIGITS = 15  # a float gives back any number of so many
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 10**20
# A time below this counts such units; in microseconds. As in tapes: each bound is far from any time since 2009.
_UNITS = ((10**11, 10**6), (10**14, 10**3), (10**17, 1), (_LATEST, Decimal("0.001")))

log = structlog.get_logger()


class Entries(list[dict[str, Any]]):
    """Loaded entries in the order in which they were saved, and what was left out.

    `malformed`: lines that are no JSON object. `undated`: entries whose time can't be read, where a time range was asked for.
    `places`: `file:line: why` of the first few of both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.malformed = 0
        self.undated = 0
        self.places: list[str] = []


class TimeSeriesDataStore:
    """The time series in a folder. Safe against other threads and processes.

    A `{symbol}_timeseries.jsonl` that would exceed `rotate_bytes` becomes `{symbol}_timeseries.0001.jsonl`, and is still
    loaded. `fsync`: each entry survives a power cut too, and not only the end of its process; that costs a disk's flush.
    """

    def __init__(
        self, storage_path: str | Path = "data/time_series_data", *, rotate_bytes: int = ROTATE_BYTES, fsync: bool = False
    ) -> None:
        if rotate_bytes <= 0:
            raise BadValue(f"rotate_bytes {rotate_bytes}: expected a number above 0")
        self.storage_path = Path(storage_path)
        self._rotate_bytes, self._fsync = rotate_bytes, fsync
        self._frames = OhlcvFiles(self.storage_path)
        durable.make_folder(self.storage_path)

    # --- entries --------------------------------------------------------------------------------------------------------

    def save_data(self, symbol: str, data_entry: dict[str, Any]) -> None:
        """Appends an entry; its `timestamp` is ISO text, a datetime, or a number of seconds, ms, us or ns since 1970.

        BadValue for what can't be kept exactly (NaN, no timestamp); StorageError or DiskFull where it can't be written.
        """
        line = _line(data_entry)
        try:
            self._lines(symbol).append(line)
        except StorageError as error:
            log.error("time series entry not saved", symbol=symbol, error=str(error))
            raise

    def load_data(self, symbol: str, start: Day | None = None, end: Day | None = None, *, exact: bool = False) -> Entries:
        """All entries, or those from `start` up to and without `end`, in the order of the file; empty where there are none.

        A number with a fraction comes as a float where that is exactly it, else as a Decimal; with `exact` always as a Decimal.
        """
        first = None if start is None else _micros(utc("start", start))
        last = None if end is None else _micros(utc("end", end))
        found = Entries()
        decode = partial(json.loads, parse_float=Decimal if exact else _number)
        for line in self._lines(symbol).lines():
            if line.text.strip():
                _take(found, line.text, f"{line.path}:{line.number}", decode=decode, first=first, last=last)
        if found.places:
            log.warning("time series lines skipped", symbol=symbol, malformed=found.malformed, undated=found.undated)
        return found

    # --- frames ---------------------------------------------------------------------------------------------------------

    def save_dataframe(self, asset_pair: str, df: pd.DataFrame, start_date: Day, end_date: Day, timeframe: str) -> None:
        """Keeps an OHLCV frame under its pair, timeframe and range; an empty one is not kept, with a warning."""
        if df.empty:
            log.warning("empty frame not saved", asset_pair=asset_pair, timeframe=timeframe)
            return
        try:
            path = self._frames.save(asset_pair, timeframe, start_date, end_date, df)
        except StorageError as error:
            log.error("frame not saved", asset_pair=asset_pair, timeframe=timeframe, error=str(error))
            raise
        log.info("frame saved", path=str(path), rows=len(df))

    def load_dataframe(self, asset_pair: str, start_date: Day, end_date: Day, timeframe: str) -> pd.DataFrame | None:
        """The frame kept for just this range, with a UTC index named `timestamp`; None, with a warning in the log, where there
        is none or where it can't be read."""
        try:
            return self._frames.load(asset_pair, timeframe, start_date, end_date)
        except StorageError as error:
            log.warning("frame not loaded", asset_pair=asset_pair, timeframe=timeframe, error=str(error))
            return None

    def find_dataframes(self, asset_pair: str | None = None, timeframe: str | None = None) -> list[OhlcvFile]:
        """What frames are kept: pair, timeframe, first and last date, and path."""
        return self._frames.files(asset_pair, timeframe)

    def load_range(self, asset_pair: str, timeframe: str, start: Day, end: Day) -> pd.DataFrame:
        """The rows from `start` up to and without `end` of all frames kept of a pair and timeframe, each time once: the frame
        that begins later wins. StorageError where one of them is damaged."""
        first, last = utc("start", start), utc("end", end)
        files = [f for f in self._frames.files(asset_pair, timeframe) if f.start <= last.date() and f.end >= first.date()]
        frames = [self._frames.read(file) for file in files]
        if not frames:
            return pd.DataFrame(index=pd.DatetimeIndex([], tz=UTC, name="timestamp"))
        whole = pd.concat(frames)
        whole = whole[~whole.index.duplicated(keep="last")].sort_index()
        return whole[(whole.index >= first) & (whole.index < last)]

    # --- names ----------------------------------------------------------------------------------------------------------

    def _get_filepath(self, symbol: str) -> str:
        return str(self.storage_path / f"{safe_name('symbol', symbol).lower()}_timeseries.jsonl")

    def _get_dataframe_filepath(self, asset_pair: str, start_date: Day, end_date: Day, timeframe: str) -> Path:
        return self._frames.path(asset_pair, timeframe, start_date, end_date)

    def _lines(self, symbol: str) -> JsonLines:
        return JsonLines(Path(self._get_filepath(symbol)), self._rotate_bytes, self._fsync)


def _take(
    found: Entries, text: bytes, where: str, *, decode: Callable[[str], Any], first: int | None, last: int | None
) -> None:
    """Adds what a line says, or counts it."""
    try:
        entry = decode(text.decode())
        if not isinstance(entry, dict):
            raise ValueError("no JSON object")
    except (ValueError, RecursionError, ArithmeticError) as error:
        found.malformed += 1
        _tell(found, f"{where}: {error}")
        return
    if first is None and last is None:
        found.append(entry)
        return
    when = _time(entry.get("timestamp"))
    if when is None:
        found.undated += 1
        _tell(found, f"{where}: no timestamp that can be read")
    elif (first is None or when >= first) and (last is None or when < last):
        found.append(entry)


def _tell(found: Entries, what: str) -> None:
    if len(found.places) < _TOLD:
        found.places.append(what)


def _line(entry: dict[str, Any]) -> bytes:
    if not isinstance(entry, dict) or "timestamp" not in entry:
        raise BadValue(f"time series entry of type {type(entry).__name__}: expected a dict with a 'timestamp'")
    when = entry["timestamp"]
    if _time(when) is None:
        told = repr(when[:40]) if isinstance(when, str) else f"of type {type(when).__name__}"
        raise BadValue(f"timestamp {told}: expected ISO text, a datetime, or a number of seconds, ms, us or ns since 1970")
    try:
        return orjson.dumps(_plain(entry), option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValue(f"time series entry with {list(entry)[:5]}: {error}") from None


def _plain(value: Any) -> Any:
    """A value in what JSON has, each number digit by digit. TypeError for what JSON can't hold."""
    match value:
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case dict() if all(isinstance(key, str) for key in value):
            return {str.__str__(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case int():
            return orjson.Fragment(str(int(value)).encode())  # of any length
        case Decimal() if value.is_finite():
            return orjson.Fragment(str(value).encode())
        case float() if math.isfinite(value):
            return float(value)
        case date() if not pd.isna(value):
            return value.isoformat()
        case np.generic() if not isinstance(value.item(), np.generic):
            return _plain(value.item())
    raise TypeError(f"{str(value)[:40]!r} of type {type(value).__name__} can't stand in JSON")


def _number(text: str) -> float | Decimal:
    """A float where its shortest text is the same number, else the exact decimal."""
    number = float(text)
    if len(text) <= _SURE_DIGITS:
        return number
    exact = Decimal(text)
    return number if math.isfinite(number) and Decimal(repr(number)) == exact else exact


def _time(value: Any) -> int | None:
    """An entry's time in microseconds since 1970; None for what is none."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or value is None or value is pd.NaT:
        return None
    if isinstance(value, int | float | Decimal):
        return _number_time(value)
    try:
        return _micros(utc("timestamp", value))
    except BadValue:
        return None


def _number_time(value: float | Decimal) -> int | None:
    """A number's unit is told by its magnitude: seconds below 1e11, then milliseconds, microseconds, nanoseconds."""
    if isinstance(value, int) and abs(value) >= _LATEST:
        return None
    number = Decimal(str(value))
    if not number.is_finite() or abs(number) >= _LATEST:
        return None
    return int(number * next(unit for bound, unit in _UNITS if abs(number) < bound))


def _micros(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)
