"""Parquet tapes: our own export of levels, or a part file of the archive. Parquet is read from its end, so this opens files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from collectors.tapes.block import Raws, TextRows
from collectors.tapes.time import Clock
from pipeline.errors import TapeError

MAGIC = b"PAR1"
CLOCK = Clock.NANOSECONDS  # that `parquet_rows` writes its times by
_NS = pa.timestamp("ns", "UTC")


def parquet_columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns."""
    with _errors_named(path), pyarrow.parquet.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def parquet_rows(path: Path, columns: dict[str, str], rows: int) -> Iterator[TextRows]:
    """Rows of the columns, by role, at most so many at a time. Numbers are the shortest texts of theirs."""
    total = path.stat().st_size
    with _errors_named(path), pyarrow.parquet.ParquetFile(path) as file:
        count, first = max(1, file.metadata.num_rows), 1
        for batch in file.iter_batches(rows, columns=list(columns.values())):
            texts = {role: _texts(batch.column(name)) for role, name in columns.items()}
            done = first - 1 + batch.num_rows
            yield TextRows(texts, _raws(batch, path.name, first), [], total * done // count)
            first += batch.num_rows


def _texts(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, _NS), pa.int64())
    return pc.fill_null(pc.cast(column, pa.string()), "")


def _raws(batch: pa.RecordBatch, name: str, first: int) -> Raws:
    def raw(row: int) -> tuple[str, str]:
        return ",".join(str(value) for value in batch.slice(row, 1).to_pylist()[0].values()), f"{name}:row {first + row}"

    return raw


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise TapeError(f"{path}: damaged Parquet ({str(error).splitlines()[0][:200]})") from error
