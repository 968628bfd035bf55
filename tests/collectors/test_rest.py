"""REST requests against a real server on loopback: what is retried, what is not, and how long the venue is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from collectors.delays import Delays
from collectors.rest import MAX_BODY, RestClient
from collectors.simulator import Simulator, synthetic_trades
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError

PATH = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=10"


class Naps:
    """Sleeps that are told and not slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def client(base_url: str, naps: Naps, tries: int = 4) -> RestClient:
    return RestClient(base_url, sleep=naps, tries=tries, delays=lambda: Delays(first_s=0.25, cap_s=5, random=lambda: 1.0))


@asynccontextmanager
async def exchange(*answers: tuple[int, dict[str, str]]) -> AsyncIterator[Simulator]:
    async with Simulator(synthetic_trades(1, 1_723_161_255 * 10**9, 100)) as simulator:
        simulator.rest_answers.extend(answers)
        yield simulator


async def get(simulator: Simulator, naps: Naps) -> bytes:
    async with client(simulator.rest_url, naps) as rest:
        return await rest.get(PATH)


async def test_an_answer_is_given_as_it_came() -> None:
    naps = Naps()
    async with exchange() as simulator:
        assert await get(simulator, naps) == b"[]"  # nothing has happened yet
    assert naps.slept == []


async def test_after_a_429_the_venue_is_left_alone_for_as_long_as_it_says() -> None:
    naps = Naps()
    async with exchange((429, {"Retry-After": "7"})) as simulator:
        assert await get(simulator, naps) == b"[]"
        assert simulator.requests == 2
    backoff, leave = naps.slept
    assert backoff == 0.25
    assert 6.9 < leave <= 7


async def test_one_request_refused_keeps_all_others_waiting_too() -> None:
    naps = Naps()
    async with exchange((418, {"Retry-After": "20"})) as simulator, client(simulator.rest_url, naps, tries=1) as rest:
        with pytest.raises(VenueError, match="HTTP 418"):
            await rest.get(PATH)
        assert await rest.get(PATH) == b"[]"
    assert 19.9 < naps.slept[0] <= 20


async def test_a_ban_longer_than_our_patience_is_told_without_asking_again() -> None:
    naps = Naps()
    async with exchange((418, {"Retry-After": "7200"})) as simulator:
        with pytest.raises(VenueError, match="asked us to wait for 7200 s") as caught:
            await get(simulator, naps)
        assert simulator.requests == 1
    assert not caught.value.fatal
    assert caught.value.retry_after_s > 7000


async def test_a_server_that_fails_is_asked_again_with_growing_delays_and_not_for_ever() -> None:
    naps = Naps()
    async with exchange(*[(500, {}), (502, {}), (503, {}), (504, {}), (500, {})]) as simulator:
        with pytest.raises(VenueError, match="HTTP 504"):
            await get(simulator, naps)
        assert simulator.requests == 4
    assert naps.slept == [0.25, 0.5, 1.0]


async def test_a_request_that_can_not_succeed_is_not_repeated() -> None:
    naps = Naps()
    async with exchange() as simulator, client(simulator.rest_url, naps) as rest:
        with pytest.raises(VenueError, match=r"HTTP 400 .*Invalid symbol") as caught:
            await rest.get("/api/v3/historicalTrades?symbol=NOPE")
        assert simulator.requests == 1
    assert caught.value.fatal


async def test_a_server_that_is_not_there_is_a_venue_error_after_all_tries() -> None:
    naps = Naps()
    async with exchange() as simulator:
        url = simulator.rest_url
    async with client(url, naps) as rest:
        with pytest.raises(VenueError, match=url) as caught:
            await rest.get(PATH)
    assert len(naps.slept) == 3
    assert not caught.value.fatal


@asynccontextmanager
async def serving(handler: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(handler, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    answered = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await answered.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/slow", slow)
    async with serving(app) as url, RestClient(url, timeout_s=0.05, tries=2, sleep=Naps()) as rest:
        with pytest.raises(VenueError, match=r"no answer within 0\.05 s"):
            await rest.get("/slow")
        answered.set()


async def test_a_giant_answer_is_not_read_to_its_end() -> None:
    async def giant(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (MAX_BODY + 1))

    app = web.Application()
    app.router.add_get("/giant", giant)
    async with serving(app) as url, RestClient(url, tries=1) as rest:
        with pytest.raises(VenueError, match="more than"):
            await rest.get("/giant")


async def test_what_a_venue_says_can_not_break_a_line_of_the_log() -> None:
    async def rude(request: web.Request) -> web.Response:
        return web.Response(status=400, text="no\r\nERROR all is lost\x1b[31m" + "!" * 5000)

    app = web.Application()
    app.router.add_get("/rude", rude)
    async with serving(app) as url, RestClient(url) as rest:
        with pytest.raises(VenueError) as caught:
            await rest.get("/rude")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# --- paced ----------------------------------------------------------------------------------------------------------------


class Gate:
    """Sleeps that are told, and end when the gate is opened."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.open = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.open.wait()


async def test_no_more_requests_a_second_are_made_than_allowed() -> None:
    gate = Gate()
    async with exchange() as simulator, RestClient(simulator.rest_url, requests_per_s=2.0, sleep=gate) as rest:
        asked = [asyncio.create_task(rest.get(PATH)) for _ in range(7)]
        async with asyncio.timeout(5):
            while not (simulator.requests == 4 and len(gate.slept) == 3):
                await asyncio.sleep(0.001)
        assert gate.slept == [pytest.approx(seconds, abs=0.2) for seconds in (0.5, 1.0, 1.5)]
        gate.open.set()
        assert await asyncio.gather(*asked) == [b"[]"] * 7


async def test_what_is_urgent_is_asked_before_what_is_not() -> None:
    gate, order = Gate(), list[str]()

    async def note(request: web.Request) -> web.Response:
        order.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{name}", note)
    async with serving(app) as url, RestClient(url, requests_per_s=1.0, sleep=gate) as rest, asyncio.TaskGroup() as tasks:
        for name in ("/first", "/second", "/urgent"):  # two may be asked at once, and the third waits for its turn
            tasks.create_task(rest.get(name))
        async with asyncio.timeout(5):
            while len(gate.slept) < 1 or len(order) < 2:
                await asyncio.sleep(0.001)
        tasks.create_task(rest.get("/patient", urgent=False))
        await asyncio.sleep(0)
        tasks.create_task(rest.get("/also-urgent"))
        async with asyncio.timeout(5):
            while len(gate.slept) < 2:
                await asyncio.sleep(0.001)
        assert order == ["/first", "/second"]
        gate.open.set()
    assert sorted(order[2:4]) == ["/also-urgent", "/urgent"]
    assert order[4:] == ["/patient"]


# --- statuses that mean something else at a venue -------------------------------------------------------------------------


async def test_a_status_that_the_venue_uses_for_a_ban_is_not_fatal_and_all_requests_wait_as_long_as_it_is_known_to_last() -> (
    None
):
    naps, bybit = Naps(), VENUES["bybit"].limits
    assert bybit.banned[403] > 0
    async with exchange((403, {})) as simulator:
        rest = RestClient(simulator.rest_url, banned=bybit.banned, tries=1, sleep=naps, patience_s=3600)
        async with rest:
            with pytest.raises(VenueError, match="HTTP 403") as caught:
                await rest.get(PATH)
            assert await rest.get(PATH) == b"[]"
            assert await rest.get(PATH, urgent=False) == b"[]"
    assert not caught.value.fatal
    assert caught.value.retry_after_s == bybit.banned[403]
    assert naps.slept == [pytest.approx(bybit.banned[403], abs=1)] * 2


async def test_the_same_status_is_fatal_where_the_venue_does_not_ban_so() -> None:
    async with exchange((403, {})) as simulator, client(simulator.rest_url, Naps()) as rest:
        with pytest.raises(VenueError, match="HTTP 403") as caught:
            await rest.get(PATH)
        assert caught.value.fatal
        assert simulator.requests == 1


async def test_a_ban_that_the_venue_gives_a_time_for_lasts_so_long() -> None:
    naps = Naps()
    async with exchange((403, {"Retry-After": "9"})) as simulator:
        rest = RestClient(simulator.rest_url, banned={403: 600.0}, tries=2, sleep=naps)
        async with rest:
            assert await rest.get(PATH) == b"[]"
    assert max(naps.slept) == pytest.approx(9, abs=1)


async def test_a_request_that_is_cancelled_gives_its_place_to_others() -> None:
    hanging, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def hang(request: web.Request) -> web.Response:
        begun.release()
        await hanging.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/hang", hang)
    app.router.add_get("/quick", answered)
    async with serving(app) as url, RestClient(url) as rest:
        asked = [asyncio.create_task(rest.get("/hang")) for _ in range(4)]
        for _ in asked:
            await begun.acquire()
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        async with asyncio.timeout(5):
            assert await rest.get("/quick") == b"quick"
        hanging.set()


async def answered(request: web.Request) -> web.Response:
    return web.Response(body=b"quick")
