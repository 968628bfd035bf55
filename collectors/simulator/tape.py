"""What an exchange knows: its trades up to now, and what its history gives of them. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from collectors.simulator.synthetic import SimTrade

NS_PER_MINUTE = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Minute:
    """The candle of a minute. One without trades has the close before it four times."""

    minute: int  # since 1970
    open: str
    high: str
    low: str
    close: str
    volume: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    buy_volume: Decimal = Decimal(0)  # what takers bought
    buy_notional: Decimal = Decimal(0)
    count: int = 0


class Tape:
    """Trades of all symbols in the order in which they happen. `at` says how many have."""

    def __init__(self, trades: Iterable[SimTrade], unkept: Container[int] = ()) -> None:
        self.trades = list(trades)
        self.at = 0
        self.lost: set[int] = set()  # places of trades that history doesn't have
        self._unkept = unkept  # the same by id
        self._places: dict[str, list[int]] = {}  # symbol -> where its trades are
        for place, trade in enumerate(self.trades):
            self._places.setdefault(trade.symbol, []).append(place)

    @property
    def symbols(self) -> Collection[str]:
        """All that trade here."""
        return self._places.keys()

    @property
    def now_ns(self) -> int:
        """The exchange's time: that of its newest trade; 0 before the first."""
        return self.trades[self.at - 1].ts_ns if self.at else 0

    # --- history: oldest first, KeyError for a symbol that doesn't trade here --------------------------------------------

    def newest(self, symbol: str, limit: int) -> list[SimTrade]:
        """The last trades."""
        return self._before(symbol, self._happened(symbol), limit)

    def from_id(self, symbol: str, first_id: int, limit: int) -> list[SimTrade]:
        """The first trades from an id on."""
        return self._after(symbol, self._find(symbol, first_id, _id), limit)

    def below_id(self, symbol: str, trade_id: int, limit: int) -> list[SimTrade]:
        """The last trades below an id."""
        return self._before(symbol, self._find(symbol, trade_id, _id), limit)

    def above_id(self, symbol: str, trade_id: int, limit: int) -> list[SimTrade]:
        """The last trades above an id."""
        return [trade for trade in self.newest(symbol, limit) if trade.trade_id > trade_id]

    def since(self, symbol: str, ts_ns: int, limit: int | None = None) -> list[SimTrade]:
        """The first trades from a time on."""
        return self._after(symbol, self._find(symbol, ts_ns, _time), limit)

    def before(self, symbol: str, ts_ns: int, limit: int) -> list[SimTrade]:
        """The last trades before a time."""
        return self._before(symbol, self._find(symbol, ts_ns, _time), limit)

    def minutes(self, symbol: str, first: int | None, last: int | None, *, empty: bool = True) -> list[Minute]:
        """The candles of first..last, the one that is still going on among them; with `empty` also those without trades.

        They know of all trades, also of those that history has lost.
        """
        places = self._places[symbol][: self._happened(symbol)]
        if not places:
            return []
        ends = [self.trades[place].ts_ns // NS_PER_MINUTE for place in (places[0], places[-1])]
        first = max(ends[0], ends[0] if first is None else first)
        last = min(self.now_ns // NS_PER_MINUTE, ends[1] if last is None else last)
        candles = list(self._candles(symbol, first, last))
        return list(_filled(candles, self._close_before(symbol, first), first, last)) if empty else candles

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _happened(self, symbol: str) -> int:
        return bisect_left(self._places[symbol], self.at)

    def _find(self, symbol: str, value: int, key: Callable[[SimTrade], int]) -> int:
        places = self._places[symbol]
        return bisect_left(places, value, hi=self._happened(symbol), key=lambda place: key(self.trades[place]))

    def _has(self, place: int) -> bool:
        return place not in self.lost and self.trades[place].trade_id not in self._unkept

    def _after(self, symbol: str, index: int, limit: int | None) -> list[SimTrade]:
        found: list[SimTrade] = []
        for place in self._places[symbol][index : self._happened(symbol)]:
            if limit is not None and len(found) >= limit:
                break
            if self._has(place):
                found.append(self.trades[place])
        return found

    def _before(self, symbol: str, index: int, limit: int) -> list[SimTrade]:
        found: list[SimTrade] = []
        places = self._places[symbol]
        while index > 0 and len(found) < limit:
            index -= 1
            if self._has(places[index]):
                found.append(self.trades[places[index]])
        return found[::-1]

    def _candles(self, symbol: str, first: int, last: int) -> Iterator[Minute]:
        at = self._find(symbol, first * NS_PER_MINUTE, _time)
        places = self._places[symbol][at : self._find(symbol, (last + 1) * NS_PER_MINUTE, _time)]
        trades = [self.trades[place] for place in places]
        while trades:
            minute = trades[0].ts_ns // NS_PER_MINUTE
            size = bisect_right(trades, minute, key=lambda trade: trade.ts_ns // NS_PER_MINUTE)
            yield _candle(minute, trades[:size])
            trades = trades[size:]

    def _close_before(self, symbol: str, minute: int) -> str:
        at = self._find(symbol, minute * NS_PER_MINUTE, _time)
        return self.trades[self._places[symbol][max(0, at - 1)]].price


def _id(trade: SimTrade) -> int:
    return trade.trade_id


def _time(trade: SimTrade) -> int:
    return trade.ts_ns


def _candle(minute: int, trades: Sequence[SimTrade]) -> Minute:
    sizes = [Decimal(trade.size) for trade in trades]
    worth = [Decimal(trade.price) * size for trade, size in zip(trades, sizes, strict=True)]
    bought = [number for number, trade in enumerate(trades) if trade.buy]
    prices = sorted((trade.price for trade in trades), key=Decimal)
    return Minute(
        minute,
        open=trades[0].price,
        high=prices[-1],
        low=prices[0],
        close=trades[-1].price,
        volume=sum(sizes, Decimal(0)),
        notional=sum(worth, Decimal(0)),
        buy_volume=sum((sizes[n] for n in bought), Decimal(0)),
        buy_notional=sum((worth[n] for n in bought), Decimal(0)),
        count=sum(trade.count for trade in trades),
    )


def _filled(candles: Iterable[Minute], close: str, first: int, last: int) -> Iterator[Minute]:
    known = {candle.minute: candle for candle in candles}
    for minute in range(first, last + 1):
        candle = known.get(minute) or Minute(minute, close, close, close, close)
        close = candle.close
        yield candle
