"""A sink that keeps what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise

from collectors.venues.parsed import Raws
from pipeline.ids import RangeSet
from pipeline.minute import Gap
from pipeline.trade import RawTrades

START_NS = 1_723_161_255 * 10**9
Row = tuple[int, str, str, int]


class ListSink:
    """Keeps what it is given, in its order; knows its ids like a writer does."""

    def __init__(self, known: Iterable[tuple[int, int]] = ()) -> None:
        self.rows: list[Row] = []
        self.resumed: list[int] = []  # the first ids of batches that came as the first of a connection
        self.live: list[int] = []
        self.repairs: list[int] = []
        self.known = RangeSet()
        for first, last in known:
            self.known.add(first, last)
        self.gate = asyncio.Event()
        self.gate.set()

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
        await self.gate.wait()
        ids = [int(i) for i in trades.ids]
        self.resumed += ids[:1] if resumed else []
        self.rows += zip(trades.ts_ns.tolist(), trades.price, trades.size, trades.side.tolist(), strict=True)
        (self.repairs if repair else self.live).extend(ids)
        for trade_id in ids:
            self.known.add(trade_id, trade_id)
        assert str(ids[-1]) in raws(len(ids) - 1)[0]

    def last_id(self) -> int | None:
        return list(self.known)[-1][1] if len(self.known) else None

    def last_ns(self) -> int | None:
        return max((row[0] for row in self.rows), default=START_NS if len(self.known) else None)

    def gaps(self) -> list[Gap]:
        return [Gap(a[1] + 1, b[0] - 1, START_NS, START_NS) for a, b in pairwise(self.known)]

    @property
    def ids(self) -> list[int]:
        return self.live + self.repairs
