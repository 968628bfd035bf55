"""Columns of texts as trade ids, sides and counts. A text that can't be read is told by its row, and costs no other row."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectors.tapes.time import Int64s, cast_or_each, to_int64
from pipeline.trade import Side

Bad: TypeAlias = dict[int, str]

REMEMBERED = 200_000  # rows; identical ones stand close together, for they have the same time

_NO_SIDE = ("", "none", "None", "NONE", "null", "unknown", "n", "N", "-")
_SIDES = (
    dict.fromkeys(("BUY", "buy", "Buy", "B", "b"), Side.BUY)
    | dict.fromkeys(("SELL", "sell", "Sell", "S", "s"), Side.SELL)
    | dict.fromkeys(_NO_SIDE, Side.NONE)
)
# The buyer was the maker: so the aggressor sold.
_MAKERS = dict.fromkeys(("true", "True", "TRUE", "t", "T", "1"), Side.SELL) | dict.fromkeys(
    ("false", "False", "FALSE", "f", "F", "0"), Side.BUY
)


def whole_numbers(texts: pa.Array, what: str) -> tuple[Int64s, Bad]:
    """Whole numbers of up to 64 bits, such as trade ids."""
    return cast_or_each(texts, _whole_column, _whole, what)


def names(texts: pa.Array) -> tuple[NDArray[np.object_], Bad]:
    """Trade ids that are names, not numbers."""
    ids = np.array(texts.to_pylist(), dtype=object)
    return ids, dict.fromkeys(np.flatnonzero(ids == "").tolist(), "no trade id")


def sides(texts: pa.Array) -> tuple[NDArray[np.int8], Bad]:
    """The aggressor's sides; an empty text says that there was none."""
    return _looked_up(texts, _SIDES, "side", "buy, sell or nothing")


def sides_by_maker(texts: pa.Array) -> tuple[NDArray[np.int8], Bad]:
    """The aggressor's sides where a column says whether the buyer was the maker."""
    return _looked_up(texts, _MAKERS, "buyer-is-maker", "true or false")


class MadeIds:
    """Ids for trades that have none: time, price, size, side, and how many of the same came before it.

    The same tape gives the same ids. What is remembered is bounded: identical rows more than `REMEMBERED` rows apart get
    the same id.
    """

    def __init__(self) -> None:
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def take(self, ts_ns: Int64s, price: pa.Array, size: pa.Array, side: NDArray[np.int8]) -> NDArray[np.object_]:
        """Ids of the next rows of the tape."""
        rows = zip(ts_ns.tolist(), price.to_pylist(), size.to_pylist(), side.tolist(), strict=True)
        return np.array([self._next(f"{ns}_{p}_{s}_{way}") for ns, p, s, way in rows], dtype=object)

    def _next(self, name: str) -> str:
        if len(self._now) >= REMEMBERED:
            self._now, self._before = {}, self._now
        nth = self._now.get(name) or self._before.get(name, 0)
        self._now[name] = nth + 1
        return f"{name}_{nth}"


def _looked_up(texts: pa.Array, known: dict[str, Side], what: str, expected: str) -> tuple[NDArray[np.int8], Bad]:
    found = pc.fill_null(pc.index_in(texts, pa.array(known, pa.string())), -1).to_numpy()
    values = np.array([*known.values(), Side.NONE], dtype=np.int8)[found]
    strange = np.flatnonzero(found == -1).tolist()
    return values, {row: f"{what} {texts[row].as_py()[:40]!r}: expected {expected}" for row in strange}


def _whole(text: str) -> int:
    value = int(text) if text.strip().isdigit() else None
    if value is None or value >= 2**63:
        raise ValueError(text)
    return value


def _whole_column(texts: pa.Array) -> Int64s:
    values = to_int64(texts)
    if len(values) and values.min() < 0:
        raise pa.ArrowInvalid("a number below 0")
    return values
