"""Two readings of each venue's documentation meet: what the simulator says, and what our parser of the venue understands."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
import numpy as np
import pytest
from yarl import URL

from collectors.connection import Connection, connect
from collectors.simulator import SimTrade, Simulator, merged, synthetic_trades, with_shared_ids
from collectors.simulator.wires.bybit import linear_id
from collectors.simulator.wires.wires import WIRES
from collectors.venues.history import Reach, Span
from collectors.venues.parsed import Parsed
from collectors.venues.venue import VENUES, Venue
from pipeline.instrument import IdRule
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, RawTrades

START_NS = 1_723_161_255 * NS_PER_S
MS, US = 1_000_000, 1_000
COUNT = 1_500  # of each symbol


@dataclass(frozen=True, slots=True)
class Habit:
    """What of a trade a venue tells."""

    symbols: tuple[str, str]
    step_ns: int  # how exact its times are
    shared: bool = False  # ids are shared by all symbols
    history_step_ns: int | None = None


HABITS = {
    "binance": Habit(("BTCUSDT", "ETHUSDT"), MS),
    "binance-usdm": Habit(("BTCUSDT", "ETHUSDT"), MS),
    "bitflyer": Habit(("BTC_JPY", "FX_BTC_JPY"), 100, shared=True),
    "bitstamp": Habit(("btcusd", "ethusd"), US, shared=True, history_step_ns=NS_PER_S),
    "bybit": Habit(("BTCUSDT", "ETHUSDT"), MS),
    "bybit-spot": Habit(("BTCUSDT", "ETHUSDT"), MS, shared=True),
    "coinbase": Habit(("BTC-USD", "ETH-USD"), US),
    "kraken": Habit(("BTC/USD", "ETH/USD"), US),
    "okx": Habit(("BTC-USDT", "ETH-USDT-SWAP"), MS),
}
NAMES = sorted(HABITS)

Row = tuple[str, int, Decimal, Decimal, int]  # id, time in ns, price, size, side


def tape(habit: Habit) -> list[SimTrade]:
    made = [
        synthetic_trades(seed, START_NS, COUNT, symbol, 600, step_ns=habit.step_ns) for seed, symbol in enumerate(habit.symbols)
    ]
    return with_shared_ids(*made) if habit.shared else merged(*made)


def truth(name: str, trades: Iterable[SimTrade], step_ns: int = 1) -> list[Row]:
    id_text = linear_id if name == "bybit" else lambda trade: str(trade.trade_id)
    return [(id_text(t), t.ts_ns // step_ns * step_ns, Decimal(t.price), Decimal(t.size), 1 if t.buy else -1) for t in trades]


def rows(trades: RawTrades, but: Container[int] = ()) -> list[Row]:
    ids, times, sides = (np.asarray(column).tolist() for column in (trades.ids, trades.ts_ns, trades.side))
    kept = [row for row in range(len(times)) if row not in but]
    return [(str(ids[n]), times[n], Decimal(trades.price[n]), Decimal(trades.size[n]), sides[n]) for n in kept]


async def live(exchange: Simulator, venue: Venue, symbols: tuple[str, ...], count: int) -> Parsed:
    """All frames that a connection gets until so many trades are in them."""
    parse, frames = venue.parser(symbols), list[bytes]()
    async with asyncio.timeout(20), await connect(exchange.ws_url + venue.ws_path(symbols)) as connection:
        for message in venue.subscriptions(symbols):
            connection.send(message)
        while _count(parse(frames)) < count:
            frames += await some(connection)
    return parse(frames)


async def some(connection: Connection) -> list[bytes]:
    """Frames; it's an error where the connection ends instead."""
    batch = await connection.frames()
    assert batch, connection.reason
    return batch


def _count(parsed: Parsed) -> int:
    return sum(len(trades.ts_ns) for trades in parsed.trades.values())


async def get(exchange: Simulator, path: str) -> bytes:
    url = URL(exchange.rest_url + path, encoded=True)
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def walk(exchange: Simulator, venue: Venue, symbol: str, span: Span) -> dict[str, Row]:
    """All trades of a span, page by page."""
    found: dict[str, Row] = {}
    page: RawTrades | None = None
    for _ in range(100):
        path = venue.history_path(symbol, span, page)
        if path is None:
            return found
        parsed = venue.parse_history(symbol, await get(exchange, path))
        assert parsed.rejects == []
        page = parsed.trades[symbol]
        found |= {row[0]: row for row in rows(parsed.within(symbol, span).trades[symbol])}
    raise AssertionError("the walk has no end")


def test_every_venue_that_we_collect_from_is_simulated_and_meets_its_parser() -> None:
    assert set(HABITS) == set(WIRES) == set(VENUES)


@pytest.mark.parametrize("name", NAMES)
async def test_live_frames_are_read_to_exactly_the_trades_that_happened(name: str) -> None:
    venue, habit = VENUES[name], HABITS[name]
    trades = tape(habit)
    async with Simulator(trades, venue=name) as exchange:
        parsed = await live(exchange, venue, habit.symbols, len(trades))
    assert not (parsed.rejects or parsed.refusals or parsed.reconnect)
    for symbol in habit.symbols:
        assert rows(parsed.trades[symbol]) == truth(name, [t for t in trades if t.symbol == symbol])
        batch, reasons = parsed.trades[symbol].checked(latest_ns=START_NS * 2)
        assert (len(batch), reasons) == (COUNT, {})


@pytest.mark.parametrize("name", NAMES)
async def test_history_is_read_to_exactly_the_trades_that_were_asked_for(name: str) -> None:
    venue, habit = VENUES[name], HABITS[name]
    trades = tape(habit)
    symbol = habit.symbols[0]
    mine = [t for t in trades if t.symbol == symbol]
    async with Simulator(trades, venue=name) as exchange:
        await live(exchange, venue, habit.symbols, len(trades))
        wanted = mine[-50:] if venue.reach is Reach.NEWEST else mine[200:-200]
        known = Span(wanted[0].trade_id, wanted[-1].trade_id, wanted[0].ts_ns, wanted[-1].ts_ns)
        span = known if venue.ids is IdRule.CONTIGUOUS else Span(since_ns=known.since_ns, until_ns=known.until_ns)
        found = await walk(exchange, venue, symbol, span)
    expected = truth(name, wanted, habit.history_step_ns or 1)
    missing = [row for row in expected if found.get(row[0]) != row]
    if habit.history_step_ns:  # seconds: those of the first second lie before the span
        missing = [row for row in missing if row[1] // NS_PER_S > wanted[0].ts_ns // NS_PER_S]
    assert missing == []


@pytest.mark.parametrize("name", [name for name in NAMES if VENUES[name].klines_path("X", 0, 1) is not None])
async def test_official_minutes_are_read_to_what_traded_in_them(name: str) -> None:
    venue, habit = VENUES[name], HABITS[name]
    trades = tape(habit)
    symbol = habit.symbols[0]
    first = START_NS // NS_PER_MINUTE + 1
    async with Simulator(trades, venue=name) as exchange:
        await live(exchange, venue, habit.symbols, len(trades))
        path = venue.klines_path(symbol, first, 1)
        assert path is not None
        klines = {kline.minute: kline for kline in venue.parse_klines(await get(exchange, path))}
    mine = [t for t in trades if t.symbol == symbol and t.ts_ns // NS_PER_MINUTE == first]
    kline = klines[first]
    assert kline.volume == sum(Decimal(t.size) for t in mine)
    assert kline.buy_volume in (None, sum(Decimal(t.size) for t in mine if t.buy))
    assert kline.trade_count in (None, len(mine))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("binance")])
async def test_an_unknown_symbol_is_refused_and_the_refusal_is_understood(name: str) -> None:
    """Binance takes any name, and stays silent."""
    venue, habit = VENUES[name], HABITS[name]
    symbols: Any = ("NOPE/USD" if name == "kraken" else "NOPE-USD",)
    async with asyncio.timeout(10), Simulator(tape(habit), venue=name) as exchange:
        connection = await connect(exchange.ws_url + venue.ws_path(symbols))
        async with connection:
            for message in venue.subscriptions(symbols):
                connection.send(message)
            frames: list[bytes] = []
            while not (parsed := venue.parser(symbols)(frames)).refusals:
                frames += await some(connection)
    assert parsed.refusals[0].symbol in ("", symbols[0])
