"""Tables of a ledger as csv, JSON or Parquet, by the file's ending: exact, streamed, there whole or not at all.

Csv has numbers as plain numbers, and a text that a spreadsheet would take for a formula begins with an apostrophe. JSON has
decimals as texts, for most readers would round numbers. Parquet has them as decimals of 18 places.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, Boolean, Date, Integer, Table

from pipeline.errors import BadValue
from sinks import durable
from sinks.ledger.database import Database
from sinks.ledger.plain_rows import BY_NAME, Values, is_exact, is_of, names_of, question, rows_of
from sinks.ledger.trading_tables import CONDITIONS, DECISIONS, STRATEGIES
from sinks.ledger.types import Instant, Json

_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the wide ones too: some spreadsheets read them so
_DOCUMENTS = {f"{t.name}.{c.name}" for t in (CONDITIONS, DECISIONS, STRATEGIES) for c in t.c if isinstance(c.type, Json)}
_PLACES = 18
Batches = Iterable[list[Values]]


def export_table(
    database: Database,
    name: str,
    path: Path,
    *,
    where: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
    form: str = "",
    told: Callable[[int], None] = lambda rows: None,
) -> int:
    """Writes a table's rows, those with these values in these columns, to a file; how many. BadValue, StorageError.

    As csv, JSON or Parquet: by the file's ending, or as `form` (".csv", ...) says.
    """
    write = _WRITERS.get(form or path.suffix.lower())
    if write is None:
        raise BadValue(f"{path}: expected a name that ends in {', '.join(_WRITERS)}")
    if name not in BY_NAME:
        raise BadValue(f"table {name!r}: expected one of {', '.join(BY_NAME)}")
    table, count = BY_NAME[name], 0
    asked = question(table).where(*(table.c[column] == value for column, value in (where or {}).items()))
    asked = asked.order_by(None).order_by(*(table.c[column] for column in order)) if order else asked

    def counted(found: Iterator[list[Values]]) -> Iterator[list[Values]]:
        nonlocal count
        count = 0
        for rows in found:
            yield rows
            count += len(rows)
            told(count)

    with durable.streamed(path) as temporary, database.reading() as connection:
        with durable.explained(path, "written"):
            write(temporary, table, lambda: counted(rows_of(connection, asked)))
        durable.settle_streamed(temporary, path)
    durable.sync_folder(path.parent)
    return count


def _csv(path: Path, table: Table, rows: Callable[[], Batches]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        _write_csv(file, table, rows())


def _write_csv(file: TextIO, table: Table, batches: Batches) -> None:
    texts = [not (is_exact(c) or isinstance(c.type, Integer | Boolean)) for c in table.c]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names_of(table))
    for rows in batches:
        writer.writerows([_cell(value, text) for value, text in zip(row, texts, strict=True)] for row in rows)


def _cell(value: Any, text: bool) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if text and value is not None and value.startswith(_FORMULA) else value


def _json(path: Path, table: Table, rows: Callable[[], Batches]) -> None:
    names, encode = names_of(table), msgspec.json.encode
    documents = [name for name in names if f"{table.name}.{name}" in _DOCUMENTS]
    with open(path, "wb") as file:
        before = b"[\n"
        for batch in rows():
            for row in batch:
                values: dict[str, Any] = dict(zip(names, row, strict=True))
                for name in documents:  # as their very texts, so that their numbers stay as they are
                    values[name] = msgspec.Raw(values[name].encode())
                file.write(before + encode(values))
                before = b",\n"
        file.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def _parquet(path: Path, table: Table, rows: Callable[[], Batches]) -> None:
    try:
        _write_parquet(path, table, rows(), pa.decimal128(38, _PLACES))
    except pa.ArrowInvalid:  # more than 20 digits before the point, which few readers know
        _write_parquet(path, table, rows(), pa.decimal256(76, _PLACES))


def _write_parquet(path: Path, table: Table, batches: Batches, decimals: pa.DataType) -> None:
    fields = [pa.field(c.name, _arrow(c, decimals)) for c in table.c]
    makers = [_made(c) for c in table.c]
    with pq.ParquetWriter(path, pa.schema(fields), compression="zstd") as writer:
        for rows in batches:
            columns = [[None if row[at] is None else make(row[at]) for row in rows] for at, make in enumerate(makers)]
            writer.write_table(pa.table([pa.array(c, f.type) for c, f in zip(columns, fields, strict=True)], pa.schema(fields)))


def _arrow(column: Any, decimals: pa.DataType) -> pa.DataType:
    if is_exact(column):
        return decimals
    if is_of(column, Instant):
        return pa.timestamp("us", tz="UTC")
    if is_of(column, Date):
        return pa.date32()
    kinds = {Boolean: pa.bool_(), BigInteger: pa.int64(), Integer: pa.int64()}
    return kinds.get(type(column.type), pa.string())


def _made(column: Any) -> Callable[[Any], Any]:
    if is_exact(column):
        return Decimal
    if is_of(column, Instant):
        return datetime.fromisoformat
    return date.fromisoformat if is_of(column, Date) else lambda value: value


_WRITERS = {".csv": _csv, ".json": _json, ".parquet": _parquet}
