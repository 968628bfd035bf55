"""Collecting through ccxt: what comes is put once and exactly, what was missed is fetched or told, what is wrong ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collectors import ccxt_live
from collectors.asking import RepairRules
from collectors.ccxt_exchange import MOST_NEW, without_floats
from collectors.ccxt_live import CcxtCollector
from collectors.delays import Delays
from pipeline.errors import BadValue, VenueError
from pipeline.instrument import IdRule, id_rule
from tests.collectors.ccxt_stand_in import MS, BadSymbol, Makes, NetworkError, RateLimitExceeded, StandIn, trade
from tests.collectors.text_sink import TextSink

NS = 10**6


def collector(sink: TextSink, *exchanges: StandIn, symbols: tuple[str, ...] = ("BTC/USDT",), **changes: Any) -> CcxtCollector:
    return CcxtCollector(
        **{
            "exchange_id": "kucoin",
            "symbols": symbols,
            "sinks": dict.fromkeys(symbols, sink),
            "reject": sink.reject,
            "gap_log": sink,
            "delays": Delays(first_s=0.002, cap_s=0.004),
            "rules": RepairRules(quiet_s=0.01, lag_s=0.002, tries=3),
            "make": Makes(*exchanges),
            **changes,
        }
    )


@asynccontextmanager
async def running(collecting: CcxtCollector) -> AsyncIterator[asyncio.Task[None]]:
    """The collector at work; it is stopped at the end, and what it raised is raised."""
    stop = asyncio.Event()
    run = asyncio.create_task(collecting.run(stop))
    try:
        async with asyncio.timeout(10):
            yield run
    finally:
        stop.set()
        await run


def ids(rows: list[Any]) -> list[str]:
    return [row[0] for row in rows]


async def test_trades_come_with_their_texts_their_ids_and_their_times() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.say(trade(7, price="0.30000000000000004"), trade("a-8", side="sell"))
    exchange.say(trade(9, side=None, amount="1e-08"))
    collecting = collector(sink, exchange, clock_ns=lambda: 5)
    async with running(collecting):
        await sink.holds(3)
        assert (collecting.connected, collecting.connections, collecting.reconnects) == (True, 1, 0)
    assert sink.live == [
        ("7", MS * NS, "0.30000000000000004", "0.02000000", 1),
        ("a-8", MS * NS, "61837.63", "0.02000000", -1),
        ("9", MS * NS, "61837.63", "1e-08", 0),
    ]
    assert (collecting.trades, collecting.last_frame_ns, collecting.connected, exchange.closed) == (3, 5, False, True)
    assert (sink.resumed, sink.repairs, sink.outages) == (["7"], [], [])


async def test_symbols_are_watched_side_by_side() -> None:
    sinks = {"BTC/USDT": TextSink(), "ETH/USDT": TextSink()}
    exchange = StandIn()
    exchange.say(trade(1))
    exchange.say(trade(2), symbol="ETH/USDT")
    async with running(collector(TextSink(), exchange, symbols=("BTC/USDT", "ETH/USDT"), sinks=sinks)):
        await sinks["BTC/USDT"].holds(1)
        await sinks["ETH/USDT"].holds(1)
    assert [ids(sink.live) for sink in sinks.values()] == [["1"], ["2"]]


async def test_a_bad_trade_goes_to_the_sink_with_its_reason_and_the_others_count() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.say(trade(1), trade(2, price=61837.63), trade(None), trade(4))
    async with running(collector(sink, exchange)):
        await sink.holds(2)
    assert ids(sink.live) == ["1", "4"]
    assert [reason.split(":")[0] for reason in sink.reasons] == ["price is no text but a float", "no id"]


async def test_an_exchange_whose_trades_have_no_ids_is_refused() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.say(trade(None), trade(None))
    with pytest.raises(VenueError, match="ccxt-kucoin: BTC/USDT: its trades have no ids") as error:
        await collector(sink, exchange).run(asyncio.Event())
    assert (error.value.fatal, sink.rows, exchange.closed) == (True, [], True)


async def test_after_a_cut_what_was_missed_is_fetched_and_written_down() -> None:
    sink, first, second = TextSink(), StandIn(), StandIn()
    first.say(trade(1))
    first.say(NetworkError("cut"))
    second.say(trade(4, timestamp=MS + 30))
    second.history = [trade(n, timestamp=MS + 10 * (n - 1)) for n in (1, 2, 3, 4)]
    collecting = collector(sink, first, second)
    async with running(collecting):
        await sink.holds(4)
        await sink.logged.wait()
    assert (ids(sink.live), ids(sink.repairs)) == (["1", "4"], ["1", "2", "3", "4"])
    assert sink.outages == [(MS * NS, (MS + 30) * NS, True, "overlap fetched")]
    assert (collecting.connections, collecting.reconnects, collecting.repaired) == (2, 1, 4)
    assert (sink.resumed, first.closed, first.fetched) == (["1", "4"], True, 0)


@pytest.mark.parametrize(
    ("history", "error", "how", "asked"),
    [
        ([trade(3, timestamp=MS + 20), trade(4, timestamp=MS + 30)], None, "fetchTrades doesn't reach back so far", 3),
        ([trade(1), trade(2, timestamp=MS + 10)], None, "fetchTrades lags behind the stream", 3),
        ([], None, "fetchTrades doesn't reach back so far", 3),
        ([trade(4, timestamp=None)], None, "fetchTrades doesn't reach back so far", 3),
        ([], NetworkError("cut"), "ccxt-kucoin: NetworkError: cut", 3),
    ],
)
async def test_what_the_history_does_not_give_is_told(
    history: list[Any], error: Exception | None, how: str, asked: int
) -> None:
    sink, exchange = TextSink(last_ns=MS * NS), StandIn()
    exchange.say(trade(4, timestamp=MS + 30))
    exchange.history, exchange.fetch_error = history, error
    async with running(collector(sink, exchange)):
        await sink.logged.wait()
    assert sink.outages == [(MS * NS, (MS + 30) * NS, False, how)]
    assert exchange.fetched == asked


async def test_an_exchange_without_a_history_says_so() -> None:
    sink, exchange = TextSink(last_ns=MS * NS), StandIn()
    exchange.has["fetchTrades"] = False
    exchange.say(trade(4, timestamp=MS + 30))
    async with running(collector(sink, exchange)):
        await sink.logged.wait()
    assert sink.outages == [(MS * NS, (MS + 30) * NS, False, "ccxt has no fetchTrades for it")]


async def test_in_a_quiet_market_the_history_is_put_at_once_and_judged_with_the_next_live_trade() -> None:
    sink, exchange = TextSink(last_ns=MS * NS), StandIn()
    exchange.history = [trade(1), trade(2, timestamp=MS + 10)]
    async with running(collector(sink, exchange)):
        await sink.holds(2)
        assert (sink.live, sink.outages) == ([], [])
        exchange.history = [trade(n, timestamp=MS + 10 * (n - 1)) for n in (1, 2, 3)]
        exchange.say(trade(3, timestamp=MS + 20))
        await sink.logged.wait()
    assert sink.outages == [(MS * NS, (MS + 20) * NS, True, "overlap fetched")]


async def test_with_nothing_known_before_nothing_is_fetched() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.say(trade(1))
    async with running(collector(sink, exchange, rules=RepairRules(quiet_s=0.0))):
        await sink.holds(1)
    assert (exchange.fetched, sink.outages) == (0, [])


@pytest.mark.parametrize("where", ["load", "watch"])
async def test_a_fatal_error_ends_it(where: str) -> None:
    sink, exchange = TextSink(), StandIn()
    if where == "load":
        exchange.load_error = BadSymbol("no")
    else:
        exchange.say(BadSymbol("no"))
    with pytest.raises(VenueError, match="ccxt-kucoin: BadSymbol: no") as error:
        await collector(sink, exchange, symbols=("BTC/USDT", "ETH/USDT")).run(asyncio.Event())
    assert (error.value.fatal, exchange.closed) == (True, True)


async def test_an_exchange_that_wants_to_be_left_alone_is_and_a_stop_does_not_wait_for_that() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.load_error = RateLimitExceeded("slow")
    makes = Makes(exchange)
    stop = asyncio.Event()
    run = asyncio.create_task(collector(sink, exchange, make=makes).run(stop))
    async with asyncio.timeout(10):
        while not exchange.closed:
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(run), 0.05)  # delays alone would have tried ten times
        assert len(makes.asked) == 1
        stop.set()
        await run


async def test_a_server_that_takes_and_cuts_is_not_stormed() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.load_error = NetworkError("cut")
    makes = Makes(exchange)
    collecting = collector(sink, exchange, make=makes, delays=Delays(first_s=0.01, cap_s=60.0, random=lambda: 1.0))
    async with running(collecting):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.3)
    assert 2 <= len(makes.asked) <= 6  # 0.01 + 0.02 + 0.04 + 0.08 + 0.16 s apart
    assert collecting.connections == 0


async def test_a_stop_puts_what_has_arrived() -> None:
    sink, exchange, stop = TextSink(), StandIn(), asyncio.Event()
    sink.gate.clear()
    collecting = collector(sink, exchange)
    run = asyncio.create_task(collecting.run(stop))
    for number in range(50):
        exchange.say(trade(number))
    async with asyncio.timeout(10):
        while collecting._waiting < 50:
            await asyncio.sleep(0)
        stop.set()
        sink.gate.set()
        await run
    assert ids(sink.live) == [str(number) for number in range(50)]


async def test_a_cancelled_collector_does_not_wait_for_a_sink_that_hangs() -> None:
    sink, exchange = TextSink(), StandIn()
    sink.gate.clear()
    exchange.say(trade(1))
    collecting = collector(sink, exchange)
    run = asyncio.create_task(collecting.run(asyncio.Event()))
    async with asyncio.timeout(10):
        while not collecting.last_frame_ns:
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert (sink.rows, exchange.closed) == ([], True)


async def test_what_a_sink_raises_ends_it() -> None:
    sink, exchange = TextSink(), StandIn()
    sink.error = BadValue("full")
    exchange.say(trade(1))
    async with asyncio.timeout(10):
        with pytest.raises(BadValue, match="full"):
            await collector(sink, exchange).run(asyncio.Event())
    assert exchange.closed


async def test_trades_that_ccxt_had_to_drop_are_fetched_after_a_new_connection() -> None:
    sink, first, second = TextSink(), StandIn(), StandIn()
    first.say(trade(0))
    first.say(*[trade(n, timestamp=MS + n) for n in range(3, 3 + MOST_NEW)])
    second.history = [trade(n, timestamp=MS + n) for n in range(3)]
    second.say(trade(2, timestamp=MS + 2))
    async with running(collector(sink, first, second)):
        await sink.holds(3)
        await sink.logged.wait()
    assert sink.outages == [(MS * NS, (MS + 2) * NS, True, "overlap fetched")]


async def test_a_sink_that_is_too_slow_costs_the_connection_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccxt_live, "MOST_WAITING", 5)
    sink, first, second = TextSink(), StandIn(), StandIn()
    sink.gate.clear()
    for number in range(20):
        first.say(trade(number, timestamp=MS + number))
    second.say(trade(20, timestamp=MS + 20))
    second.history = [trade(number, timestamp=MS + number) for number in range(21)]
    collecting = collector(sink, first, second)
    async with running(collecting):
        while collecting.connected or not collecting.connections:
            await asyncio.sleep(0)
        sink.gate.set()
        await sink.logged.wait()
        await sink.holds(21)
    assert len(ids(sink.live)) == 7  # six had come when it was given up
    assert sink.outages == [((MS + 5) * NS, (MS + 20) * NS, True, "overlap fetched")]


async def test_a_message_that_ccxt_can_not_read_is_a_dead_letter() -> None:
    sink, exchange = TextSink(), StandIn()
    exchange.say(trade(1))
    async with running(collector(sink, without_floats(exchange))):
        await sink.holds(1)
        client: Any = exchange.client("wss://stand-in")
        client.handle_text_or_binary_message(json.dumps({"odd": 1}))
        exchange.say(trade(2))
        await sink.holds(2)
    ((symbol, reject),) = sink.rejects
    assert (symbol, reject.raw, reject.where) == ("", '{"odd": 1}', "ccxt-kucoin websocket")
    assert reject.reason.startswith("ccxt can't read it: KeyError")


async def test_its_face_is_that_of_a_venue_whose_ids_prove_nothing() -> None:
    makes = Makes(StandIn())
    collecting = collector(TextSink(), make=makes, settings={"timeout": 5})
    assert (collecting.venue, collecting.ids, id_rule(collecting.venue)) == ("ccxt-kucoin", IdRule.OPAQUE, IdRule.OPAQUE)
    assert makes.asked == [("kucoin", {"timeout": 5})]
    with pytest.raises(BadValue, match="ccxt-kucoin: no symbols"):
        collector(TextSink(), StandIn(), symbols=())
