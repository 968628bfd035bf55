"""`spillway demo`: the whole job with no network, and the proof that nothing was lost on the way.

An exchange on loopback has three days of trades, and cuts the connection every few thousand of them. They are collected over
its websocket, repaired over its REST history, and kept by their own clock: 48 hours in Redis, older minutes in files, the first
day in Parquet. Then all of it is read back through the one API and compared with what the exchange itself remembers.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import structlog

from collectors.delays import Delays
from collectors.live import LiveCollector
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from collectors.venues.venue import VENUES
from pipeline.feed import Feed
from pipeline.instrument import IdRule, Instrument
from pipeline.schedule import Job, Schedule
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, Reject
from sinks.compact import Compactor, DayReport
from spillway.app import App, opened
from spillway.chart import footprint_chart, price_chart
from spillway.settings import Settings
from spillway.store import Store

INSTRUMENT = Instrument("binance", "BTCUSDT")
START = datetime(2024, 10, 21, tzinfo=UTC)
DAYS = 3
TRADES_A_MINUTE = 60
TRADES = (DAYS * 1440 + 60) * TRADES_A_MINUTE  # an hour more, so that the whole first day leaves the window
CUT_EVERY = 20_000
_CENTS, _UNITS = 100, 100_000  # the simulated prices and sizes in whole numbers

Sums = dict[tuple[int, int], tuple[int, int, int, int]]  # (minute, price) -> buy, sell, total, trades


@dataclass(slots=True)
class Result:
    """What the demo did, and whether it proved P1."""

    trades: int
    connections: int = 0
    repaired: int = 0
    seconds: float = 0.0
    where: dict[str, int] = field(default_factory=dict)  # minutes by place
    statuses: dict[str, int] = field(default_factory=dict)
    levels: int = 0
    differing: int = 0


async def run_demo(data: Path | None, as_json: bool) -> int:
    """Runs it, prints what it did, and returns the exit status: 0 if what is stored is exactly what was traded."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # the cuts are on purpose: no warnings
    with _folder(data) as folder:
        settings = Settings(data_dir=folder)
        _say(as_json, f"An exchange on loopback has {DAYS} days of {INSTRUMENT.symbol} trades; data goes to {folder}")
        trades = list(synthetic_trades(7, _start_ns(), TRADES, INSTRUMENT.symbol, TRADES_A_MINUTE))
        result = Result(len(trades))
        async with opened(settings) as app:
            await _collect(app, trades, result)
            await _settle(app, result, as_json)
        with Store(settings) as store:
            await asyncio.to_thread(_prove, store, trades, result)
            _show(store, result, as_json)
    return 1 if result.differing else 0


async def _collect(app: App, trades: Sequence[SimTrade], result: Result) -> None:
    """All trades over the websocket, with what the cuts lost over REST; spilling by the trades' own clock meanwhile."""
    started = time.perf_counter()
    writer = await app.writer(INSTRUMENT, IdRule.CONTIGUOUS, _no_rejects, clock="tape", stream="trade")
    feed = Feed(writer, lambda: writer.watermark_ns)
    stop = asyncio.Event()
    async with Simulator(trades, cut_every=CUT_EVERY) as exchange:
        collector = LiveCollector(
            venue=VENUES[INSTRUMENT.venue],
            symbols=[INSTRUMENT.symbol],
            sinks={INSTRUMENT.symbol: feed},
            reject=_no_reject,
            ws_url=exchange.ws_url,
            rest_url=exchange.rest_url,
            delays=Delays(first_s=0.05, cap_s=0.05),  # a demo needn't be polite to itself
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.run(), name="write")
            tasks.create_task(collector.run(stop), name="collect")
            await _until_all(app, feed, len(trades))
            stop.set()
            await feed.close()
        result.connections, result.repaired = exchange.connections, collector.repaired
    result.seconds = time.perf_counter() - started


async def _until_all(app: App, feed: Feed, count: int) -> None:
    """Waits for the last trade, and lets the spill job run by the trades' clock."""

    async def spill(now_ns: int) -> None:
        await app.spill(now_ns=now_ns, only=INSTRUMENT)

    schedule = Schedule([Job("spill", 3600, spill)], _raise)
    while feed.writer.taken_in < count:
        await schedule.advance(feed.writer.watermark_ns)
        await asyncio.sleep(0.02)


async def _settle(app: App, result: Result, as_json: bool) -> None:
    """The last spill by the trades' clock, and the first day, which has left the window, to Parquet."""
    await app.spill(only=INSTRUMENT)
    first_day = _start_ns() // NS_PER_MINUTE // 1440
    report: DayReport = await asyncio.to_thread(Compactor(app.files, app.archive).compact_day, INSTRUMENT, first_day)
    cursor = await app.window.cursor(INSTRUMENT)
    result.where = {
        "Redis (48 h)": len(await app.window.sealed_minutes(INSTRUMENT)) + len(cursor.state.open_minutes if cursor else ()),
        "minute files": sum(len(app.files.of_day(INSTRUMENT, day)) for day in app.files.days(INSTRUMENT)),
        "Parquet": report.merged,
    }


def _prove(store: Store, trades: Sequence[SimTrade], result: Result) -> None:
    """P1: per minute and price, what is stored against what the exchange remembers, as whole numbers."""
    want = _sums(trades)
    frame = store.levels(INSTRUMENT.venue, INSTRUMENT.symbol)
    have = _read(frame)
    result.levels = len(have)
    result.differing = sum(want.get(key) != have.get(key) for key in want.keys() | have.keys())
    minutes = store.minutes(INSTRUMENT.venue, INSTRUMENT.symbol)
    result.statuses = {str(k): int(v) for k, v in minutes["status"].astype(str).value_counts().items()}


def _sums(trades: Sequence[SimTrade]) -> Sums:
    sums: dict[tuple[int, int], list[int]] = {}
    for t in trades:
        row = sums.setdefault((t.ts_ns // NS_PER_MINUTE, _whole(t.price, _CENTS)), [0, 0, 0, 0])
        size = _whole(t.size, _UNITS)
        row[0 if t.buy else 1] += size
        row[2] += size
        row[3] += 1
    return {key: (row[0], row[1], row[2], row[3]) for key, row in sums.items()}


def _whole(text: str, unit: int) -> int:
    whole, _, decimals = text.partition(".")
    digits = len(str(unit)) - 1
    return int(whole) * unit + int(decimals[:digits].ljust(digits, "0"))


def _read(frame: pd.DataFrame) -> Sums:
    minutes = (frame["timestamp"].astype("int64") // 60_000_000).tolist()
    columns = [(frame["price_level"] * _CENTS).round().astype("int64").tolist()]
    volumes = ("buy_volume", "sell_volume", "total_volume")
    columns += [(frame[name] * _UNITS).round().astype("int64").tolist() for name in volumes]
    rows = zip(minutes, *columns, frame["trade_count"].tolist(), strict=True)
    return {(minute, price): (buy, sell, total, count) for minute, price, buy, sell, total, count in rows}


def _show(store: Store, result: Result, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(_as_dict(result), option=orjson.OPT_INDENT_2).decode())
        return
    rate = result.trades / result.seconds
    print(
        f"collected {result.trades:,} trades in {result.seconds:.1f} s ({rate:,.0f}/s) over {result.connections} connections; "
        f"{result.repaired:,} trades that the cuts lost came by REST"
    )
    print("minutes are in: " + ", ".join(f"{place} {count:,}" for place, count in result.where.items()))
    bars = store.bars(INSTRUMENT.venue, INSTRUMENT.symbol, every="1h")
    print('\nstore.bars("binance", "BTCUSDT", every="1h"), three days over all three places:\n')
    print("\n".join(price_chart(bars)))
    last = bars["timestamp"].iloc[-2]
    print(f'\nstore.levels("binance", "BTCUSDT", "{last:%Y-%m-%dT%H:%M}", ...), the footprint of one minute:\n')
    levels = store.levels(INSTRUMENT.venue, INSTRUMENT.symbol, last, last + pd.Timedelta(minutes=1))
    print("\n".join(footprint_chart(levels)))
    print(f"\nstatus of the minutes: {', '.join(f'{count:,} {status}' for status, count in result.statuses.items())}")
    verdict = "EXACT" if not result.differing else "DIFFERENT"
    print(f"P1 {verdict}: {result.levels:,} levels compared with the exchange's own record, {result.differing} differ")


def _as_dict(result: Result) -> dict[str, Any]:
    return {
        "trades": result.trades,
        "connections": result.connections,
        "repaired": result.repaired,
        "seconds": round(result.seconds, 2),
        "minutes": result.where,
        "statuses": result.statuses,
        "levels": result.levels,
        "differing": result.differing,
    }


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data / f"demo_{time.time_ns()}"  # each run begins with an empty folder
        return
    with tempfile.TemporaryDirectory(prefix="spillway-demo-") as folder:
        yield Path(folder)


def _say(as_json: bool, text: str) -> None:
    print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


def _start_ns() -> int:
    return int(START.timestamp()) * NS_PER_S


async def _no_reject(symbol: str, reject: Reject) -> None:
    raise AssertionError(f"the simulator said what can't be taken: {reject}")


async def _no_rejects(rejects: list[Reject]) -> None:
    raise AssertionError(f"the simulator said what can't be taken: {rejects[0]}")


def _raise(name: str, error: BaseException) -> None:
    raise error
