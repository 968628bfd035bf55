"""Csv tapes: lines to columns, in whole blocks. Pure.

Arrow parses what it can be trusted with. Lines that it would misread are taken out before; where it and we don't agree on how
many lines there are (a quoted line end), that chunk alone is read line by line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from collectors.tapes import cells
from collectors.tapes.block import TapeBlock, TextRows, Texts
from collectors.tapes.chunks import Chunk
from collectors.tapes.columns import cells_of
from collectors.tapes.layout import Layout
from collectors.tapes.lines import Lines
from collectors.tapes.time import Int64s, times_ns
from pipeline.trade import RawTrades, Reject


@dataclass(frozen=True, slots=True)
class _Table:
    """The texts of the rows that have the right number of cells, by role; `lines`: where each row stands (None: row = line)."""

    texts: Texts
    lines: NDArray[np.intp] | None
    rejects: list[Reject]


class CsvReader:
    """Reads one csv tape, chunk after chunk."""

    def __init__(self, layout: Layout, file_name: str) -> None:
        self._layout = layout
        self._name = file_name
        self._made_ids = cells.MadeIds()

    def blocks(self, chunks: Iterable[Chunk]) -> Iterator[TapeBlock]:
        """Chunks of whole lines from the file's start as blocks, one for each."""
        for part in self.rows(chunks):
            yield TapeBlock(self._trades(part.texts), part.raw, part.rejects, part.done_bytes, part.skipped)

    def rows(self, chunks: Iterable[Chunk]) -> Iterator[TextRows]:
        """The same as they stand in the file, by role."""
        for lines, done_bytes in self._lines(chunks):
            yield self._wanted_rows(lines, done_bytes)

    def symbols(self, chunks: Iterable[Chunk]) -> set[str]:
        """All texts of the symbol column."""
        return {str(symbol) for lines, _ in self._lines(chunks) for symbol in pc.unique(self._table(lines).texts["symbol"])}

    def _lines(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Lines, int]]:
        to_skip, line = self._layout.header_bytes, 1 + self._layout.header_lines
        for chunk in chunks:
            data = chunk.data[to_skip:] if to_skip else chunk.data
            to_skip -= min(to_skip, len(chunk.data))
            if data:
                lines = Lines(data, line, self._name)
                line += lines.count
                yield lines, chunk.done_bytes

    def _wanted_rows(self, lines: Lines, done_bytes: int) -> TextRows:
        table = self._table(lines)
        wanted, skipped = self._wanted(table)
        index = wanted.lines

        def raw(row: int) -> tuple[str, str]:
            return lines.raw(row if index is None else int(index[row]))

        return TextRows(wanted.texts, raw, wanted.rejects, done_bytes, skipped)

    def _table(self, lines: Lines) -> _Table:
        rejects = [lines.reject(line, why) for line, why in lines.flawed.items()]
        usable = lines.without(lines.flawed) if lines.flawed else lines.data
        numbers = np.delete(np.arange(lines.count), list(lines.flawed)) if lines.flawed else None
        parsed = self._parse(usable, b'"' in usable)
        if parsed is None:
            return self._line_by_line(lines, rejects)
        table, invalid = parsed
        rows = table.num_rows + len(invalid)
        if rows == (lines.count if numbers is None else len(numbers)) and not invalid:
            return _Table(self._by_role(table), numbers, rejects)
        numbers = np.arange(lines.count) if numbers is None else numbers
        numbers = numbers[~lines.blank[numbers]]  # Arrow passes over blank lines
        if rows != len(numbers):
            return self._line_by_line(lines, rejects)
        rejects += [lines.reject(int(numbers[row.number - 1]), self._miscounted(row.actual_columns)) for row in invalid]
        return _Table(self._by_role(table), np.delete(numbers, [row.number - 1 for row in invalid]), rejects)

    def _parse(self, data: bytes, quoted: bool) -> tuple[pa.Table, list[Any]] | None:
        """Arrow's reading, with the lines that have too many or too few cells; None where it gives up."""
        names = [str(column) for column in range(self._layout.width)]
        invalid: list[Any] = []

        def skip(row: Any) -> str:
            invalid.append(row)
            return "skip"

        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                # One block: then rows have numbers. One thread: the other core folds what was read before.
                read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=len(data) + 1, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._layout.delimiter, quote_char='"' if quoted else False, invalid_row_handler=skip
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=[names[c] for c in sorted(set(self._layout.columns.values()))],
                    column_types=dict.fromkeys(names, pa.string()),
                    check_utf8=False,  # `flawed` did
                ),
            )
        except pa.ArrowInvalid:
            return None
        return table, invalid

    def _by_role(self, table: pa.Table) -> Texts:
        texts = {role: _one_array(table.column(str(column))) for role, column in self._layout.columns.items()}
        if self._layout.spaced:
            texts = {role: pc.utf8_trim_whitespace(column) for role, column in texts.items()}
        return texts

    def _line_by_line(self, lines: Lines, rejects: list[Reject]) -> _Table:
        numbers, rows = [], []
        for line in range(lines.count):
            if line in lines.flawed or lines.blank[line]:
                continue
            row = cells_of(lines.text(line), self._layout.delimiter)
            if len(row) == self._layout.width:
                numbers.append(line)
                rows.append(row)
            else:
                rejects.append(lines.reject(line, self._miscounted(len(row))))
        texts = {role: pa.array([row[c] for row in rows], pa.string()) for role, c in self._layout.columns.items()}
        return _Table(texts, np.array(numbers, dtype=np.intp), rejects)

    def _miscounted(self, found: int) -> str:
        return f"{found} cells: expected {self._layout.width}, as in the header"

    def _wanted(self, table: _Table) -> tuple[_Table, int]:
        """Only the rows of the symbol asked for, and how many were not."""
        if self._layout.symbol is None:
            return table, 0
        ours = pc.equal(table.texts["symbol"], self._layout.symbol)
        skipped = len(ours) - (pc.sum(ours).as_py() or 0)
        if not skipped:
            return table, 0
        keep = ours.to_numpy(zero_copy_only=False)
        numbers = np.arange(len(keep)) if table.lines is None else table.lines
        texts = {role: column.filter(ours) for role, column in table.texts.items()}
        return replace(table, texts=texts, lines=numbers[keep]), skipped

    def _trades(self, texts: Texts) -> RawTrades:
        ts_ns, reasons = times_ns(texts["time"], self._layout.clock)
        side, bad_sides = self._sides(texts)
        ids, bad_ids = self._ids(texts, ts_ns, side)
        count, bad_counts = _counts(texts)
        return RawTrades(ids, ts_ns, texts["price"], texts["size"], side, count, reasons | bad_counts | bad_ids | bad_sides)

    def _ids(self, texts: Texts, ts_ns: Int64s, side: NDArray[np.int8]) -> tuple[NDArray[Any], cells.Bad]:
        if "id" not in texts:
            return self._made_ids.take(ts_ns, texts["price"], texts["size"], side), {}
        return cells.names(texts["id"]) if self._layout.named_ids else cells.whole_numbers(texts["id"], "trade id")

    def _sides(self, texts: Texts) -> tuple[NDArray[np.int8], cells.Bad]:
        if "side" in texts:
            return cells.sides(texts["side"])
        if "maker" in texts:
            return cells.sides_by_maker(texts["maker"])
        return np.zeros(len(texts["price"]), dtype=np.int8), {}


def _counts(texts: Texts) -> tuple[Int64s | None, cells.Bad]:
    """How many fills each row stands for, where it says the first and the last of them."""
    if not {"first", "last"} <= texts.keys():
        return None, {}
    first, bad_first = cells.whole_numbers(texts["first"], "first trade id")
    last, bad_last = cells.whole_numbers(texts["last"], "last trade id")
    return last - first + 1, bad_first | bad_last


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.array(column.to_pylist(), pa.string())
