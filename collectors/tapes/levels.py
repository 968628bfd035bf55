"""Our own export of levels as a tape: of each level a trade for each side, with its volumes and its trade count. Pure.

What was bought, sold and traded at each minute and price comes back exactly, and so do high, low, notional and vwap. The order
of trades is not in levels: a minute opens at its lowest price and closes at its highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectors.tapes.block import Raws, TapeBlock, TextRows, Texts
from collectors.tapes.cells import whole_numbers
from collectors.tapes.chunks import Chunk
from collectors.tapes.items import ItemCutter
from collectors.tapes.time import Clock, Int64s, times_ns
from collectors.venues.parsed import Reader
from pipeline import fixed
from pipeline.fixed import Integers
from pipeline.trade import NS_PER_MINUTE, RawTrades, Reject, Side

NOTE = "levels have no order within a minute: open and close are each minute's lowest and highest price"
STREAM = "levels"  # no venue's ids: where its trades are kept already, their levels would count them twice

_SIDES = np.array([Side.BUY, Side.SELL, Side.NONE], dtype=np.int8)
_NAMES = ("buy", "sell", "none")
_SAFE = 2**61  # below this, sums of a few stay within 64 bits
_FLOAT_DIGITS = 15  # what a float64, which exports hold, gives back exactly
_NUMBERS = {"price": "price_level", "buy": "buy_volume", "sell": "sell_volume", "total": "total_volume"}


class Level(msgspec.Struct, gc=False):
    """A row of a json export. Its numbers are floats already: each one's shortest text is the decimal that was exported."""

    timestamp: str
    price_level: float
    buy_volume: float
    sell_volume: float
    total_volume: float
    trade_count: int


class LevelsReader:
    """Makes trades of the levels of one tape, read in their order."""

    def __init__(self, clock: Clock = Clock.ISO) -> None:
        self._clock = clock
        self._minute = -1
        self._nth = 0  # trades made in that minute so far

    def blocks(self, parts: Iterable[TextRows]) -> Iterator[TapeBlock]:
        """Rows with the roles time, price, buy, sell, total and count, as blocks."""
        for part in parts:
            trades, rows = self._trades(part.texts)
            yield TapeBlock(trades, _raws(part.raw, rows), part.rejects, part.done_bytes, part.skipped)

    def _trades(self, texts: Texts) -> tuple[RawTrades, NDArray[np.intp]]:
        """The trades, and the row of each."""
        starts, reasons = times_ns(texts["time"], self._clock)
        counts, bad_counts = whole_numbers(texts["count"], "trade_count")
        volumes, scale, bad_volumes = _volumes(texts)
        has = (volumes > 0).astype(bool)
        sides = has.sum(axis=1)
        reasons |= _impossible(volumes, sides, counts) | bad_counts | bad_volumes
        reasons |= _inexact(texts) | _unplaced(texts["price"], starts)
        has[list(reasons)] = [True, False, False]  # one row to be refused
        rows, way = np.divmod(np.flatnonzero(has), 3)
        price, starts = texts["price"].take(pa.array(rows)), starts[rows]
        trades = RawTrades(
            ids=_ids(starts, price, way),
            ts_ns=self._times(starts),
            price=price,
            size=[fixed.to_text(value, scale) for value in volumes[rows, way].tolist()],
            side=_SIDES[way],
            count=np.where(np.diff(rows, prepend=-1) != 0, counts[rows] - sides[rows] + 1, 1),
            reasons={at: reasons[row] for at, row in enumerate(rows.tolist()) if row in reasons} if reasons else {},
        )
        return trades, rows

    def _times(self, starts: Int64s) -> Int64s:
        """Times a nanosecond apart within each minute, so that no two trades are taken for the same."""
        if not len(starts):
            return starts
        minutes = starts // NS_PER_MINUTE
        begins = np.diff(minutes, prepend=minutes[0] - 1) != 0
        at = np.arange(len(minutes))
        nth = at - np.maximum.accumulate(np.where(begins, at, 0))
        if minutes[0] == self._minute:
            nth[: int(np.argmax(begins[1:])) + 1 if begins[1:].any() else len(nth)] += self._nth
        self._minute, self._nth = int(minutes[-1]), int(nth[-1]) + 1
        times: Int64s = np.where(starts > 0, starts + nth, 0)
        return times


def _volumes(texts: Texts) -> tuple[Integers, int, dict[int, str]]:
    """For each row what was bought, sold, and traded with no aggressor, as integers at one scale; and the rows that are bad."""
    columns = [fixed.parse_column(texts[role], 0) for role in ("buy", "sell", "total")]
    bad = {row: f"volume {why}" for column in columns for row, why in column.bad.items()}
    scale = max(column.scale for column in columns)
    buy, sell, total = (fixed.widen(column.values, column.scale, scale) for column in columns)
    if len(total) and max(int(values.max()) for values in (buy, sell, total)) >= _SAFE:
        buy, sell, total = buy.astype(object), sell.astype(object), total.astype(object)
    return np.stack([buy, sell, total - buy - sell], axis=1), scale, bad


def json_rows(pieces: Iterable[Chunk], file_name: str) -> Iterator[TextRows]:
    """The rows of a json export."""
    read = Reader(Level).read
    for items in ItemCutter(file_name).batches(pieces):
        levels, places, refused = read(items.raws)
        rejects = [Reject(*items.raw(at), f"not a level: {why}") for at, why in refused.items()]
        texts = {role: _texts(repr(getattr(level, name)) for level in levels) for role, name in _NUMBERS.items()}
        texts["time"] = _texts(level.timestamp for level in levels)
        texts["count"] = _texts(str(level.trade_count) for level in levels)
        yield TextRows(texts, _raws(items.raw, places), items.rejects + rejects, items.done_bytes)


def fields_of(items: Sequence[msgspec.Raw]) -> list[str]:
    """The keys of a list's first item."""
    found = Reader(dict[str, msgspec.Raw]).read(items[:1])[0]
    return list(found[0]) if found else []


def is_level(raw: msgspec.Raw) -> bool:
    """Whether a json list's item is an exported level."""
    return bool(Reader(Level).read([raw])[0])


def _texts(values: Iterable[str]) -> pa.Array:
    return pa.array(list(values), pa.string())


def _raws(raw: Raws, places: Sequence[int] | NDArray[np.intp]) -> Raws:
    return lambda row: raw(int(places[row]))


def _ids(starts: Int64s, price: pa.Array, way: NDArray[np.intp]) -> NDArray[np.object_]:
    """A name for each trade: its minute, price and side."""
    named = zip((starts // NS_PER_MINUTE).tolist(), price.to_pylist(), way.tolist(), strict=True)
    return np.array([f"{minute}-{text}-{_NAMES[side]}" for minute, text, side in named], dtype=object)


def _impossible(volumes: Integers, sides: Int64s, counts: Int64s) -> dict[int, str]:
    """Rows whose numbers contradict each other."""
    negative = dict.fromkeys(np.flatnonzero((volumes < 0).any(axis=1)).tolist(), "volumes that don't add up")
    empty = dict.fromkeys(np.flatnonzero(sides == 0).tolist(), "no volume")
    few = dict.fromkeys(np.flatnonzero(counts < sides).tolist(), "fewer trades than sides that traded")
    return negative | empty | few


def _inexact(texts: Texts) -> dict[int, str]:
    """Rows with a number that a float64 doesn't give back: what was exported can't be known."""
    found: dict[int, str] = {}
    for role in _NUMBERS:
        long = np.flatnonzero(pc.greater(pc.binary_length(texts[role]), _FLOAT_DIGITS).to_numpy(zero_copy_only=False))
        for row in long.tolist():
            if len(_digits(texts[role][row].as_py())) > _FLOAT_DIGITS:
                found[row] = f"more than {_FLOAT_DIGITS} digits: the export was not exact"
    return found


def _unplaced(price: pa.Array, starts: Int64s) -> dict[int, str]:
    """Rows without a time or a price. They are refused later too, but then once for each side."""
    missing = dict.fromkeys(np.flatnonzero(starts == 0).tolist(), "no time: it can't be placed in a minute")
    column = fixed.parse_column(price, 0)
    low = dict.fromkeys(np.flatnonzero(column.values <= 0).tolist(), "price not more than 0")
    return missing | low | {row: f"price {why}" for row, why in column.bad.items()}


def _digits(number: str) -> str:
    """A number's digits, without those that only set its magnitude."""
    return number.lower().partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")
