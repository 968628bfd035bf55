"""An hour of trades through simulated exchanges with all faults on, into a real Redis: exact, and honest about what lacks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from collectors.asking import RepairRules
from collectors.connection import Limits
from collectors.delays import Delays
from collectors.overlap import Overlapper
from collectors.simulator import Faults, SimTrade, Simulator, synthetic_trades
from collectors.venues.venue import VENUES
from pipeline.instrument import IdRule, Instrument
from sinks.ledger.gap import GapSums
from sinks.ledger.ledger import open_ledger
from spillway.app import App, opened
from spillway.collecting import Collection
from spillway.gap_keeper import GapKeeper
from spillway.settings import Collect, Settings
from spillway.sources import Tuning
from spillway.spill import spill_now
from tests import judge

SYMBOLS = {"coinbase": "BTC-USD", "kraken": "BTC/USD", "okx": "BTC-USDT", "bitstamp": "btcusd", "bitflyer": "BTC_JPY"}
CONTIGUOUS = sorted(venue.name for venue in VENUES.values() if venue.ids is IdRule.CONTIGUOUS)
OTHERS = sorted(VENUES.keys() - CONTIGUOUS)
ORACLE = Path(__file__).resolve().parents[2] / "shared" / "tools" / "oracle.py"
TOLD_IN_AN_OUTAGE = (
    700  # trades at most, between two connections: with `missed=300`, and what came before the next one listened
)
PER_MINUTE, MINUTES = 400, 60
HURRIED = Tuning(
    limits=Limits(silence_s=0.4, handshake_s=2.0),
    rules=RepairRules(check_s=0.2, quiet_s=0.1, lag_s=0.05, delays=lambda: Delays(first_s=0.02, cap_s=0.1)),
    delays=lambda: Delays(first_s=0.005, cap_s=0.05, floor_s=0.001),
    requests_per_s=1e6,
    connects_per_s=1e6,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is stored at the end, and what is said of it."""

    levels: judge.Levels
    statuses: list[str]  # of the minutes, in their order
    missing: int
    gaps: GapSums
    dead_letters: int
    collection: Collection
    befell: dict[str, int]  # how often each fault happened


def an_hour(symbol: str, seed: int = 11) -> list[SimTrade]:
    start_ns = (time.time_ns() // 60_000_000_000 - MINUTES - 5) * 60_000_000_000
    return list(synthetic_trades(seed, start_ns, PER_MINUTE * MINUTES, symbol, trades_per_minute=PER_MINUTE))


def expected(told: Sequence[SimTrade]) -> judge.Levels:
    return judge.expected(
        {
            "id": str(t.trade_id),
            "time": str(t.ts_ns // 10**6),
            "price": t.price,
            "size": t.size,
            "side": "buy" if t.buy else "sell",
        }
        for t in told
    )


async def collected(app: App, venue: str, told: Sequence[SimTrade], exchange: Simulator) -> Collection:
    """Collects until the writer has seen the last trade and nothing open is left to repair."""
    symbol, last = told[0].symbol, told[-1]
    entry = Collect(venue=venue, symbols=(symbol,), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    with open_ledger(app.settings.ledger_url) as ledger:
        gap_log = GapKeeper(ledger.gaps, venue, time.time_ns)
        collection, stop = Collection(app, entry, gap_log, tuning=HURRIED), asyncio.Event()
        run = asyncio.create_task(collection.run(stop))
        try:
            async with asyncio.timeout(150):
                while not (exchange.done.is_set() and _all_in(collection, symbol, last)):
                    if run.done():
                        await run
                    await asyncio.sleep(0.02)
        finally:
            stop.set()
            await run
    return collection


def _all_in(collection: Collection, symbol: str, last: SimTrade) -> bool:
    feed = collection.feeds.get(symbol)
    if feed is None or feed.writer.watermark_ns < last.ts_ns:
        return False
    repairers = [r for each in collection.collectors for r in each._repairers.values()]  # type: ignore[union-attr]
    return not feed.gaps() and not any(r.pending for r in repairers if isinstance(r, Overlapper))


async def drained(app: App) -> None:
    report = await spill_now(app, True, lambda done, total: None)
    assert not report.failures


async def outcome(folder: Path, venue: str, told: Sequence[SimTrade], faults: Faults) -> Outcome:
    symbol = told[0].symbol
    settings = Settings(data_dir=folder / "data")
    async with opened(settings) as app, Simulator(told, venue=venue, faults=faults, missed=300) as exchange:
        collection = await collected(app, venue, told, exchange)
        assert exchange.befell, "nothing went wrong"
        await drained(app)
    documents = [json.loads(path.read_text()) for path in sorted((folder / "data").rglob("trades_*.json"))]
    with open_ledger(settings.ledger_url) as ledger:
        gaps = ledger.gaps.sums().get(Instrument(venue, symbol), GapSums())
    letters = [line for path in settings.dead_letter_dir.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return Outcome(
        judge.stored(folder / "data"),
        [document["status"] for document in documents],
        sum(b - a + 1 for document in documents for a, b in document["missing"]),
        gaps,
        len(letters),
        collection,
        exchange.befell,
    )


def oracle_agrees(folder: Path, venue: str, told: Sequence[SimTrade]) -> None:
    """The independent oracle, where it is at hand, says the same of the files as the judge."""
    if not ORACLE.is_file():
        return
    tape = folder / "told.csv"
    lines = [f"{t.ts_ns // 10**6},{t.price},{t.size},{'buy' if t.buy else 'sell'},{t.trade_id}" for t in told]
    tape.write_text("\n".join(["timestamp,price,quantity,side,tradeId", *lines]) + "\n")
    command = [sys.executable, str(ORACLE), str(tape), "--data", str(folder / "data")]
    done = subprocess.run([*command, "--venue", venue, "--symbol", told[0].symbol], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " 0 levels differ" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("venue", CONTIGUOUS)
async def test_with_all_faults_on_every_minute_is_proven_whole_where_ids_are_contiguous(venue: str, tmp_path: Path) -> None:
    told = an_hour(SYMBOLS.get(venue, "BTCUSDT"))
    found = await outcome(tmp_path, venue, told, Faults.all(seed=5))
    assert judge.differences(expected(told), found.levels) == []
    oracle_agrees(tmp_path, venue, told)
    statuses = Counter(found.statuses[:-1])  # the last minute isn't over: nothing proves it
    assert statuses.keys() <= {"complete", "repaired"}, statuses
    assert statuses["repaired"] >= 1
    assert (found.missing, found.gaps.open, found.gaps.lost) == (0, 0, 0)
    assert found.gaps.repaired >= 100
    assert found.dead_letters >= 1, "malformed frames are told"
    assert found.collection.total("reconnects") >= 2


@pytest.mark.parametrize("venue", OTHERS)
async def test_with_all_faults_on_no_trade_counts_twice_where_ids_prove_nothing(venue: str, tmp_path: Path) -> None:
    told = an_hour(SYMBOLS.get(venue, "BTCUSDT"))
    found = await outcome(tmp_path, venue, told, Faults.all(seed=5))
    want = expected(told)
    assert found.levels.keys() <= want.keys()
    more = {k: row for k, row in found.levels.items() if any(a > b for a, b in zip(row, want[k], strict=True))}
    assert more == {}, "more than ever happened"
    assert set(found.statuses) == {"unknown"}
    lost = len(told) - sum(row[3] for row in found.levels.values())
    silent = Faults().hole_trades * found.befell["hole"]  # left out of the stream while it went on: nothing shows it
    assert found.gaps.outages_repaired + found.gaps.outages_lost >= 1
    if found.gaps.outages_lost:  # the venue's history is too short, and the ledger says so
        assert lost <= silent + TOLD_IN_AN_OUTAGE * found.gaps.outages_lost
    else:
        assert lost <= silent


@pytest.mark.parametrize("venue", sorted(name for name in OTHERS if VENUES[name].ids is IdRule.MONOTONIC))
@pytest.mark.parametrize("seed", [5, 6])
async def test_what_was_missed_while_nobody_listened_is_merged_exactly_where_ids_tell_the_order(
    venue: str, seed: int, tmp_path: Path
) -> None:
    told = an_hour(SYMBOLS[venue], seed)
    found = await outcome(tmp_path, venue, told, replace(Faults.all(seed), hole=0))  # a hole in the stream nothing would show
    assert judge.differences(expected(told), found.levels) == []
    assert (found.gaps.outages_lost, found.gaps.outages_open) == (0, 0)


async def test_ids_that_the_venue_lost_too_are_a_lasting_gap_and_their_minutes_say_so(tmp_path: Path) -> None:
    told = an_hour("BTCUSDT")
    settings = Settings(data_dir=tmp_path / "data")
    lost = range(9_000, 9_050)
    async with opened(settings) as app, Simulator(told, unsent=lost, unkept=lost, cut_every=7_000) as exchange:
        entry = Collect(venue="binance", symbols=("BTCUSDT",), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        with open_ledger(settings.ledger_url) as ledger:
            gap_log = GapKeeper(ledger.gaps, "binance", time.time_ns)
            collection, stop = Collection(app, entry, gap_log, tuning=HURRIED), asyncio.Event()
            run = asyncio.create_task(collection.run(stop))
            async with asyncio.timeout(60):
                while ledger.gaps.sums().get(Instrument("binance", "BTCUSDT"), GapSums()).lost < len(lost) or not _settled(
                    collection, told[-1]
                ):
                    await asyncio.sleep(0.02)
            stop.set()
            await run
            sums = ledger.gaps.sums()[Instrument("binance", "BTCUSDT")]
        await drained(app)
    assert (sums.lost, sums.open) == (50, 0)
    documents = [json.loads(path.read_text()) for path in sorted((tmp_path / "data").rglob("trades_*.json"))]
    degraded = [document for document in documents if document["status"] == "degraded"]
    assert degraded and all(document["missing"] == [[9_000, 9_049]] for document in degraded)
    kept = [trade for trade in told if trade.trade_id not in lost]
    assert judge.differences(expected(kept), judge.stored(tmp_path / "data")) == []


def _settled(collection: Collection, last: SimTrade) -> bool:
    feed = collection.feeds.get(last.symbol)
    return feed is not None and feed.writer.watermark_ns >= last.ts_ns and sum(map(len, feed.gaps())) == 50
