"""Who collects what: leases shared by processes, symbols shared out to connections, refusals that pass and others."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.ccxt_live import CcxtCollector
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from pipeline.errors import BadValue, Fenced, SpillwayError, StorageError
from pipeline.instrument import IdRule, Instrument
from spillway import collecting
from spillway.app import App, opened
from spillway.collecting import Collection, Places, shards
from spillway.service import Service
from spillway.settings import Collect, Http, Schedule, Settings
from spillway.sources import CcxtSource, VenueSource
from tests.spillway.test_cli import refused
from tests.test_collecting import HURRIED

START_NS = 1_723_161_255 * 10**9
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")

owner: ContextVar[str] = ContextVar("owner", default="nobody")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leases are looked at often, and the tasks of this process may be those of several."""
    monkeypatch.setattr(collecting, "STANDBY_S", 0.01)
    monkeypatch.setattr("spillway.service.LOOK_S", 0.01)
    monkeypatch.setattr("spillway.app.owner_name", owner.get)
    yield


def tape(symbols: tuple[str, ...], each: int = 50) -> list[SimTrade]:
    made = [list(synthetic_trades(n, START_NS, each, symbol)) for n, symbol in enumerate(symbols)]
    return [trade for several in zip(*made, strict=True) for trade in several]


def entry(exchange: Simulator, *symbols: str, venue: str = "binance") -> Collect:
    return Collect(venue=venue, symbols=symbols, ws_url=exchange.ws_url, rest_url=exchange.rest_url)


def settings(folder: Path, *entries: Collect) -> Settings:
    return Settings(
        data_dir=folder / "data", collect=entries, http=Http(port=0), schedule=Schedule(seal_every_s=0.05, flush_ms=10)
    )


@dataclass
class Process:
    """A service as a process of its own, as far as Redis can tell."""

    name: str
    service: Service
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        context = copy_context()
        context.run(owner.set, self.name)
        self.task = asyncio.create_task(self.service.run(), context=context)

    @property
    def symbols(self) -> set[str]:
        return {symbol for collection in self.service.collections for symbol in collection.feeds}

    async def end(self) -> None:
        self.service.stop.set()
        async with asyncio.timeout(10):
            await self.task


@asynccontextmanager
async def processes(app: App, **most: int | None) -> AsyncIterator[list[Process]]:
    """One after the other: `first=3, second=None`."""
    began: list[Process] = []
    try:
        for name, places in most.items():
            began.append(Process(name, Service(app, places=Places(places))))
        yield began
    finally:
        for process in began:
            process.task.cancel()
        await asyncio.gather(*(process.task for process in began), return_exceptions=True)


@asynccontextmanager
async def world(folder: Path, *symbols: str, **most: int | None) -> AsyncIterator[tuple[Simulator, App, list[Process]]]:
    """An exchange of these symbols, one data folder, and processes as in `processes`."""
    async with (
        Simulator(tape(symbols)) as exchange,
        opened(settings(folder, entry(exchange, *symbols))) as app,
        processes(app, **most) as began,
    ):
        yield exchange, app, began


async def until(true: Callable[[], bool], *running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(15):
        while not true():
            for task in running:
                if task.done():
                    await task
            await asyncio.sleep(0.002)


async def holders(app: App, *symbols: str, venue: str = "binance") -> list[str | None]:
    return [await app.window.holder(Instrument(venue, symbol)) for symbol in symbols]


# --- shared out -----------------------------------------------------------------------------------------------------------


@given(count=st.integers(0, 1200), most=st.integers(1, 300))
def test_symbols_are_shared_out_evenly_to_as_few_connections_as_will_do(count: int, most: int) -> None:
    parts = list(shards([f"S{n}" for n in range(count)], most))
    assert sorted(symbol for part in parts for symbol in part) == sorted(f"S{n}" for n in range(count))
    assert len(parts) == -(-count // most)
    sizes = {len(part) for part in parts}
    assert all(0 < size <= most for size in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_there_are_no_more_places_than_were_given_and_one_given_back_is_free_again() -> None:
    places = Places(2)
    assert [places.take() for _ in range(4)] == [True, True, False, False]
    places.give_back()
    assert [places.take() for _ in range(2)] == [True, False]


def test_without_a_bound_there_is_always_a_place() -> None:
    places = Places()
    assert all(places.take() for _ in range(1000))
    places.give_back()
    assert places.free is None


async def test_450_symbols_need_three_of_binances_connections_and_each_gets_its_trades(tmp_path: Path) -> None:
    symbols = tuple(f"S{n}USDT" for n in range(450))
    async with Simulator(tape(symbols, each=1)) as exchange:
        options = settings(tmp_path, entry(exchange, *symbols))
        async with opened(options) as app:
            collection, stop = Collection(app, options.collect[0], None, tuning=HURRIED), asyncio.Event()
            run = asyncio.create_task(collection.run(stop))
            await until(lambda: exchange.listeners == 3, run)
            exchange._audience.tell(range(450))  # again: when it was told first, not all were there
            await until(lambda: sum(collection.counts(s).taken for s in symbols) == 450, run)
            assert [collection.counts(s).taken for s in symbols] == [1] * 450
            assert exchange.connections == 3
            assert sorted(len(each._symbols) for each in collection.collectors) == [150, 150, 150]
            stop.set()
            await run


# --- shared by processes --------------------------------------------------------------------------------------------------


async def test_two_processes_share_the_symbols_and_when_one_stops_the_other_takes_what_it_has_places_for(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, *SYMBOLS, first=3, second=3) as (_, app, (a, b)):
        await until(lambda: len(a.symbols) + len(b.symbols) == 4, a.task, b.task)
        assert not a.symbols & b.symbols
        assert {len(a.symbols), len(b.symbols)} <= {1, 2, 3}
        assert sorted(filter(None, await holders(app, *SYMBOLS))) == sorted(
            ["first"] * len(a.symbols) + ["second"] * len(b.symbols)
        )
        await a.end()
        await until(lambda: len(b.symbols) == 3, b.task)
        for _ in range(20):  # many looks
            await asyncio.sleep(0.005)
            assert len(b.symbols) == 3
        assert sorted(await holders(app, *SYMBOLS), key=str) == [None, "second", "second", "second"]
        await b.end()
        assert await holders(app, *SYMBOLS) == [None] * 4


async def test_who_is_superseded_ends_with_that_error_itself(tmp_path: Path) -> None:
    async with world(tmp_path, "AUSDT", first=None) as (exchange, app, (first,)):
        await until(lambda: bool(first.symbols), first.task)
        await app.window.acquire(Instrument("binance", "AUSDT"), "second", 3000, dead_owner="first")
        with pytest.raises(Fenced, match="superseded"):
            await asyncio.wait_for(first.task, 10)
        assert await holders(app, "AUSDT") == ["second"]
        await until(lambda: exchange.listeners == 0)


async def test_who_stands_by_outlives_a_redis_that_dies_and_brings_it_back(tmp_path: Path) -> None:
    async with world(tmp_path, "AUSDT") as (_, app, _):
        assert app.server is not None
        await app.window.acquire(Instrument("binance", "AUSDT"), "first", 500)
        async with processes(app, second=None) as (second,):
            await until(
                lambda: bool(second.service.collections) and "standing by" in second.service.health.lacking(), second.task
            )
            os.kill(app.server.pid, signal.SIGKILL)
            await until(lambda: second.symbols == {"AUSDT"}, second.task)
            await second.end()


async def test_after_an_error_the_leases_are_free_at_once_and_no_flush_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asyncio.all_tasks()

    async def full(*args: object) -> None:
        raise StorageError("no room for dead letters")

    monkeypatch.setattr(Collection, "reject", full)
    async with world(tmp_path, "AUSDT", "BUSDT", one=None) as (exchange, app, (process,)):
        await until(lambda: exchange.listeners == 1 and process.symbols == {"AUSDT", "BUSDT"}, process.task)
        exchange.say(b"no JSON")
        with pytest.raises(StorageError, match="no room"):
            await asyncio.wait_for(process.task, 10)
        assert await holders(app, "AUSDT", "BUSDT") == [None, None]
        await until(lambda: exchange.listeners == 0)
        assert not [task for task in asyncio.all_tasks() - before if task.get_name().startswith(("flush", "write"))]


# --- refused --------------------------------------------------------------------------------------------------------------


async def test_a_venue_that_refuses_leaves_the_others_collecting_and_is_asked_again_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kraken = tape(("BTC/USD",))
    async with Simulator(tape(("AUSDT",))) as first, Simulator(kraken, venue="kraken") as second:
        first.upgrade_answers.append((403, {}))
        options = settings(tmp_path, entry(first, "AUSDT"), entry(second, "BTC/USD", venue="kraken"))
        async with opened(options) as app, processes(app, one=None) as (process,):
            await until(lambda: len(process.service.collections) == 2, process.task)
            refusing, fine = process.service.collections
            await until(lambda: bool(refusing.refused) and fine.counts("BTC/USD").taken == 50, process.task)
            assert "HTTP 403" in refusing.hopeless
            await until(lambda: not refusing.collectors and not refusing.feeds, process.task)
            assert await holders(app, "AUSDT") == [None], "somebody else may have more luck"
            again_in_s = refusing._wanted["AUSDT"] - asyncio.get_running_loop().time()
            assert again_in_s == pytest.approx(3600, abs=20)
            assert "AUSDT is refused: " in process.service.health.lacking()
            refusing._wanted["AUSDT"] -= 3600
            await until(lambda: refusing.counts("AUSDT").taken == 50, process.task)
            assert (refusing.refused, refusing.hopeless, process.service.health.lacking()) == ({}, "", "")
            await process.end()


async def test_a_refusal_lasts_as_long_as_the_venue_says_where_that_is_longer(tmp_path: Path) -> None:
    async with Simulator(tape(("AUSDT",))) as exchange:
        exchange.upgrade_answers.append((403, {"Retry-After": "90000"}))
        options = settings(tmp_path, entry(exchange, "AUSDT"))
        async with opened(options) as app:
            collection, stop = Collection(app, options.collect[0], None, tuning=HURRIED), asyncio.Event()
            run = asyncio.create_task(collection.run(stop))
            await until(lambda: bool(collection.refused), run)
            assert collection._wanted["AUSDT"] - asyncio.get_running_loop().time() == pytest.approx(90_000, abs=20)
            stop.set()
            await run


async def test_a_service_that_every_venue_refuses_ends_with_that_error(tmp_path: Path) -> None:
    async with Simulator(tape(("AUSDT",))) as first, Simulator(tape(("BTC/USD",)), venue="kraken") as second:
        first.upgrade_answers.append((403, {}))
        options = settings(tmp_path, entry(first, "AUSDT"), entry(second, "NO/SUCH", venue="kraken"))
        async with opened(options) as app, processes(app, one=None) as (process,):
            with pytest.raises(SpillwayError, match="refused"):
                await asyncio.wait_for(process.task, 10)


async def test_a_service_that_has_collected_waits_when_its_venue_refuses_it_later(tmp_path: Path) -> None:
    async with world(tmp_path, "AUSDT", one=None) as (exchange, _, (process,)):
        await until(lambda: bool(process.service.collections), process.task)
        (collection,) = process.service.collections
        await until(lambda: collection.counts("AUSDT").taken == 50, process.task)
        exchange.upgrade_answers.append((403, {}))
        exchange.cut()
        await until(lambda: bool(collection.hopeless) and not collection.feeds, process.task)
        await asyncio.sleep(0.1)  # ten looks
        assert not process.task.done()
        await process.end()


# --- sources --------------------------------------------------------------------------------------------------------------


def collection_of(app: Any, **of: Any) -> Collection:
    return Collection(app, Collect(**of), None)


async def test_a_venue_that_we_speak_with_and_any_other_by_ccxt(tmp_path: Path) -> None:
    async with opened(settings(tmp_path)) as app:
        ours = collection_of(app, venue="okx", symbols=("BTC-USDT",))
        assert isinstance(ours.source, VenueSource)
        assert (ours.source.ids, ours.source.most) == (IdRule.CONTIGUOUS, 100)
        other = collection_of(app, venue="ccxt-kucoin", symbols=("BTC/USDT",))
        assert isinstance(other.source, CcxtSource)
        assert (other.source.ids, other.source.stream) == (IdRule.OPAQUE, CcxtCollector.stream)
        with pytest.raises(BadValue, match="nosuch"):
            collection_of(app, venue="nosuch", symbols=("A",))


@pytest.mark.parametrize("more", [{"ws_url": "ws://127.0.0.1:1"}, {"rest_url": "http://127.0.0.1:1"}, {"record": True}])
async def test_what_ccxt_can_not_do_is_refused(more: dict[str, Any], tmp_path: Path) -> None:
    async with opened(settings(tmp_path)) as app:
        with pytest.raises(BadValue, match="ccxt-kucoin: ws_url, rest_url and record can't be had with ccxt"):
            collection_of(app, venue="ccxt-kucoin", symbols=("BTC/USDT",), **more)


def test_where_ccxt_is_not_installed_run_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    path = tmp_path / "s.yaml"
    path.write_text(
        f"data_dir: {tmp_path / 'data'}\nhttp: {{port: 0}}\ncollect: [{{venue: ccxt-kucoin, symbols: [BTC/USDT]}}]\n"
    )
    lines = last_line_of_run(path)
    assert 'pip install "spillway[ccxt]"' in lines


def last_line_of_run(path: Path) -> str:
    return refused("run", "-c", path)
