"""A sink for trades whose ids are texts; it also keeps what is refused and what is written down about outages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from collectors.venues.parsed import Raws
from pipeline.minute import Gap, IdRange
from pipeline.trade import RawTrades, Reject

Row = tuple[str, int, str, str, int]  # id, time in ns, price, size, side


class TextSink:
    """Keeps what it is given; knows its ids like a writer does."""

    def __init__(self, last_ns: int | None = None) -> None:
        self.live: list[Row] = []
        self.repairs: list[Row] = []
        self.resumed: list[str] = []  # the first ids of batches that came as the first of a connection
        self.reasons: list[str] = []
        self.rejects: list[tuple[str, Reject]] = []
        self.outages: list[tuple[int, int, bool, str]] = []
        self.logged = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._last_ns = last_ns
        self._news = asyncio.Event()

    @property
    def rows(self) -> list[Row]:
        """Live and fetched."""
        return self.live + self.repairs

    async def holds(self, count: int) -> None:
        """Waits until so many different trades are here."""
        while len({row[0] for row in self.rows}) < count:
            self._news.clear()
            await self._news.wait()

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
        await self.gate.wait()
        if self.error:
            raise self.error
        columns: Any = (trades.ids, trades.ts_ns.tolist(), trades.price, trades.size, trades.side.tolist())
        rows = [row for number, row in enumerate(zip(*columns, strict=True)) if number not in trades.reasons]
        (self.repairs if repair else self.live).extend(rows)
        self.resumed += [row[0] for row in rows[:1]] if resumed else []
        self.reasons += trades.reasons.values()
        self._last_ns = max([row[1] for row in rows] + ([] if self._last_ns is None else [self._last_ns]), default=None)
        assert all(raws(number)[0] for number in range(len(trades.ts_ns)))
        self._news.set()

    def last_id(self) -> int | None:
        return None

    def last_ns(self) -> int | None:
        return self._last_ns

    def gaps(self) -> list[Gap]:
        return []

    async def reject(self, symbol: str, reject: Reject) -> None:
        self.rejects.append((symbol, reject))
        self._news.set()

    async def found(self, symbol: str, gaps: Sequence[Gap]) -> None:
        raise AssertionError("ids that prove nothing show no gaps")

    async def lost(self, symbol: str, ids: IdRange, why: str) -> None:
        raise AssertionError("ids that prove nothing show no gaps")

    async def outage(self, symbol: str, before_ns: int, after_ns: int, *, fetched: bool, how: str) -> None:
        self.outages.append((before_ns, after_ns, fetched, how))
        self.logged.set()
