"""The simulated exchange: it must be as honest as the collectors that are tested against it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from picows import WSMsgType

from collectors.connection import Connection, connect
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from collectors.venues.history import Span
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError

START_NS = 1_723_161_255 * 10**9
MS = 1_000_000
PATH = "/stream?streams=btcusdt@trade"


def tape(count: int, symbol: str = "BTCUSDT") -> list[SimTrade]:
    return list(synthetic_trades(1, START_NS, count, symbol))


async def take(connection: Connection, count: int) -> list[dict[str, Any]]:
    frames: list[bytes] = []
    async with asyncio.timeout(10):
        while len(frames) < count:
            frames += await connection.frames()
    return [json.loads(frame) for frame in frames]


async def history(exchange: Simulator, path: str, **query: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + path, params=query) as answer:
        return await answer.json()


# --- trades ---------------------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_trades_and_another_seed_others() -> None:
    assert tape(5_000) == tape(5_000)
    assert list(synthetic_trades(2, START_NS, 50)) != tape(50)


def test_more_trades_of_a_seed_begin_with_the_fewer() -> None:
    assert tape(10_000)[:100] == tape(100)


def test_made_trades_are_trades_with_ids_from_one_in_order_of_time() -> None:
    trades = tape(9_000)
    assert [t.trade_id for t in trades] == list(range(1, 9_001))
    assert all(a.ts_ns <= b.ts_ns for a, b in pairwise(trades))
    assert all(Decimal(t.price) > 0 and Decimal(t.size) > 0 for t in trades)


def test_the_pace_of_made_trades_is_the_one_asked_for() -> None:
    trades = list(synthetic_trades(1, START_NS, 60_000, trades_per_minute=6_000))
    assert 9 < (trades[-1].ts_ns - START_NS) / 60e9 < 11


# --- streams --------------------------------------------------------------------------------------------------------------


async def test_a_combined_stream_wraps_events_and_a_raw_one_does_not() -> None:
    (trade,) = tape(1)
    event = {"e": "trade", "E": trade.ts_ns // MS, "s": "BTCUSDT", "t": 1, "p": trade.price, "q": trade.size}
    event |= {"T": trade.ts_ns // MS, "m": not trade.buy, "M": True}
    async with Simulator([trade]) as exchange, await connect(exchange.ws_url + PATH) as connection:
        assert await take(connection, 1) == [{"stream": "btcusdt@trade", "data": event}]
    async with Simulator([trade]) as exchange, await connect(exchange.ws_url + "/ws/btcusdt@trade") as connection:
        assert await take(connection, 1) == [event]


async def test_futures_speak_of_aggregates_also_behind_their_routed_path() -> None:
    (trade,) = tape(1)
    path = "/market/stream?streams=btcusdt@aggTrade"
    async with Simulator([trade], venue="binance-usdm") as exchange, await connect(exchange.ws_url + path) as connection:
        (told,) = await take(connection, 1)
    assert told["stream"] == "btcusdt@aggTrade"
    assert {key: told["data"][key] for key in "easfl"} == {"e": "aggTrade", "a": 1, "s": "BTCUSDT", "f": 1000, "l": 1000}


async def test_only_what_was_subscribed_to_is_told() -> None:
    mixed = [t for pair in zip(tape(50), tape(50, "ETHUSDT"), strict=True) for t in pair]
    path = "/stream?streams=ethusdt@trade/btcusdt@depth"
    async with Simulator(mixed) as exchange, await connect(exchange.ws_url + path) as connection:
        told = await take(connection, 50)
    assert {event["data"]["s"] for event in told} == {"ETHUSDT"}
    assert [event["data"]["t"] for event in told] == list(range(1, 51))


async def test_a_subscribe_message_is_answered() -> None:
    async with Simulator(tape(10), rate=1e-6) as exchange, await connect(exchange.ws_url + "/ws") as connection:
        assert connection._transport is not None
        connection._transport.send(WSMsgType.TEXT, b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}')
        assert {"result": None, "id": 7} in await take(connection, 1)


async def test_frames_made_beforehand_are_the_same() -> None:
    told = []
    for prepared in (False, True):
        simulator = Simulator(tape(500), prepared=prepared, unsent={7})
        async with simulator as exchange, await connect(exchange.ws_url + PATH) as connection:
            told.append(await take(connection, 499))
    assert told[0] == told[1]


# --- faults ---------------------------------------------------------------------------------------------------------------


async def test_a_cut_comes_after_so_many_trades_with_no_close_frame_and_the_tape_goes_on() -> None:
    async with Simulator(tape(1_000), cut_every=300, missed=100) as exchange:
        url = exchange.ws_url + PATH
        seen = []
        while not exchange.done.is_set():
            async with await connect(url) as connection:
                while frames := await connection.frames():
                    seen.append([json.loads(frame)["data"]["t"] for frame in frames])
                    if exchange.done.is_set() and seen[-1][-1] == 1_000:
                        break
                else:
                    assert connection.reason == "cut without a close frame"
        flat = [i for ids in seen for i in ids]
        assert flat == [*range(1, 301), *range(401, 701), *range(801, 1_001)]
        assert exchange.connections == 3


async def test_without_losses_the_tape_waits_for_the_next_connection() -> None:
    async with Simulator(tape(600), cut_every=250, lossy=False) as exchange:
        url = exchange.ws_url + PATH
        seen: list[int] = []
        while not seen or seen[-1] != 600:
            async with await connect(url) as connection:
                while frames := await connection.frames():
                    seen += [json.loads(frame)["data"]["t"] for frame in frames]
                    if seen[-1] == 600:
                        break
    assert seen == list(range(1, 601))


async def test_with_a_rate_the_clock_goes_on_while_nobody_is_there_but_the_last_trade_waits() -> None:
    async with Simulator(tape(2_000), rate=100_000) as exchange:
        async with await connect(exchange.ws_url + PATH) as connection:
            first = await take(connection, 1)
            exchange.cut()
        path = "/api/v3/historicalTrades"
        async with asyncio.timeout(10):
            while (await history(exchange, path, symbol="BTCUSDT", limit=1))[0]["id"] < 1_999:
                await asyncio.sleep(0.001)
        assert not exchange.done.is_set()
        async with await connect(exchange.ws_url + PATH) as connection:
            assert [event["data"]["t"] for event in await take(connection, 1)] == [2_000]
    assert first[0]["data"]["t"] == 1


async def test_an_upgrade_can_be_refused() -> None:
    async with Simulator(tape(1)) as exchange:
        exchange.upgrade_answers.append((429, {"Retry-After": "3"}))
        with pytest.raises(VenueError, match="HTTP 429") as caught:
            await connect(exchange.ws_url + PATH)
    assert caught.value.retry_after_s == 3


# --- history --------------------------------------------------------------------------------------------------------------


async def test_history_has_what_has_happened_and_nothing_else() -> None:
    path = "/api/v3/historicalTrades"
    async with Simulator(tape(3_000), unkept={5}) as exchange:
        assert await history(exchange, path, symbol="BTCUSDT", fromId=1) == []
        async with await connect(exchange.ws_url + PATH):
            await exchange.done.wait()
        pages = [await history(exchange, path, symbol="BTCUSDT", fromId=f, limit=9_999) for f in (1, 1_001, 2_500, 3_001)]
        assert [row["id"] for row in pages[0]] == [1, 2, 3, 4, *range(6, 1_001)]
        assert [row["id"] for row in pages[1]] == list(range(1_001, 2_001))
        assert [row["id"] for row in pages[2]] == list(range(2_500, 3_001))
        assert pages[3] == []
        assert [row["id"] for row in await history(exchange, path, symbol="BTCUSDT", limit=3)] == [2_998, 2_999, 3_000]
        assert (await history(exchange, path, symbol="NOPE"))["code"] == -1121


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_stream_and_history_tell_the_same_trades_to_the_venues_own_parsers(name: str) -> None:
    venue, trades = VENUES[name], tape(200)
    async with Simulator(trades, venue=name) as exchange:
        async with await connect(exchange.ws_url + venue.ws_path(["BTCUSDT"])) as connection:
            await exchange.done.wait()
            frames: list[bytes] = []
            while len(frames) < 200:
                frames += await connection.frames()
        path = venue.history_path("BTCUSDT", Span(1, 1000), None)
        assert path
        async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + path) as answer:
            page = venue.parse_history("BTCUSDT", await answer.read()).trades["BTCUSDT"]
    live = venue.parser(["BTCUSDT"])(frames).trades["BTCUSDT"]
    for told in (live, page):
        assert list(told.ids) == [t.trade_id for t in trades]
        assert told.ts_ns.tolist() == [t.ts_ns for t in trades]
        assert (told.price, told.size) == ([t.price for t in trades], [t.size for t in trades])
        assert told.side.tolist() == [1 if t.buy else -1 for t in trades]
    batch, reasons = live.checked(latest_ns=START_NS * 2)
    assert (len(batch), reasons) == (200, {})
