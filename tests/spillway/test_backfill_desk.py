"""History that the running service fetches beside its live trades: exact, one after the other, and taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collectors.backfill import Page, Past
from collectors.simulator import SimTrade, Simulator
from collectors.venues.history import Span
from collectors.venues.venue import VENUES
from pipeline.errors import SpillwayError, WriterHeld
from pipeline.trade import NS_PER_MINUTE
from spillway.app import App, opened
from spillway.backfill_asking import Asker
from spillway.backfill_requests import ANNOUNCED, MOST
from spillway.backfill_summary import BackfillSummary, unpacked
from spillway.settings import Settings
from tests.spillway.running_service import PAST, PER_MINUTE, Running, exchange_with_a_past, running, tape, until

# Whole, while the writer goes on; the lease would have run out.
SNAPSHOT = """
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if not string.find(key, ':lease$') then all[#all + 1] = key; all[#all + 1] = redis.call('DUMP', key) end
end
return all
"""
GO_BACK = """
redis.call('FLUSHDB')
for i = 1, #ARGV, 2 do redis.call('RESTORE', ARGV[i], 0, ARGV[i + 1]) end
"""


class PagesOneByOne(Past):
    """Each page waits for something."""

    turn: Callable[[], Awaitable[object]]

    async def pages(self, span: Span) -> AsyncIterator[Page]:
        async for page in super().pages(span):
            await type(self).turn()
            yield page


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> type[PagesOneByOne]:
    """What the pages wait for is to be set."""

    class Pages(PagesOneByOne):
        pass

    monkeypatch.setattr("spillway.backfill_desk.Past", Pages)
    monkeypatch.setattr("spillway.backfill_desk.LOOK_S", 0.02)
    return Pages


@asynccontextmanager
async def stage(folder: Path, venue: str = "binance") -> AsyncIterator[tuple[App, Simulator, list[SimTrade]]]:
    trades = tape(VENUES[venue])
    async with opened(Settings(data_dir=folder)) as app, exchange_with_a_past(VENUES[venue], trades) as exchange:
        yield app, exchange, trades


@asynccontextmanager
async def service(folder: Path, venue: str = "binance") -> AsyncIterator[Running]:
    """A service that began to listen when the past was over."""
    async with stage(folder, venue) as (app, exchange, trades), running(app, venue, exchange, trades) as it:
        yield it


async def at_once() -> None:
    pass


async def never() -> None:
    await asyncio.Event().wait()


async def summary_of(it: Running, first: int = 0, end: int | None = None) -> BackfillSummary:
    told = await it.over(await it.put(it.request(first, end)))
    assert told.state == "done", told.outcome
    return unpacked(told.outcome.encode())


@pytest.mark.parametrize(
    "venue", ["binance", "bitflyer", *(pytest.param(name, marks=pytest.mark.long) for name in ("coinbase", "kraken"))]
)
async def test_all_history_is_fetched_exactly_and_live_trades_flow_between_its_pages(
    tmp_path: Path, venue: str, pages: type[PagesOneByOne]
) -> None:
    async with service(tmp_path, venue) as it:
        writer, flowed = it.collection.feeds[it.instrument.symbol].writer, 0

        async def live_trades_flow() -> None:
            nonlocal flowed
            before = writer.watermark_ns
            await until(lambda: writer.watermark_ns > before or it.exchange.done.is_set())
            flowed += writer.watermark_ns > before

        pages.turn = live_trades_flow
        summary = await summary_of(it)
        assert flowed > PAST // VENUES[venue].limits.page_size / 2
        assert summary.counts.taken >= PAST - 100  # Kraken tells some of the past to who subscribes
        assert summary.counts.sealed >= PAST // PER_MINUTE - 1
        assert summary.gap_ids == 0
        await it.all_told()
        assert await it.requests.of(it.instrument) == []
    async with opened(Settings(data_dir=tmp_path)) as it.app:
        assert await it.differences(it.trades) == []


@pytest.mark.parametrize("venue", ["binance", "bitflyer"])
async def test_a_range_in_the_past_brings_just_that_and_asked_again_nothing(
    tmp_path: Path, venue: str, pages: type[PagesOneByOne]
) -> None:
    pages.turn = at_once
    async with service(tmp_path, venue) as it:
        minute = it.trades[0].ts_ns // NS_PER_MINUTE
        wanted = [t for t in it.trades if minute + 2 <= t.ts_ns // NS_PER_MINUTE < minute + 9]
        first, again = await summary_of(it, 2, 9), await summary_of(it, 2, 9)
        assert first.counts.taken == len(wanted)
        assert again.counts.taken == len(wanted)  # nobody read the first outcome
        await it.requests.read(it.instrument, it.request(2, 9))
        assert (await summary_of(it, 2, 9)).counts.taken == 0


@pytest.mark.parametrize("venue", ["binance", pytest.param("bitflyer", marks=pytest.mark.long)])
async def test_a_service_that_ends_in_the_midst_leaves_it_to_the_next_one(
    tmp_path: Path, venue: str, pages: type[PagesOneByOne]
) -> None:
    some = asyncio.Semaphore(2)
    pages.turn = some.acquire
    async with stage(tmp_path, venue) as (app, exchange, trades):
        async with running(app, venue, exchange, trades) as it:
            request = await it.put(it.request())
            await it.until_told(request, lambda told: told.done > 0)
        assert [r.id for r in await it.requests.of(it.instrument)] == [request.id]
        pages.turn = at_once
        async with running(app, venue, exchange, trades) as it:
            assert (await it.over(request)).state == "done"
            await it.all_told()
        assert await it.differences(trades) == []
        assert await it.requests.of(it.instrument) == []


@pytest.mark.parametrize("venue", ["binance", pytest.param("bitflyer", marks=pytest.mark.long)])
async def test_what_a_redis_that_went_back_forgot_is_fetched_again(
    tmp_path: Path, venue: str, pages: type[PagesOneByOne], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ring.RING_TRADES", 100)  # so that the writer can't tell it all again
    seen, earlier = 0, []
    async with service(tmp_path, venue) as it:
        client, writer = it.app.window.client, it.collection.feeds[it.instrument.symbol].writer

        async def back_now_and_then() -> None:
            nonlocal seen, earlier
            seen += 1
            if seen == 2:
                earlier, before = await client.eval(SNAPSHOT, 0), writer.counts.flushes
                await until(lambda: writer.counts.flushes > before + 1)
            elif seen == 6:
                await client.eval(GO_BACK, 0, *earlier)

        pages.turn = back_now_and_then
        summary = await summary_of(it)
        assert summary.counts.rewinds >= 1
        await it.all_told()
        await until(lambda: not it.collection.feeds[it.instrument.symbol].gaps())
    async with opened(Settings(data_dir=tmp_path)) as it.app:
        assert await it.differences(it.trades) == []


async def test_two_ranges_of_one_instrument_are_fetched_one_after_the_other(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    gate = asyncio.Event()
    pages.turn = gate.wait
    async with service(tmp_path) as it:
        first, second = await it.put(it.request(0, 5)), await it.put(it.request(3, 9))
        told = await it.until_told(second, lambda told: told.what)
        assert (told.what, told.over) == ("waiting", False)
        gate.set()
        outcomes = [unpacked((await it.over(request)).outcome.encode()) for request in (first, second)]
        minute = it.trades[0].ts_ns // NS_PER_MINUTE
        wanted = [t for t in it.trades if t.ts_ns // NS_PER_MINUTE < minute + 9]
        assert sum(summary.counts.taken for summary in outcomes) == len(wanted)


async def test_the_bounds_hold(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    pages.turn = never
    async with service(tmp_path) as it:
        for end in range(1, MOST + 1):
            await it.put(it.request(0, end))
        with pytest.raises(SpillwayError, match=f"{MOST} backfills wait for it already"):
            await it.put(it.request(0, MOST + 1))
        for end in range(1, MOST + 1):
            assert not (await it.until_told(it.request(0, end), lambda told: told.beat)).over
        client, tag = it.app.window.client, it.instrument.tag
        keys = [key async for key in client.scan_iter(match=f"trades_window:{tag}:backfill*")]
        assert len(keys) == 1 + MOST
        assert all([await client.ttl(key) > 0 for key in keys])


async def test_a_venue_that_refuses_ends_it_with_what_it_said_and_live_trades_go_on(
    tmp_path: Path, pages: type[PagesOneByOne]
) -> None:
    async with service(tmp_path) as it:
        it.exchange.rest_answers.append((403, {}))
        told = await it.over(await it.put(it.request(0, 5)))
        assert told.state == "failed"
        assert "403" in told.outcome
        await it.all_told()


async def test_a_fault_of_ours_ends_the_request_and_nothing_else(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    pages.turn = broken
    async with service(tmp_path) as it:
        told = await it.over(await it.put(it.request(0, 5)))
        assert (told.state, "RuntimeError: broken" in told.outcome) == ("failed", True)
        await it.all_told()


async def test_other_price_groups_are_refused_in_one_line(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    async with service(tmp_path) as it:
        told = await it.over(await it.put(it.request(0, 5, price_group="0.50")))
        assert told.state == "failed"
        assert "price_group none, the settings here 0.50: expected the same" in told.outcome
        assert "\n" not in told.outcome


# --- the command's side ---------------------------------------------------------------------------------------------------


def asker(it: Running, first: int, end: int | None, said: list[str], shown: list[str]) -> Asker:
    return Asker(it.app, it.instrument, it.request(first, end), lambda what, done, total, note: shown.append(what), said.append)


async def test_who_asks_is_told_how_far_it_is_and_what_became_of_it(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    shown: list[str] = []
    said: list[str] = []
    pages.turn = lambda: until(lambda: "backfill" in shown or not shown or len(said) == 1)
    async with service(tmp_path) as it:
        summary = await asker(it, 0, 9, said, shown).ask(WriterHeld("held"))
        assert summary is not None
        assert summary.counts.taken == sum(
            t.ts_ns // NS_PER_MINUTE < it.request(9).since_ns // NS_PER_MINUTE for t in it.trades
        )
        assert [line for line in said if "it fetches this beside its live trades" in line] == said[:1]


async def test_who_leaves_may_come_back_and_gets_the_outcome_once(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    gate = asyncio.Event()
    pages.turn = gate.wait
    said: list[str] = []
    async with service(tmp_path) as it:
        first = asyncio.create_task(asker(it, 0, 9, said, []).ask(WriterHeld("held")))
        await until(lambda: said)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert "run this again to see it finish" in said[-1]
        gate.set()
        await it.over(it.request(0, 9))
        found = await asker(it, 0, 9, [], []).ask(WriterHeld("held"))
        again = await asker(it, 0, 9, [], []).ask(WriterHeld("held"))
        assert found is not None
        assert again is not None
        assert found.counts.taken > 0
        assert again.counts.taken == 0


async def test_a_request_that_redis_forgot_is_left_again(tmp_path: Path, pages: type[PagesOneByOne]) -> None:
    gate = asyncio.Event()
    pages.turn = gate.wait
    async with service(tmp_path) as it:
        said: list[str] = []
        asking = asyncio.create_task(asker(it, 0, 9, said, []).ask(WriterHeld("held")))
        await until(lambda: said)
        client = it.app.window.client
        await client.delete(ANNOUNCED, f"trades_window:{it.instrument.tag}:backfills")
        async with asyncio.timeout(10):
            while not await it.requests.of(it.instrument):
                await asyncio.sleep(0.01)
        gate.set()
        assert await asking is not None


async def test_where_nobody_writes_any_more_who_asked_goes_on(
    tmp_path: Path, pages: type[PagesOneByOne], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.backfill_asking.FREE_S", 0.2)
    pages.turn = never
    said: list[str] = []
    async with stage(tmp_path) as (app, exchange, trades):
        async with running(app, "binance", exchange, trades) as it:
            asking = asyncio.create_task(asker(it, 0, 9, said, []).ask(WriterHeld("held")))
            await until(lambda: said)
        assert await asking is None
        assert "going on here" in said[-1]
