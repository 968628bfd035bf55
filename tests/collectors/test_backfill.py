"""The past of an instrument, asked page by page: where it lies, what joins, and how long a failing venue is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import structlog

from collectors.backfill import Page, Past
from collectors.rest import RestClient
from collectors.simulator import Simulator, synthetic_trades
from collectors.venues.history import Span
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError

START_NS = 1_723_161_240 * 10**9
COUNT = 3000


class Bench:
    """An exchange whose trades are all past, and what asks it."""

    def __init__(self, exchange: Simulator, past: Past, waits: list[float]) -> None:
        self.exchange, self.past, self.waits = exchange, past, waits

    async def pages(self, span: Span) -> list[Page]:
        return [page async for page in self.past.pages(span)]


@asynccontextmanager
async def bench(venue: str, *, tries: int = 3, **options: Any) -> AsyncIterator[Bench]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async with Simulator(synthetic_trades(5, START_NS, COUNT), venue=venue, **options) as exchange:
        exchange._tape.at = COUNT
        async with RestClient(exchange.rest_url, tries=1, sleep=sleep) as rest:
            yield Bench(exchange, Past(VENUES[venue], "BTCUSDT", rest, structlog.get_logger(), tries=tries, sleep=sleep), waits)


@pytest.mark.parametrize("venue", ["binance", "coinbase", "okx", "bitflyer"])
async def test_a_time_range_is_found_by_its_ids(venue: str) -> None:
    times = [t.ts_ns for t in synthetic_trades(5, START_NS, COUNT)]
    async with bench(venue) as it:
        assert await it.past.ids(times[500], times[2000]) == (
            1 + next(i for i, t in enumerate(times) if t >= times[500]),
            next(i for i, t in enumerate(times) if t >= times[2000]),
        )
        assert await it.past.ids(0, times[-1] + 1) == (1, COUNT)
        first, last = await it.past.ids(times[-1] + 1, times[-1] + 2)
        assert last < first


@pytest.mark.parametrize("venue", ["binance", "coinbase", "okx", "bitflyer"])
async def test_pages_share_a_trade_with_the_one_before_and_hold_nothing_beyond_the_span(venue: str) -> None:
    async with bench(venue) as it:
        pages = [set(np.asarray(page.trades.ids).tolist()) for page in await it.pages(Span(300, 2600))]
        assert set.union(*pages) == set(range(300, 2601))
        assert all(len(one & other) == 1 for one, other in pairwise(pages))


async def test_a_trade_that_is_shared_keeps_its_values_and_its_raw_text() -> None:
    async with bench("binance") as it:
        first, second, *_ = await it.pages(Span(1, 2000))
        assert (second.trades.ids[0], second.trades.price[0]) == (first.trades.ids[-1], first.trades.price[-1])
        assert second.raws(0) == first.raws(len(first.trades.ts_ns) - 1)
        assert second.raws(1) != second.raws(0)
        assert len(second.trades.price) == len(second.trades.size) == len(second.trades.side) == len(second.trades.ts_ns)


async def test_by_time_a_page_holds_all_ids_between_those_in_the_range() -> None:
    times = [t.ts_ns for t in synthetic_trades(5, START_NS, COUNT)]
    async with bench("kraken") as it:
        pages = await it.pages(Span(since_ns=times[100], until_ns=times[1500]))
        found = sorted({int(i) for page in pages for i in page.trades.ids})
        assert found == list(range(found[0], found[-1] + 1))
        assert found[0] <= 101
        assert found[-1] >= 1501


async def test_a_failing_venue_is_asked_again_after_ever_longer_waits_and_given_up_at_last() -> None:
    async with bench("binance") as it:
        it.exchange.rest_answers.extend([(500, {}), (503, {})])
        assert await it.pages(Span(1, 10))
        assert len(it.waits) == 2
        it.exchange.rest_answers.extend([(500, {})] * 3)
        with pytest.raises(VenueError, match="500"):
            await it.pages(Span(1, 10))


async def test_a_venue_that_wants_to_be_left_alone_for_long_is() -> None:
    async with bench("binance") as it:
        it.exchange.rest_answers.append((503, {"Retry-After": "77"}))
        assert await it.pages(Span(1, 10))
        assert it.waits == [77]
