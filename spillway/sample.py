"""Made-up data to learn with, made by the way that real ones take: tapes, window, minute files, archive, ledger.

`days`: four days of `binance BTCUSDT` over window, files and archive, with one of each kind of hole; and of `bitstamp btcusd`,
whose ids prove nothing. `months`: two quiet markets, nearly all in the archive.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from collectors.simulator import Simulator
from collectors.simulator.market import Market, elsewhere, market
from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from sinks import durable
from sinks.ledger.ledger import open_ledger
from spillway.app import App, opened
from spillway.backfill import backfill
from spillway.compact import compact_finished
from spillway.loop_thread import LoopThread
from spillway.replay import replay
from spillway.settings import Collect, Settings
from spillway.store import Store

BTC, SLOW = Instrument("binance", "BTCUSDT"), Instrument("bitstamp", "btcusd")
QUIET, NEW = Instrument("binance", "DEMOUSDT"), Instrument("binance", "DEMOBTC")
FIRST_DAY = datetime(2024, 10, 21, tzinfo=UTC)
DAYS = 4
FIRST_OF_MONTHS, LONG = datetime(2023, 8, 1, tzinfo=UTC), 213  # days: seven months, over a turn of the year
FOLDER = Path("sample")
MS_PER_DAY = 86_400_000

Span: TypeAlias = tuple[int, int]  # ms since 1970, the end left out


def _ms(day: int = 0, clock: str = "00:00:00") -> int:
    hours, minutes, seconds = map(int, clock.split(":"))
    since = timedelta(days=day, hours=hours, minutes=minutes, seconds=seconds)
    return int((FIRST_DAY + since).timestamp() * 1000)


HALT: Span = (_ms(3, "02:00:00"), _ms(3, "02:12:00"))  # nobody traded: the ids join over it
LATE: Span = (_ms(1, "15:05:20"), _ms(1, "15:17:40"))  # missed, and fetched later
LOST: Span = (_ms(2, "09:30:15"), _ms(2, "12:04:50"))  # missed, and the venue doesn't have it any more
ASKED_MS = _ms(2, "13:00:00")  # when history was asked for
MISSED: tuple[Span, ...] = (  # and not asked for yet
    (_ms(0, "20:40:10"), _ms(0, "20:40:35")),
    (_ms(1, "09:17:20"), _ms(1, "09:19:05")),
    (_ms(3, "16:20:05"), _ms(3, "16:20:25")),
)


def data_or_sample(folder: str | Path | None = "data", kind: str = "days") -> Path:
    """`folder`, if anything is kept there; else the folder `sample/<kind>`, made now if it isn't there, which takes a while.

    `folder`: None for the sample in any case. `kind`: "days" or "months". StorageError where it can't be written; BadValue for
    another kind.
    """
    if kind not in _MAKERS:
        raise BadValue(f"kind {kind!r}: expected one of {', '.join(_MAKERS)}")
    if folder is not None and Path(folder).is_dir():
        with Store(Settings(data_dir=Path(folder))) as store:
            if store.instruments():
                return Path(folder)
    sample = FOLDER / kind
    if not sample.is_dir():
        make_sample(sample, kind)
    return sample


def make_sample(folder: Path, kind: str = "days", *, days: int = LONG) -> None:
    """Makes a folder of made-up data, whole or not at all. `days`: how long the months are. StorageError."""
    with durable.explained(folder, "made"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as place:
            data, loop = Path(place) / "data", LoopThread()
            try:
                loop.run(_MAKERS[kind](Path(place), data, days))
            finally:
                loop.close()
            if not folder.is_dir():  # else another notebook was sooner
                data.rename(folder)


# --- inside -------------------------------------------------------------------------------------------------------------


async def _make_days(place: Path, data: Path, days: int) -> None:
    """Before the third day's afternoon the venue is asked for what was missed: some of it it has, some it hasn't."""
    fast = market(7, _ms(), DAYS * 1440, price=64_000, decimals=1, per_minute=30, move_bp=0.2)
    slow = elsewhere(fast.where(fast.during((_ms(DAYS - 1, "12:00:00"), _ms(DAYS)))), 8, share=0.15, off_bp=3)
    traded = fast.where(~fast.during(HALT)).numbered()
    seen, asked = traded.where(~traded.during(LATE, LOST, *MISSED)), traded.during((_ms(1, "14:30:00"), ASKED_MS))
    lost = set(traded.where(traded.during(LOST)).trade_id.tolist())
    async with Simulator(traded.where(asked).sim_trades(BTC.symbol), venue=BTC.venue, unkept=lost, past=True) as exchange:
        collect = Collect(venue=BTC.venue, symbols=(BTC.symbol,), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        async with opened(Settings(data_dir=data, collect=(collect,))) as app:
            await _play(app, place, BTC, seen.where(seen.time_ms < ASKED_MS))
            for start, end in (LATE, LOST):
                await backfill(app, BTC, _text(start), _text(end), requests_per_s=100, notice=lambda line: None)
            await _play(app, place, BTC, seen.where(seen.time_ms >= ASKED_MS))
            await _play(app, place, SLOW, slow)
            await compact_finished(app)
            with open_ledger(app.settings.ledger_url) as ledger:
                ledger.gaps.lost(BTC, min(lost), max(lost), "the venue doesn't have them", time.time_ns())


async def _make_months(place: Path, data: Path, days: int) -> None:
    quiet = partial(market, price=2.5, decimals=4, per_minute=6, move_bp=15, traded=24 / 1440)
    first, since = int(FIRST_OF_MONTHS.timestamp() * 1000), days - -(-days // 8)  # when the second market began
    async with opened(Settings(data_dir=data)) as app:
        await _play(app, place, QUIET, quiet(9, first, days * 1440))
        await _play(app, place, NEW, quiet(10, first + since * MS_PER_DAY, (days - since) * 1440))
        await compact_finished(app)


def _text(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}"


async def _play(app: App, place: Path, instrument: Instrument, trades: Market) -> None:
    tape = place / "tape.csv"
    with tape.open("w") as file:
        file.writelines(trades.csv())
    await replay(app, [tape], instrument)


_MAKERS: dict[str, Callable[[Path, Path, int], Coroutine[Any, Any, None]]] = {"days": _make_days, "months": _make_months}
