"""The live collector against the simulated exchange: whatever is cut, skipped or refused, each trade arrives once."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from structlog.testing import capture_logs

from collectors.delays import Delays
from collectors.live import LiveCollector, RepairRules
from collectors.rest import RestClient
from collectors.simulator import SimTrade, Simulator
from collectors.venues.parsed import Raws
from collectors.venues.venue import VENUES
from pipeline.errors import BadValue, StorageError, VenueError
from pipeline.ids import RangeSet
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades, Reject
from tests.collectors.list_sink import ListSink
from tests.collectors.live_bench import RULES, Bench, bench, expected, quick, trades

CONTIGUOUS = sorted(venue.name for venue in VENUES.values() if venue.ids is IdRule.CONTIGUOUS)


# --- nothing is lost ------------------------------------------------------------------------------------------------------


async def all_arrive_despite_cuts(venue: str) -> None:
    tape = trades(8_000)
    async with bench(tape, venue=venue, cut_every=300, missed=150) as it:
        await it.until(lambda: list(it.sink.known) == [(1, 8_000)])
        await it.end()
        # A subscription may be answered with the last trades, told before: whoever counts drops them by their ids.
        assert sorted(set(it.sink.ids)) == list(range(1, 8_001))
        assert sorted(set(it.sink.rows)) == sorted(set(expected(tape)))
        assert it.collector.reconnects >= 10
        assert it.collector.repaired == len(it.sink.repairs) >= 10 * 150
        assert it.exchange.requests < 3 * it.collector.reconnects
        assert it.rejects == []


@pytest.mark.parametrize("venue", CONTIGUOUS)
async def test_every_trade_arrives_once_from_an_exchange_that_cuts_the_connection_again_and_again(venue: str) -> None:
    await all_arrive_despite_cuts(venue)


def test_the_same_holds_on_the_fast_event_loop() -> None:
    uvloop.run(all_arrive_despite_cuts("binance"))


async def test_a_repair_comes_before_the_live_trades_that_follow_it() -> None:
    order: list[int] = []

    class Ordered(ListSink):
        async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
            order.extend(int(i) for i in trades.ids)
            await super().put(trades, raws, repair=repair)

    async with bench(trades(5_000), sinks={"BTCUSDT": Ordered()}, cut_every=700) as it:
        await it.until(lambda: it.sink.last_id() == 5_000)
    assert order == list(range(1, 5_001))


async def test_a_hole_too_big_to_wait_for_is_filled_beside_the_live_trades() -> None:
    rules = RepairRules(hold_pages=2, check_s=60, delays=quick)
    async with bench(trades(9_000), rules=rules, cut_every=1_000, missed=4_000) as it:
        await it.exchange.done.wait()
        await it.until(lambda: list(it.sink.known) == [(1, 9_000)])
        assert sorted(it.sink.ids) == list(range(1, 9_001))


async def test_ids_that_the_stream_skips_within_a_connection_are_fetched() -> None:
    skipped = {*range(100, 110), 500, *range(1_500, 2_700)}
    async with bench(trades(3_000), unsent=skipped) as it:
        await it.until(lambda: list(it.sink.known) == [(1, 3_000)])
        assert sorted(it.sink.repairs) == sorted(skipped)


async def test_several_symbols_share_a_connection_and_are_repaired_each() -> None:
    tapes = trades(2_000), trades(2_000, "ETHUSDT", first_id=70_000)
    mixed = [trade for pair in zip(*tapes, strict=True) for trade in pair]
    sinks = {"BTCUSDT": ListSink(), "ETHUSDT": ListSink()}
    ends = {"BTCUSDT": [(1, 2_000)], "ETHUSDT": [(70_000, 71_999)]}
    async with bench(mixed, sinks=sinks, cut_every=500, missed=200) as it:
        await it.until(lambda: all(sink.last_id() == ends[s][0][1] for s, sink in sinks.items()))
        await it.until(lambda: {s: list(sink.known) for s, sink in sinks.items()} == ends)
        assert sorted(sinks["BTCUSDT"].rows) == expected(tapes[0])
        assert sorted(sinks["ETHUSDT"].rows) == expected(tapes[1])


# --- where it begins ------------------------------------------------------------------------------------------------------


async def test_a_fresh_start_begins_with_the_first_trade_seen() -> None:
    async with bench(trades(100, first_id=5_000)) as it:
        await it.until(lambda: it.sink.last_id() == 5_099)
        await it.end()
        assert it.sink.ids == list(range(5_000, 5_100))
        assert it.exchange.requests == 0


async def test_a_start_from_a_stored_cursor_fetches_what_happened_since() -> None:
    sink = ListSink(known=[(1, 50)])
    async with bench(trades(1_000), sinks={"BTCUSDT": sink}, unsent=range(1, 101)) as it:
        await it.until(lambda: sink.last_id() == 1_000)
        assert sink.repairs == list(range(51, 101))
        assert sink.live == list(range(101, 1_001))


async def test_in_a_quiet_market_a_start_fetches_what_happened_since_without_waiting_for_a_live_trade() -> None:
    sink = ListSink(known=[(1, 50)])
    rules = RepairRules(quiet_s=0.01)
    async with bench(trades(3_000), sinks={"BTCUSDT": sink}, rules=rules, unsent=range(1, 3_001)) as it:
        await it.exchange.done.wait()
        await it.until(lambda: list(sink.known) == [(1, 3_000)])
        assert sink.repairs == list(range(51, 3_001))
        assert sink.live == []
        assert it.exchange.requests <= 5


async def test_live_trades_are_not_fetched_beside_their_stream() -> None:
    async with bench(trades(2_000), rules=RepairRules(quiet_s=0.05), rate=8_000, cut_every=500) as it:
        await it.until(lambda: list(it.sink.known) == [(1, 2_000)])
        assert len(it.sink.ids) == 2_000


async def test_stored_holes_are_asked_for_at_the_start() -> None:
    sink = ListSink(known=[(1, 10), (21, 50), (52, 100)])
    async with bench(trades(200), sinks={"BTCUSDT": sink}, unsent=range(1, 101)) as it:
        await it.until(lambda: list(sink.known) == [(1, 200)])
        assert sorted(sink.repairs) == [*range(11, 21), 51]


async def test_a_hole_that_opens_behind_our_back_is_found_and_asked_for() -> None:
    async with bench(trades(200)) as it:
        await it.until(lambda: it.sink.last_id() == 200)
        it.sink.known = RangeSet([(1, 80), (91, 200)])  # Redis went back
        await it.until(lambda: list(it.sink.known) == [(1, 200)])
        assert it.sink.repairs == list(range(81, 91))


# --- what the venue can't give --------------------------------------------------------------------------------------------


async def test_ids_that_the_venue_does_not_have_stay_a_gap_that_is_logged_once() -> None:
    with capture_logs() as logs:
        async with bench(trades(1_000), unsent=range(400, 500), unkept=range(420, 430)) as it:
            await it.until(lambda: any(line["event"] == "trades lost" for line in logs))
            asked = it.exchange.requests
            await asyncio.sleep(4 * RULES.check_s)  # several looks at the sink's gaps
            assert it.exchange.requests == asked
            assert list(it.sink.known) == [(1, 419), (430, 1_000)]
            assert sorted(it.sink.repairs) == [*range(400, 420), *range(430, 500)]
    (lost,) = [line for line in logs if line["event"] == "trades lost"]
    assert (lost["first_id"], lost["last_id"], lost["symbol"]) == (420, 429, "BTCUSDT")


async def test_history_that_lags_is_asked_again() -> None:
    unkept = set(range(440, 500))
    async with bench(trades(1_000), unsent=range(400, 500), unkept=unkept) as it:
        await it.until(lambda: 439 in it.sink.known)
        unkept.clear()
        await it.until(lambda: list(it.sink.known) == [(1, 1_000)])


async def test_live_trades_go_on_while_rest_fails_and_the_holes_are_filled_when_it_is_back() -> None:
    async with bench(trades(3_000), cut_every=500, missed=100) as it:
        it.exchange.rest_answers.extend([(500, {})] * 30)
        await it.until(lambda: it.sink.last_id() == 3_000)
        await it.until(lambda: list(it.sink.known) == [(1, 3_000)])
        assert sorted(it.sink.ids) == list(range(1, 3_001))


async def test_live_trades_go_on_while_nothing_answers_at_the_rest_address() -> None:
    rules = RepairRules(hold_s=0.05, check_s=0.05, delays=quick)
    rest = RestClient("http://127.0.0.1:9", tries=2, timeout_s=1)
    async with bench(trades(3_000), rules=rules, options={"rest": rest}, cut_every=1_000, missed=100) as it:
        await it.until(lambda: it.sink.last_id() == 3_000)
        await it.end()
        assert it.sink.repairs == []
        assert len(it.sink.gaps()) == it.collector.reconnects >= 1


async def test_a_request_that_the_venue_refuses_for_good_is_not_repeated() -> None:
    async with bench(trades(1_000), unsent=range(400, 500)) as it:
        it.exchange.rest_answers.append((403, {}))
        await it.until(lambda: it.sink.last_id() == 1_000)
        await asyncio.sleep(4 * RULES.check_s)
        assert it.exchange.requests == 1
        assert [(gap.first_id, gap.last_id) for gap in it.sink.gaps()] == [(400, 499)]


async def test_what_the_sink_never_takes_is_not_fetched_for_ever() -> None:
    class Picky(ListSink):
        async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
            if not repair:
                await super().put(trades, raws)

    with capture_logs() as logs:
        async with bench(trades(100), sinks={"BTCUSDT": Picky()}, unsent={50}) as it:
            await it.until(lambda: any(line["event"] == "trades lost" for line in logs))
            asked = it.exchange.requests
            await asyncio.sleep(4 * RULES.check_s)
            assert it.exchange.requests == asked <= RULES.tries + 2


# --- refused --------------------------------------------------------------------------------------------------------------


async def test_a_bad_frame_goes_to_the_dead_letters_and_its_trade_comes_from_history() -> None:
    tape = trades(100)
    injected = '1","p":5,"x":"'  # a price that is a number in the stream, and a good text in history
    tape[49] = SimTrade("BTCUSDT", 50, tape[49].ts_ns, injected, "1", True)
    async with bench(tape) as it:
        await it.until(lambda: list(it.sink.known) == [(1, 100)])
        ((symbol, reject),) = it.rejects
        assert (symbol, reject.reason) == ("BTCUSDT", "Expected `str`, got `int` - at `$.data.p`")
        assert it.sink.repairs == [50]


async def test_a_refused_upgrade_that_may_pass_is_tried_again() -> None:
    tape = trades(50)
    async with Simulator(tape) as exchange:
        exchange.upgrade_answers.extend([(503, {}), (429, {"Retry-After": "0"}), (418, {})])
        it = Bench(exchange, {"BTCUSDT": ListSink()}, "binance", RULES)
        await it.until(lambda: it.sink.last_id() == 50)
        await it.end()
        assert (exchange.connections, it.collector.connections, it.collector.reconnects) == (1, 1, 0)


async def test_a_refusal_for_good_ends_the_collector_with_a_clear_error() -> None:
    async with Simulator(trades(50)) as exchange:
        exchange.upgrade_answers.append((403, {}))
        it = Bench(exchange, {"BTCUSDT": ListSink()}, "binance", RULES)
        with pytest.raises(VenueError, match="refused with HTTP 403"):
            await it.run


async def test_an_error_of_the_sink_ends_the_collector_as_that_error() -> None:
    class Full(ListSink):
        async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
            raise StorageError("disk on fire")

    async with bench(trades(50), sinks={"BTCUSDT": Full()}) as it:
        with pytest.raises(StorageError, match="disk on fire"):
            await it.run
        assert not it.collector.connected


def test_more_symbols_than_a_connection_carries_are_refused() -> None:
    symbols = [f"S{n}" for n in range(VENUES["binance"].limits.symbols_per_connection + 1)]

    async def reject(symbol: str, reject: Reject) -> None: ...

    with pytest.raises(BadValue, match="binance: 201 symbols; expected 1 to 200"):
        LiveCollector(venue=VENUES["binance"], symbols=symbols, sinks={}, reject=reject)


# --- stopping -------------------------------------------------------------------------------------------------------------


async def test_a_stop_delivers_all_that_had_been_received() -> None:
    sink = ListSink()
    sink.gate.clear()  # the writer is behind
    async with bench(trades(5_000), sinks={"BTCUSDT": sink}) as it:
        await it.exchange.done.wait()
        await it.until(lambda: it.received == 5_000)
        it.stop.set()
        sink.gate.set()
        await it.end()
        assert sink.live == list(range(1, 5_001))
        assert not it.collector.connected


async def test_a_stop_does_not_wait_for_a_repair_that_hangs() -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await never.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    rest = RestClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=600)
    rules = RepairRules(hold_s=600)
    async with bench(trades(1_000), rules=rules, options={"rest": rest}, unsent=range(10, 20)) as it:
        await asked.wait()
        await it.until(lambda: it.received == 990)
        await it.end()
        assert it.sink.live[-1] == 1_000  # what was held back is delivered too
    never.set()
    server.close()


async def test_a_stop_while_not_connected_ends_at_once() -> None:
    async with Simulator(trades(10)) as exchange:
        exchange.upgrade_answers.extend([(503, {})] * 1_000)
        it = Bench(exchange, {"BTCUSDT": ListSink()}, "binance", RULES, delays=Delays(first_s=600, cap_s=600))
        await it.until(lambda: len(exchange.upgrade_answers) < 1_000)
        await it.end()


async def test_a_cancelled_collector_closes_its_connection_and_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with bench(trades(1_000), unsent={500}) as it:
        await it.until(lambda: it.sink.last_id() == 1_000)
        it.run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await it.run
        assert not it.collector.connected
        await it.until(lambda: not it.exchange.listeners)
    assert asyncio.all_tasks() == before


async def test_counters_tell_what_happens() -> None:
    async with bench(trades(500), options={"clock_ns": lambda: 42}) as it:
        assert (it.collector.connected, it.collector.last_frame_ns) == (False, 0)
        await it.until(lambda: it.sink.last_id() == 500)
        seen = it.collector
        assert (seen.connected, seen.last_frame_ns, seen.frames, seen.trades, seen.other) == (True, 42, 500, 500, 0)
        await it.end()
        assert not seen.connected
