"""Parquet files as the archive writes and reads them: with page checksums, and a footer whose checksum the manifest holds.

A flipped bit in a page is found by the page's checksum. The footer has none of its own, and its statistics decide what is
skipped; so the manifest names its SHA-256 and also says which minutes each row group holds. The only place for pyarrow.parquet.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import StorageError
from sinks import durable
from sinks.footers import Footer, Footers
from sinks.tables import LEVELS, MINUTES, US_PER_MINUTE, starts

# A row group ends with the hour in which it reaches these rows: larger ones make smaller files, but an hour's read slower.
GROUP_ROWS = 1 << 15
_LEVEL = 3  # of zstd: a tenth smaller than level 1 for a tenth more time
_DICTIONARY_BYTES = 8 << 20  # a column of many different numbers keeps its dictionary, which is smaller and faster than plain
_SORTED = ("timestamp", "price_level")
# Of minutes, unlike levels, few columns repeat themselves: there a dictionary makes a column larger, and slower to read.
_REPEATED = ("first_trade_name", "last_trade_name", "missing", "status", "revision", "price_scale", "size_scale")
_RISING = ("timestamp", "trade_count", "first_trade_id", "last_trade_id", "first_trade_ns", "last_trade_ns", "seen", "expected")
_OF_MINUTES = {"use_dictionary": list(_REPEATED), "column_encoding": dict.fromkeys(_RISING, "DELTA_BINARY_PACKED")}
_FOOTERS = Footers()
_MAGIC = b"PAR1"
MISSING = "the manifest names it, and it isn't there"


class Group(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row group: its first and last minute, counted from 1970, and its rows. No minute is in two of them."""

    first: int
    last: int
    rows: int


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest says of a Parquet file."""

    file: str
    bytes: int
    sha256: str
    rows: int
    footer_bytes: int
    footer_sha256: str
    groups: tuple[Group, ...]


class PartGone(StorageError):
    """A part isn't there: it is missing, or a newer generation replaced it just now."""


class PartWriter:
    """Builds a Parquet file in memory, or in the file `to`, one row group per table given."""

    def __init__(self, schema: pa.Schema, to: Path | None = None) -> None:
        self._to = to
        self._sink = pa.OSFile(os.fspath(to), "wb") if to else pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            compression_level=_LEVEL,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_page_checksum=True,
            **(_OF_MINUTES if schema.equals(MINUTES) else {}),
            sorting_columns=[pq.SortingColumn(i) for i, name in enumerate(schema.names[:2]) if name in _SORTED],
        )
        self.groups: list[Group] = []

    def add(self, table: pa.Table) -> None:
        """Appends whole minutes, in time order, as one row group."""
        self._writer.write_table(table, row_group_size=len(table))
        first, last = starts(table.slice(0, 1))[0], starts(table.slice(len(table) - 1))[0]
        self.groups.append(Group(first, last, len(table)))

    def finish(self, file: str, facts: dict[str, str]) -> tuple[Part, memoryview]:
        """The file's bytes and what the manifest shall say of them; `facts` go into the file's own metadata."""
        self._close(facts)
        data = memoryview(self._sink.getvalue())
        return self._part(file, data), data

    def finish_file(self, file: str, facts: dict[str, str]) -> Part:
        """The same of a part that was written to a file. That isn't durable yet."""
        assert self._to is not None
        self._close(facts)
        self._sink.close()
        with (
            self._to.open("rb") as found,
            mmap.mmap(found.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            return self._part(file, data)

    def _close(self, facts: dict[str, str]) -> None:
        self._writer.add_key_value_metadata(facts)
        self._writer.close()

    def _part(self, file: str, data: memoryview) -> Part:
        footer = bytes(data[-_footer_bytes(bytes(data[-8:])) :])
        return Part(
            file,
            len(data),
            hashlib.sha256(data).hexdigest(),
            sum(g.rows for g in self.groups),
            len(footer),
            hashlib.sha256(footer).hexdigest(),
            tuple(self.groups),
        )


class PartReader:
    """Reads row groups of one Parquet file, which must be the one that `part` describes."""

    def __init__(self, path: Path, part: Part) -> None:
        self.path, self.part = path, part
        self._file = _opened(path)
        try:
            self._check_footer()
            known = _FOOTERS.get(part.footer_sha256, part.groups)
            with _understood(path):
                parsed = known.parsed if known else None
                self._parquet = pq.ParquetFile(self._file, metadata=parsed, page_checksum_verification=True)
            self._footer = known or self._new_footer()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def groups(self, start: int, end: int) -> list[int]:
        """The numbers of the row groups that hold minutes from `start` up to, and not including, `end`."""
        return [i for i, group in enumerate(self.part.groups) if group.first < end and group.last >= start]

    def priced(self, groups: Sequence[int], low: float | None, high: float | None) -> list[int]:
        """Of row groups of levels, those that may hold a price from `low` to `high`; None is any."""
        spans = [self._footer.span(LEVELS.get_field_index("price_level"), i) for i in groups]
        least, most = -math.inf if low is None else low, math.inf if high is None else high
        return [i for i, (first, last) in zip(groups, spans, strict=True) if first <= most and last >= least]

    @property
    def facts(self) -> dict[str, str]:
        """What the file says of itself."""
        found = self._parquet.metadata.metadata or {}
        return {name.decode(): value.decode() for name, value in found.items() if not name.startswith(b"ARROW")}

    def read(self, groups: Sequence[int], columns: Sequence[str] | None = None, *, threads: bool = True) -> pa.Table:
        """These row groups as one table, each page's checksum verified."""
        with _understood(self.path):
            names = list(columns) if columns is not None else None
            table = self._parquet.read_row_groups(list(groups), columns=names, use_threads=threads)
        if len(table) != sum(self.part.groups[i].rows for i in groups):
            raise StorageError(f"{self.path}: damaged: its rows are not those that the manifest counts")
        return table.replace_schema_metadata(None)

    def read_minutes(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of minutes, in any order. Those that by the footer have one value throughout are made, and not read."""
        rows, short = sum(self.part.groups[i].rows for i in groups), {}
        for name in _REPEATED:
            at = MINUTES.get_field_index(name)
            if name in columns and (made := self._footer.constant(MINUTES.field(at), at, groups, rows)) is not None:
                short[name] = made
        table = self.read(groups, [n for n in columns if n not in short] or columns, threads=False)
        for name in short if table.num_columns < len(columns) else ():
            table = table.append_column(MINUTES.field(name), short[name])
        return table

    def _new_footer(self) -> Footer:
        found = Footer(self.part.groups, self._parquet.metadata)
        self._check_groups(found.parsed)
        _FOOTERS.remember(self.part.footer_sha256, found)
        return found

    def _check_footer(self) -> None:
        size = self._file.size()
        if size != self.part.bytes:
            raise StorageError(f"{self.path}: damaged: {size} bytes, and the manifest says {self.part.bytes}")
        with _understood(self.path):
            footer = self._file.read_at(self.part.footer_bytes, size - self.part.footer_bytes)
        if hashlib.sha256(footer).hexdigest() != self.part.footer_sha256:
            raise StorageError(f"{self.path}: damaged: its footer is not the one that the manifest names")

    def _check_groups(self, footer: pq.FileMetaData) -> None:
        """By the manifest's row groups it is chosen what is read: one that says others would hide rows."""
        if len(self.part.groups) != footer.num_row_groups:
            raise StorageError(f"{self.path}: its row groups are not those that the manifest names: that lies")
        for i, group in enumerate(self.part.groups):
            found = footer.row_group(i)
            times = found.column(0).statistics
            says = (group.first * US_PER_MINUTE, group.last * US_PER_MINUTE, group.rows)
            if times is None or (times.min_raw, times.max_raw, found.num_rows) != says:
                raise StorageError(f"{self.path}: its row group {i} is not as the manifest says: that lies")


def damage(path: Path, part: Part) -> list[str]:
    """What is wrong with a part's bytes, all of them read; empty where nothing is."""
    try:
        found = durable.read_whole(path)
    except StorageError as error:
        return [str(error)]
    if found is None:
        return [f"{path}: {MISSING}"]
    same = hashlib.sha256(found[0]).hexdigest() == part.sha256
    return [] if same else [f"{path}: damaged: its checksum is not the one that the manifest names"]


def digest(table: pa.Table) -> int:
    """The CRC-32 of a table's values, column by column, however it is chunked."""
    crc = 0
    for column in table.columns:
        for values in _bytes_of(column):
            crc = zlib.crc32(values, crc)
    return crc


def revisions_in(path: Path) -> dict[int, int]:
    """The minutes that a Parquet file of no manifest holds, and their revisions; 0 in one of levels, which doesn't tell."""
    with _opened(path) as file, _understood(path):
        found = pq.ParquetFile(file, page_checksum_verification=True)
        table = found.read(columns=[name for name in ("timestamp", "revision") if name in found.schema_arrow.names])
        revisions = table["revision"].to_pylist() if "revision" in table.column_names else [0] * len(table)
        return dict(zip(starts(table), revisions, strict=True))


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Arrow's errors about a file's content as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise StorageError(f"{path}: damaged or unreadable: {reason}") from error


def _opened(path: Path) -> Any:
    try:
        if os.path.islink(path):
            raise StorageError(f"{path}: can't be read: it is a symbolic link")
        return pa.OSFile(os.fspath(path))
    except FileNotFoundError:
        raise PartGone(f"{path}: {MISSING}") from None
    except OSError as error:
        raise durable.failure(error, path, "read") from error


def _footer_bytes(tail: bytes) -> int:
    assert tail[4:] == _MAGIC
    return int.from_bytes(tail[:4], "little") + 8


def _bytes_of(column: pa.ChunkedArray) -> Iterator[memoryview]:
    """A column's values as bytes: numbers as they lie in memory, all else as text."""
    if not pa.types.is_primitive(column.type) or column.type.bit_width != 64 or column.null_count:
        yield memoryview(repr(column.to_pylist()).encode())
        return
    for chunk in column.chunks:
        yield np.ascontiguousarray(chunk.view(pa.int64()).to_numpy()).data
