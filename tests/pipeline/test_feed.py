"""The bounded queue before a writer: it slows its source, loses nothing when it closes, and keeps the lease meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeline.errors import Fenced
from pipeline.feed import BATCHES, Feed
from pipeline.instrument import IdRule
from pipeline.window import Flush, Lease, RedisWindow
from pipeline.writer import Writer
from tests.pipeline.builders import BTC, START, at, portions, raw, raws, stream, trade
from tests.pipeline.conftest import FAKE_AND_REAL
from tests.pipeline.house import House, named, write
from tests.pipeline.unreliable import Unreliable

pytestmark = pytest.mark.parametrize("window", FAKE_AND_REAL, indirect=True)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_ns = at("0:00")

    def __call__(self) -> int:
        return self.now_ns


def feed_of(writer: Writer, *, flush_s: float = 0.001) -> Feed:
    return Feed(writer, Clock(), flush_s)


async def idle() -> None:
    """Lets everything go on that can."""
    for _ in range(50):
        await asyncio.sleep(0)


class HeardWindow(RedisWindow):
    """A window that tells of each flush that reached Redis."""

    def __init__(self, window: RedisWindow) -> None:
        super().__init__(window.client, window.name)
        self.flushes: asyncio.Queue[Flush] = asyncio.Queue()

    async def flush(self, lease: Lease, flush: Flush) -> None:
        await super().flush(lease, flush)
        self.flushes.put_nowait(flush)


async def test_what_is_put_is_in_redis_after_closing_and_the_lease_is_free(house: House) -> None:
    feed = feed_of(await house.started())
    running = asyncio.create_task(feed.run())
    for members in portions(stream(1000), 30):
        await feed.put(raw(*members), raws)
    await feed.close()
    await running
    await house.exact(stream(1000))
    assert await house.window.holder(BTC) is None


async def test_a_put_waits_while_the_writer_is_behind(house: House) -> None:
    feed = feed_of(await house.started())
    trades = stream(BATCHES + 5)
    for one in trades[:BATCHES]:
        await feed.put(raw(one), raws)
    waiting = asyncio.create_task(feed.put(raw(trades[BATCHES]), raws))
    await idle()
    assert not waiting.done()
    running = asyncio.create_task(feed.run())
    await waiting
    await feed.close()
    await running
    await house.exact(trades[: BATCHES + 1])


async def test_a_redis_that_hangs_fills_the_queue_and_stops_the_source(house: House) -> None:
    house.window.client = client = Unreliable(house.window.client)
    feed = feed_of(await house.started(), flush_s=0)
    client.gate.clear()
    running = asyncio.create_task(feed.run())
    put = 0

    async def source() -> None:
        nonlocal put
        for one in stream(200):
            await feed.put(raw(one), raws)
            put += 1

    sending = asyncio.create_task(source())
    await client.waiting.wait()
    await idle()
    assert not sending.done()
    assert put <= BATCHES + 3  # the queue, and what was summed while the first flush was on its way
    client.gate.set()
    await sending
    await feed.close()
    await running
    await house.exact(stream(200))


async def test_what_waits_in_the_queue_when_it_closes_is_taken(house: House) -> None:
    feed = feed_of(await house.started())
    for members in portions(stream(BATCHES - 1), 1):
        await feed.put(raw(*members), raws)
    await feed.close()
    await feed.run()
    await house.exact(stream(BATCHES - 1))


async def test_trades_are_flushed_after_a_while_though_no_more_come(house: House) -> None:
    house.window = window = HeardWindow(house.window)
    feed = feed_of(await house.started())
    running = asyncio.create_task(feed.run())
    await feed.put(raw(trade(1)), raws)
    assert [c.start for c in (await window.flushes.get()).changes] == [START]
    await house.exact([trade(1)])
    await feed.close()
    await running


async def test_a_tick_seals_a_quiet_market_s_minute_by_the_clock(house: House) -> None:
    house.window = window = HeardWindow(house.window)
    feed = feed_of(await house.started(quiet_ns=30 * 10**9))
    clock: Any = feed.clock_ns
    running = asyncio.create_task(feed.run())
    await feed.put(raw(trade(1)), raws)
    assert not (await window.flushes.get()).sealed
    clock.now_ns = at("1:31")
    feed.tick()
    assert [s.minute for s in (await window.flushes.get()).sealed] == [START]
    await feed.close()
    await running


async def test_a_tick_keeps_the_lease_even_while_only_doubles_come_without_a_pause(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(50))
    feed = feed_of(writer)
    for members in portions(stream(50), 10):
        await feed.put(raw(*members), raws)
    await house.window.client.pexpire("trades_window:{binance:BTCUSDT}:lease", 5000)
    feed.tick()
    running = asyncio.create_task(feed.run())
    while await house.window.client.pttl("trades_window:{binance:BTCUSDT}:lease") <= 5000:
        assert not running.done()
    await feed.close()
    await running


async def test_a_redis_that_can_not_be_reached_at_a_tick_does_not_end_the_feed(house: House) -> None:
    house.window.client = client = Unreliable(house.window.client)
    feed = feed_of(await house.started())
    client.lose_requests = 2
    feed.tick()
    running = asyncio.create_task(feed.run())
    await feed.put(raw(trade(1)), raws)
    await feed.close()
    await running
    await house.exact([trade(1)])
    assert house.revived == 2


async def test_a_feed_whose_writer_was_superseded_ends_with_that_error(house: House) -> None:
    feed = feed_of(await house.started(owner="the first"))
    running = asyncio.create_task(feed.run())
    await house.started(owner="the second")
    feed.tick()
    with pytest.raises(Fenced):
        await running


async def test_the_last_id_is_the_highest_that_was_handed_over_or_stored_before(house: House) -> None:
    writer = await house.started()
    feed = feed_of(writer)
    assert feed.last_id() is None
    await write(writer, [trade(41)])
    assert feed.last_id() == 41
    await feed.put(raw(trade(50), trade(49)), raws)
    assert feed.last_id() == 50
    await feed.put(raw(trade(45)), raws)
    await feed.put(raw(), raws)
    assert feed.last_id() == 50


async def test_the_last_time_is_the_latest_that_was_handed_over_or_stored_before(house: House) -> None:
    writer = await house.started()
    feed = feed_of(writer)
    assert feed.last_ns() is None
    await write(writer, [trade(41, "0:30")])
    assert feed.last_ns() == at("0:30")
    feed.clock_ns = lambda: at("9:00")
    await feed.put(raw(trade(50, "1:00"), trade(49, "0:59")), raws)
    await feed.put(raw(trade(45, "0:40")), raws)
    await feed.put(raw(), raws)
    assert feed.last_ns() == at("1:00")
    await feed.put(raw(trade(99, "99:00")), raws)  # of the future: it will be refused
    assert feed.last_ns() == at("1:00")


async def test_history_alone_is_nothing_to_go_on_from(house: House) -> None:
    writer = await house.started()
    await writer.take(raw(*stream(50)), raws, apart=True)
    feed = feed_of(writer)
    assert (feed.last_id(), feed.last_ns()) == (None, None)
    assert writer.last_id == 50
    await write(writer, [trade(500, "9:00")])
    assert (feed.last_id(), feed.last_ns()) == (500, at("9:00"))
    assert feed.gaps() == []


async def test_history_put_apart_is_not_where_live_trades_go_on_from(house: House) -> None:
    feed = feed_of(await house.started())
    running = asyncio.create_task(feed.run())
    await feed.put(raw(*stream(50)), raws, apart=True)
    assert (feed.last_id(), feed.last_ns()) == (None, None)
    await feed.put(raw(trade(500, "9:00")), raws)
    await feed.close()
    await running
    assert (feed.last_id(), feed.gaps()) == (500, [])
    await house.exact([*stream(50), trade(500, "9:00")])


async def test_after_the_first_trades_since_a_pause_history_is_taken_that_lies_before_them(house: House) -> None:
    trades = named(stream(2000, every_s=0.1), IdRule.MONOTONIC)
    writer = await house.started(IdRule.MONOTONIC)
    await write(writer, trades[:100])
    feed = feed_of(writer)
    running = asyncio.create_task(feed.run())
    await feed.put(raw(*trades[300:]), raws, resumed=True)
    await feed.put(raw(*trades[90:310]), raws, repair=True)
    await feed.close()
    await running
    await house.exact(trades)
    assert writer.counts.taken == 2000


async def test_pages_of_history_that_wait_together_are_not_taken_as_one(house: House) -> None:
    trades = named(stream(2000, every_s=0.1), IdRule.MONOTONIC)
    writer = await house.started(IdRule.MONOTONIC)
    await write(writer, trades[:100])
    feed = feed_of(writer)
    await feed.put(raw(*trades[200:300]), raws, resumed=True)
    await feed.put(raw(*trades[400:2000]), raws, resumed=True)
    for first in (100, 350, 150, 300):
        await feed.put(raw(*trades[first : first + 50]), raws, repair=True)
    await feed.close()
    await feed.run()
    await house.exact(trades)


async def test_names_as_ids_have_no_highest(house: House) -> None:
    feed = feed_of(await house.started(IdRule.OPAQUE))
    await feed.put(raw(trade("a"), trade("b")), raws)
    assert feed.last_id() is None


async def test_a_feed_knows_its_writer_s_holes(house: House) -> None:
    writer = await house.started()
    await write(writer, [trade(1), trade(5)])
    assert [(g.first_id, g.last_id) for g in feed_of(writer).gaps()] == [(2, 4)]


async def test_trades_put_as_a_repair_are_taken_as_one(house: House) -> None:
    writer = await house.started()
    await write(writer, [trade(1, "0:01"), trade(3, "0:03")])
    feed = feed_of(writer)
    running = asyncio.create_task(feed.run())
    await feed.put(raw(trade(2, "0:02")), raws, repair=True)
    await feed.close()
    await running
    bucket = (await house.minutes())[START]
    assert bucket.id_ranges == ((1, 3),)
    resumed = await house.window.resume(BTC)
    assert resumed
    assert resumed[1].open[START].repaired
