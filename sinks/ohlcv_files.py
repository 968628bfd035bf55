"""OHLCV frames as `{asset_pair}_{timeframe}_{start_date}_{end_date}.parquet`: written whole or not at all, found and read back.

The name holds dates; the exact ranges stand in the file's metadata. A frame of other hours on the same dates joins the file,
it doesn't replace what is there. Times are UTC, in an index named `timestamp`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeAlias, cast
from urllib.parse import unquote

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadValue, StorageError
from pipeline.instrument import MAX_NAME, path_name
from sinks import durable, folders

Day: TypeAlias = date | datetime | str
Range: TypeAlias = tuple[datetime, datetime]

_NAME = re.compile(r"(.+)_([^_]+)_(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)\.parquet", re.ASCII)
_FACTS = b"spillway"
_TIME_COLUMNS = ("timestamp", "datetime", "date", "time")


class _Facts(msgspec.Struct, frozen=True):
    """What a file says of itself."""

    asset_pair: str
    timeframe: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class OhlcvFile:
    """A kept frame: what it is of, by its name."""

    asset_pair: str
    timeframe: str
    start: date
    end: date
    path: Path


@dataclass(frozen=True, slots=True)
class OhlcvFiles:
    """The frames in a folder. Safe against other processes."""

    root: Path

    def path(self, asset_pair: str, timeframe: str, start: Day, end: Day) -> Path:
        """A frame's file, whether it is there or not. BadValue for a range that runs backwards, and for no name."""
        first, last = _range(start, end)
        names = (safe_name("asset pair", asset_pair), safe_name("timeframe", timeframe).replace("_", "%5F"))
        return self.root / f"{names[0]}_{names[1]}_{first.date()}_{last.date()}.parquet"

    def save(self, asset_pair: str, timeframe: str, start: Day, end: Day, frame: pd.DataFrame) -> Path:
        """Keeps a frame. The same range again takes the place of the former. BadValue for a frame without times."""
        path, asked = self.path(asset_pair, timeframe, start, end), _range(start, end)
        frame = in_utc(frame)
        durable.make_folder(self.root)
        with durable.folder_lock(self.root):
            others = [r for r in self._ranges(path) if r != asked]
            if others:
                former = _read(path)
                frame = pd.concat([former[~former.index.isin(frame.index)], frame]).sort_index(kind="stable")
            facts = _Facts(asset_pair, timeframe, tuple(sorted([*others, asked])))
            durable.replace_durably(path, _encoded(frame, facts))
        return path

    def load(self, asset_pair: str, timeframe: str, start: Day, end: Day) -> pd.DataFrame | None:
        """The frame that was kept for just this range; None where there is none. StorageError where it is damaged."""
        path, asked = self._found(self.path(asset_pair, timeframe, start, end)), _range(start, end)
        if path is None:
            return None
        facts = _facts(path)
        if facts and asked not in facts.ranges:
            return None
        frame = _read(path)
        return _between(frame, asked) if facts and len(facts.ranges) > 1 else frame

    def files(self, asset_pair: str | None = None, timeframe: str | None = None) -> list[OhlcvFile]:
        """What is kept, of a pair and timeframe or of all, in order."""
        named = [(match, self.root / match[0]) for match in map(_NAME.fullmatch, folders.names(self.root)) if match]
        found = [file for match, path in named if (file := _file(match, path))]
        wanted = [f for f in found if asset_pair in (None, f.asset_pair) and timeframe in (None, f.timeframe)]
        return sorted(wanted, key=lambda f: (f.asset_pair, f.timeframe, f.start, f.end))

    def read(self, file: OhlcvFile) -> pd.DataFrame:
        """All rows of a kept frame. StorageError where it is damaged."""
        return _read(file.path)

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _found(self, path: Path) -> Path | None:
        """The file, or one whose name differs in case only: other software writes all names small."""
        if path.exists():
            return path
        same = [name for name in folders.names(self.root) if name.casefold() == path.name.casefold()]
        return self.root / same[0] if same else None

    def _ranges(self, path: Path) -> tuple[Range, ...]:
        """The ranges that a file holds. A damaged one is set aside, so that it can be looked at and is in nobody's way."""
        if not path.exists():
            return ()
        try:
            facts = _facts(path)
            _read(path)
        except StorageError:
            durable.rename(path, path.with_name(f"{path.name}.damaged"))
            return ()
        return facts.ranges if facts else ()


def safe_name(what: str, name: str) -> str:
    """`name` as a part of a file's name; what is ordinary stays as it is. BadValue for what is no name."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise BadValue(f"{what} {name!r}: expected 1 to {MAX_NAME} printable characters")
    return path_name(name)


def in_utc(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a UTC DatetimeIndex named `timestamp`; times without an offset are UTC. BadValue where it has none."""
    if not isinstance(frame.index, pd.DatetimeIndex):
        column = next((name for name in _TIME_COLUMNS if name in frame.columns), None)
        if column is not None:
            frame = frame.set_index(column)
        elif not all(isinstance(label, str | date) for label in frame.index):
            raise BadValue(f"a frame with columns {list(frame.columns)}: expected a DatetimeIndex, or a column 'timestamp'")
    try:
        if pd.api.types.is_numeric_dtype(frame.index):
            raise ValueError("they are numbers of no known unit")
        index = pd.DatetimeIndex(pd.to_datetime(frame.index, utc=True, format="ISO8601"))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadValue(f"a frame's times can't be read: {str(error).splitlines()[0]}") from None
    if index.hasnans:
        raise BadValue("a frame's times: expected one in each row")
    return frame.set_axis(index.rename("timestamp"), axis="index").sort_index(kind="stable")


def utc(what: str, value: Day) -> datetime:
    """A time as users give it. BadValue for what is none."""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(when, datetime):
            when = datetime(when.year, when.month, when.day)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise BadValue(f"{what} {value!r}: expected a time such as 2024-10-23 or 2024-10-23T14:30") from None


def _range(start: Day, end: Day) -> Range:
    first, last = utc("start", start), utc("end", end)
    if last < first:
        raise BadValue(f"time range {start} to {end}: the end is before the start")
    return first, last


def _file(name: re.Match[str], path: Path) -> OhlcvFile | None:
    try:
        start, end = date.fromisoformat(name[3]), date.fromisoformat(name[4])
    except ValueError:  # not in the calendar: no name of ours
        return None
    return OhlcvFile(unquote(name[1]), unquote(name[2]), start, end, path)


def _between(frame: pd.DataFrame, asked: Range) -> pd.DataFrame:
    """The rows of a range, both ends too; an end at midnight is its whole day, as the name of the file says."""
    end = asked[1] + timedelta(days=1, microseconds=-1) if asked[1].time() == datetime.min.time() else asked[1]
    return frame[(frame.index >= asked[0]) & (frame.index <= end)]


def _encoded(frame: pd.DataFrame, facts: _Facts) -> memoryview:
    try:
        table = pa.Table.from_pandas(frame, preserve_index=True)
        sink = pa.BufferOutputStream()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FACTS: msgspec.json.encode(facts)})
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadValue(f"a frame that Parquet can't hold: {str(error).splitlines()[0]}") from None
    return memoryview(sink.getvalue())


def _facts(path: Path) -> _Facts | None:
    """What the file says of itself; None for one that isn't ours."""
    try:
        with durable.explained(path, "read"):
            found = pq.read_schema(path).metadata or {}
        return msgspec.json.decode(found[_FACTS], type=_Facts) if _FACTS in found else None
    except (pa.ArrowException, msgspec.MsgspecError, ValueError) as error:
        raise StorageError(f"{path}: is damaged: {str(error).splitlines()[0]}") from None


def _read(path: Path) -> pd.DataFrame:
    try:
        with durable.explained(path, "read"):
            table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        return in_utc(cast(pd.DataFrame, table.to_pandas()))
    except (pa.ArrowException, BadValue, ValueError) as error:
        raise StorageError(f"{path}: is damaged: {str(error).splitlines()[0]}") from None
