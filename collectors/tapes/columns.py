"""Which column of a csv is what, told from its header or given by the user. Pure."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from pipeline.errors import TapeError

NONE = "-"  # given instead of a column's name: there is no such column

# Roles, and the names that columns have for them, best first. One-letter names (Binance's) count by case, the others don't.
NAMES: dict[str, tuple[str, ...]] = {
    "time": (
        *("execdate", "timestamp", "time", "tradetime", "transacttime", "ts", "tsevent", "exchangetime", "executedat"),
        *("datetime", "timestampms", "date", "T"),
    ),
    "id": ("id", "tradeid", "aggtradeid", "trdmatchid", "tid", "execid", "executionid", "a", "t"),
    "price": ("price", "px", "p"),
    "size": ("size", "qty", "quantity", "amount", "volume", "vol", "q", "v"),
    "side": ("side", "aggressor", "takerside", "aggressorside", "tradeside", "S"),
    "maker": ("isbuyermaker", "buyermaker", "buyerismaker", "m"),
    "symbol": ("symbol", "productcode", "productid", "product", "pair", "instrument", "instid", "market", "s"),
    "first": ("firsttradeid", "firstid", "f"),
    "last": ("lasttradeid", "lastid", "l"),
}
_NEEDED = ("time", "id", "price", "size")
_MAY_BE_NONE = ("id", "side", "symbol")
_AGGREGATED = ("aggtradeid", "a")
EXAMPLE = "--columns time=...,id=...,price=...,size=...,side=... (id=- where the trades have none)"


def delimiter_of(line: str) -> str:
    """What separates the cells of a header: a comma, a semicolon or a tab."""
    return max(",;\t", key=line.count)


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line, without quotes and outer spaces; none where it is no csv."""
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])]
    except csv.Error:
        return []


def columns_of(header: Sequence[str], given: Mapping[str, str], where: str) -> dict[str, int]:
    """Role -> column. TapeError where a column that is needed can't be told, or a given one isn't there."""
    found = {role: column for role in NAMES if (column := _guess(header, role)) is not None}
    for role, name in given.items():
        column = _given(header, role, name, where)
        found.pop(role, None)
        if column is not None:
            found[role] = column
    _choose_side(found, given)
    _complain(header, found, given, where)
    return found


def stream_of(header: Sequence[str], columns: Mapping[str, int]) -> str:
    """Which of a venue's id sequences the ids are of."""
    if "id" not in columns:
        return ""
    return "agg" if _plain(header[columns["id"]]) in _AGGREGATED else "trade"


def _guess(header: Sequence[str], role: str) -> int | None:
    plain = [_plain(name) for name in header]
    return next((plain.index(name) for name in NAMES[role] if name in plain), None)


def _given(header: Sequence[str], role: str, name: str, where: str) -> int | None:
    if role not in NAMES:
        raise TapeError(f"{where}: --columns: {role!r} is not known; expected some of {', '.join(NAMES)}")
    if name == NONE and role in _MAY_BE_NONE:
        return None
    if name not in header:
        raise TapeError(f"{where}: --columns {role}={name}: there is no such column; the header has {', '.join(header)}")
    return list(header).index(name)


def _choose_side(found: dict[str, int], given: Mapping[str, str]) -> None:
    """Leaves one of `side` and `maker`: what was given, else `side`."""
    if _plain(given.get("side", "")) in NAMES["maker"]:
        found["maker"] = found.pop("side")  # a column of true and false was given as the side
    elif "maker" in given:
        found.pop("side", None)
    elif "side" in found or "side" in given:
        found.pop("maker", None)


def _complain(header: Sequence[str], found: Mapping[str, int], given: Mapping[str, str], where: str) -> None:
    missing = [role for role in _NEEDED if role not in found and given.get(role) != NONE]
    if not {"side", "maker"} & found.keys() and given.get("side") != NONE:
        missing.append("side")
    if missing:
        seen = ", ".join(name[:30] for name in header[:30])
        raise TapeError(f"{where}: can't tell which column is {' and '.join(missing)}; the header has {seen}; say {EXAMPLE}")


def _plain(name: str) -> str:
    """A name without case and separators, unless it is one letter: T is a time, t an id."""
    name = name.strip()
    return name if len(name) == 1 else name.lower().translate({ord(c): None for c in "_- ."})
