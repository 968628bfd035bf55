"""Tapes: files of recorded trades, recognised by what is in them. The only place that knows all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from collectors.tapes.block import TapeBlock
from collectors.tapes.chunks import TapeBytes, until_damage
from collectors.tapes.csv import CsvReader
from collectors.tapes.dumps import CSV_KINDS, LEVELS, LEVELS_KIND, is_levels, refuse_ohlc
from collectors.tapes.frames import FramesReader, looks_like_frames, survey
from collectors.tapes.items import first_items, looks_like_list
from collectors.tapes.json import CcxtReader, shape_of
from collectors.tapes.layout import Layout, layout_of
from collectors.tapes.levels import NOTE, STREAM, LevelsReader, fields_of, is_level, json_rows
from collectors.tapes.recorded import RecordedReader, survey_recorded
from collectors.tapes.symbols import to_filter_by
from collectors.venues.binance import Binance
from collectors.venues.venue import VENUES, Venue
from pipeline.errors import TapeError
from pipeline.instrument import IdRule, Instrument

__all__ = ["NotInTape", "Tape", "TapeBlock", "open_tape"]

_HEAD_BYTES = 1 << 18
_MIN_CHUNK, _MAX_CHUNK = 1 << 16, 1 << 23  # bytes parsed at once
_FRAME_BYTES = 200  # of a line, about
_PARQUET = b"PAR1"
_PACKED = {b"\x28\xb5\x2f\xfd": "zstd data", b"BZh": "bzip2 data", b"\x1f\x8b": "gzip data", b"PK": "zip data"}


class NotInTape(TapeError):
    """Recorded frames, but none of a trade of the symbol: of several files of a recording some may be so."""


@dataclass(slots=True)
class Tape:
    """A recognised tape of one instrument. Reading it needs nothing but a thread."""

    path: Path
    kind: str  # "csv", "binance-trades", "tardis-csv", "ccxt", "okx-frames", "spillway-levels", ...
    total_bytes: int  # as the file lies on disk
    stream: str  # which of the venue's id sequences the ids are of: "trade" or "agg"; "levels" for ours; "" if unknown
    named_ids: bool  # ids are texts: they prove neither order nor completeness
    _read: Callable[[int], Iterator[TapeBlock]] = field(repr=False)
    note: str = ""  # what the tape can't tell

    def blocks(self, rows: int = 65536) -> Iterator[TapeBlock]:
        """The tape from its start, in blocks of at most `rows` rows. Where it is damaged: all before, then TapeError."""
        for block in self._read(rows):
            yield from block.split(rows)


def open_tape(path: Path, instrument: Instrument, *, columns: Mapping[str, str] | None = None) -> Tape:
    """Recognises a tape by its content. `columns`: a csv's columns by role (time, id, price, size, side; id=- for none).

    TapeError, in one line, for what isn't there, can't be read, isn't known, or holds other symbols than the instrument's.
    """
    source = TapeBytes(path)
    head = source.head(_HEAD_BYTES)
    if not head.strip():
        raise TapeError(f"{path}: the file is empty; expected recorded trades")
    tape = _recognised(source, instrument, head, columns or {})
    if tape is None:
        raise TapeError(
            f"{path}: not a tape that is known: looked for a csv with a header or of Binance's, a json list of trades, lines "
            f"of `<receive time> <json>` or our own export, plain, gzip or zip; saw {_described(head)}"
        )
    if columns and tape.kind not in CSV_KINDS:
        raise TapeError(f"{path}: --columns is for csv; this tape is {tape.kind}")
    return tape


def _recognised(source: TapeBytes, instrument: Instrument, head: bytes, columns: Mapping[str, str]) -> Tape | None:
    if head.startswith(_PARQUET):
        return _parquet(source)
    if looks_like_frames(head):
        venue = VENUES.get(instrument.venue)
        is_binance = venue is None or isinstance(venue, Binance)  # whose frames may hold trades of two kinds
        return _frames(source, instrument) if is_binance else _recorded(source, VENUES[instrument.venue], instrument.symbol)
    if not looks_like_list(head):
        return _csv(source, instrument, head, columns)
    first = first_items(head)
    refuse_ohlc(fields_of(first), str(source.path))
    return _json_levels(source) if first and is_level(first[0]) else _ccxt(source, instrument, head)


def _frames(source: TapeBytes, instrument: Instrument) -> Tape:
    name = source.name
    seen = survey(until_damage(source.lines(_MIN_CHUNK)), instrument, name)
    if not seen.kinds and not seen.named:
        others = f"trades of {', '.join(sorted(seen.symbols)[:10])}" if seen.symbols else "no trades at all"
        raise NotInTape(f"{source.path}: looked for Binance trade or aggTrade frames of {instrument.symbol}; saw {others}")
    stream = FramesReader(instrument, seen, name).stream

    def read(rows: int) -> Iterator[TapeBlock]:
        return FramesReader(instrument, seen, name).blocks(source.lines(_chunk_bytes(rows, _FRAME_BYTES)))

    return Tape(source.path, "binance-frames", source.total_bytes, stream, False, read)


def _recorded(source: TapeBytes, venue: Venue, symbol: str) -> Tape:
    name = source.name
    seen = survey_recorded(until_damage(source.lines(_MAX_CHUNK)), venue, symbol)
    if not seen.ours:
        others = f"trades of {', '.join(sorted(seen.others)[:10])}" if seen.others else "no trades at all"
        raise NotInTape(f"{source.path}: looked for {venue.name} frames with trades of {symbol}; saw {others}")

    def read(rows: int) -> Iterator[TapeBlock]:
        return RecordedReader(venue, symbol, seen.others, name).blocks(source.lines(_chunk_bytes(rows, _FRAME_BYTES)))

    return Tape(source.path, f"{venue.name}-frames", source.total_bytes, venue.stream, venue.ids is IdRule.OPAQUE, read)


def _ccxt(source: TapeBytes, instrument: Instrument, head: bytes) -> Tape:
    name = source.name
    shape = shape_of(first_items(head), str(source.path))

    def symbols() -> set[str]:
        return CcxtReader(name, shape).symbols(until_damage(source.pieces()))

    symbol = to_filter_by(shape.symbols, symbols, instrument.symbol, str(source.path))

    def read(rows: int) -> Iterator[TapeBlock]:
        return CcxtReader(name, shape, symbol).blocks(source.pieces())

    kind, stream = ("ccxt-binance-agg", "agg") if shape.aggregated else ("ccxt", "")
    return Tape(source.path, kind, source.total_bytes, stream, shape.named_ids, read)


def _csv(source: TapeBytes, instrument: Instrument, head: bytes, columns: Mapping[str, str]) -> Tape | None:
    name = source.name
    layout = layout_of(head, columns, str(source.path))
    if layout is None:
        return None
    if layout.kind == LEVELS_KIND:
        return _csv_levels(source, layout)
    found = layout

    def symbols() -> set[str]:
        alone = replace(found, columns={"symbol": found.columns["symbol"]})
        return CsvReader(alone, name).symbols(until_damage(source.lines(_MAX_CHUNK)))

    if "symbol" in layout.columns:
        found = replace(layout, symbol=to_filter_by(layout.symbols, symbols, instrument.symbol, str(source.path)))

    def read(rows: int) -> Iterator[TapeBlock]:
        return CsvReader(found, name).blocks(source.lines(_chunk_bytes(rows, found.row_bytes)))

    return Tape(source.path, layout.kind, source.total_bytes, layout.stream, layout.named_ids, read)


def _csv_levels(source: TapeBytes, layout: Layout) -> Tape:
    def read(rows: int) -> Iterator[TapeBlock]:
        parts = CsvReader(layout, source.name).rows(source.lines(_chunk_bytes(rows, layout.row_bytes)))
        return LevelsReader(layout.clock).blocks(parts)

    return _levels(source, read)


def _json_levels(source: TapeBytes) -> Tape:
    def read(rows: int) -> Iterator[TapeBlock]:
        return LevelsReader().blocks(json_rows(source.pieces(), source.name))

    return _levels(source, read)


def _parquet(source: TapeBytes) -> Tape:
    from collectors.tapes import parquet

    names = parquet.parquet_columns(source.path)
    refuse_ohlc(names, str(source.path))
    if not is_levels(names):
        seen = ", ".join(names[:30])[:300]
        raise TapeError(f"{source.path}: Parquet, but no export of levels: its columns are {seen}")

    def read(rows: int) -> Iterator[TapeBlock]:
        columns = {role: names[at] for role, at in LEVELS.items()}
        return LevelsReader(parquet.CLOCK).blocks(parquet.parquet_rows(source.path, columns, rows))

    return _levels(source, read)


def _levels(source: TapeBytes, read: Callable[[int], Iterator[TapeBlock]]) -> Tape:
    return Tape(source.path, LEVELS_KIND, source.total_bytes, STREAM, True, read, NOTE)


def _chunk_bytes(rows: int, row_bytes: int) -> int:
    return max(_MIN_CHUNK, min(_MAX_CHUNK, rows * row_bytes))


def _described(head: bytes) -> str:
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), repr(head[:40])[1:])
