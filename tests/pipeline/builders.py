"""Values for tests, short to write and plain to read."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np

from pipeline.instrument import Instrument
from pipeline.minute import Minute, Status
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, RawTrades, Side, Trade, TradeBatch, TradeId

BTC = Instrument("binance", "BTCUSDT")
START = 28_333_440  # 2023-11-15 00:00 UTC, in minutes since 1970
START_NS = START * NS_PER_MINUTE
SIDES = {"buy": Side.BUY, "sell": Side.SELL, "": Side.NONE}

Row = tuple[str, str, str, int]  # buy, sell and total volume as texts, trade count


def at(when: str) -> int:
    """`2:30.5` is 2 minutes and 30.5 seconds after START, in ns."""
    minutes, _, seconds = when.partition(":")
    return START_NS + int(minutes) * NS_PER_MINUTE + int(Decimal(seconds or 0) * NS_PER_S)


def trade(
    trade_id: TradeId, when: str = "0:00", price: str = "100", size: str = "1", side: str = "buy", count: int = 1
) -> Trade:
    """A trade; `when` as `at` takes it."""
    return Trade(BTC, trade_id, at(when), Decimal(price), Decimal(size), SIDES[side], count)


def batch(*trades: Trade, **kind: bool) -> TradeBatch:
    """Trades as checked columns."""
    return TradeBatch.of(trades, **kind)


def raw(*trades: Trade) -> RawTrades:
    """Trades as a venue's parser hands them over."""
    return RawTrades(
        [t.trade_id for t in trades],
        np.array([t.ts_event_ns for t in trades], dtype=np.int64),
        [format(t.price, "f") for t in trades],
        [format(t.size, "f") for t in trades],
        np.array([t.side for t in trades], dtype=np.int8),
        np.array([t.count for t in trades], dtype=np.int64),
    )


def raws(row: int) -> tuple[str, str]:
    """Where a raw trade of a test stood."""
    return f"raw {row}", f"row {row}"


def stream(n: int, *, first_id: int = 1, every_s: float = 1.0, seed: int = 1) -> list[Trade]:
    """`n` trades with contiguous ids and ascending times, at a few dozen prices."""
    dice = random.Random(seed)
    step_ns = int(every_s * NS_PER_S)
    return [
        Trade(
            BTC,
            first_id + i,
            START_NS + i * step_ns + dice.randrange(step_ns),
            Decimal(dice.randrange(60_000, 60_040)) / 10,
            Decimal(dice.randrange(1, 10_000)) / 1000,
            dice.choice((Side.BUY, Side.SELL, Side.NONE)),
            dice.randrange(1, 4),
        )
        for i in range(n)
    ]


def portions(trades: Sequence[Trade], size: int) -> Iterable[Sequence[Trade]]:
    """The trades in portions of `size`."""
    return (trades[i : i + size] for i in range(0, len(trades), size))


def minute(
    levels: dict[int, tuple[int, int, int, int]] | None = None,
    *,
    start: int = START,
    price_scale: int = 1,
    size_scale: int = 2,
    revision: int = 1,
    status: Status = Status.COMPLETE,
    instrument: Instrument = BTC,
    **other: object,
) -> Minute:
    """A minute bucket that agrees with its levels."""
    levels = levels or {1000: (150, 80, 230, 15), 1001: (0, 5, 7, 2)}
    known: dict[str, object] = {
        "open": min(levels),
        "high": max(levels),
        "low": min(levels),
        "close": max(levels),
        "notional": sum(p * row[2] for p, row in levels.items()),
        "first_trade_id": 7,
        "last_trade_id": 23,
        "first_ns": start * NS_PER_MINUTE,
        "last_ns": start * NS_PER_MINUTE + 59 * NS_PER_S,
        "id_ranges": ((7, 23),),
        "seen": 17,
    }
    values = known | other
    return Minute(
        instrument,
        start,
        price_scale,
        size_scale,
        levels,
        status=status,
        revision=revision,
        **values,  # type: ignore[arg-type]
    )


def plain(number: Decimal) -> str:
    """A decimal's shortest plain text."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def rows(bucket: Minute) -> dict[str, Row]:
    """A minute's levels as texts: {"100": ("1.5", "0", "1.5", 2)}."""
    return {
        plain(level.price): (plain(level.buy_volume), plain(level.sell_volume), plain(level.total_volume), level.trade_count)
        for level in bucket.price_levels()
    }
