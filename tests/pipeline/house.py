"""A window, what is kept below it, and writers between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pipeline.instrument import IdRule
from pipeline.minute import Minute
from pipeline.spill import Spiller
from pipeline.trade import Reject, Trade
from pipeline.window import RedisWindow
from pipeline.writer import Writer, WriterOptions
from tests.pipeline.builders import BTC, at, portions, raw, raws
from tests.pipeline.memory_files import MemoryFiles
from tests.pipeline.reference import as_expected, minutes_of


class House:
    """All that a writer needs, in memory but for Redis; and what stands in it, wherever it is."""

    def __init__(self, window: RedisWindow) -> None:
        self.window = window
        self.files = MemoryFiles()
        self.rejects: list[Reject] = []
        self.revived = 0
        self.writers: list[Writer] = []

    def writer(self, rule: IdRule = IdRule.CONTIGUOUS, **options: Any) -> Writer:
        """A writer, not yet started."""
        made = Writer(
            BTC,
            rule,
            self.window,
            self.files,
            WriterOptions(**({"owner": "me"} | options)),
            lambda: at("100000:00"),
            self.reject,
            self.revive,
        )
        self.writers.append(made)
        return made

    async def started(self, rule: IdRule = IdRule.CONTIGUOUS, **options: Any) -> Writer:
        """A writer that holds the lease; whoever held it before is taken for dead."""
        made = self.writer(rule, **({"dead_owner": await self.window.holder(BTC) or ""} | options))
        await made.start()
        return made

    async def reject(self, rejects: list[Reject]) -> None:
        assert rejects, "the dead letters were given nothing"
        self.rejects += rejects

    async def revive(self) -> None:
        self.revived += 1

    async def spill(self) -> None:
        report = await Spiller(self.window, self.files).spill({BTC: None})
        assert report.failures == []

    async def minutes(self) -> dict[int, Minute]:
        """All minutes, wherever they are; of a minute in two places the higher revision."""
        hot = [await self.window.load(BTC, start) for start in await self.window.sealed_minutes(BTC)]
        found: dict[int, Minute] = {}
        for bucket in [*self.files.minutes(BTC).values(), *hot, *await self.window.open_minutes(BTC)]:
            assert bucket
            if bucket.start not in found or found[bucket.start].revision < bucket.revision:
                found[bucket.start] = bucket
        return found

    async def exact(self, trades: Iterable[Trade], *, by_time: bool = False, group: Decimal | None = None) -> None:
        found = {start: as_expected(m) for start, m in (await self.minutes()).items()}
        assert found == minutes_of(trades, by_time=by_time, group=group)


def named(trades: list[Trade], rule: IdRule) -> list[Trade]:
    """The trades with ids of the rule's kind."""
    spread: dict[IdRule, Callable[[int], int | str]] = {
        IdRule.CONTIGUOUS: lambda n: n,
        IdRule.MONOTONIC: lambda n: n * 13,
        IdRule.OPAQUE: lambda n: f"t{n}",
    }
    return [replace(t, trade_id=spread[rule](int(t.trade_id))) for t in trades]


async def write(writer: Writer, trades: list[Trade], size: int = 50, **flush: Any) -> None:
    """Takes and flushes trades in portions, as a feed does."""
    for members in portions(trades, size):
        await writer.take(raw(*members), raws)
        await writer.flush(**flush)
    await writer.settle()
