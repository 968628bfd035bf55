"""Csv files that are known by their columns: Binance's public dumps, Tardis, and what `spillway export` writes. Pure.

Binance's (data.binance.vision) have a header or none. Spot has `is_best_match` at the end, futures have not. Spot's times are
microseconds since 2025, milliseconds before. Ids that are missing or stand twice there are the archive's own faults.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import TapeError

_SHAPES = {"id": r"\d{1,19}", "number": r"\d+(?:\.\d*)?", "time": r"\d{13,19}", "flag": r"(?i:true|false)"}
_KINDS = {
    "id": "id",
    "price": "number",
    "qty": "number",
    "quote_qty": "number",
    "time": "time",
    "is_buyer_maker": "flag",
    "is_best_match": "flag",
    "agg_trade_id": "id",
    "quantity": "number",
    "first_trade_id": "id",
    "last_trade_id": "id",
    "transact_time": "time",
}
_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_AGGREGATED = ("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time", "is_buyer_maker")
_BEST = "is_best_match"
_BITFLYER = ("domain", "product_code")
_TARDIS = ("exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount")
_EXPORT = ("timestamp", "price_level", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count")
_OHLC = {"timestamp", "open", "high", "low", "close", "trade_count"}
LEVELS_KIND = "spillway-levels"
LEVELS = {"time": 0, "price": 1, "buy": 2, "sell": 3, "total": 4, "count": 6}  # role -> column; delta follows from them
_BARE_NUMBER = re.compile(r"-?\d+(?:\.\d*)?", re.ASCII)


CSV_KINDS = ("csv", "bitflyer-csv", "tardis-csv", "binance-trades", "binance-aggtrades")


@dataclass(frozen=True, slots=True)
class Dump:
    """One kind of a dump: its name, and its columns in their order."""

    kind: str
    names: tuple[str, ...]

    def holds(self, row: Sequence[str]) -> bool:
        """Whether a row's cells look like these columns."""
        shapes = (_SHAPES[_KINDS[name]] for name in self.names)
        return len(row) == len(self.names) and all(map(re.fullmatch, shapes, row))


BINANCE = tuple(
    Dump(kind, (*names, *best))
    for kind, names in (("binance-trades", _TRADES), ("binance-aggtrades", _AGGREGATED))
    for best in ((), (_BEST,))
)


def without_header(rows: Sequence[Sequence[str]]) -> Dump | None:
    """The dump that most of these first rows of a file are of, where the very first is no header."""
    if not rows or not any(map(_BARE_NUMBER.fullmatch, rows[0])):
        return None
    return next((dump for dump in BINANCE if 2 * sum(map(dump.holds, rows)) > len(rows)), None)


def kind_of(header: Sequence[str]) -> str:
    """The kind of a csv by its header: "csv" for one that nobody we know publishes."""
    if tuple(header[: len(_BITFLYER)]) == _BITFLYER:
        return "bitflyer-csv"
    if tuple(header) == _TARDIS:
        return "tardis-csv"
    if is_levels(header):
        return LEVELS_KIND
    names = tuple(map(_plain, header))
    return next((dump.kind for dump in BINANCE if tuple(map(_plain, dump.names)) == names), "csv")


def is_levels(header: Sequence[str]) -> bool:
    """Whether these are the columns of our export of levels."""
    return tuple(header) == _EXPORT


def refuse_ohlc(header: Sequence[str], where: str) -> None:
    """TapeError for the columns of our export of minutes or bars: whose volumes no price can be given."""
    if set(header) >= _OHLC:
        raise TapeError(f"{where}: minutes or bars don't say at which price what was traded: export --what levels instead")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("baseqty", "quoteqty")  # coin-margined futures give the other one
