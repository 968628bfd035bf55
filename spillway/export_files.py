"""Files that a table is written to portion by portion: csv, JSON, Parquet and Feather. There whole, or not at all.

Numbers are the shortest text that gives the number back, plain and with a point. In csv a text that a spreadsheet would take
for a formula begins with an apostrophe.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks import durable

_FORMULA = r"^[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"  # the wide ones too: some spreadsheets read them so
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_AT_ONCE = 1 << 16  # rows
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class TableFile(Protocol):
    """A file that grows by tables of one schema."""

    def write(self, table: pa.Table) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Writes what ends the file."""


@contextmanager
def staged(path: Path) -> Iterator[Any]:
    """A file to write to, which takes the name `path` when the body ends well and is durable; else it never was."""
    temporary = path.with_name(f"{durable.TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    with durable.explained(path, "written"):
        try:
            with open(temporary, "xb", opener=durable.private) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            durable.rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


class ParquetFile:
    """zstd; a row group for each portion."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Writes the footer."""
        self._writer.close()


class FeatherFile:
    """Arrow's own file format, packed with lz4, which pandas and Polars read."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True))

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Writes the footer."""
        self._writer.close()


class CsvFile:
    """A header, then a line for each row."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._file = file
        self._file.write(",".join(schema.names).encode() + b"\n")

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        cells = [_quoted(_safe(column)) if _is_text(column.type) else _text(column) for column in table.columns]
        if len(table):
            rows = pc.binary_join_element_wise(*(pc.fill_null(cell, "").combine_chunks() for cell in cells), ",")
            self._file.write(_joined(rows, "\n"))
            self._file.write(b"\n")

    def close(self) -> None:
        """A csv file just ends."""


class JsonFile:
    """A list: of an object for each row, or (`values`) of a list of its values."""

    def __init__(self, file: Any, schema: pa.Schema, *, values: bool = False) -> None:
        self._file, self._values, self._begun = file, values, False
        self._keys = [b"" if values else orjson.dumps(name) + b":" for name in schema.names]
        file.write(b"[")

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        if not len(table):
            return
        pieces: list[Any] = []
        for at, (key, column) in enumerate(zip(self._keys, table.columns, strict=True)):
            opening = ("," if at else "[" if self._values else "{") + key.decode()
            pieces += [pa.scalar(opening), pc.fill_null(_json(column), "null").combine_chunks()]
        rows = pc.binary_join_element_wise(*pieces, pa.scalar("]" if self._values else "}"), "")
        self._file.write(b",\n" if self._begun else b"\n")
        self._file.write(_joined(rows, ",\n"))
        self._begun = True

    def close(self) -> None:
        """Ends the list."""
        self._file.write(b"\n]\n" if self._begun else b"]\n")


class Writing:
    """One of these files, made when its first table tells which columns there are."""

    def __init__(self, file: Any, make: Callable[[Any, pa.Schema], TableFile]) -> None:
        self._file, self._make = file, make
        self._open: TableFile | None = None
        self._schema: pa.Schema = None
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Appends rows. The first table may be empty."""
        if self._open is None:
            self._schema = table.schema
            self._open = self._make(self._file, self._schema)
        self._open.write(table if table.schema.equals(self._schema) else table.cast(self._schema))
        self.rows += len(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._open is None:
            return
        if kind is None:
            self._open.close()
        else:
            with suppress(Exception):  # it goes anyway; the error that led here matters more
                self._open.close()


# --- texts --------------------------------------------------------------------------------------------------------------


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers, times and truths as plain text; what isn't there stays null."""
    kind = column.type
    if pa.types.is_timestamp(kind):  # minutes begin with whole seconds, which need no decimals; trades don't
        return pc.strftime(column if kind.unit == "ns" else column.cast(pa.timestamp("s", tz=kind.tz)), _TIME)
    if pa.types.is_floating(kind):
        return _floats(column)
    if pa.types.is_decimal(kind):
        texts = pc.utf8_rtrim(column.cast(pa.string()), "0") if kind.scale else column.cast(pa.string())
        return pc.if_else(pc.ends_with(texts, "."), pc.binary_join_element_wise(texts, "0", ""), texts)
    return column.cast(pa.string())


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The shortest text that gives each number back, plain; null for what is none."""
    finite = pc.if_else(pc.is_finite(column), column, None)
    texts = finite.cast(pa.string())
    if pc.any(pc.match_substring(texts, "e")).as_py():
        texts = pa.chunked_array([pa.array(map(_plain, texts.to_pylist(), finite.to_pylist()), pa.string())])
    return pc.if_else(pc.match_substring(texts, "."), texts, pc.binary_join_element_wise(texts, "0", "."))


def _plain(text: str | None, value: float | None) -> str | None:
    if text is None or value is None or "e" not in text:
        return text
    return f"{Decimal(repr(value)):f}"


def _safe(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts that no spreadsheet takes for a formula."""
    texts = column.cast(pa.string())
    risky = pc.and_(pc.match_substring_regex(texts, _FORMULA), pc.invert(pc.match_substring_regex(texts, _NUMBER)))
    return pc.if_else(risky, pc.binary_join_element_wise("'", texts, ""), texts)


def _quoted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in quotes where csv needs them."""
    inside = pc.replace_substring(texts, '"', '""')
    return pc.if_else(pc.match_substring_regex(texts, r'[",\r\n]'), pc.binary_join_element_wise('"', inside, '"', ""), texts)


def _joined(rows: pa.Array, separator: str) -> bytes:
    """Texts in one; a portion at a time, for Arrow counts a text's bytes in 32 bits."""
    lists = pa.ListArray.from_arrays([*range(0, len(rows), _AT_ONCE), len(rows)], rows)
    return separator.join(pc.binary_join(lists, separator).to_pylist()).encode()


def _json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if _is_text(kind):
        coded = column.cast(pa.string()).combine_chunks().dictionary_encode()
        values = pa.array([orjson.dumps(v).decode() for v in coded.dictionary.to_pylist()], pa.string())
        return pa.chunked_array([values.take(coded.indices)])
    texts = _text(column)
    return pc.binary_join_element_wise('"', texts, '"', "") if pa.types.is_timestamp(kind) else texts
