"""`spillway demo`: the whole job with no network, and the proof that nothing was lost on the way.

Three days of trades come from a tape, and are kept by its clock: 48 hours in Redis, older minutes in files, the first day in
Parquet. Meanwhile two exchanges on loopback are collected live, which cut the connection, fall silent, skip and repeat trades,
and send what can't be read. Then all of it is read back through the one API and compared with what the exchanges remember.
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

from collectors.simulator import SimTrade, synthetic_trades
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from sinks.compact import Compactor, DayReport
from spillway.app import App, opened
from spillway.demo_live import INSTRUMENTS, LiveResult, collect_live
from spillway.demo_proof import Proof, prove
from spillway.plot.text import footprint_chart, price_chart
from spillway.replay import ReplaySummary, replay
from spillway.settings import Settings
from spillway.store import Store

INSTRUMENT = Instrument("binance", "BTCUSDT")
START = datetime(2024, 10, 21, tzinfo=UTC)
DAYS = 3
TRADES_A_MINUTE = 60
TRADES = (DAYS * 1440 + 60) * TRADES_A_MINUTE  # an hour more, so that the whole first day leaves the window
_NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Result:
    """What the demo did, and whether it proved P1."""

    replayed: ReplaySummary
    live: list[LiveResult]
    seconds: float
    where: dict[str, int] = field(default_factory=dict)  # the tape's minutes by place
    proofs: list[Proof] = field(default_factory=list)

    @property
    def differing(self) -> int:
        """Levels that aren't as the exchanges remember them."""
        return sum(proof.differing for proof in self.proofs)


async def run_demo(data: Path | None, as_json: bool) -> int:
    """Runs it, prints what it did, and returns the exit status: 0 if what is stored is exactly what was traded."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # the faults are on purpose: no warnings
    with _folder(data) as folder:
        settings = Settings(data_dir=folder)
        names = " and ".join(map(str, INSTRUMENTS))
        _say(as_json, f"{DAYS} days of {INSTRUMENT} from a tape, and {names} live from loopback; data goes to {folder}")
        trades = list(synthetic_trades(7, _start_ns(), TRADES, INSTRUMENT.symbol, TRADES_A_MINUTE))
        async with opened(settings) as app:
            result = await _collect(app, _tape(folder, trades))
            await _settle(app, result)
        with Store(settings) as store:
            for instrument, told in [(INSTRUMENT, trades), *((live.instrument, live.trades) for live in result.live)]:
                result.proofs.append(await asyncio.to_thread(prove, store, instrument, told))
            _show(store, result, as_json)
    return 1 if result.differing else 0


def _tape(folder: Path, trades: Sequence[SimTrade]) -> Path:
    """The trades as Binance publishes them for download."""
    path = folder / f"{INSTRUMENT.symbol}-trades-demo.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"{t.trade_id},{t.price},{t.size},0,{t.ts_ns // _NS_PER_MS},{not t.buy},True\n" for t in trades)
    path.write_text("id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch\n" + "".join(rows))
    return path


async def _collect(app: App, tape: Path) -> Result:
    """The tape, with spilling by its clock, while the live exchanges go on."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        live = tasks.create_task(collect_live(app), name="live")
        replayed = tasks.create_task(replay(app, [tape], INSTRUMENT), name="replay")
    return Result(replayed.result(), live.result(), time.perf_counter() - started)


async def _settle(app: App, result: Result) -> None:
    """The first day, which has left the window, to Parquet."""
    first_day = _start_ns() // NS_PER_MINUTE // 1440
    report: DayReport = await asyncio.to_thread(Compactor(app.files, app.archive).compact_day, INSTRUMENT, first_day)
    cursor = await app.window.cursor(INSTRUMENT)
    result.where = {
        "Redis (48 h)": len(await app.window.sealed_minutes(INSTRUMENT)) + len(cursor.state.open_minutes if cursor else ()),
        "minute files": sum(len(app.files.of_day(INSTRUMENT, day)) for day in app.files.days(INSTRUMENT)),
        "Parquet": report.merged,
    }


def _show(store: Store, result: Result, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(_as_dict(result), option=orjson.OPT_INDENT_2).decode())
        return
    replayed = result.replayed
    rate = replayed.rows / replayed.seconds
    print(f"tape: {replayed.rows:,} trades in {replayed.seconds:.1f} s ({rate:,.0f}/s), spilling {replayed.spilled:,} minutes")
    print("its minutes are in: " + ", ".join(f"{place} {count:,}" for place, count in result.where.items()))
    for live in result.live:
        print(_live_line(live))
    _show_charts(store)
    print()
    for proof in result.proofs:
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(proof.statuses.items()))
        print(f"{proof.instrument}: {proof.levels:,} levels, {proof.differing} differ; minutes: {statuses}")
    print("(a minute that isn't over is unknown)")
    levels = sum(proof.levels for proof in result.proofs)
    verdict = "EXACT" if not result.differing else "DIFFERENT"
    print(f"P1 {verdict}: {levels:,} levels compared with the exchanges' own record, {result.differing} differ")


def _live_line(live: LiveResult) -> str:
    faults = ", ".join(f"{count} x {name}" for name, count in sorted(live.faults.items()))
    return (
        f"{live.instrument} live: {len(live.trades):,} trades over {live.reconnects} reconnects; {live.repaired:,} came by "
        f"REST, {live.dead_letters} frames went to the dead letters\n    what went wrong: {faults}"
    )


def _show_charts(store: Store) -> None:
    venue, symbol = INSTRUMENT.venue, INSTRUMENT.symbol
    bars = store.bars(venue, symbol, every="1h")
    print(f'\nstore.bars("{venue}", "{symbol}", every="1h"), three days over all three places:\n')
    print("\n".join(price_chart(bars)))
    last = bars["timestamp"].iloc[-2]
    print(f'\nstore.levels("{venue}", "{symbol}", "{last:%Y-%m-%dT%H:%M}", ...), the footprint of one minute:\n')
    print("\n".join(footprint_chart(store.levels(venue, symbol, last, last + pd.Timedelta(minutes=1)))))


def _as_dict(result: Result) -> dict[str, Any]:
    """For machines. `trades`, `levels` and `differing` are of all instruments together."""
    return {
        "trades": result.replayed.rows + sum(len(live.trades) for live in result.live),
        "seconds": round(result.seconds, 2),
        "minutes": result.where,
        "reconnects": sum(live.reconnects for live in result.live),
        "repaired": sum(live.repaired for live in result.live),
        "live": [
            {
                "instrument": str(live.instrument),
                "trades": len(live.trades),
                "reconnects": live.reconnects,
                "repaired": live.repaired,
                "dead_letters": live.dead_letters,
                "faults": live.faults,
            }
            for live in result.live
        ],
        "statuses": {str(proof.instrument): proof.statuses for proof in result.proofs},
        "levels": sum(proof.levels for proof in result.proofs),
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
