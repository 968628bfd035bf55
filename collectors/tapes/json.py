"""Trade lists as ccxt saves them: `[{"info": {...}, "timestamp": ..., "price": ...}, ...]`. Pure.

What a venue sent stands in `info`, as text; ccxt's own numbers are json numbers, whose text is taken as it stands. Memory
doesn't grow with the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from collectors.tapes.block import TapeBlock
from collectors.tapes.chunks import Chunk
from collectors.tapes.items import ItemCutter, Items
from collectors.tapes.time import Clock, Natural, numbers_ns
from collectors.venues.parsed import REFUSED
from pipeline.errors import TapeError
from pipeline.trade import RawTrades, Reject, Side

T = TypeVar("T")

_NULL = msgspec.Raw(b"null")
_SIDES = {"buy": Side.BUY, "sell": Side.SELL, None: Side.NONE, "": Side.NONE}


class AggInfo(msgspec.Struct, gc=False):
    """An aggregated trade in Binance's own words."""

    a: Natural
    p: str
    q: str
    f: Natural
    l: Natural  # noqa: E741
    T: Natural
    m: bool


class AggItem(msgspec.Struct, gc=False):
    """A ccxt trade made of Binance's aggTrade."""

    info: AggInfo
    symbol: str | None = None


class PlainItem(msgspec.Struct, gc=False):
    """Any ccxt trade."""

    id: str | int | None = None
    timestamp: Natural | None = None
    price: msgspec.Raw = _NULL
    amount: msgspec.Raw = _NULL
    side: str | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What the first items of a list tell of it."""

    aggregated: bool = False  # made of Binance's aggTrades
    named_ids: bool = False  # ids are texts, not whole numbers
    symbols: frozenset[str] = frozenset()


def shape_of(first: Sequence[msgspec.Raw], where: str) -> Shape:
    """The shape of a list that begins with these items. TapeError where none of them is a trade."""
    plain = [item for raw in first if (item := _read(raw, PlainItem)) and _NULL not in (item.price, item.amount)]
    symbols = frozenset(item.symbol for item in plain if item.symbol)
    agg = [made for raw in first if (made := _read(raw, AggItem))]
    if agg:
        return Shape(aggregated=True, symbols=symbols | {made.symbol for made in agg if made.symbol})
    if first and not plain:
        looked_for = "looked for id, timestamp, price and amount"
        raise TapeError(f"{where}: a json list, but not of ccxt trades: {looked_for}; saw {bytes(first[0])[:60]!r}")
    whole = sum(1 for item in plain if _whole(item.id) is not None)
    return Shape(named_ids=2 * whole < len(plain), symbols=symbols)


class CcxtReader:
    """Reads one ccxt list."""

    def __init__(self, file_name: str, shape: Shape, symbol: str | None = None) -> None:
        """`symbol`: the text that the wanted items have; None for all."""
        self._name = file_name
        self._shape = shape
        self._symbol = symbol
        self._one = msgspec.json.Decoder(AggItem if shape.aggregated else PlainItem, strict=False)
        self._many = msgspec.json.Decoder(list[AggItem] if shape.aggregated else list[PlainItem], strict=False)

    def blocks(self, pieces: Iterable[Chunk]) -> Iterator[TapeBlock]:
        """The list's text, in pieces of any size, as blocks."""
        for items in ItemCutter(self._name).batches(pieces):
            yield self._block(items)

    def symbols(self, pieces: Iterable[Chunk]) -> set[str]:
        """All symbols that the items name."""
        batches = ItemCutter(self._name).batches(pieces)
        return {item.symbol or "" for items in batches for item in self._typed(items)[0].values()}

    def _block(self, items: Items) -> TapeBlock:
        typed, rejects = self._typed(items)
        ours = {at: item for at, item in typed.items() if self._symbol in (None, item.symbol)}
        rows = list(ours)
        trades = list(ours.values())
        columns = _aggregated(trades) if self._shape.aggregated else _plain(trades, self._shape.named_ids)

        def raw(row: int) -> tuple[str, str]:
            return items.raw(rows[row])

        return TapeBlock(columns, raw, items.rejects + rejects, items.done_bytes, len(typed) - len(ours))

    def _typed(self, items: Items) -> tuple[dict[int, Any], list[Reject]]:
        """Items by their place, and those that lack what a trade has."""
        try:
            return dict(enumerate(self._many.decode(b"[" + b",".join(items.raws) + b"]"))), []  # type: ignore[arg-type]
        except REFUSED:
            pass
        typed, rejects = {}, []
        for at, raw in enumerate(items.raws):
            try:
                typed[at] = self._one.decode(raw)
            except REFUSED as error:
                rejects.append(Reject(*items.raw(at), f"not a trade: {error}"))
        return typed, rejects


def _aggregated(items: Sequence[AggItem]) -> RawTrades:
    infos = [item.info for item in items]
    return RawTrades(
        ids=[i.a for i in infos],
        ts_ns=numbers_ns([i.T for i in infos], Clock.MILLISECONDS),
        price=[i.p for i in infos],
        size=[i.q for i in infos],
        side=np.array([Side.SELL if i.m else Side.BUY for i in infos], dtype=np.int8),
        count=np.array([i.l - i.f + 1 for i in infos], dtype=np.int64),
    )


def _plain(items: Sequence[PlainItem], named_ids: bool) -> RawTrades:
    ids = [str(i.id) if named_ids else _whole(i.id) for i in items]
    reasons = {}
    for row, item in enumerate(items):
        if item.side not in _SIDES:
            reasons[row] = f"side {item.side!r:.40}: expected buy, sell or nothing"
        if item.id in (None, "") or ids[row] is None:
            reasons[row] = f"trade id {item.id!r:.40} can't be read"
    return RawTrades(
        ids=np.array([i or 0 for i in ids], dtype=object if named_ids else np.int64),
        ts_ns=numbers_ns([i.timestamp or 0 for i in items], Clock.MILLISECONDS),
        price=[_number(i.price) for i in items],
        size=[_number(i.amount) for i in items],
        side=np.array([_SIDES.get(i.side, Side.NONE) for i in items], dtype=np.int8),
        reasons=reasons,
    )


def _number(raw: msgspec.Raw) -> str:
    """A json number's own text; ccxt can be told to write numbers as strings."""
    return bytes(raw).decode("utf-8", "replace").strip('"')


def _whole(trade_id: str | int | None) -> int | None:
    text = str(trade_id)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _read(raw: msgspec.Raw, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except REFUSED:
        return None
