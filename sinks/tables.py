"""Minutes as Arrow tables: the columns of the archive, and of what a notebook gets of any minute.

Prices and volumes are float64. A decimal of at most 15 significant digits is the shortest text of its nearest float, so it
can be recovered; `exact` tables, the archive's, hold nothing else, and raise Unfit instead. What bounds the digits are the
scales in each minute's checksummed head. `notional` may have more digits and is a decimal; `vwap` follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from pipeline import fixed
from pipeline.codec import Head, Parts, minute_from_stamp
from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import IdRange, Minute, Status, minute_text
from pipeline.trade import TradeId

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LIMIT = 10**15  # 15 digits: a float64's shortest text gives them back
MOST_DECIMALS = 22  # 10**22 is the last power of ten that float64 holds exactly
_WHOLE_DIGITS = 38 - MOST_DECIMALS
_ROOMY = Context(prec=200)
_FINEST = Decimal(1).scaleb(-MOST_DECIMALS)
NOTIONAL = pa.decimal128(38, MOST_DECIMALS)  # the same in every file, so that a folder of many days opens as one table
TIME = pa.timestamp("us", tz="UTC")
US_PER_MINUTE = 60_000_000

VOLUMES = ("buy_volume", "sell_volume", "total_volume", "delta")
_OHLC = ("open", "high", "low", "close")
_LISTS = ("id_ranges", "missing")
_AS_THEY_ARE = (
    *("trade_count", "first_trade_ns", "last_trade_ns", "seen", "expected"),
    *("revision", "price_scale", "size_scale"),
)
_IDS = ("first_trade_id", "last_trade_id")

LEVELS = pa.schema(
    [("timestamp", TIME), *((name, pa.float64()) for name in ("price_level", *VOLUMES)), ("trade_count", pa.int64())]
)
MINUTES = pa.schema(
    [
        ("timestamp", TIME),
        *((name, pa.float64()) for name in (*_OHLC, "vwap", *VOLUMES)),
        ("trade_count", pa.int64()),
        ("notional", NOTIONAL),
        *((name, pa.int64()) for name in _IDS),  # null where the venue's ids are names
        ("first_trade_name", pa.string()),  # null where they are numbers
        ("last_trade_name", pa.string()),
        ("first_trade_ns", pa.int64()),
        ("last_trade_ns", pa.int64()),
        *((name, pa.string()) for name in _LISTS),  # JSON, as in the minute file
        ("seen", pa.int64()),
        ("expected", pa.int64()),
        ("status", pa.dictionary(pa.int32(), pa.string())),
        ("revision", pa.int64()),
        ("price_scale", pa.int64()),
        ("size_scale", pa.int64()),
        ("checksum", pa.string()),  # the minute file's: by it two copies of one revision are told apart
    ]
)

_NEWLINE = ord("\n")
_CELLS = [f"c{i}" for i in range(13)]  # a level line between its tabs: every second cell is a number
_TAKEN = {"c1": pa.float64(), "c3": pa.float64(), "c5": pa.float64(), "c7": pa.float64(), "c11": pa.int64()}
_PARSE = csv.ParseOptions(delimiter="\t", quote_char=False)
_CONVERT = csv.ConvertOptions(include_columns=list(_TAKEN), column_types=_TAKEN, check_utf8=False)


class Unfit(StorageError):
    """A minute holds what float64 or a 64-bit integer can't give back, or its levels don't make its totals."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Some minutes in time order: a row per price level, and a row per minute."""

    levels: pa.Table
    minutes: pa.Table

    @classmethod
    def empty(cls) -> Tables:
        """No minute, in the columns of every other."""
        return cls(LEVELS.empty_table(), MINUTES.empty_table())


def tables_of(parts: Sequence[Parts], *, exact: bool) -> Tables:
    """Minutes as tables. `exact`: Unfit unless each number can be recovered and each minute's levels make its totals."""
    if not parts:
        return Tables.empty()
    heads = [p.head for p in parts]
    rows = np.array([_lines(p.levels) for p in parts])
    minutes = _minutes(heads, [p.checksum for p in parts], exact=exact)
    levels = _levels(parts, rows, stamps(minutes), _factor([h.size_scale for h in heads], rows))
    tables = Tables(levels, minutes)
    if exact:
        check(tables)
    return tables


def check(tables: Tables) -> None:
    """Unfit unless all numbers can be recovered, levels stand in order, and those of each minute make its totals."""
    minutes, levels = tables.minutes, tables.levels
    rows = _rows_by_minute(tables)
    scales = {name: minutes[name].to_numpy() for name in ("price_scale", "size_scale")}
    if max(scale.max() for scale in scales.values()) > MOST_DECIMALS:
        raise Unfit(f"{span(minutes)}: a price or size has more than {MOST_DECIMALS} decimals")
    by_price, by_size = (_factor(scale, rows) for scale in scales.values())
    prices = _integers(levels, "price_level", by_price, minutes)
    for name in _OHLC:
        _integers(minutes, name, 10.0 ** scales["price_scale"], minutes)
    firsts = np.cumsum(rows) - rows
    backward = np.diff(prices) <= 0
    backward[firsts[1:] - 1] = False
    if backward.any():
        raise Unfit(f"{span(minutes)}: price levels don't stand in price order")
    for name in (*VOLUMES, "trade_count"):
        whole = name == "trade_count"
        values = _integers(levels, name, 1.0 if whole else by_size, minutes)
        totals = _integers(minutes, name, 1.0 if whole else 10.0 ** scales["size_scale"], minutes)
        _compare(name, _sums(values, firsts, rows), totals, minutes)


def totals(minutes: pa.Table) -> dict[str, str]:
    """The exact sums of checked minutes' volumes, notional and trade count, as decimal text."""
    scales = minutes["size_scale"].to_numpy()
    widest = int(scales.max())
    sums = {}
    for name in VOLUMES[:3]:
        values = np.rint(minutes[name].to_numpy() * 10.0**scales).astype(np.int64).tolist()
        total = sum(fixed.rescale(value, scale, widest) for value, scale in zip(values, scales.tolist(), strict=True))
        sums[name] = fixed.to_text(total, widest)
    notional = sum(fixed.at_scale(value, MOST_DECIMALS) for value in minutes["notional"].to_pylist())
    return sums | {
        "notional": fixed.to_text(notional, MOST_DECIMALS),
        "trade_count": str(sum(minutes["trade_count"].to_pylist())),
    }


def minute_from(instrument: Instrument, row: Mapping[str, Any], levels: pa.Table) -> Minute:
    """The minute that a row of an exact minutes table and its level rows were made from: equal to it in every number."""
    p, s = row["price_scale"], row["size_scale"]
    prices = np.rint(levels["price_level"].to_numpy() * 10.0**p).astype(np.int64).tolist()
    volumes = [np.rint(levels[name].to_numpy() * 10.0**s).astype(np.int64).tolist() for name in VOLUMES[:3]]
    rest: dict[str, Any] = {name: round(row[name] * 10.0**p) for name in _OHLC}
    rest |= {name: row[name] if row[name] is not None else row[name.replace("_id", "_name")] for name in _IDS}
    rest |= {name: msgspec.json.decode(row[name], type=tuple[IdRange, ...]) for name in _LISTS}
    return Minute(
        instrument=instrument,
        start=int(row["timestamp"].timestamp()) // 60,
        price_scale=p,
        size_scale=s,
        levels=dict(zip(prices, zip(*volumes, levels["trade_count"].to_pylist(), strict=True), strict=True)),
        notional=fixed.at_scale(row["notional"], p + s),
        first_ns=row["first_trade_ns"],
        last_ns=row["last_trade_ns"],
        status=Status(row["status"]),
        seen=row["seen"],
        revision=row["revision"],
        **rest,
    )


def stamps(table: pa.Table) -> Integers:
    """A table's times as microseconds since 1970."""
    times: Integers = table["timestamp"].cast(pa.int64()).to_numpy()
    return times


def codes_of(column: pa.ChunkedArray, names: Sequence[str]) -> Integers:
    """Of a column of texts, dictionary-encoded or not: the place of each row's text in `names`, which has all of them."""
    if not len(column):
        return np.zeros(0, np.int64)
    one = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    places = np.array([names.index(name) for name in one.chunk(0).dictionary.to_pylist()], np.int64)
    found: Integers = places[np.concatenate([chunk.indices.to_numpy() for chunk in one.chunks])]
    return found


def starts(minutes: pa.Table) -> list[int]:
    """The minutes, counted from 1970, of a table's rows."""
    found: list[int] = (stamps(minutes) // US_PER_MINUTE).tolist()
    return found


def span(minutes: pa.Table) -> str:
    """What stretch of time a table holds, for messages."""
    found = starts(minutes)
    return minute_text(found[0]) if len(found) == 1 else f"{minute_text(found[0])} to {minute_text(found[-1])}"


def _levels(parts: Sequence[Parts], rows: Integers, times: Integers, by_size: Floats) -> pa.Table:
    lines = b"\n".join([p.levels for p in parts])
    read = csv.ReadOptions(column_names=_CELLS, use_threads=False, block_size=len(lines) + 1)  # one block: callers have threads
    try:
        cells = csv.read_csv(pa.BufferReader(lines), read, _PARSE, _CONVERT)
    except pa.ArrowInvalid as error:
        raise Unfit(f"{_when(parts[0].head)}: price levels: {error}") from None
    price, buy, sell, total, count = cells.columns
    # Whole numbers below 2**53, and a power of ten that is exact: the quotient is the float nearest to the decimal.
    delta = (np.rint(buy.to_numpy() * by_size) - np.rint(sell.to_numpy() * by_size)) / by_size
    time = pa.array(np.repeat(times, rows)).cast(TIME)
    return pa.table([time, price, buy, sell, total, pa.array(delta), count], schema=LEVELS)


def _lines(levels: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(levels, np.uint8) == _NEWLINE)) + 1  # four times faster than bytes.count


def _minutes(heads: Sequence[Head], checksums: Sequence[str], *, exact: bool) -> pa.Table:
    columns: dict[str, object] = {
        "timestamp": np.array([minute_from_stamp(h.timestamp) for h in heads]) * US_PER_MINUTE,
        **{n: [float(bytes(getattr(h, n))) for h in heads] for n in (*_OHLC, "vwap", *VOLUMES)},
        **{n: [getattr(h, n) for h in heads] for n in _AS_THEY_ARE},
        **{n: [msgspec.json.encode(getattr(h, n)).decode() for h in heads] for n in _LISTS},
        "notional": [_notional(h, exact) for h in heads],
        "status": pa.array([str(h.status) for h in heads]).dictionary_encode(),
        "checksum": checksums,
    }
    for name in _IDS:
        ids = [_id(h, name, exact) for h in heads]
        columns[name] = [i if isinstance(i, int) else None for i in ids]
        columns[name.replace("_id", "_name")] = [i if isinstance(i, str) else None for i in ids]
    try:
        return pa.table([pa.array(columns[f.name], f.type) for f in MINUTES], schema=MINUTES)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise Unfit(f"{_when(heads[0])}: {error}") from None


def _notional(head: Head, exact: bool) -> Decimal | None:
    text = bytes(head.notional).decode()
    whole, _, decimals = text.partition(".")
    if exact and (len(whole) > _WHOLE_DIGITS or len(decimals) > MOST_DECIMALS):
        limits = f"the {_WHOLE_DIGITS} and {MOST_DECIMALS} that it may have"
        raise Unfit(f"{_when(head)}: notional {text} has more digits than {limits}")
    return Decimal(text).quantize(_FINEST, ROUND_HALF_EVEN, _ROOMY) if len(whole) <= _WHOLE_DIGITS else None


def _id(head: Head, name: str, exact: bool) -> TradeId:
    value: TradeId = getattr(head, name)
    if isinstance(value, str) or -(2**63) <= value < 2**63:
        return value
    if exact:
        raise Unfit(f"{_when(head)}: {name} {value} has more than 64 bits")
    return str(value)


def _when(head: Head) -> str:
    return minute_text(minute_from_stamp(head.timestamp))


def _factor(scales: Sequence[int] | Integers, rows: Integers) -> Floats:
    return np.repeat(10.0 ** np.asarray(scales), rows)


def _rows_by_minute(tables: Tables) -> Integers:
    """How many level rows each minute has, once all of them are found to belong to one."""
    times, of = stamps(tables.minutes), stamps(tables.levels)
    rows = np.searchsorted(of, times, "right") - np.searchsorted(of, times, "left")
    if (np.diff(times) <= 0).any() or not rows.all() or not np.array_equal(np.repeat(times, rows), of):
        raise Unfit(f"{span(tables.minutes)}: its levels are not those of its minutes")
    return rows


def _integers(table: pa.Table, name: str, factor: Floats | float, minutes: pa.Table) -> Integers:
    values = table[name].to_numpy()
    scaled = np.rint(values * factor)
    if not (np.abs(scaled) <= LIMIT).all():  # also where it is no number
        row = int(np.argmin(np.abs(scaled) <= LIMIT))
        when = minute_text(int(stamps(table)[row]) // US_PER_MINUTE)
        raise Unfit(f"{when}: {name} {float(values[row])!r} has more digits than a float64 gives back")
    whole: Integers = scaled.astype(np.int64)
    return whole


def _sums(values: Integers, firsts: Integers, rows: Integers) -> Integers:
    if int(np.abs(values).max()) * int(rows.max()) >= 2**63:
        values = values.astype(object)
    found: Integers = np.add.reduceat(values, firsts)
    return found


def _compare(name: str, sums: Integers, totals: Integers, minutes: pa.Table) -> None:
    wrong = np.flatnonzero(sums != totals)
    if len(wrong):
        when = minute_text(starts(minutes)[int(wrong[0])])
        raise Unfit(f"{when}: its levels' {name} do not add up to what its head says")
