"""The simulated exchange: it must be as honest as the collectors that are tested against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from collectors.connection import Connection, Limits, connect
from collectors.simulator import Faults, SimTrade, Simulator, merged, synthetic_trades
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError

START_NS = 1_723_161_255 * 10**9
MS = 1_000_000
PATH = "/stream?streams=btcusdt@trade"
HISTORY = "/api/v3/historicalTrades"
MiB = 1 << 20
LIMITS = Limits()


def tape(count: int, symbol: str = "BTCUSDT") -> list[SimTrade]:
    return list(synthetic_trades(1, START_NS, count, symbol))


async def frames(connection: Connection, until: Callable[[list[bytes]], bool]) -> list[bytes]:
    """What comes until that is enough, or the connection ends."""
    found: list[bytes] = []
    async with asyncio.timeout(20):
        while not until(found):
            batch = await connection.frames()
            if not batch:
                break
            found += batch
    return found


async def take(connection: Connection, count: int) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in await frames(connection, lambda found: len(found) >= count)]


async def told(exchange: Simulator, limits: Limits = LIMITS) -> list[bytes]:
    """All that is told up to the last trade, on as many connections as it needs."""
    found: list[bytes] = []
    last = b'"t":%d,' % exchange._tape.trades[-1].trade_id
    async with asyncio.timeout(30):
        while not any(last in frame for frame in found[-500:]):
            async with await connect(exchange.ws_url + PATH, limits) as connection:
                found += await frames(connection, lambda batch: any(last in frame for frame in batch[-500:]))
    return found


def ids(found: list[bytes]) -> list[int]:
    """The trades among frames, readable or not."""
    trades = []
    for frame in found:
        try:
            trades.append(json.loads(frame)["data"]["t"])
        except (ValueError, RecursionError, KeyError, TypeError):
            continue
    return [i for i in trades if isinstance(i, int)]


async def history(exchange: Simulator, path: str = HISTORY, **query: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + path, params=query) as answer:
        return await answer.json()


# --- streams --------------------------------------------------------------------------------------------------------------


async def test_only_what_was_subscribed_to_is_told() -> None:
    mixed = merged(tape(50), tape(50, "ETHUSDT"))
    path = "/stream?streams=ethusdt@trade/btcusdt@depth"
    async with Simulator(mixed) as exchange, await connect(exchange.ws_url + path) as connection:
        events = await take(connection, 50)
    assert {event["data"]["s"] for event in events} == {"ETHUSDT"}
    assert [event["data"]["t"] for event in events] == list(range(1, 51))


async def test_a_tape_begins_with_the_first_subscription_not_with_the_connection() -> None:
    async with Simulator(tape(10)) as exchange, await connect(exchange.ws_url + "/ws") as connection:
        await asyncio.sleep(0)
        assert exchange.happened == []
        connection.send(b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}')
        events = await take(connection, 11)
    assert events[0] == {"result": None, "id": 7}
    assert [event["t"] for event in events[1:]] == list(range(1, 11))


@pytest.mark.parametrize("name", ["binance", "coinbase", "okx"])
async def test_frames_made_beforehand_are_the_same(name: str) -> None:
    symbol = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "okx": "BTC-USDT"}[name]
    venue, heard = VENUES[name], []
    for prepared in (False, True):
        simulator = Simulator(tape(500, symbol), venue=name, prepared=prepared, unsent={7}, beat_s=60)
        async with simulator as exchange, await connect(exchange.ws_url + venue.ws_path([symbol])) as connection:
            for message in venue.subscriptions([symbol]):
                connection.send(message)
            heard.append(await take(connection, 499 + len(venue.subscriptions([symbol]))))
    assert heard[0] == heard[1]


async def test_an_address_that_the_venue_does_not_have_is_not_found() -> None:
    async with Simulator(tape(1), venue="kraken") as exchange:
        with pytest.raises(VenueError, match="HTTP 404"):
            await connect(exchange.ws_url + "/v1")


async def test_heartbeats_come_by_themselves() -> None:
    simulator = Simulator(tape(2, "BTC/USD"), venue="kraken", rate=1e-6, beat_s=0.01)
    async with simulator as exchange, await connect(exchange.ws_url + "/v2") as connection:
        connection.send(b'{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}')
        found = await frames(connection, lambda batch: batch.count(b'{"channel":"heartbeat"}') >= 3)
    assert json.loads(found[0])["channel"] == "status"


async def test_who_says_nothing_for_too_long_is_closed_and_who_pings_is_not() -> None:
    async with Simulator(tape(2, "BTC-USDT"), venue="okx", rate=1e-6, idle_s=0.2) as exchange:
        quiet = await connect(exchange.ws_url + "/ws/v5/business")
        lively = await connect(exchange.ws_url + "/ws/v5/business")
        async with asyncio.timeout(10), quiet, lively:
            while not quiet.reason:
                lively.send(b"ping")
                assert await lively.frames() == [b"pong"]
                await asyncio.sleep(0.02)
            assert quiet.reason == "closed by the venue: 4004 No data received in 0.2s."
            assert not lively.reason


# --- the end of connections -----------------------------------------------------------------------------------------------


async def test_a_cut_comes_after_so_many_trades_with_no_close_frame_and_the_tape_goes_on() -> None:
    async with Simulator(tape(1_000), cut_every=300, missed=100) as exchange:
        async with await connect(exchange.ws_url + PATH) as connection:
            first = await frames(connection, lambda found: False)
            assert connection.reason == "cut without a close frame"
        rest = await told(exchange)
        assert ids(first) + ids(rest) == [*range(1, 301), *range(401, 701), *range(801, 1_001)]
        assert exchange.connections == 3


async def test_without_losses_the_tape_waits_for_the_next_connection() -> None:
    async with Simulator(tape(600), cut_every=250, lossy=False) as exchange:
        assert ids(await told(exchange)) == list(range(1, 601))


async def test_with_a_rate_the_clock_goes_on_while_nobody_is_there_but_the_last_trade_waits() -> None:
    async with Simulator(tape(2_000), rate=100_000) as exchange:
        async with await connect(exchange.ws_url + PATH) as connection:
            first = await take(connection, 1)
            exchange.cut()
        async with asyncio.timeout(10):
            while (await history(exchange, symbol="BTCUSDT", limit=1))[0]["id"] < 1_999:
                await asyncio.sleep(0.001)
        assert not exchange.done.is_set()
        async with await connect(exchange.ws_url + PATH) as connection:
            assert [event["data"]["t"] for event in await take(connection, 1)] == [2_000]
    assert first[0]["data"]["t"] == 1


async def test_a_close_has_a_close_frame() -> None:
    async with Simulator(tape(10), rate=1e-6) as exchange, await connect(exchange.ws_url + PATH) as connection:
        await take(connection, 1)
        exchange.close(1012, "restart")
        await frames(connection, lambda found: False)
        assert connection.reason == "closed by the venue: 1012 restart"


async def test_a_silent_connection_stays_open_and_is_not_even_ponged_until_the_client_comes_anew() -> None:
    async with Simulator(tape(3_000), faults=Faults(silence=500), missed=100) as exchange:
        async with await connect(exchange.ws_url + PATH, Limits(silence_s=0.2)) as connection:
            first = await frames(connection, lambda found: False)
            assert connection.reason == "no frame for 0.2 s"
        rest = await told(exchange, Limits(silence_s=0.2))
    assert exchange.befell["silence"] >= 2
    assert ids(first) == list(range(1, len(ids(first)) + 1))
    assert ids(rest)[0] == len(ids(first)) + 101
    assert ids(rest)[-1] == 3_000


async def test_an_upgrade_can_be_refused() -> None:
    async with Simulator(tape(1)) as exchange:
        exchange.upgrade_answers.append((429, {"Retry-After": "3"}))
        with pytest.raises(VenueError, match="HTTP 429") as caught:
            await connect(exchange.ws_url + PATH)
        assert caught.value.retry_after_s == 3
        exchange.faults = Faults(refuse=1.0)
        with pytest.raises(VenueError, match=r"HTTP (429|503)"):
            await connect(exchange.ws_url + PATH)
        exchange.faults = Faults()
        async with await connect(exchange.ws_url + PATH) as connection:
            assert len(await take(connection, 1)) == 1


async def test_an_upgrade_can_be_accepted_and_the_connection_cut_at_once() -> None:
    async with Simulator(tape(10), faults=Faults(slam=1.0)) as exchange:
        for _ in range(3):
            try:
                async with asyncio.timeout(5), await connect(exchange.ws_url + PATH) as connection:
                    assert await frames(connection, lambda found: False) == []
            except VenueError as error:
                assert "closed during the upgrade" in str(error)
        assert exchange.connections == 3
        assert exchange.happened == []


# --- what is told ---------------------------------------------------------------------------------------------------------


async def test_old_trades_are_told_again() -> None:
    async with Simulator(tape(5_000), faults=Faults(again=400, again_back=50)) as exchange:
        found = ids(await told(exchange))
    assert set(found) == set(range(1, 5_001))
    assert len(found) > 5_000
    latest = 0
    for i in found:
        assert i > latest - 100
        latest = max(latest, i)


async def test_trades_come_out_of_order_but_not_far() -> None:
    async with Simulator(tape(5_000), faults=Faults(disorder=100, disorder_trades=6)) as exchange:
        found = ids(await told(exchange))
    assert found != sorted(found) == list(range(1, 5_001))
    assert all(abs(i - place) < 6 for place, i in enumerate(found, 1))


async def test_holes_are_in_the_history_and_losses_are_not() -> None:
    async with Simulator(tape(5_000), faults=Faults(hole=500, loss=500)) as exchange:
        found = ids(await told(exchange))
        pages = [await history(exchange, symbol="BTCUSDT", fromId=first, limit=1_000) for first in range(1, 5_001, 1_000)]
        kept = {row["id"] for page in pages for row in page}
        lost = {trade.trade_id for trade in exchange.lost}
    assert found == sorted(set(found))
    assert kept | lost == set(range(1, 5_001))
    assert not kept & lost
    assert set(found) < kept
    assert (found[-1], len(lost) > 20, len(kept) - len(found) > 20) == (5_000, True, True)


async def test_malformed_frames_come_beside_the_trades() -> None:
    async with Simulator(tape(5_000), faults=Faults(malformed=50)) as exchange:
        found = await told(exchange)
        assert exchange.befell["malformed"] > 60
    assert set(ids(found)) == set(range(1, 5_001))
    assert len(found) == 5_000 + exchange.befell["malformed"]


async def test_huge_frames_are_true_trades_again() -> None:
    faults = Faults(huge=1_500, huge_bytes=3 * MiB, giant_after=2_000)
    async with Simulator(tape(6_000), faults=faults) as exchange:
        found = await told(exchange, Limits(max_frame_bytes=60 * MiB, max_bytes=200 * MiB))
    sizes = sorted(len(frame) for frame in found if len(frame) > MiB)
    assert sizes == [3 * MiB] * exchange.befell["huge"] + [50_000_000]
    assert len(sizes) > 2
    assert set(ids(found)) == set(range(1, 6_001))


async def test_a_slow_connection_trickles_and_loses_nothing() -> None:
    async with Simulator(tape(1_000), faults=Faults(slow=300, slow_bytes=2_000)) as exchange:
        async with await connect(exchange.ws_url + PATH, Limits(gather_s=0)) as connection:
            batches: list[list[bytes]] = []
            async with asyncio.timeout(20):
                while sum(map(len, batches)) < 1_000:
                    batches.append(await connection.frames())
        assert exchange.befell["slow"] >= 2
    assert ids([frame for batch in batches for frame in batch]) == list(range(1, 1_001))
    assert sum(len(batch) == 1 for batch in batches) > 10


async def test_the_same_seed_does_the_same_again() -> None:
    runs = []
    for _ in range(2):
        faults = replace(Faults.all(5), silence=0, cut=0, close=0, refuse=0.0, slam=0.0, giant_after=0)
        async with Simulator(tape(8_000), faults=faults) as exchange:
            runs.append(await told(exchange))
    assert runs[0] == runs[1]


async def test_with_all_faults_on_the_end_is_reached_and_all_that_was_not_told_is_in_the_history() -> None:
    faults = replace(Faults.all(2), busy=0.0, soft_busy=0.0, broken=0.0, garbled=0.0, silence=6_000)
    found: list[bytes] = []
    async with Simulator(tape(30_000), faults=faults, missed=200) as exchange:
        async with asyncio.timeout(60):
            while not exchange.done.is_set():
                try:
                    async with await connect(exchange.ws_url + PATH, Limits(silence_s=0.3)) as connection:
                        found += await frames(connection, lambda batch: exchange.done.is_set())
                except VenueError:
                    continue
        pages = [await history(exchange, symbol="BTCUSDT", fromId=first, limit=1_000) for first in range(1, 30_001, 1_000)]
        assert {row["id"] for page in pages for row in page} == set(range(1, 30_001))
        assert {"cut", "close", "silence", "again", "disorder", "hole", "malformed", "huge", "giant"} <= set(exchange.befell)
    assert set(ids(found)) <= set(range(1, 30_001))


# --- history --------------------------------------------------------------------------------------------------------------


async def test_history_has_what_has_happened_and_nothing_else() -> None:
    async with Simulator(tape(3_000), unkept={5}) as exchange:
        assert await history(exchange, symbol="BTCUSDT", fromId=1) == []
        async with await connect(exchange.ws_url + PATH):
            await exchange.done.wait()
        pages = [await history(exchange, symbol="BTCUSDT", fromId=first, limit=9_999) for first in (1, 2_500, 3_001)]
        assert [row["id"] for row in pages[0]] == [1, 2, 3, 4, *range(6, 1_002)]
        assert [row["id"] for row in pages[1]] == list(range(2_500, 3_001))
        assert pages[2] == []
        assert [row["id"] for row in await history(exchange, symbol="BTCUSDT", limit=3)] == [2_998, 2_999, 3_000]
        assert (await history(exchange, symbol="NOPE"))["code"] == -1121
        assert exchange.requests == 6


async def test_a_venue_may_be_busy_broken_or_tell_half_the_truth() -> None:
    async with Simulator(tape(300)) as exchange, aiohttp.ClientSession() as session:
        async with await connect(exchange.ws_url + PATH):
            await exchange.done.wait()
        url = exchange.rest_url + HISTORY + "?symbol=BTCUSDT"
        exchange.faults = Faults(busy=1.0, retry_after_s=7)
        async with session.get(url) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        exchange.faults = Faults(broken=1.0)
        async with session.get(url) as answer:
            assert answer.status in (500, 502, 503)
        exchange.faults = Faults(garbled=1.0)
        for _ in range(20):
            with pytest.raises((ValueError, aiohttp.ClientPayloadError)):
                async with session.get(url) as answer:
                    json.loads(await answer.read())
        exchange.faults = Faults()
        async with session.get(url) as answer:
            assert len(json.loads(await answer.read())) == 300


async def test_some_venues_are_busy_with_status_200() -> None:
    async with Simulator(tape(3, "BTC/USD"), venue="kraken", faults=Faults(soft_busy=1.0)) as exchange:
        answer = await history(exchange, "/0/public/Trades", pair="XBTUSD")
    assert answer == {"error": ["EGeneral:Too many requests"]}
