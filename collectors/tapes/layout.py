"""How a csv tape is to be read, told from its first lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.tapes.columns import cells_of, columns_of, delimiter_of, stream_of
from collectors.tapes.dumps import LEVELS, LEVELS_KIND, kind_of, refuse_ohlc, without_header
from collectors.tapes.time import Clock, clock_of

SAMPLE = 1000  # rows that units and kinds of ids are told from
_BOM = b"\xef\xbb\xbf"
_MIN_CELLS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """How a csv is to be read."""

    width: int  # cells a line
    delimiter: str
    columns: dict[str, int]  # role -> column
    clock: Clock = Clock.ISO
    named_ids: bool = False  # ids are texts, not whole numbers
    symbol: str | None = None  # the text in the symbol column of the rows wanted; None for all
    spaced: bool = False  # cells have spaces around them
    header_bytes: int = 0  # what stands before the first row, in whole lines
    header_lines: int = 0
    row_bytes: int = 100  # about
    kind: str = "csv"
    stream: str = ""  # which of a venue's id sequences the ids are of
    symbols: frozenset[str] = field(default=frozenset())  # in the first rows


def layout_of(head: bytes, given: Mapping[str, str], where: str) -> Layout | None:
    """The layout of a file that begins with `head`. None where that is no csv, TapeError where its columns can't be told."""
    lines = [line + b"\n" for line in head.removeprefix(_BOM).split(b"\n")]
    found = _begin(lines)
    if found is None:
        return None
    names, delimiter, at = found
    refuse_ohlc(names, where)
    kind = kind_of(names)
    columns = dict(LEVELS) if kind == LEVELS_KIND else columns_of(names, given, where)
    rows = _rows(_sample(lines, at), delimiter, len(names))
    if kind == "tardis-csv" and "id" not in given and rows and not any(row[columns["id"]] for row in rows):
        del columns["id"]  # of some venues Tardis has none
    before, first = sum(map(len, lines[:at])), lines[at - 1] if at else lines[0]
    return Layout(
        width=len(names),
        delimiter=delimiter,
        columns=columns,
        clock=clock_of([row[columns["time"]] for row in rows]),
        named_ids="id" not in columns or _are_names([row[columns["id"]] for row in rows]),
        spaced=b" " + delimiter.encode() in first or delimiter.encode() + b" " in first,
        header_bytes=before + (len(_BOM) if head.startswith(_BOM) else 0),
        header_lines=at,
        row_bytes=max(16, (len(head) - before) // max(1, len(lines) - at)),
        kind=kind,
        stream=stream_of(names, columns),
        symbols=frozenset(row[columns["symbol"]] for row in rows) if "symbol" in columns else frozenset(),
    )


def _begin(lines: list[bytes]) -> tuple[list[str], str, int] | None:
    """The columns' names, what separates them, and the line that the rows begin at; None for what is no csv."""
    at = next((n for n, line in enumerate(lines) if line.strip()), len(lines))
    header = _header(lines[at]) if at < len(lines) else None
    if header is None:
        return None
    names, delimiter = header
    dump = without_header([names, *_rows(_sample(lines, at + 1), delimiter, len(names))])
    return (list(dump.names), delimiter, at) if dump else (names, delimiter, at + 1)


def _sample(lines: list[bytes], at: int) -> list[bytes]:
    """Lines from `at` on; the last may be cut off, so it counts only where it is all there is."""
    return (lines[at:-1] or lines[at:])[:SAMPLE]


def _header(line: bytes) -> tuple[list[str], str] | None:
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        return None
    if text[:1] in ("[", "{"):  # json, if of no kind that is known
        return None
    delimiter = delimiter_of(text)
    names = cells_of(text, delimiter) if text.isprintable() or delimiter == "\t" else []
    return (names, delimiter) if len(names) >= _MIN_CELLS else None


def _rows(lines: list[bytes], delimiter: str, width: int) -> list[list[str]]:
    """Those of the lines that have the header's number of cells."""
    rows = [cells_of(line.decode("utf-8", "replace"), delimiter) for line in lines]
    return [row for row in rows if len(row) == width]


def _are_names(ids: list[str]) -> bool:
    """Whether most ids are no whole numbers of 64 bits. A few odd ones are broken rows, not another kind of id."""
    whole = sum(1 for i in ids if i.isascii() and i.isdigit() and int(i) < 2**63)
    return 2 * whole < len(ids)
