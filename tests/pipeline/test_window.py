"""The window in Redis, the same on fakeredis and on real servers: a flush is whole or not at all, once, and by one writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import codec, open_minute
from pipeline.errors import DamagedMinute, Fenced, WindowError, WindowMoved, WriterHeld
from pipeline.footprint import Footprint
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Minute, Status
from pipeline.open_minute import Change
from pipeline.window import _FLUSH, Flush, Lease, RedisWindow, Sealed
from tests.pipeline.builders import BTC, START, batch, minute, portions, rows, stream, trade
from tests.pipeline.conftest import ALL_KINDS
from tests.pipeline.redis_contents import contents

pytestmark = pytest.mark.parametrize("window", ALL_KINDS, indirect=True)
KEY = "trades_window:{binance:BTCUSDT}:"
TTL_MS = 60_000


@pytest_asyncio.fixture
async def lease(window: RedisWindow) -> Lease:
    return await window.acquire(BTC, "me", TTL_MS)


def sealed(bucket: Minute) -> Sealed:
    return Sealed(bucket.start, codec.compress(codec.encode(bucket)), bucket.revision, bucket.status, bucket.totals[3])


def change(start: int = START, rewrite: bool = False, **fields: str) -> Change:
    return Change(start, rewrite, [text for pair in fields.items() for text in pair])


def step(footprint: Footprint, builds_on: str, token: str, **more: Any) -> Flush:
    """A flush of what changed in a footprint."""
    changed = open_minute.changes(footprint.open.values(), footprint.price_scale, footprint.size_scale)
    return Flush(builds_on, token, footprint.state(), changed, **more)


@asynccontextmanager
async def nothing_written(window: RedisWindow) -> AsyncIterator[None]:
    before = await contents(window.client)
    yield
    assert await contents(window.client) == before


# --- a flush ------------------------------------------------------------------------------------------------------------


async def test_a_flush_writes_levels_drops_seals_and_cursor_together(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(START, a="1", b="2"), change(START + 1, a="3")]))
    second = Flush("t1", "t2", b'{"x":1}', [change(START + 1, b="4")], [START], [sealed(minute())])
    await window.flush(lease, second)
    stored = await contents(window.client)
    assert stored[f"{KEY}cursor".encode()] == {b"fence": b"1", b"token": b"t2", b"state": b'{"x":1}'}
    assert stored[f"{KEY}open:{START + 1}".encode()] == {b"a": b"3", b"b": b"4"}
    assert f"{KEY}open:{START}".encode() not in stored
    assert stored[f"{KEY}sealed".encode()] == {str(START).encode(): second.sealed[0].value}
    assert len(stored[f"{KEY}seals".encode()]) == 1
    assert stored[f"{KEY}lease".encode()] == b"me"


async def test_the_same_flush_twice_changes_nothing_the_second_time(window: RedisWindow, lease: Lease) -> None:
    first = Flush("", "t1", b"{}", [change(a="1")])
    second = Flush("t1", "t2", b"{}", [change(a="2", b="5")], [], [sealed(minute())])
    await window.flush(lease, first)
    await window.flush(lease, second)
    async with nothing_written(window):
        await window.flush(lease, second)


async def test_a_flush_that_builds_on_another_token_is_refused_and_told_which(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    await window.flush(lease, Flush("t1", "t2", b"{}", [change(a="2")]))
    async with nothing_written(window):
        for flush in (Flush("t1", "t3", b"x", [change(a="9")], [START], [sealed(minute())]), Flush("", "t1", b"{}")):
            with pytest.raises(WindowMoved, match="binance BTCUSDT") as moved:
                await window.flush(lease, flush)
            assert moved.value.stored_token == "t2"


async def test_a_flush_into_an_emptied_redis_is_refused(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}"))
    await window.client.flushdb()
    async with nothing_written(window):
        with pytest.raises(WindowError):
            await window.flush(lease, Flush("t1", "t2", b"{}", [change(a="1")]))


async def test_a_writer_with_an_older_fence_is_refused_and_told_by_which(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    newer = await window.acquire(BTC, "another", TTL_MS, dead_owner="me")
    assert newer.fence == lease.fence + 1
    async with nothing_written(window):
        with pytest.raises(Fenced, match=f"writer {lease.fence} was superseded by writer {newer.fence}"):
            await window.flush(lease, Flush("t1", "t2", b"{}", [change(a="9")], [START], [sealed(minute())]))
        with pytest.raises(Fenced):
            await window.renew(lease)
    await window.flush(newer, Flush("t1", "t2", b"{}", [change(a="2")]))


async def test_a_rewrite_replaces_the_stored_minute_and_a_plain_write_adds_to_it(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1", b="2")]))
    await window.flush(lease, Flush("t1", "t2", b"{}", [change(b="3", c="4")]))
    assert await window.client.hgetall(f"{KEY}open:{START}") == {b"a": b"1", b"b": b"3", b"c": b"4"}
    await window.flush(lease, Flush("t2", "t3", b"{}", [change(rewrite=True, z="9")]))
    assert await window.client.hgetall(f"{KEY}open:{START}") == {b"z": b"9"}


@pytest.mark.parametrize("levels", [3999 // 2, 4000, 9001])
async def test_a_minute_of_many_levels_is_written_whole(window: RedisWindow, lease: Lease, levels: int) -> None:
    fields: Any = {str(n): f"{n} 0 {n} 1" for n in range(levels)}
    await window.flush(lease, Flush("", "t1", b"{}", [change(**fields), change(START + 1, **fields)]))
    for start in (START, START + 1):
        stored = await window.client.hgetall(f"{KEY}open:{start}")
        assert {k.decode(): v.decode() for k, v in stored.items()} == fields


async def test_many_minutes_may_be_sealed_in_one_flush(window: RedisWindow, lease: Lease) -> None:
    values = [sealed(minute(start=START + n)) for n in range(1500)]
    await window.flush(lease, Flush("", "t1", b"{}", [], [], values))
    assert await window.sealed_minutes(BTC) == [START + n for n in range(1500)]
    assert await window.load(BTC, START + 1499) == codec.decode(codec.encode(minute(start=START + 1499)), "a test")


# --- malformed arguments ------------------------------------------------------------------------------------------------

KEYS = [f"{KEY}{name}" for name in ("cursor", "lease", "sealed", "seals", f"open:{START}", f"open:{START + 1}", "open:7")]
ARGS = ["1", "t1", "t2", "{}", "me", "60000", "3000", "2", "1", "1", "1", "2", "a", "9", "0", "4", "b", "8", "c", "7"]
ARGS += [str(START), "value", "1", "complete", "12"]


async def outcome(window: RedisWindow, keys: list[str], args: list[Any]) -> str:
    try:
        answer = await window._script(_FLUSH, keys, args)
    except WindowError:
        return "ERROR"
    return str(answer[0].decode())


async def test_the_arguments_that_the_malformed_ones_are_made_from_are_good(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    assert await outcome(window, KEYS, ARGS) == "DONE"
    assert await window.client.hget(f"{KEY}cursor", "token") == b"t2"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        *((5, text) for text in ("0", "-1", "x", "1.5")),
        *((6, text) for text in ("-1", "x")),
        *((number, text) for number in (7, 8, 9) for text in ("-1", "0", "3", "x")),
        *((11, text) for text in ("0", "1", "3", "-2", "x", "nan")),
        *((15, text) for text in ("2", "3", "6")),
    ],
)
async def test_malformed_arguments_write_nothing(window: RedisWindow, lease: Lease, at: int, text: str) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    async with nothing_written(window):
        assert await outcome(window, KEYS, [*ARGS[:at], text, *ARGS[at + 1 :]]) in ("MALFORMED", "ERROR")


@pytest.mark.parametrize("cut", range(1, len(ARGS)))
async def test_arguments_cut_short_write_nothing(window: RedisWindow, lease: Lease, cut: int) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    async with nothing_written(window):
        assert await outcome(window, KEYS, ARGS[:cut]) != "DONE"


@pytest.mark.parametrize("keys", [KEYS[:-1], KEYS[:3], [*KEYS, f"{KEY}open:9"], KEYS[:4]])
async def test_a_wrong_number_of_keys_writes_nothing(window: RedisWindow, lease: Lease, keys: list[str]) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    async with nothing_written(window):
        assert await outcome(window, keys, ARGS) != "DONE"


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
async def test_whatever_the_arguments_a_flush_is_done_whole_or_not_at_all(window: RedisWindow, data: st.DataObject) -> None:
    await window.client.flushdb()
    lease = await window.acquire(BTC, "me", TTL_MS)
    await window.flush(lease, Flush("", "t1", b"{}", [change(a="1")]))
    args = list(ARGS)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(args) - 1))
        put = data.draw(st.lists(st.sampled_from(["0", "1", "2", "-1", "x", ""]), max_size=2))
        args[at : at + data.draw(st.integers(0, 2))] = put
    before = await contents(window.client)
    done = await outcome(window, KEYS, args) == "DONE"
    after = await contents(window.client)
    assert done or after == before
    assert (after[f"{KEY}cursor".encode()][b"token"] == b"t2") is done


# --- the lease ----------------------------------------------------------------------------------------------------------


async def test_the_lease_of_a_living_owner_is_not_taken_and_its_holder_is_named(window: RedisWindow, lease: Lease) -> None:
    async with nothing_written(window):
        with pytest.raises(WriterHeld, match="binance BTCUSDT is being written by me"):
            await window.acquire(BTC, "another", TTL_MS)
        with pytest.raises(WriterHeld):
            await window.acquire(BTC, "another", TTL_MS, dead_owner="a third")
    assert await window.holder(BTC) == "me"


async def test_the_lease_of_an_owner_that_is_known_to_be_dead_is_taken_at_once(window: RedisWindow, lease: Lease) -> None:
    await window.acquire(BTC, "another", TTL_MS, dead_owner="me")
    assert await window.holder(BTC) == "another"


async def test_what_a_writer_sent_before_it_gave_the_lease_up_does_not_take_it_again_when_it_comes_after(
    window: RedisWindow,
) -> None:
    lease = await window.acquire(BTC, "me", TTL_MS)
    await window.release(lease)
    with pytest.raises(Fenced):  # another connection may be faster
        await window.renew(lease)
    with pytest.raises(Fenced):
        await window.flush(lease, Flush("", "a:1", b"{}"))
    assert await window.holder(BTC) is None


async def test_each_new_holder_gets_a_higher_fence(window: RedisWindow, lease: Lease) -> None:
    await window.release(lease)
    second = await window.acquire(BTC, "me", TTL_MS)
    third = await window.acquire(BTC, "me", TTL_MS)
    assert 0 < lease.fence < second.fence < third.fence


async def test_a_lease_runs_out_unless_it_is_renewed_or_a_flush_goes_through(window: RedisWindow, lease: Lease) -> None:
    async def left_ms() -> int:
        return int(await window.client.pttl(f"{KEY}lease"))

    assert TTL_MS - 5000 < await left_ms() <= TTL_MS
    for keep in (window.renew(lease), window.flush(lease, Flush("", "t1", b"{}"))):
        await window.client.pexpire(f"{KEY}lease", 500)
        await keep
        assert TTL_MS - 5000 < await left_ms() <= TTL_MS
    await window.client.delete(f"{KEY}lease")  # it has run out
    await window.acquire(BTC, "another", TTL_MS)
    with pytest.raises(Fenced):
        await window.renew(lease)


async def test_a_lease_that_ran_out_but_was_not_taken_may_be_renewed(window: RedisWindow, lease: Lease) -> None:
    await window.client.delete(f"{KEY}lease")
    await window.renew(lease)
    assert await window.holder(BTC) == "me"


async def test_a_released_lease_is_free_and_another_s_is_not_released(window: RedisWindow, lease: Lease) -> None:
    await window.release(lease)
    assert await window.holder(BTC) is None
    await window.acquire(BTC, "another", TTL_MS)
    async with nothing_written(window):
        await window.release(lease)


async def test_instruments_have_leases_cursors_and_keys_of_their_own(window: RedisWindow, lease: Lease) -> None:
    other = Instrument("kraken", "BTC/{USD}:*")
    theirs = await window.acquire(other, "them", TTL_MS)
    await window.flush(theirs, Flush("", "k1", b"{}", [change(a="1")], [], [sealed(minute(instrument=other))]))
    assert await window.instruments() == [BTC, other]
    assert await window.sealed_minutes(BTC) == []
    assert await window.sealed_minutes(other) == [START]
    tags = {key.split(b"{")[1].split(b"}")[0] for key in await window.client.keys("*") if b"{" in key}
    assert tags == {b"binance:BTCUSDT", b"kraken:BTC%2F%7BUSD%7D%3A%2A"}


# --- reading ------------------------------------------------------------------------------------------------------------


async def test_before_the_first_flush_there_is_nothing_to_read(window: RedisWindow) -> None:
    assert await window.cursor(BTC) is None
    assert await window.resume(BTC) is None
    assert await window.open_minutes(BTC) == []
    assert await window.sealed_minutes(BTC) == []
    assert await window.sealed(BTC, []) == {}
    assert await window.load(BTC, START) is None
    assert await window.holder(BTC) is None
    assert await window.instruments() == []


async def test_a_footprint_is_resumed_as_it_was_flushed(window: RedisWindow, lease: Lease) -> None:
    footprint, token = Footprint(BTC, IdRule.CONTIGUOUS), ""
    for n, members in enumerate(portions(stream(400), 37)):
        footprint.add(batch(*members))
        await window.flush(lease, step(footprint, token, f"t{n}"))
        token = f"t{n}"
    resumed = await window.resume(BTC)
    assert resumed
    assert resumed[0] == token
    assert resumed[1].state() == footprint.state()
    for start in footprint.open:
        assert resumed[1].seal(start) == footprint.seal(start)


async def test_open_minutes_are_read_as_they_stand_also_at_scales_that_widened(window: RedisWindow, lease: Lease) -> None:
    footprint = Footprint(BTC, IdRule.CONTIGUOUS)
    footprint.add(batch(trade(1, "0:30", "100", "1"), trade(2, "1:00", "101", "2", "sell")))
    await window.flush(lease, step(footprint, "", "t1"))
    footprint.add(batch(trade(3, "1:01", "101.25", "0.001", "")))
    await window.flush(lease, step(footprint, "t1", "t2"))
    first, second = await window.open_minutes(BTC)
    assert rows(first) == {"100": ("1", "0", "1", 1)}
    assert rows(second) == {"101": ("0", "2", "2", 1), "101.25": ("0", "0", "0.001", 1)}
    assert {first.status, second.status} == {Status.UNKNOWN}


async def test_sealed_minutes_are_read_by_their_number_and_the_missing_left_out(window: RedisWindow, lease: Lease) -> None:
    values = [sealed(minute(start=START + n)) for n in (3, 1)]
    await window.flush(lease, Flush("", "t1", b"{}", [], [], values))
    assert await window.sealed_minutes(BTC) == [START + 1, START + 3]
    assert await window.sealed(BTC, range(START, START + 5)) == {s.minute: s.value for s in values}
    assert (await window.load(BTC, START + 3)) == codec.decode(codec.encode(minute(start=START + 3)), "a test")


async def test_a_damaged_sealed_minute_is_refused_by_name(window: RedisWindow, lease: Lease) -> None:
    good = sealed(minute())
    await window.flush(lease, Flush("", "t1", b"{}", [], [], [replace(good, value=good.value[:-9] + b"damaged!!")]))
    with pytest.raises(DamagedMinute, match="binance BTCUSDT 2023-11-15 00:00 in Redis"):
        await window.load(BTC, START)


async def test_only_values_that_are_still_the_same_are_forgotten(window: RedisWindow, lease: Lease) -> None:
    old, kept = sealed(minute()), sealed(minute(start=START + 1))
    await window.flush(lease, Flush("", "t1", b"{}", [], [], [old, kept]))
    late = sealed(minute(revision=2))
    await window.flush(lease, Flush("t1", "t2", b"{}", [], [], [late]))
    gone = await window.forget(BTC, {START: old.value, START + 1: kept.value, START + 2: b"never there"})
    assert gone == [START + 1]
    assert await window.sealed(BTC, [START, START + 1]) == {START: late.value}
    assert await window.forget(BTC, {}) == []


async def test_strategies_follow_the_notices_of_sealed_minutes(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}", [], [], [sealed(minute())]))
    late = minute(start=START + 1, revision=2, status=Status.DEGRADED)
    await window.flush(lease, Flush("t1", "t2", b"{}", [], [], [sealed(late)]))
    first, second = await window.seals(BTC, after="0")
    assert first[1] == {"minute": str(START), "revision": "1", "status": "complete", "trade_count": "17"}
    assert second[1] == {"minute": str(START + 1), "revision": "2", "status": "degraded", "trade_count": "17"}
    assert await window.seals(BTC, after=first[0]) == [second]
    assert await window.seals(BTC, after=second[0], block_ms=1) == []


async def test_a_strategy_that_waits_hears_of_a_seal_as_it_happens(window: RedisWindow, lease: Lease) -> None:
    waiting = asyncio.create_task(window.seals(BTC, after="0", block_ms=3000))
    await window.flush(lease, Flush("", "t1", b"{}", [], [], [sealed(minute())]))
    assert [fields["minute"] for _, fields in await waiting] == [str(START)]


# --- errors -------------------------------------------------------------------------------------------------------------


async def test_a_script_that_the_server_lost_is_sent_anew(window: RedisWindow, lease: Lease) -> None:
    await window.flush(lease, Flush("", "t1", b"{}"))
    await window.client.script_flush()
    await window.flush(lease, Flush("t1", "t2", b"{}", [change(a="1")]))
    assert await window.client.hget(f"{KEY}cursor", "token") == b"t2"


async def test_a_caller_that_is_cancelled_leaves_and_its_command_harms_nobody(window: RedisWindow, lease: Lease) -> None:
    waiting = asyncio.create_task(window.seals(BTC, after="0", block_ms=200))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await window.flush(lease, Flush("", "t1", b"{}"))
    assert await window.client.hget(f"{KEY}cursor", "token") == b"t1"
