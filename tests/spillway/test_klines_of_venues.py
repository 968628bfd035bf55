"""Each venue's live trades, folded into minutes, equal the klines that the same simulated venue tells by REST."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import pytest

from collectors.live import LiveCollector
from collectors.rest import RestClient
from collectors.simulator import Simulator, synthetic_trades
from collectors.venues.parsed import Raws
from collectors.venues.venue import VENUES, Venue
from pipeline.footprint import Footprint
from pipeline.instrument import Instrument
from pipeline.minute import Gap, Minute
from pipeline.trade import RawTrades, Reject
from sinks.ledger.ledger import open_ledger
from spillway.klines import KlineChecker

START_NS = 1_723_161_255 * 10**9  # 15 seconds into a minute
TRADES = 4000
PER_MINUTE = 400
SYMBOLS = {"coinbase": "BTC-USD", "kraken": "BTC/USD", "okx": "BTC-USDT", "bitstamp": "btcusd"}
TELLING = sorted(name for name, venue in VENUES.items() if venue.klines_path("BTCUSDT", 0, 1))


class Fold:
    """A sink that folds what it is given into minutes, all of them sealed when they are asked for."""

    def __init__(self, venue: Venue, symbol: str) -> None:
        self.instrument = Instrument(venue.name, symbol)
        self.footprint = Footprint(self.instrument, venue.ids)
        self.all_came = asyncio.Event()

    async def put(self, trades: RawTrades, raws: Raws, *, repair: bool = False, resumed: bool = False) -> None:
        batch, refused = trades.checked(latest_ns=2**62)
        assert not refused
        self.footprint.add(self.footprint.admit(batch).fresh)
        if self.footprint.trades >= TRADES:
            self.all_came.set()

    def last_id(self) -> int | None:
        last = self.footprint.ids.last_id
        return last if isinstance(last, int) else None

    def last_ns(self) -> int | None:
        return self.footprint.watermark_ns or None

    def gaps(self) -> list[Gap]:
        return self.footprint.gaps()

    async def ready(self, instrument: Instrument, since: int) -> range:
        return range(max(min(self.footprint.open), since), max(self.footprint.open))  # by its last trade the tape is inside one

    async def load(self, instrument: Instrument, minutes: Collection[int]) -> Mapping[int, Minute]:
        return {m: self.footprint.seal(m) for m in minutes if m in self.footprint.open}


@pytest.mark.parametrize("name", TELLING)
async def test_minutes_of_live_trades_equal_the_venues_own(name: str, tmp_path: Path) -> None:
    venue, symbol = VENUES[name], SYMBOLS.get(name, "BTCUSDT")
    fold = Fold(venue, symbol)
    tape = synthetic_trades(3, START_NS, TRADES, symbol, PER_MINUTE)
    async with Simulator(tape, venue=name) as exchange, RestClient(exchange.rest_url) as rest:
        await collect(venue, symbol, fold, exchange, rest)
        with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            checker = KlineChecker(
                venue=venue, symbols=[symbol], get=partial(rest.get, urgent=False), minutes=fold, book=ledger.klines
            )
            await checker.round()
            sums = checker.sums[fold.instrument]
            wrong = [check.told() for check in ledger.klines.standing(fold.instrument, 10)]
    minutes = len(fold.footprint.open) - 1
    assert minutes >= TRADES // PER_MINUTE
    assert wrong == []
    assert (sums.checked, sums.unanswered) == (minutes, 0)


async def collect(venue: Venue, symbol: str, fold: Fold, exchange: Simulator, rest: RestClient) -> None:
    """Until all trades of the exchange came."""

    async def reject(symbol: str, reject: Reject) -> None:
        raise AssertionError(reject)

    stop = asyncio.Event()
    collector = LiveCollector(
        venue=venue, symbols=[symbol], sinks={symbol: fold}, reject=reject, ws_url=exchange.ws_url, rest=rest
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(collector.run(stop))
        await fold.all_came.wait()
        stop.set()
