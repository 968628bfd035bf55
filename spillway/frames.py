"""What a reader may ask its data as: pandas, Arrow, Polars, or lazily a Polars LazyFrame or a DuckDB relation.

The only place that knows Polars and DuckDB; each is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.errors import BadValue, SpillwayError
from pipeline.instrument import Instrument
from sinks.archive import Prices
from sinks.tables import TIME, US_PER_MINUTE
from spillway.reading import STATUSES, Files, Lasting

PANDAS, ARROW, POLARS, LAZY, DUCKDB = KINDS = ("pandas", "arrow", "polars", "lazy", "duckdb")
LAZY_KINDS = (LAZY, DUCKDB)
_DECIMAL = "notional"


class NotInstalled(SpillwayError):
    """A library that was asked for isn't installed."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a lazy frame is to give: one instrument's range, and which of its rows and columns."""

    instrument: Instrument
    found: Lasting
    columns: Sequence[str]
    prices: Prices = (None, None)
    status: Sequence[str] | None = None  # of minutes
    named: bool = False  # with columns venue and symbol in front

    @property
    def order(self) -> list[str]:
        """What rows stand in order of."""
        return [name for name in ("timestamp", "price_level") if name in self.found.loose.column_names]

    def sortable(self) -> Scan:
        """The same with the columns that it takes to sort, where it must be sorted."""
        if not self.found.replaced:
            return self
        return replace(self, columns=list(dict.fromkeys([*self.columns, *self.order])))


def check_kind(kind: str, kinds: Sequence[str] = KINDS) -> None:
    """BadValue for what no data come as; NotInstalled where its library is missing."""
    if kind not in kinds:
        raise BadValue(f"as_={kind!r}: expected one of {', '.join(kinds)}")
    if kind in (POLARS, LAZY):
        _polars()
    elif kind == DUCKDB:
        _duckdb()


def converted(table: pa.Table, kind: str) -> Any:
    """A table that is in memory, as what was asked for."""
    if kind == PANDAS:
        return table.to_pandas()
    if kind == POLARS:
        return _polars().from_arrow(table)
    if kind == LAZY:
        return _polars().from_arrow(table).lazy()
    return _relation(table) if kind == DUCKDB else table


def scanned(scans: Sequence[Scan], kind: str) -> Any:
    """A LazyFrame or a relation over the archive's files and what isn't in them. Nothing of the files is read yet."""
    return _lazy_frame(scans) if kind == LAZY else _lazy_relation(scans)


# --- Polars -------------------------------------------------------------------------------------------------------------


def _lazy_frame(scans: Sequence[Scan]) -> Any:
    pl = _polars()
    frames = [frame for scan in scans for frame in _polars_frames(pl, scan)]
    return pl.concat(frames, how="vertical")


def _polars_frames(pl: ModuleType, scan: Scan) -> list[Any]:
    """The range in time order: sorted only where a loose minute stands between archived ones."""
    wide = scan.sortable()
    frames = [_polars_files(pl, wide, files) for files in scan.found.files]
    frames.append(_polars_shaped(pl, wide, pl.from_arrow(scan.found.loose).lazy()))
    if not scan.found.replaced:
        return frames
    return [pl.concat(frames, how="vertical").sort(scan.order).select([*_names(scan), *scan.columns])]


def _polars_files(pl: ModuleType, scan: Scan, files: Files) -> Any:
    frame = pl.scan_parquet(files.paths, hive_partitioning=False)
    first, last = (pl.lit(minute * US_PER_MINUTE).cast(pl.Datetime("us", "UTC")) for minute in (files.first, files.last))
    frame = frame.filter(pl.col("timestamp") >= first, pl.col("timestamp") < last)
    if scan.found.replaced:
        gone = pl.Series([m * US_PER_MINUTE for m in scan.found.replaced]).cast(pl.Datetime("us", "UTC"))
        frame = frame.filter(~pl.col("timestamp").is_in(gone.implode()))
    return _polars_shaped(pl, scan, frame)


def _polars_shaped(pl: ModuleType, scan: Scan, frame: Any) -> Any:
    low, high = scan.prices
    if low is not None:
        frame = frame.filter(pl.col("price_level") >= low)
    if high is not None:
        frame = frame.filter(pl.col("price_level") <= high)
    if scan.status is not None:
        frame = frame.filter(pl.col("status").cast(pl.String).is_in(list(scan.status)))
    casts = {"status": pl.Enum(STATUSES), _DECIMAL: pl.Float64}
    columns = [pl.col(n).cast(pl.String).cast(casts[n]) if n == "status" else pl.col(n) for n in scan.columns]
    columns = [c.cast(casts[n]) if n == _DECIMAL else c for n, c in zip(scan.columns, columns, strict=True)]
    names = [pl.lit(v).alias(n) for n, v in _names(scan).items()]
    return frame.select([*names, *columns])


# --- DuckDB -------------------------------------------------------------------------------------------------------------


def _relation(table: pa.Table) -> Any:
    return _connection().from_arrow(table)


def _lazy_relation(scans: Sequence[Scan]) -> Any:
    """One query over all: a union of the files' rows and the loose ones, in time order for each instrument."""
    database = _connection()
    selects: list[str] = []
    for number, scan in enumerate(scans):
        loose = f"loose_{number}"
        database.register(loose, ds.dataset(scan.found.loose))
        wide, outdated = scan.sortable(), []
        if scan.found.replaced:
            database.register(f"replaced_{number}", _times_of(scan.found.replaced))
            outdated = [f"timestamp not in (select timestamp from replaced_{number})"]
        rows = [_select(wide, _files_sql(files), [*_between(files), *outdated]) for files in scan.found.files]
        rows.append(_select(wide, loose, []))
        if scan.found.replaced:
            columns = ", ".join(f'"{name}"' for name in (*_names(scan), *scan.columns))
            rows = [f"select {columns} from (select * from ({' union all '.join(rows)}) order by {', '.join(scan.order)})"]
        selects += rows
    return database.sql(" union all ".join(selects))


def _times_of(minutes: Sequence[int]) -> pa.Table:
    return pa.table({"timestamp": pa.array([m * US_PER_MINUTE for m in minutes]).cast(TIME)})


def _select(scan: Scan, source: str, conditions: Sequence[str]) -> str:
    names = [f"{_quoted(value)} as {name}" for name, value in _names(scan).items()]
    columns = [f"{n}::double as {n}" if n == _DECIMAL else f'"{n}"' for n in scan.columns]
    low, high = scan.prices
    wanted = [*conditions]
    wanted += [f"price_level >= {float(low)!r}"] if low is not None else []
    wanted += [f"price_level <= {float(high)!r}"] if high is not None else []
    wanted += [f"status in ({', '.join(map(_quoted, scan.status)) or 'null'})"] if scan.status is not None else []
    where = f" where {' and '.join(wanted)}" if wanted else ""
    return f"select {', '.join([*names, *columns])} from {source}{where}"


def _files_sql(files: Files) -> str:
    return f"read_parquet([{', '.join(_quoted(str(path)) for path in files.paths)}], hive_partitioning = false)"


def _between(files: Files) -> list[str]:
    first, last = (f"make_timestamptz({minute * US_PER_MINUTE})" for minute in (files.first, files.last))
    return [f"timestamp >= {first}", f"timestamp < {last}"]


def _connection() -> Any:
    """A database in memory for one relation, which keeps it alive. Times show as UTC."""
    database = _duckdb().connect()
    database.execute("set timezone = 'UTC'")
    return database


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# --- both ---------------------------------------------------------------------------------------------------------------


def _names(scan: Scan) -> dict[str, str]:
    return {"venue": scan.instrument.venue, "symbol": scan.instrument.symbol} if scan.named else {}


def _polars() -> ModuleType:
    return _imported("Polars")


def _duckdb() -> ModuleType:
    return _imported("DuckDB")


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name.lower())
    except ImportError:
        raise NotInstalled(f'{name} is not installed: pip install "spillway[frames]"') from None
