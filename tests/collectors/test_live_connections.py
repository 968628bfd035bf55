"""How the live collector opens its connections, asks for symbols on them, and replaces them: nothing is lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from collectors.connection import Connection, Limits, connect
from collectors.delays import Delays
from collectors.live import LiveCollector
from collectors.pace import Pace
from collectors.rest import RestClient
from collectors.simulator import Faults, SimTrade, Simulator
from collectors.venues.binance import SPOT
from collectors.venues.bitstamp import BITSTAMP, Bitstamp
from collectors.venues.parsed import Raws
from collectors.venues.venue import Venue
from pipeline.errors import StorageError, VenueError
from pipeline.trade import RawTrades, Reject
from tests.collectors.list_sink import ListSink
from tests.collectors.live_bench import RULES, Bench, bench, trades
from tests.collectors.test_connection import TEXT, read_frame, server

RECONNECT = b'{"event":"bts:request_reconnect","channel":"","data":""}'
REFUSED = b'{"event":"bts:error","channel":"","data":{"code":null,"message":"Maximum subscriptions reached."}}'
BRIEFLY, LONG = Limits(overlap_s=0.05), Limits(overlap_s=600)


def short_lived(seconds: float) -> Venue:
    """Binance, if it cut its connections that soon."""
    return replace(SPOT, limits=replace(SPOT.limits, lifetime_s=seconds))


def pair() -> list[SimTrade]:
    return trades(2_000, "btcusd")


async def listening(it: Bench, count: int) -> None:
    await it.until(lambda: it.exchange.listeners == count)


# --- replaced before they are cut -----------------------------------------------------------------------------------------


async def test_a_connection_is_replaced_before_its_time_is_over_and_nothing_is_missed_nor_asked_for() -> None:
    tape = trades(3_000)
    options = {"venue": short_lived(0.25), "limits": BRIEFLY}
    with capture_logs() as logs:
        async with bench(tape, rate=3_000, options=options) as it:
            await it.until(lambda: it.sink.last_id() == 3_000)
            assert it.collector.replaced >= 2
            assert (it.collector.connections, it.collector.reconnects) == (1, 0)
            await it.end()
            assert sorted(set(it.sink.ids)) == list(range(1, 3_001))
            assert (it.exchange.requests, it.sink.repairs) == (0, [])
            assert it.exchange.connections >= 3
            await listening(it, 0)
    reasons = [line["reason"] for line in logs if line["event"] == "disconnected"]
    assert reasons == ["replaced"] * it.collector.replaced + ["stopped"]


async def test_a_venue_that_asks_for_a_new_connection_gets_one_without_losing_a_trade() -> None:
    sinks = {"btcusd": ListSink()}
    async with bench(pair(), venue="bitstamp", sinks=sinks, rate=4_000, options={"limits": BRIEFLY}) as it:
        for replaced in (1, 2):
            await it.until(lambda: it.collector.trades > 0)
            it.exchange.say(RECONNECT)
            await it.until(lambda: it.collector.replaced == replaced)  # noqa: B023
        await it.until(lambda: it.sink.last_id() == 2_000)
        assert sorted(set(it.sink.ids)) == list(range(1, 2_001))
        assert (it.collector.connections, it.exchange.requests) == (1, 0)
        assert it.sink.resumed == [], "nobody was away"


async def test_symbols_that_the_new_connection_gets_last_are_not_missed_while_the_first_is_told_already() -> None:
    """Each symbol is subscribed to by a message of its own: the first may be heard before the last is asked for."""
    symbols = [f"s{n}usd" for n in range(8)]
    tape = [replace_symbol(trade, symbols[n % 8]) for n, trade in enumerate(trades(4_000))]

    class Slow(Bitstamp):
        limits = replace(BITSTAMP.limits, messages_per_s=1.0 / 0.03)

    sinks = {symbol: ListSink() for symbol in symbols}
    options = {"venue": Slow(), "limits": BRIEFLY}
    async with bench(tape, venue="bitstamp", sinks=sinks, rate=5_000, options=options) as it:
        await it.until(lambda: all(sink.ids for sink in sinks.values()))
        since = {symbol: sink.ids[0] for symbol, sink in sinks.items()}
        it.exchange.say(RECONNECT)
        await it.exchange.done.wait()
        await it.until(lambda: it.collector.replaced == 1 and max(sink.last_id() or 0 for sink in sinks.values()) == 4_000)
        await it.end()
    for symbol, sink in sinks.items():
        assert set(sink.ids) == {t.trade_id for t in tape if t.symbol == symbol and t.trade_id >= since[symbol]}


def replace_symbol(trade: SimTrade, symbol: str) -> SimTrade:
    return SimTrade(symbol, trade.trade_id, trade.ts_ns, trade.price, trade.size, trade.buy)


@pytest.mark.parametrize("trouble", ["refused", "accepted and closed"])
async def test_while_the_replacement_can_not_be_had_the_old_connection_goes_on(trouble: str) -> None:
    options = {"venue": short_lived(0.1), "limits": Limits(overlap_s=0.01)}
    async with bench(trades(20_000), rate=4_000, options=options) as it:
        await it.until(lambda: it.collector.trades > 0)
        if trouble == "refused":
            it.exchange.upgrade_answers.extend([(503, {}), (403, {}), (429, {"Retry-After": "0"})])
        else:
            it.exchange.faults = Faults(slam=1.0)
        await it.until(lambda: it.exchange.befell["slam"] >= 3 or (trouble == "refused" and not it.exchange.upgrade_answers))
        assert (it.collector.replaced, it.collector.connections, it.collector.connected) == (0, 1, True)
        it.exchange.faults = Faults()
        await it.until(lambda: it.collector.replaced >= 1)
        newest = it.sink.last_id() or 0
        await it.until(lambda: (it.sink.last_id() or 0) > newest)
        assert (it.collector.connections, it.exchange.requests) == (1, 0)


async def test_what_was_missed_is_asked_for_where_the_old_connection_ended_before_the_new_one_was_ready() -> None:
    """The old one's frames were still waiting to be taken, so that it seemed to have been replaced in time."""
    sinks = {"btcusd": ListSink()}
    options = {"limits": Limits(overlap_s=0.1)}
    async with bench(pair(), venue="bitstamp", sinks=sinks, rate=3_000, options=options) as it:
        await it.until(lambda: len(it.sink.ids) > 50)
        it.exchange.say(RECONNECT)
        await listening(it, 2)
        it.sink.gate.clear()  # the writer is behind
        it.exchange.cut()
        cut_at = len(it.exchange.happened)
        await it.until(lambda: it.exchange.connections >= 3 and it.exchange.listeners == 1)
        missed = set(range(cut_at + 1, len(it.exchange.happened)))
        assert len(missed) >= 2
        await asyncio.sleep(0.2)  # twice the overlap: the new one is ready
        it.sink.gate.set()
        await it.until(lambda: it.sink.last_id() == 2_000 and set(it.sink.ids) == set(range(1, 2_001)))
        assert missed & set(it.sink.repairs)
        assert (it.collector.connections, len(it.sink.resumed)) == (2, 1)


async def test_what_still_lay_in_the_system_is_asked_for_where_we_were_behind_when_the_connection_was_replaced() -> None:
    sinks, tape = {"btcusd": ListSink()}, trades(30_000, "btcusd")
    options = {"limits": Limits(max_frames=50, overlap_s=0.2)}
    with capture_logs() as logs:
        async with bench(tape, venue="bitstamp", sinks=sinks, rate=30_000, options=options) as it:
            await it.until(lambda: len(it.sink.ids) > 50)
            it.exchange.say(RECONNECT)
            await listening(it, 2)
            it.sink.gate.clear()
            old = it.collector._current
            assert old is not None
            await it.until(lambda: old.behind and old.reason != "")
            it.sink.gate.set()
            await it.until(lambda: set(it.sink.ids) == set(range(1, 30_001)))
            assert it.sink.repairs
            assert (it.collector.connections, it.collector.replaced) == (2, 0)
    assert "replaced while behind" in [line["reason"] for line in logs if line["event"] == "disconnected"]


async def test_an_error_of_the_sink_while_a_successor_waits_closes_both() -> None:
    class Breaking(ListSink):
        broken = False

        async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
            if self.broken:
                raise StorageError("disk on fire")
            await super().put(trades, raws, repair=repair, resumed=resumed)

    before, sink = asyncio.all_tasks(), Breaking()
    options = {"venue": short_lived(0.05), "limits": LONG}
    async with bench(trades(20_000), sinks={"BTCUSDT": sink}, rate=4_000, options=options) as it:
        await listening(it, 2)
        sink.broken = True
        with pytest.raises(StorageError, match="disk on fire"):
            await it.run
        await listening(it, 0)
        assert not it.collector.connected
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
async def test_an_end_while_a_successor_waits_closes_both(how: str) -> None:
    before = asyncio.all_tasks()
    async with bench(trades(20_000), rate=4_000, options={"venue": short_lived(0.05), "limits": LONG}) as it:
        await listening(it, 2)
        if how == "stopped":
            await it.end()
        else:
            it.run.cancel()
            await asyncio.gather(it.run, return_exceptions=True)
        await listening(it, 0)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
async def test_an_end_in_the_very_moment_in_which_a_connection_is_there_closes_it(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    benches: list[Bench] = []

    async def ending(url: str, limits: Limits, clock_ns: Callable[[], int] | None) -> Connection:
        connection = await connect(url, limits, clock_ns)
        if how == "stopped":
            benches[0].stop.set()
        else:
            benches[0].run.cancel()
        return connection

    monkeypatch.setattr("collectors.live.connect", ending)
    async with bench(trades(100)) as it:
        benches.append(it)
        async with asyncio.timeout(5):
            await asyncio.gather(it.run, return_exceptions=True)
        assert it.exchange.connections == 1
        await listening(it, 0)


# --- subscriptions --------------------------------------------------------------------------------------------------------


async def test_subscriptions_are_sent_no_faster_than_the_venue_allows() -> None:
    symbols = [f"s{n}usd" for n in range(14)]
    heard: list[tuple[float, bytes]] = []
    all_heard = asyncio.Event()

    class Slow(Bitstamp):
        limits = replace(BITSTAMP.limits, messages_per_s=10.0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, text = await read_frame(reader)
            if kind == TEXT:
                heard.append((asyncio.get_running_loop().time(), text))
            if len(heard) == len(symbols):
                all_heard.set()

    async with server(talk) as url:
        stop, sinks = asyncio.Event(), {symbol: ListSink() for symbol in symbols}
        collector = LiveCollector(
            venue=Slow(), symbols=symbols, sinks=sinks, reject=no_reject, ws_url=url, rest_url="http://127.0.0.1:9"
        )
        run = asyncio.create_task(collector.run(stop))
        await asyncio.wait_for(all_heard.wait(), 10)
        stop.set()
        await asyncio.wait_for(run, 5)
    assert [text for _, text in heard] == list(BITSTAMP.subscriptions(symbols))
    times = [at for at, _ in heard]
    assert times[9] - times[0] < 0.1, "so many a second may come at once"
    assert times[13] - times[9] > 0.35, "and the others a tenth of a second apart"


async def no_reject(symbol: str, reject: Reject) -> None:
    raise AssertionError(reject)


async def test_a_refused_symbol_is_told_and_the_others_go_on_without_it() -> None:
    sinks = {"BTC/USD": ListSink(), "NO/SUCH": ListSink()}
    with capture_logs() as logs:
        async with bench(trades(2_000, "BTC/USD"), venue="kraken", sinks=sinks, cut_every=700, missed=50) as it:
            await it.until(lambda: it.sink.last_id() == 2_000)
            assert it.collector.refused == {"NO/SUCH": "Currency pair not supported NO/SUCH"}
            assert it.collector.connections >= 3
            await it.until(lambda: list(it.sink.known) == [(1, 2_000)])
    told = [line["symbol"] for line in logs if line["event"] == "the venue refuses a subscription"]
    assert told == ["NO/SUCH"], "once: on later connections it isn't asked for"


async def test_where_all_symbols_are_refused_the_collector_ends_with_all_reasons() -> None:
    sinks = {"NO/SUCH": ListSink(), "NOR/THIS": ListSink()}
    async with Simulator(trades(10, "BTC/USD"), venue="kraken") as exchange:
        it = Bench(exchange, sinks, "kraken", RULES)
        with pytest.raises(VenueError, match="NO/SUCH: Currency pair not supported NO/SUCH; NOR/THIS: Currency") as caught:
            await it.run
        assert caught.value.fatal
        assert exchange.connections == 1
        await listening(it, 0)


@dataclass(slots=True)
class Told(Delays):
    """Delays that are told, and are a thousandth of what they should be."""

    told: list[float] = field(default_factory=list)

    def next_s(self) -> float:
        seconds = Delays.next_s(self)
        self.told.append(seconds)
        return seconds / 1000


async def test_a_refusal_of_nothing_in_particular_is_tried_again_with_growing_delays() -> None:
    delays = Told(random=lambda: 1.0)
    sinks = {"nosuch": ListSink()}
    async with bench(pair(), venue="bitstamp", sinks=sinks, options={"delays": delays}) as it:
        await it.until(lambda: len(delays.told) >= 6)
        assert delays.told[:6] == [0.5, 1, 2, 4, 8, 16]
        assert it.collector.refused == {}
        assert not it.run.done()


async def test_a_new_connection_on_which_all_is_refused_is_not_kept_because_an_older_one_had_trades() -> None:
    sinks = {"btcusd": ListSink()}
    async with bench(pair(), venue="bitstamp", sinks=sinks) as it:
        await it.exchange.done.wait()
        await it.until(lambda: it.sink.last_id() == 2_000)
        it.exchange.say(REFUSED)  # some of what was asked for; which, it doesn't tell
        it.exchange.cut()
        await it.until(lambda: it.collector.connections == 2)
        await listening(it, 1)
        it.exchange.say(REFUSED)
        await it.until(lambda: it.collector.connections == 3)
        assert it.collector.connected


async def test_trades_that_come_with_a_refusal_are_put_before_anything_is_made_of_it() -> None:
    sinks = {"btcusd": ListSink()}
    async with bench(pair(), venue="bitstamp", sinks=sinks, rate=1.0) as it:
        await it.until(lambda: it.collector.connected)
        it.collector._refuse = refuse = _Noting(it)  # type: ignore[method-assign]
        it.exchange.say(REFUSED)
        it.exchange._audience.tell([10, 11])
        await it.until(lambda: refuse.put >= 0)
        assert refuse.put >= 2


@dataclass(slots=True)
class _Noting:
    """Notes how many trades were put when the refusal was looked at."""

    it: Bench
    put: int = -1

    def __call__(self, refusal: object) -> None:
        self.put = len(self.it.sink.ids)


# --- what collectors share ------------------------------------------------------------------------------------------------


async def test_several_collectors_of_a_venue_connect_one_after_the_other_and_share_its_rest() -> None:
    slept: list[float] = []
    later = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await later.wait()

    pace, symbols = Pace(1.0, sleep=sleep), ["AUSDT", "BUSDT", "CUSDT", "DUSDT"]
    tape = [replace_symbol(trade, symbols[n % 4]) for n, trade in enumerate(trades(400))]
    async with Simulator(tape) as exchange, RestClient(exchange.rest_url) as rest, asyncio.TaskGroup() as tasks:
        stops = [asyncio.Event() for _ in symbols]
        collectors = [
            LiveCollector(
                venue=SPOT,
                symbols=[s],
                sinks={s: ListSink()},
                reject=no_reject,
                ws_url=exchange.ws_url,
                rest=rest,
                connects=pace,
            )
            for s in symbols
        ]
        runs = [tasks.create_task(each.run(stop)) for each, stop in zip(collectors, stops, strict=True)]
        async with asyncio.timeout(10):
            while exchange.listeners < 2 or len(slept) < 2:
                await asyncio.sleep(0.001)
            assert slept == [pytest.approx(1, abs=0.2), pytest.approx(2, abs=0.2)]
            assert exchange.connections == 2
            stops[0].set()
            await runs[0]
            assert await rest.get("/api/v3/historicalTrades?symbol=AUSDT&fromId=1&limit=1"), "it is open still"
            later.set()
            while exchange.connections < 4:
                await asyncio.sleep(0.001)
        for stop in stops:
            stop.set()


# --- storms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server_does", ["accepts and closes", "refuses the upgrade"])
async def test_a_server_that_lets_nobody_stay_gets_less_than_one_attempt_a_second_after_the_first_few(server_does: str) -> None:
    delays = Told()
    attempts = 25
    async with Simulator(trades(100), faults=Faults(slam=1.0 if "accepts" in server_does else 0.0)) as exchange:
        exchange.upgrade_answers.extend([(503, {})] * (0 if "accepts" in server_does else 1_000))
        it = Bench(exchange, {"BTCUSDT": ListSink()}, "binance", RULES, delays=delays)

        def tried() -> int:
            return exchange.connections + (1_000 - len(exchange.upgrade_answers)) * ("refuses" in server_does)

        await it.until(lambda: tried() >= attempts)
        assert tried() <= len(delays.told) + 1, "each attempt but the first has waited"
        await it.end()
    assert all(seconds >= 1 for seconds in delays.told[2:])
    assert max(delays.told) > 10, "and it becomes far less"


async def test_a_venue_that_always_asks_for_a_new_connection_gets_less_than_one_attempt_a_second_too() -> None:
    delays, sinks = Told(), {"btcusd": ListSink()}
    options = {"delays": delays, "limits": Limits(overlap_s=0.001)}
    async with bench(pair(), venue="bitstamp", sinks=sinks, rate=1.0, options=options) as it:
        while it.collector.replaced < 12:
            it.exchange.say(RECONNECT)
            await asyncio.sleep(0.002)
            if it.run.done():
                await it.run
        assert it.exchange.connections <= len(delays.told) + 1
    assert all(seconds >= 1 for seconds in delays.told[2:])
    assert [a <= 30 and b <= 30 for a, b in pairwise(delays.told)] == [True] * (len(delays.told) - 1)
