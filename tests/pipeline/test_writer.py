"""One instrument's writer: what it took is in Redis once, whatever Redis, the network or another writer does meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import codec, patience
from pipeline.errors import BadValue, Fenced, RedisUnavailable, WriterHeld
from pipeline.instrument import IdRule
from pipeline.minute import Status
from pipeline.trade import Reject, Side
from pipeline.window import Flush, Lease, RedisWindow
from spillway.redis_server import ensure_embedded
from tests.pipeline.builders import BTC, START, at, portions, raw, raws, rows, stream, trade
from tests.pipeline.conftest import FAKE_AND_REAL
from tests.pipeline.fake_redis import fake_redis
from tests.pipeline.house import House, named, write
from tests.pipeline.redis_contents import contents, restore, snapshot
from tests.pipeline.reference import proven_of
from tests.pipeline.unreliable import Unreliable

both = pytest.mark.parametrize("window", FAKE_AND_REAL, indirect=True)
every_rule = pytest.mark.parametrize("rule", list(IdRule))
SEALED = "trades_window:{binance:BTCUSDT}:sealed"


# --- the plain way ------------------------------------------------------------------------------------------------------


@both
@every_rule
async def test_what_was_taken_is_in_redis_exactly(house: House, rule: IdRule) -> None:
    trades = named(stream(700), rule)
    writer = await house.started(rule)
    await write(writer, trades)
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)
    assert (writer.counts.taken, writer.counts.duplicates, writer.counts.rejected) == (700, 0, 0)
    assert (writer.watermark_ns, writer.last_id) == (trades[-1].ts_event_ns, trades[-1].trade_id)
    assert writer.counts.sealed == len(await house.window.sealed_minutes(BTC)) == 11


@both
@every_rule
async def test_the_sealed_minutes_that_are_proven_whole_are_counted(house: House, rule: IdRule) -> None:
    writer = await house.started(rule)
    await write(writer, named(stream(700), rule))
    sealed = [minute for start, minute in (await house.minutes()).items() if start in await house.window.sealed_minutes(BTC)]
    whole = sum(minute.status in (Status.COMPLETE, Status.REPAIRED) for minute in sealed)
    assert (writer.counts.sealed, writer.counts.whole) == (len(sealed), whole)
    assert (whole > 0) == (rule is IdRule.CONTIGUOUS)


@both
async def test_the_last_price_is_the_close_of_the_newest_minute(house: House) -> None:
    writer = await house.started()
    assert writer.last_price is None
    await write(writer, [trade(1, "0:59", "100.5"), trade(2, "1:04", "99.25")])
    assert writer.last_price == Decimal("99.25")


@both
async def test_what_was_bought_and_sold_is_summed_over_all_writers(house: House) -> None:
    trades = named(stream(300), IdRule.CONTIGUOUS)
    writer = await house.started()
    await write(writer, trades[:200])
    await writer.stop()
    writer = await house.started()
    await write(writer, trades[200:])
    sides = {side: sum(t.size for t in trades if t.side is side) for side in (Side.BUY, Side.SELL)}
    assert writer.sided_volumes == (sides[Side.BUY], sides[Side.SELL])


@both
async def test_a_minute_seals_with_the_flush_after_its_grace_time(house: House) -> None:
    writer = await house.started(grace_ns=5 * 10**9)
    await write(writer, [trade(1, "0:59"), trade(2, "1:04.9")])
    assert await house.window.sealed_minutes(BTC) == []
    await write(writer, [trade(3, "1:05")])
    assert await house.window.sealed_minutes(BTC) == [START]
    assert [m.start for m in await house.window.open_minutes(BTC)] == [START + 1]


@both
async def test_a_sealed_minute_in_redis_is_the_very_bytes_of_its_file(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(200))
    values = await house.window.sealed(BTC, [START, START + 1])
    plain = {start: codec.decompress(value, "Redis") for start, value in values.items()}
    await house.spill()
    assert {start: house.files.kept[BTC, start] for start in plain} == plain


@both
async def test_a_sealed_minute_leaves_nothing_behind_of_the_open_one(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(300), 20)
    keys = await house.window.client.keys("*:open:*")
    resumed = await house.window.resume(BTC)
    assert resumed
    assert sorted(int(key.rpartition(b":")[2]) for key in keys) == sorted(resumed[1].open) == [START + 4]


@both
@every_rule
async def test_trades_that_come_again_are_counted_once(house: House, rule: IdRule) -> None:
    trades = named(stream(400), rule)
    writer = await house.started(rule)
    await write(writer, trades)
    before = await contents(house.window.client)
    await write(writer, trades, 77)
    await write(writer, trades[100:250], 10)
    assert await contents(house.window.client) == before
    assert writer.counts.duplicates == 550


@both
async def test_a_flush_with_nothing_to_say_is_not_sent(house: House) -> None:
    writer = await house.started()
    await writer.flush()
    await writer.settle()
    assert await house.window.cursor(BTC) is None
    assert writer.counts.flushes == 0


@both
async def test_trades_are_summed_while_a_flush_is_on_its_way(house: House) -> None:
    house.window.client = client = Unreliable(house.window.client)
    writer = await house.started()
    client.gate.clear()
    await writer.take(raw(trade(1)), raws)
    await writer.flush()
    assert await writer.take(raw(trade(2)), raws) == 1
    await client.waiting.wait()
    client.gate.set()
    await writer.stop()
    await house.exact([trade(1), trade(2)])


@both
async def test_stopping_flushes_and_gives_the_lease_up(house: House) -> None:
    writer = await house.started()
    await writer.take(raw(trade(1)), raws)
    await writer.stop()
    await house.exact([trade(1)])
    assert await house.window.holder(BTC) is None
    await writer.abandon()  # does nothing more


@both
async def test_abandoning_gives_the_lease_up_and_flushes_nothing(house: House) -> None:
    writer = await house.started()
    await writer.take(raw(trade(1)), raws)
    await writer.abandon()
    assert await house.window.holder(BTC) is None
    assert await house.minutes() == {}


# --- going on -----------------------------------------------------------------------------------------------------------


@both
@every_rule
async def test_the_next_writer_goes_on_where_the_last_flush_stopped(house: House, rule: IdRule) -> None:
    trades = named(stream(600), rule)
    for members in portions(trades, 130):
        writer = await house.started(rule)
        await write(writer, list(members), 40)
        await writer.take(raw(trade("lost" if rule is IdRule.OPAQUE else 10**9, "900:00")), raws)  # dies before it is flushed
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)


@both
async def test_a_repair_fills_a_hole_and_the_minute_says_so(house: House) -> None:
    trades = stream(300)
    hole, rest = trades[70:90], trades[:70] + trades[90:]
    writer = await house.started()
    await write(writer, rest)
    assert [(g.first_id, g.last_id) for g in writer.gaps()] == [(71, 90)]
    assert (await house.minutes())[START + 1].missing == ((71, 90),)
    await writer.take(raw(*hole), raws, repair=True)
    await writer.flush()
    await writer.flush(trades[-1].ts_event_ns + 60 * 10**9)
    await writer.settle()
    assert writer.gaps() == []
    await house.exact(trades)
    want = proven_of(trades, [int(t.trade_id) for t in hole])
    assert {s: m.status for s, m in (await house.minutes()).items() if s < START + 4} == {
        s: k.status for s, k in want.items() if s < START + 4
    }


@both
async def test_a_minute_drained_early_and_then_continued_is_exact_as_its_second_revision(house: House) -> None:
    writer = await house.started()
    await write(writer, [trade(1, "0:01", size="0.1")])
    await writer.flush(everything=True)
    await writer.settle()
    await house.spill()
    assert house.files.minutes(BTC)[START].status is Status.UNKNOWN
    await write(writer, [trade(2, "0:02", size="0.2"), trade(3, "5:00")])
    await writer.flush(at("9:00"), everything=True)
    await writer.stop()
    await house.spill()
    bucket = house.files.minutes(BTC)[START]
    assert (bucket.revision, bucket.status, rows(bucket)) == (2, Status.COMPLETE, {"100": ("0.3", "0", "0.3", 2)})
    assert writer.counts.late == 1


@both
async def test_a_late_minute_that_is_drained_before_its_repair_is_over_is_not_called_cut_short(house: House) -> None:
    writer = await house.started()
    await write(writer, [trade(1, "0:01"), trade(3, "0:03"), trade(4, "5:00")])
    await writer.take(raw(trade(2, "0:02")), raws)
    await writer.flush(everything=True)
    await writer.settle()
    assert (await house.minutes())[START].status is Status.COMPLETE
    assert (await house.minutes())[START + 5].status is Status.UNKNOWN


@both
@pytest.mark.parametrize("where", ["window", "files"])
async def test_a_late_trade_merges_into_its_minute_wherever_that_is(house: House, where: str) -> None:
    trades = stream(400)
    late = [trades.pop(n) for n in (200, 90, 30)]
    writer = await house.started()
    await write(writer, trades)
    if where == "files":
        await house.spill()
    for one in late:
        assert await writer.take(raw(one), raws) == 1
    await writer.flush()
    await writer.settle()
    await house.exact([*trades, *late])
    assert writer.counts.late == 3
    assert [m.revision for m in (await house.minutes()).values()].count(2) >= 3


@both
async def test_a_late_trade_for_a_minute_that_the_flush_under_way_seals_waits_for_it(house: House) -> None:
    house.window.client = client = Unreliable(house.window.client)
    writer = await house.started()
    client.gate.clear()
    await writer.take(raw(trade(1, "0:01"), trade(3, "2:00")), raws)
    await writer.flush()  # seals minute 0, and hangs on its way
    late = asyncio.create_task(writer.take(raw(trade(2, "0:02")), raws))
    await client.waiting.wait()
    client.gate.set()
    assert await late == 1
    await writer.flush(everything=True)
    await writer.stop()
    await house.exact([trade(1, "0:01"), trade(2, "0:02"), trade(3, "2:00")])
    assert (await house.minutes())[START].revision == 2


# --- a Redis that can't be reached --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("lost", ["lose_replies", "lose_requests"])
async def test_a_flush_whose_reply_or_request_was_lost_is_counted_once(house: House, lost: str) -> None:
    house.window.client = client = Unreliable(house.window.client)
    writer = await house.started()
    for members in portions(stream(250), 50):
        await writer.take(raw(*members), raws)
        setattr(client, lost, 1)
        await writer.flush()
        await writer.settle()
    await writer.stop()
    await house.exact(stream(250))
    assert (writer.counts.taken, writer.counts.rewinds) == (250, 0)
    assert house.revived == 5


@both
async def test_a_late_trade_s_minute_is_asked_for_until_redis_answers(house: House) -> None:
    house.window.client = client = Unreliable(house.window.client)
    writer = await house.started()
    await write(writer, [trade(1, "0:01"), trade(3, "2:00")])
    client.lose_requests = 2
    assert await writer.take(raw(trade(2, "0:02")), raws) == 1
    await writer.stop()
    await house.exact([trade(1, "0:01"), trade(2, "0:02"), trade(3, "2:00")])
    assert house.revived == 2


@both
async def test_the_lease_is_renewed_as_soon_as_redis_answers_again(house: House) -> None:
    house.window.client = client = Unreliable(house.window.client)
    writer = await house.started()
    client.lose_requests = 2
    await writer.renew()
    assert house.revived == 2
    assert await house.window.holder(BTC) == "me"


@both
async def test_a_redis_that_stays_away_is_an_error_at_last_and_nothing_is_lost_if_it_comes_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.06)
    house.window.client = client = Unreliable(house.window.client)
    writer = await house.started()
    await write(writer, [trade(1)])
    client.lose_requests = 3
    await writer.take(raw(trade(2)), raws)
    await writer.flush()
    with pytest.raises(RedisUnavailable, match="the request was lost"):
        await writer.settle()
    client.lose_requests = 0
    await writer.take(raw(trade(3)), raws)
    await writer.stop()
    await house.exact([trade(1), trade(2), trade(3)])


# --- a Redis that went back ---------------------------------------------------------------------------------------------


@both
@every_rule
async def test_a_redis_that_went_back_is_told_again_what_it_forgot(house: House, rule: IdRule) -> None:
    trades = named(stream(800), rule)
    writer = await house.started(rule)
    await write(writer, trades[:300])
    earlier = await snapshot(house.window.client)
    await write(writer, trades[300:700])
    await restore(house.window.client, earlier)
    await write(writer, trades[700:])
    await writer.stop()
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)
    assert writer.counts.rewinds == 1


@both
@every_rule
async def test_a_redis_that_went_back_to_before_the_first_flush_is_told_all_again(house: House, rule: IdRule) -> None:
    trades = named(stream(300), rule)
    writer = await house.started(rule)
    empty = await snapshot(house.window.client)
    await write(writer, trades[:200])
    await restore(house.window.client, empty)
    await write(writer, trades[200:])
    await writer.stop()
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)


@both
async def test_a_redis_that_went_back_just_before_the_end_is_told_again_by_stopping(house: House) -> None:
    trades = stream(300)
    writer = await house.started()
    await write(writer, trades[:100])
    earlier = await snapshot(house.window.client)
    await write(writer, trades[100:250])
    await restore(house.window.client, earlier)
    await writer.take(raw(*trades[250:]), raws)
    await writer.stop()
    await house.exact(trades)


@both
async def test_a_redis_that_went_back_while_a_late_trade_came_is_told_that_trade_too(house: House) -> None:
    trades = stream(300)
    late = trades.pop(30)
    writer = await house.started()
    await write(writer, trades[:100])
    earlier = await snapshot(house.window.client)
    await write(writer, trades[100:250])
    await restore(house.window.client, earlier)
    await writer.take(raw(*trades[250:]), raws)
    await writer.flush()
    await writer.take(raw(late), raws)
    await writer.stop()
    await house.exact([*trades, late])


@both
@every_rule
async def test_minutes_that_were_spilled_before_redis_went_back_are_not_counted_again(house: House, rule: IdRule) -> None:
    trades = named(stream(800), rule)
    writer = await house.started(rule)
    await write(writer, trades[:100])
    earlier = await snapshot(house.window.client)
    await write(writer, trades[100:600])
    await house.spill()
    kept = dict(house.files.kept)
    await restore(house.window.client, earlier)
    await write(writer, trades[600:])
    await writer.flush(everything=True)
    await writer.stop()
    await house.spill()
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)
    assert {key: house.files.kept[key] for key in kept} == kept


@both
async def test_an_open_minute_that_was_sealed_and_spilled_before_redis_went_back_leaves_no_old_levels_behind(
    house: House,
) -> None:
    first = [trade(1, "0:01", price="100"), trade(2, "0:02", price="101")]
    then = [trade(3, "0:03", price="100.25", size="0.001"), trade(4, "2:00", price="102")]
    writer = await house.started()
    await write(writer, first)
    earlier = await snapshot(house.window.client)  # minute 0 is open, in whole numbers
    await write(writer, then)
    await house.spill()
    await restore(house.window.client, earlier)
    again = await house.started()
    await write(again, [trade(5, "0:05", price="100.5")])
    await house.exact([*first, trade(3, "0:03", price="100.25", size="0.001"), trade(5, "0:05", price="100.5")])
    await write(await house.started(), [*first, *then])
    await house.exact([*first, *then, trade(5, "0:05", price="100.5")])


@both
@pytest.mark.parametrize("who", ["the same writer", "the next writer"])
async def test_a_late_trade_that_was_spilled_before_redis_went_back_is_not_counted_again(house: House, who: str) -> None:
    trades = stream(300)
    late = trades.pop(30)
    writer = await house.started()
    await write(writer, trades)
    await house.spill()
    earlier = await snapshot(house.window.client)
    await write(writer, [late])
    await writer.flush(trades[-1].ts_event_ns + 10 * 10**9)
    await writer.settle()
    await house.spill()
    assert house.files.minutes(BTC)[START].revision == 2
    await restore(house.window.client, earlier)
    again = writer if who == "the same writer" else await house.started()
    await write(again, [trade(301, "6:00")])
    await write(again, [late, *trades])
    await again.flush(everything=True)
    await again.stop()
    await house.exact([*trades, late, trade(301, "6:00")])


@both
@pytest.mark.parametrize("rule", [IdRule.MONOTONIC, IdRule.OPAQUE])
async def test_a_redis_that_went_back_is_told_the_pause_and_the_history_again(house: House, rule: IdRule) -> None:
    trades = named(stream(2000, every_s=0.1), rule)
    writer = await house.started(rule)
    await write(writer, trades[:100])
    earlier = await snapshot(house.window.client)
    await writer.take(raw(*trades[300:1900]), raws, resumed=True)
    await writer.take(raw(*trades[200:305]), raws, repair=True)
    await writer.flush()
    await writer.settle()
    await restore(house.window.client, earlier)
    await write(writer, trades[1900:])
    await writer.take(raw(*trades[95:210]), raws, repair=True)
    await writer.take(raw(*trades[95:305]), raws, repair=True)
    await writer.stop()
    assert writer.counts.rewinds == 1
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)


@both
@pytest.mark.parametrize("rule", list(IdRule))
async def test_history_that_was_spilled_before_redis_went_back_is_not_counted_again(house: House, rule: IdRule) -> None:
    trades = named(stream(700), rule)
    writer = await house.started(rule)
    await write(writer, trades[600:])
    earlier = await snapshot(house.window.client)
    await writer.take(raw(*trades[:601]), raws, apart=True)
    await writer.flush(everything=True)
    await writer.stop()
    await house.spill()
    await restore(house.window.client, earlier)
    again = await house.started(rule)
    for first in (480, 240, 0):
        await again.take(raw(*trades[first : first + 241]), raws, apart=True)
        await again.flush()
    await again.stop()
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)


@both
async def test_a_late_trade_after_redis_went_back_joins_the_higher_revision_that_was_kept(house: House) -> None:
    trades = stream(300)
    first, second, third = (trades.pop(n) for n in (50, 30, 20))
    writer = await house.started()
    await write(writer, trades)
    earlier = await snapshot(house.window.client)  # minute 0 lies here as its first revision
    for late in (first, second):
        await write(writer, [late])
        await writer.flush(trades[-1].ts_event_ns + 10 * 10**9)
        await writer.settle()
    await house.spill()
    assert house.files.minutes(BTC)[START].revision == 3
    await restore(house.window.client, earlier)
    again = await house.started()
    for late in (third, first, second):
        await write(again, [late])
        await again.flush(everything=True)
        await again.settle()
        await house.spill()
    await write(again, [*trades, first, second, third])
    await again.stop()
    await house.exact([*trades, first, second, third])


@both
async def test_monotonic_trades_told_again_do_not_double_a_higher_revision_that_was_kept(house: House) -> None:
    trades = named(stream(300), IdRule.MONOTONIC)
    late = trades.pop(30)
    writer = await house.started(IdRule.MONOTONIC)
    await write(writer, trades)
    earlier = await snapshot(house.window.client)
    await write(writer, [late])
    await writer.flush(trades[-1].ts_event_ns + 10 * 10**9)
    await writer.settle()
    await house.spill()
    await restore(house.window.client, earlier)
    again = await house.started(IdRule.MONOTONIC)
    await write(again, [late])
    await again.flush(everything=True)
    await again.stop()
    await house.spill()
    await house.exact([*trades, late])


@both
@pytest.mark.parametrize("rule", [IdRule.CONTIGUOUS, IdRule.MONOTONIC])
async def test_when_redis_was_emptied_the_same_trades_again_change_nothing_that_was_kept(house: House, rule: IdRule) -> None:
    trades = named(stream(500), rule)
    writer = await house.started(rule)
    await write(writer, trades)
    await writer.flush(everything=True)
    await writer.stop()
    await house.spill()
    kept = dict(house.files.kept)
    await house.window.client.flushdb()
    again = await house.started(rule)
    await write(again, trades, 33)
    await again.flush(everything=True)
    await again.stop()
    await house.spill()
    assert house.files.kept == kept


@both
async def test_when_redis_was_emptied_the_last_id_that_was_kept_tells_where_to_go_on(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(200))
    await house.spill()
    await house.window.client.flushdb()
    again = await house.started()
    last_kept = house.files.minutes(BTC)[START + 2].last_trade_id
    assert again.last_id == last_kept == 180
    await again.take(raw(trade(500, "9:00")), raws)
    assert again.last_id == 500


@both
async def test_a_damaged_newest_minute_does_not_keep_a_writer_from_starting(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(200))
    await house.spill()
    await house.window.client.flushdb()
    house.files.garble.add(START + 2)
    assert (await house.started()).last_id is None


@both
async def test_when_redis_was_emptied_the_ids_since_what_was_kept_are_a_known_gap(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(200))
    await house.spill()
    await house.window.client.flushdb()
    again = await house.started()
    await write(again, [trade(500, "9:00")])
    assert [(g.first_id, g.last_id) for g in again.gaps()] == [(181, 499)]


@both
async def test_when_redis_was_emptied_the_rest_of_an_opaque_minute_that_was_drained_early_is_taken(house: House) -> None:
    trades = named(stream(60), IdRule.OPAQUE)
    writer = await house.started(IdRule.OPAQUE)
    await write(writer, trades[:30])
    await writer.flush(everything=True)
    await writer.stop()
    await house.spill()
    await house.window.client.flushdb()
    again = await house.started(IdRule.OPAQUE)
    await write(again, trades)
    await house.exact(trades, by_time=True)


@both
async def test_when_redis_was_emptied_the_doubt_about_kept_minutes_outlives_a_restart(house: House) -> None:
    trades = stream(500)
    writer = await house.started()
    await write(writer, trades[:400])
    await writer.flush(everything=True)
    await writer.stop()
    await house.spill()
    await house.window.client.flushdb()
    await write(await house.started(), trades[450:])  # live trades first, flushed; then it dies
    await write(await house.started(), trades)  # and then the tape again
    await house.exact(trades)


@both
async def test_what_is_remembered_for_a_redis_that_went_back_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ring.RING_TRADES", 120)
    writer = await house.started()
    await write(writer, stream(1000))
    assert len(writer._ring) <= 120


@both
async def test_what_is_remembered_no_longer_when_redis_goes_back_shows_as_a_gap_that_can_be_repaired(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ring.RING_TRADES", 100)
    trades = stream(600)
    writer = await house.started()
    await write(writer, trades[:200])
    earlier = await snapshot(house.window.client)
    await write(writer, trades[200:500])
    await restore(house.window.client, earlier)
    await write(writer, trades[500:])
    (gap,) = writer.gaps()
    assert (gap.first_id, gap.last_id) == (201, 500)
    await writer.take(raw(*trades[gap.first_id - 1 : gap.last_id]), raws, repair=True)
    await writer.stop()
    assert writer.gaps() == []
    await house.exact(trades)


async def test_a_redis_of_our_own_that_is_killed_again_and_again_is_brought_back_and_nothing_is_lost(tmp_path: Path) -> None:
    with ensure_embedded(tmp_path / "redis") as server:
        house = House(RedisWindow.connect(server.url))
        house.revive = partial(asyncio.to_thread, server.restart_if_dead)  # type: ignore[method-assign]
        writer = await house.started()
        for n, members in enumerate(portions(stream(600), 60)):
            await writer.take(raw(*members), raws)
            await writer.flush()
            if n % 3 == 1:
                os.kill(server.pid, signal.SIGKILL)
        await writer.stop()
        await house.exact(stream(600))
        await house.window.close()


@both
async def test_a_writer_whose_redis_was_emptied_stops_and_says_why(house: House) -> None:
    writer = await house.started()
    await write(writer, stream(10))
    await house.window.client.flushdb()
    await writer.take(raw(trade(11)), raws)
    await writer.flush()
    with pytest.raises(Fenced, match="emptied"):
        await writer.settle()


# --- one writer ---------------------------------------------------------------------------------------------------------


@both
async def test_a_second_writer_is_refused_and_told_who_writes(house: House) -> None:
    await house.started(owner="the first")
    with pytest.raises(WriterHeld, match="binance BTCUSDT is being written by the first"):
        await house.writer(owner="the second").start()


@both
async def test_a_writer_that_was_superseded_stops_and_writes_nothing_more(house: House) -> None:
    old = await house.started(owner="the first")
    await write(old, [trade(1)])
    new = await house.started(owner="the second")
    await write(new, [trade(2)])
    before = await contents(house.window.client)
    await old.take(raw(trade(3)), raws)
    await old.flush()
    with pytest.raises(Fenced):
        await old.settle()
    with pytest.raises(Fenced):
        await old.renew()
    await old.abandon()
    assert await contents(house.window.client) == before
    assert await house.window.holder(BTC) == "the second"


@both
async def test_the_new_writer_takes_the_trades_that_the_old_one_could_not(house: House) -> None:
    old = await house.started(owner="the first")
    await write(old, stream(100))
    await old.take(raw(*stream(150)[100:]), raws)
    new = await house.started(owner="the second")
    await write(new, stream(200))
    await house.exact(stream(200))


# --- what is refused ----------------------------------------------------------------------------------------------------


@both
async def test_what_can_not_be_a_trade_goes_to_the_dead_letters_and_the_rest_is_taken(house: House) -> None:
    writer = await house.started()
    good = raw(trade(1), trade(2), trade(3))
    assert await writer.take(replace(good, price=["100", "abc", "100"]), raws) == 2
    await writer.stop()
    assert house.rejects == [Reject("raw 1", "row 1", "price 'abc' is not a decimal number")]
    assert writer.counts.rejected == 1
    await house.exact([trade(1), trade(3)])


@both
async def test_a_trade_from_the_far_future_does_not_move_the_window_on(house: House) -> None:
    writer = await house.started(future_ns=300 * 10**9)
    await write(writer, [trade(1, "0:01"), trade(2, "100005:00"), trade(3, "100005:01")])
    assert [r.reason for r in house.rejects] == ["time in the future"]
    assert writer.watermark_ns == at("100005:00")


@both
@pytest.mark.parametrize("where", ["window", "files"])
async def test_late_trades_of_a_minute_whose_stored_copy_is_damaged_go_to_the_dead_letters(house: House, where: str) -> None:
    writer = await house.started()
    await write(writer, [trade(1, "0:01"), trade(3, "1:01"), trade(5, "9:00")])
    if where == "files":
        await house.spill()
        house.files.garble.add(START)
    else:
        await house.window.client.hset(SEALED, START, b"damaged")
    await write(writer, [trade(2, "0:02"), trade(4, "1:02"), trade(6, "9:01")])
    assert [(r.raw.split(",")[0], r.where) for r in house.rejects] == [("id=2", "binance BTCUSDT")]
    assert "damaged" in house.rejects[0].reason or "not a whole minute file" in house.rejects[0].reason
    house.files.garble.clear()
    await house.window.client.hdel(SEALED, START)
    found = await house.minutes()
    assert found[START + 1].seen == 2
    assert found[START + 9].seen == 2


@both
async def test_a_damaged_minute_whose_completeness_changes_is_left_alone(house: House) -> None:
    writer = await house.started()
    await write(writer, [trade(1, "0:01"), trade(2, "9:00")])
    await house.window.client.hset(SEALED, START, b"damaged")
    before = await house.window.client.hget(SEALED, START)
    await write(writer, [trade(-5, "0:00.5"), trade(20, "9:01")])  # holes at both sides of minute 0
    assert [r.raw.split(",")[0] for r in house.rejects] == ["id=-5"]
    assert await house.window.client.hget(SEALED, START) == before


@both
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"price_group": Decimal(10)}, "stored with price_group 1, now set to 10"),
        ({"price_group": None}, "stored with price_group 1, now set to none"),
        ({"stream": "aggTrade"}, "'trade' sequence, these are of 'aggTrade'"),
        ({"rule": IdRule.MONOTONIC}, "stored with contiguous ids, now asked to write monotonic ones"),
    ],
)
async def test_settings_that_do_not_fit_what_is_stored_are_refused_and_the_lease_is_free_again(
    house: House, options: dict[str, Any], reason: str
) -> None:
    settings: dict[str, Any] = {"price_group": Decimal(1), "stream": "trade", "rule": IdRule.CONTIGUOUS}
    first = await house.started(**settings)
    await write(first, [trade(1)])
    await first.stop()
    with pytest.raises(BadValue, match=f"binance BTCUSDT: .*{reason}"):
        await house.writer(**settings | options, owner="another").start()
    assert await house.window.holder(BTC) is None
    await house.started(**settings)


@both
async def test_a_stream_that_was_not_known_at_first_is_stored_once_it_is(house: House) -> None:
    for stream_name in ("", "trade"):
        writer = await house.started(stream=stream_name)
        await write(writer, [trade(1 if not stream_name else 2)])
        await writer.stop()
    with pytest.raises(BadValue, match="'trade' sequence"):
        await house.started(stream="aggTrade")


# --- all of it at once --------------------------------------------------------------------------------------------------

STEPS = ["take", "take", "take", "flush", "flush", "drain", "spill", "restart", "crash", "go back", "lose a reply", "remember"]


@every_rule
@given(data=st.data())
async def test_whatever_happens_in_whatever_order_the_minutes_are_exact_once_all_is_told(
    rule: IdRule, data: st.DataObject
) -> None:
    house = House(RedisWindow(Unreliable(await fake_redis()), "fake"))
    try:
        await tell(house, rule, data)
    finally:
        for writer in house.writers:
            await writer.abandon()
        await house.window.close()


async def tell(house: House, rule: IdRule, data: st.DataObject) -> None:
    trades = named(stream(data.draw(st.integers(1, 40)), every_s=11), rule)
    jumbled = rule is IdRule.CONTIGUOUS and data.draw(st.booleans())
    rest = data.draw(st.permutations(trades)) if jumbled else list(trades)
    writer = await house.started(rule)
    saved = await snapshot(house.window.client)
    spilled_since = False
    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=25)):
        if step == "take":
            count = data.draw(st.integers(1, 12))
            doubles = data.draw(st.lists(st.sampled_from(trades), max_size=3))
            await writer.take(raw(*rest[:count], *doubles), raws)
            rest = rest[count:]
        elif step in ("flush", "drain"):
            await writer.flush(everything=step == "drain")
        elif step == "lose a reply":
            await writer.settle()
            house.window.client.lose_replies = 1
            await writer.flush()
            await writer.settle()
            house.window.client.lose_replies = 0
        elif step == "spill":
            await writer.settle()
            await house.spill()
            spilled_since = True
        elif step == "restart":
            await writer.stop()
            writer = await house.started(rule)
        elif step == "crash":
            await writer.abandon()
            writer = await house.started(rule)
        elif step == "remember":
            await writer.settle()
            saved, spilled_since = await snapshot(house.window.client), False
        elif step == "go back" and (rule is IdRule.CONTIGUOUS or not spilled_since):
            await writer.settle()
            fence = await house.window.client.hget("trades_window:{binance:BTCUSDT}:cursor", "fence")
            await restore(house.window.client, saved)
            await house.window.client.hset("trades_window:{binance:BTCUSDT}:cursor", "fence", fence)
    await writer.take(raw(*trades), raws)
    await writer.flush()
    await writer.settle()
    await writer.take(raw(*trades), raws)
    await writer.stop()
    await house.exact(trades, by_time=rule is IdRule.OPAQUE)


async def test_each_flush_has_a_token_of_its_own_and_builds_on_the_one_before() -> None:
    sent: list[Flush] = []

    class NotingWindow(RedisWindow):
        async def flush(self, lease: Lease, flush: Flush) -> None:
            sent.append(flush)
            await super().flush(lease, flush)

    house = House(NotingWindow(await fake_redis(), "fake"))
    for n in range(3):
        writer = await house.started()
        await write(writer, stream(30, first_id=1 + 30 * n), 5)
        await writer.stop()
    assert len({f.token for f in sent}) == len(sent) == 3 * (6 + 1)
    assert [f.builds_on for f in sent] == ["", *(f.token for f in sent[:-1])]
    await house.window.close()
