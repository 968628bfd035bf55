"""History from a venue's REST API: every minute exact, whatever was there before, and however often it was killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from collectors.backfill import Page, Past
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from collectors.simulator.faults import Faults
from collectors.venues.history import Span
from collectors.venues.venue import VENUES, Venue
from pipeline.errors import BadValue, VenueError, WriterHeld
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import Minute
from pipeline.trade import NS_PER_MINUTE, RawTrades, Reject, Side
from pipeline.writer import Writer
from spillway.app import App, opened
from spillway.backfill import BackfillSummary, backfill, describe, time_range
from spillway.backfill_requests import Requests
from spillway.compact import compact_finished
from spillway.settings import Settings
from spillway.spill import spill_now
from tests import judge
from tests.pipeline.redis_contents import restore, snapshot
from tests.processes import finish, spillway

START = 28_712_880  # 2024-08-04 00:00 UTC, in minutes since 1970
COUNT = 6000  # trades, some 20 minutes of them


def tape(venue: Venue, symbol: str = "BTCUSDT", start_ns: int = START * NS_PER_MINUTE, count: int = COUNT) -> list[SimTrade]:
    """Trades as the venue could have had them: ids from one sequence of several symbols where they are shared."""
    step = 1 if venue.ids is IdRule.CONTIGUOUS else 7
    made = synthetic_trades(3, start_ns, count, symbol, 300.0)
    return [msgspec.structs.replace(t, trade_id=1000 + t.trade_id * step) for t in made]


def rows(trades: Iterable[SimTrade]) -> list[dict[str, str]]:
    return [
        {
            "time": str(t.ts_ns // 1_000_000),
            "id": str(t.trade_id),
            "price": t.price,
            "size": t.size,
            "side": "buy" if t.buy else "sell",
        }
        for t in trades
    ]


def raw(trades: Sequence[SimTrade]) -> RawTrades:
    n = len(trades)
    return RawTrades(
        np.fromiter([t.trade_id for t in trades], np.int64, n),
        np.fromiter([t.ts_ns for t in trades], np.int64, n),
        [t.price for t in trades],
        [t.size for t in trades],
        np.fromiter([Side.BUY if t.buy else Side.SELL for t in trades], np.int8, n),
    )


def between(trades: Iterable[SimTrade], first: int, end: int) -> list[SimTrade]:
    """Those of the minutes first..end-1, counted from the beginning."""
    return [t for t in trades if START + first <= t.ts_ns // NS_PER_MINUTE < START + end]


def text(minute: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime((START + minute) * 60))


class Place:
    """A data folder beside an exchange."""

    def __init__(self, app: App, exchange: Simulator, venue: Venue, trades: list[SimTrade], data: Path) -> None:
        self.app, self.exchange, self.venue, self.trades, self.data = app, exchange, venue, trades, data
        self.instrument = Instrument(venue.name, trades[0].symbol)
        self.progress: list[tuple[int, int]] = []

    async def backfill(self, first: int, end: int | None, **options: Any) -> BackfillSummary:
        def report(what: str, done: int, total: int, note: str) -> None:
            self.progress.append((done, total))

        until = None if end is None else text(end)
        return await backfill(self.app, self.instrument, text(first), until, requests_per_s=1e6, progress=report, **options)

    async def writer(self) -> Writer:
        async def reject(rejects: list[Reject]) -> None:
            raise AssertionError(rejects)

        return await self.app.writer(self.instrument, self.venue.ids, reject, stream=self.venue.stream)

    async def live(self, *runs: tuple[int, int], resumed: bool = True) -> None:
        """A collector that ran in these minutes only: between them trades were missed."""
        writer = await self.writer()
        for first, end in runs:
            members = between(self.trades, first, end)
            for at in range(0, len(members), 100):
                await writer.take(raw(members[at : at + 100]), _raws, resumed=resumed and not at)
                await writer.flush(time.time_ns())
        await writer.stop()

    async def gaps(self) -> list[tuple[int, int]]:
        writer = await self.writer()
        await writer.stop()
        return [(gap.first_id, gap.last_id) for gap in writer.gaps()]

    async def differences(self, trades: Iterable[SimTrade]) -> list[str]:
        await spill_now(self.app, True, lambda done, total: None)
        return judge.differences(judge.expected(rows(trades)), judge.stored(self.data))

    def minutes(self) -> dict[int, Minute]:
        kept = {m: self.app.keeper.load(self.instrument, m) for m in range(START - 5, START + 60)}
        return {start - START: minute for start, minute in kept.items() if minute}

    def statuses(self) -> dict[int, str]:
        return {start: minute.status.value for start, minute in self.minutes().items()}


def _raws(row: int) -> tuple[str, str]:
    return "", ""


@asynccontextmanager
async def place(
    data: Path, venue: str = "binance", trades: list[SimTrade] | None = None, **options: Any
) -> AsyncIterator[Place]:
    known = VENUES[venue]
    members = tape(known) if trades is None else trades
    async with Simulator(members, venue=venue, past=True, **options) as exchange:
        collect = [{"venue": venue, "symbols": [members[0].symbol], "rest_url": exchange.rest_url}]
        async with opened(Settings(data_dir=data, collect=collect)) as app:  # type: ignore[arg-type]
            yield Place(app, exchange, known, members, data)


async def test_a_range_is_fetched_exactly_and_its_inner_minutes_are_complete(tmp_path: Path) -> None:
    async with place(tmp_path / "data") as it:
        done = await it.backfill(3, 12)
        wanted = between(it.trades, 3, 12)
        assert (done.counts.taken, done.gap_ids) == (len(wanted), 0)
        assert await it.differences(wanted) == []
        assert it.statuses() == {3: "unknown", **dict.fromkeys(range(4, 11), "complete"), 11: "unknown"}
        done_of, total = it.progress[-1]
        assert total == len(wanted)
        assert total - 5 <= done_of <= total


def test_a_range_ends_now_at_the_latest() -> None:
    now_ns = (START + 90) * NS_PER_MINUTE + 5
    assert time_range(text(3), text(12), now_ns) == ((START + 3) * NS_PER_MINUTE, (START + 12) * NS_PER_MINUTE)
    assert time_range(text(3), None, now_ns) == ((START + 3) * NS_PER_MINUTE, now_ns)
    assert time_range(text(3), text(100), now_ns)[1] == now_ns


@pytest.mark.parametrize(("start", "end"), [("yesterday", None), (text(91), None), (text(5), text(5)), (text(9), text(5))])
def test_a_range_that_is_none_is_refused(start: str, end: str | None) -> None:
    with pytest.raises(BadValue):
        time_range(start, end, (START + 90) * NS_PER_MINUTE)


BY_RANGE = ["binance", "binance-usdm", "coinbase", "okx", "kraken", "bitflyer"]


@pytest.mark.parametrize("venue", BY_RANGE)
async def test_the_second_time_nothing_is_left_to_fetch(tmp_path: Path, venue: str) -> None:
    async with place(tmp_path / "data", venue) as it:
        first = await it.backfill(3, 12)
        again = await it.backfill(3, 12)
        assert first.counts.taken == len(between(it.trades, 3, 12))
        assert again.counts.taken == 0
        assert again.fetched <= 10
        assert await it.differences(between(it.trades, 3, 12)) == []
        assert {m.revision for m in it.minutes().values()} == {1}


@pytest.mark.parametrize("venue", BY_RANGE)
async def test_around_and_between_what_was_recorded_live_each_trade_counts_once(tmp_path: Path, venue: str) -> None:
    async with place(tmp_path / "data", venue) as it:
        await it.live((5, 7), (9, 10))
        await spill_now(it.app, True, lambda done, total: None)
        await it.backfill(2, 12)
        assert await it.differences(between(it.trades, 2, 12)) == []
        if it.venue.ids is IdRule.CONTIGUOUS:
            found = it.statuses()
            assert [found[m] for m in range(3, 11)].count("degraded") == 0
            assert {found[3], found[4]} == {"complete"}
            assert found[8] == "repaired"
            assert found[10] in ("complete", "repaired")  # where pages go down, they first show a hole above what was recorded
            assert await it.gaps() == []


@pytest.mark.parametrize("venue", BY_RANGE)
async def test_ranges_one_after_the_other_downwards_and_upwards_join(tmp_path: Path, venue: str) -> None:
    async with place(tmp_path / "data", venue) as it:
        for first, end in ((8, 10), (4, 6), (12, 13), (6, 8), (3, 14)):
            await it.backfill(first, end)
            assert await it.gaps() == []
        assert await it.differences(between(it.trades, 3, 14)) == []


async def test_history_that_is_far_from_what_is_recorded_leaves_no_gap_to_repair(tmp_path: Path) -> None:
    async with place(tmp_path / "data") as it:
        await it.live((15, 16))
        await it.backfill(3, 5)
        await it.live((16, 17), resumed=False)
        assert await it.gaps() == []
        assert await it.differences([*between(it.trades, 3, 5), *between(it.trades, 15, 17)]) == []
        assert it.statuses()[16] == "complete"


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_what_the_venue_lacks_stays_a_gap(tmp_path: Path, venue: str) -> None:
    known = tape(VENUES[venue])
    inside = between(known, 6, 7)[100].trade_id
    unkept = {*range(inside, inside + 5), known[2999].trade_id, known[1000].trade_id}
    async with place(tmp_path / "data", venue, unkept=unkept) as it:
        done = await it.backfill(2, 14)
        wanted = [t for t in between(known, 2, 14) if t.trade_id not in unkept]
        assert done.gap_ids == len(unkept)
        assert await it.differences(wanted) == []
        assert it.statuses()[6] == "degraded"
        lost = [(known[n].trade_id, known[n].trade_id) for n in (1000, 2999)]
        assert await it.gaps() == sorted([*lost, (inside, inside + 4)])


async def test_a_venue_that_is_busy_or_broken_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place(tmp_path / "data") as it:
        it.exchange.rest_answers.extend([(429, {"Retry-After": "0"}), (503, {}), (500, {}), (429, {}), (502, {})])
        await it.backfill(3, 12)
        assert await it.differences(between(it.trades, 3, 12)) == []
        assert not it.exchange.rest_answers


async def test_whatever_goes_wrong_at_the_venue_each_trade_is_fetched_once(tmp_path: Path) -> None:
    faults = Faults(4, busy=0.15, broken=0.15, garbled=0.2, retry_after_s=0)
    async with place(tmp_path / "data", "coinbase", faults=faults) as it:
        await it.live((5, 7), (9, 10))
        await it.backfill(2, 12)
        assert await it.differences(between(it.trades, 2, 12)) == []
        assert await it.gaps() == []


async def test_what_is_in_the_archive_already_is_neither_fetched_nor_counted_again(tmp_path: Path) -> None:
    async with place(tmp_path / "data") as it:
        await it.live((5, 9))
        await spill_now(it.app, True, lambda done, total: None)
        assert [len(day.problems) for day in await compact_finished(it.app)] == [0]
        assert not list((tmp_path / "data").rglob("trades_*.json"))
        await it.backfill(2, 12)
        assert await it.differences(between(it.trades, 2, 12)) == []
        assert it.minutes()[5].revision == 2
        assert it.minutes()[6].revision == 1


async def test_where_redis_was_emptied_what_was_kept_below_it_counts_once(tmp_path: Path) -> None:
    async with place(tmp_path / "data") as it:
        await it.live((5, 9))
        await spill_now(it.app, True, lambda done, total: None)
        await it.app.window.client.flushdb()
        await it.backfill(2, 12)
        assert await it.differences(between(it.trades, 2, 12)) == []


async def test_live_trades_go_on_from_history_that_reached_up_to_now_and_show_what_lacks(tmp_path: Path) -> None:
    start_ns = (time.time_ns() // NS_PER_MINUTE - 15) * NS_PER_MINUTE
    trades = tape(VENUES["binance"], start_ns=start_ns, count=3000)
    async with place(tmp_path / "data", trades=trades) as it:
        first = start_ns // NS_PER_MINUTE - START
        it.exchange._tape.at = 2000
        done = await it.backfill(first, None)
        assert done.counts.taken == 2000
        writer = await it.writer()
        assert writer.began
        await writer.take(raw(trades[2500:]), _raws)
        await writer.stop()
        assert await it.gaps() == [(trades[2000].trade_id, trades[2499].trade_id)]


async def test_a_venue_that_refuses_ends_it_with_what_it_said(tmp_path: Path) -> None:
    async with place(tmp_path / "data") as it:
        it.exchange.rest_answers.append((403, {}))
        with pytest.raises(VenueError, match="403"):
            await it.backfill(3, 12)
        assert await it.app.window.holder(it.instrument) is None


async def test_while_a_process_that_is_no_service_writes_it_the_error_says_who_and_nothing_stays_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.backfill_asking.ANSWER_S", 0.5)
    async with place(tmp_path / "data") as it:
        await it.app.window.acquire(it.instrument, "elsewhere/boot/1234/5678", 60_000)
        with pytest.raises(WriterHeld, match=r"process 1234 on elsewhere.*spillway run"):
            await it.backfill(3, 12)
        assert await Requests(it.app.window).of(it.instrument) == []


async def test_the_last_day_joins_what_was_recorded_live_where_ids_only_ascend(tmp_path: Path) -> None:
    start_ns = (time.time_ns() // NS_PER_MINUTE - 15) * NS_PER_MINUTE
    trades = tape(VENUES["bitstamp"], start_ns=start_ns, count=3000)
    async with place(tmp_path / "data", "bitstamp", trades) as it:
        first = start_ns // NS_PER_MINUTE - START
        await it.live((first + 2, first + 4), (first + 6, first + 7))
        await it.backfill(first, None)
        assert await it.differences(trades) == []


@pytest.mark.parametrize("venue", ["bitstamp", "bybit"])
async def test_of_a_venue_that_tells_only_its_newest_trades_it_says_how_far_back_they_went(tmp_path: Path, venue: str) -> None:
    start_ns = time.time_ns() - 15 * NS_PER_MINUTE
    trades = tape(VENUES[venue], start_ns=start_ns // 1_000_000_000 * 1_000_000_000, count=3000)
    async with place(tmp_path / "data", venue, trades) as it:
        first = start_ns // NS_PER_MINUTE - START
        done = await it.backfill(first - 60, None)
        again = await it.backfill(first - 60, None)
        assert done.counts.taken > 900
        assert again.counts.taken == 0
        assert any("reached back to" in line for line in describe(done))
        kept = sorted(trades, key=lambda t: t.trade_id)[-done.counts.taken :]
        assert await it.differences(kept) == []


async def test_months_do_not_pile_up_in_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spillway.backfill_walk.SPILL_MINUTES", 3)
    async with place(tmp_path / "data") as it:
        done = await it.backfill(1, 18)
        assert done.spilled >= 17
        assert await it.app.window.sealed_minutes(it.instrument) == []


class ForgetfulPast(Past):
    """While its pages come, Redis goes back to what it was two pages before."""

    client: Any = None
    earlier: dict[bytes, bytes]
    seen = 0

    async def pages(self, span: Span) -> AsyncIterator[Page]:
        async for page in super().pages(span):
            self.seen += 1
            if self.seen == 2:
                self.earlier = await snapshot(self.client)
            elif self.seen == 4:
                await restore(self.client, self.earlier)
            yield page


@pytest.mark.parametrize("venue", ["binance", "bitflyer"])
async def test_what_a_redis_that_went_back_forgot_is_fetched_again(
    tmp_path: Path, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ring.RING_TRADES", 100)  # so that the writer can't tell it all again
    monkeypatch.setattr("spillway.backfill.Past", ForgetfulPast)
    async with place(tmp_path / "data", venue) as it:
        monkeypatch.setattr(ForgetfulPast, "client", it.app.window.client)
        done = await it.backfill(1, 18)
        assert done.counts.rewinds >= 1
        assert await it.differences(between(it.trades, 1, 18)) == []
        assert await it.gaps() == []


def test_killed_again_and_again_it_goes_on_where_it_was(tmp_path: Path) -> None:
    asyncio.run(_killed(tmp_path))


async def _killed(tmp_path: Path) -> None:
    data, trades = tmp_path / "data", tape(VENUES["binance"], count=12_000)
    async with place(data, "binance", trades) as it:
        config = tmp_path / "spillway.yaml"
        config.write_text(f"collect: [{{venue: binance, symbols: [BTCUSDT], rest_url: '{it.exchange.rest_url}'}}]\n")
        command = ("backfill", *("--venue", "binance", "--symbol", "BTCUSDT"), *("--from", text(1), "--to", text(35)))
        await it.live((5, 7), (20, 21), (30, 31))
        codes: Counter[int] = Counter()
        for crash_at in ("flush.after:3", "flush.before:5", "seal.after:2", "flush.after:2", "seal.before:1", ""):
            process = spillway(*command, "-c", config, "--data", data, "--json", crash_at=crash_at)
            code, output = await asyncio.to_thread(finish, process)
            codes[code] += 1
        assert codes[-9] >= 3, output
        assert codes[0] >= 1, output
        assert await it.differences(between(trades, 1, 35)) == []
        assert await it.gaps() == []
