"""Every analysis again, slow and obvious: plain dictionaries and Decimals, a step at a time, none of our code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

ZERO = Decimal(0)
ROOMY = Context(prec=120)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Cell:
    """What traded at one price in one bar."""

    buy: Decimal = ZERO
    sell: Decimal = ZERO
    total: Decimal = ZERO
    count: int = 0

    def add(self, other: Cell) -> None:
        self.buy += other.buy
        self.sell += other.sell
        self.total += other.total
        self.count += other.count


Rows = dict[Decimal, Cell]  # price -> what traded there
Footprint = dict[int, Rows]  # minute since 1970 -> its rows
BarOf = Callable[[int], tuple[int, int, int] | None]  # minute -> start and end of its bar, start of its session


def footprint(frame: pd.DataFrame) -> Footprint:
    """A frame of levels, cell by cell."""
    found: Footprint = {}
    for row in frame.to_dict("records"):
        minute = int((row["timestamp"] - pd.Timestamp(EPOCH)).total_seconds()) // 60
        values = [Decimal(str(row[name])) for name in ("price_level", "buy_volume", "sell_volume", "total_volume")]
        found.setdefault(minute, {})[values[0]] = Cell(values[1], values[2], values[3], int(row["trade_count"]))
    return found


def statuses(frame: pd.DataFrame) -> dict[int, tuple[str, int, int]]:
    """Of each minute: status, first and last trade id."""
    return {
        int((row["timestamp"] - pd.Timestamp(EPOCH)).total_seconds()) // 60: (
            str(row["status"]),
            int(row["first_trade_id"]),
            int(row["last_trade_id"]),
        )
        for row in frame.to_dict("records")
    }


# --- time ---------------------------------------------------------------------------------------------------------------------


def fixed(length: int) -> BarOf:
    """Bars of some minutes from 1970, all in one session."""
    return lambda minute: (minute - minute % length, minute - minute % length + length, 0)


def reaches(day: datetime, clock: str, zone: str) -> int:
    """The first minute in which the local clock shows this time of this day, or later."""
    hour, minute = map(int, clock.split(":"))
    wanted = day + timedelta(hours=hour, minutes=minute)
    at = int((wanted.replace(tzinfo=UTC) - EPOCH).total_seconds()) // 60 - 36 * 60
    while (EPOCH + timedelta(minutes=at)).astimezone(ZoneInfo(zone)).replace(tzinfo=None) < wanted:
        at += 1
    return at


def in_sessions(minutes: Iterable[int], start: str, zone: str, end: str | None, length: int | None) -> BarOf:
    """Bars of some minutes from each session's start (None: the whole session)."""
    days = sorted({(EPOCH + timedelta(minutes=m)).date() + timedelta(days=n) for m in minutes for n in (-2, -1, 0, 1, 2)})
    begins = {day: reaches(datetime(day.year, day.month, day.day), start, zone) for day in days}
    spans = []
    for day in days:
        until = begins.get(day + timedelta(days=1), begins[day])
        if end is not None:
            closing = day if end > start else day + timedelta(days=1)
            until = min(until, reaches(datetime(closing.year, closing.month, closing.day), end, zone))
        spans.append((begins[day], until))

    def bar_of(minute: int) -> tuple[int, int, int] | None:
        for begin, until in spans:
            if begin <= minute < until:
                first = begin if length is None else begin + (minute - begin) // length * length
                return first, until if length is None else min(first + length, until), begin
        return None

    return bar_of


def whole_minutes(known: Mapping[int, tuple[str, int, int]]) -> set[int]:
    """The minutes that are proven to be whole, silent ones between two of them too."""
    good = {m for m, (status, _, _) in known.items() if status in ("complete", "repaired")}
    silent = set()
    ordered = sorted(known)
    for one, two in pairwise(ordered):
        if one in good and two in good and known[two][1] <= known[one][2] + 1:
            silent |= set(range(one + 1, two))
    return good | silent


def whole(known: Mapping[int, tuple[str, int, int]], start: int, end: int) -> bool:
    good = whole_minutes(known)
    return all(m in good for m in range(start, end))


# --- levels -------------------------------------------------------------------------------------------------------------------


def row_of(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).to_integral_value(rounding="ROUND_FLOOR", context=ROOMY) * tick


def regroup(found: Footprint, tick: Decimal, bar_of: BarOf) -> Footprint:
    grouped: Footprint = {}
    for minute in sorted(found):
        bar = bar_of(minute)
        if bar is not None:
            for price, cell in found[minute].items():
                grouped.setdefault(bar[0], {}).setdefault(row_of(price, tick), Cell()).add(cell)
    return {bar: dict(sorted(rows.items())) for bar, rows in sorted(grouped.items())}


def point_of_control(rows: Rows) -> Decimal:
    most = max(cell.total for cell in rows.values())
    middle = (min(rows) + max(rows)) / 2
    return min((p for p, cell in rows.items() if cell.total == most), key=lambda p: (abs(p - middle), p))


def value_area(rows: Rows, tick: Decimal, percent: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """TradingView's steps, as its help centre lists them: low, high, volume."""
    poc = low = high = point_of_control(rows)
    left = sum((c.total for c in rows.values()), ZERO) * percent / 100 - rows[poc].total
    while low > min(rows) or high < max(rows):
        above = rows.get(high + tick, Cell()).total if high < max(rows) else None
        below = rows.get(low - tick, Cell()).total if low > min(rows) else None
        if above is None or below is None:
            up = below is None
        elif above == below:
            up = high + tick - poc <= poc - (low - tick)
        else:
            up = above > below
        volume = above if up else below
        assert volume is not None
        if volume > left:
            break
        left -= volume
        low, high = (low, high + tick) if up else (low - tick, high)
    return low, high, sum((c.total for p, c in rows.items() if low <= p <= high), ZERO)


def value_area_by_two(rows: Rows, tick: Decimal, percent: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Market Profile's: the larger pair, until the share is reached."""
    poc = low = high = point_of_control(rows)
    wanted = sum((c.total for c in rows.values()), ZERO) * percent / 100
    held = rows[poc].total
    pairs_up = pairs_down = 0
    while held < wanted:
        above = sum((rows.get(high + n * tick, Cell()).total for n in (1, 2)), ZERO) if high < max(rows) else None
        below = sum((rows.get(low - n * tick, Cell()).total for n in (1, 2)), ZERO) if low > min(rows) else None
        up = below is None or (above is not None and (above, -pairs_up) >= (below, -pairs_down))
        held += (above if up else below) or ZERO
        if up:
            high, pairs_up = min(high + 2 * tick, max(rows)), pairs_up + 1
        else:
            low, pairs_down = max(low - 2 * tick, min(rows)), pairs_down + 1
    return low, high, held


def imbalances(
    rows: Rows, tick: Decimal, percent: Decimal, least: Decimal, ignore_zero: bool
) -> dict[Decimal, tuple[bool, bool]]:
    """Of each price, whether it is a buy and a sell imbalance."""

    def outweighs(mine: Decimal, theirs: Decimal) -> bool:
        return mine > 0 and mine >= least and mine >= percent / 100 * theirs and not (ignore_zero and theirs == 0)

    return {
        p: (
            p > min(rows) and outweighs(cell.buy, rows.get(p - tick, Cell()).sell),
            p < max(rows) and outweighs(cell.sell, rows.get(p + tick, Cell()).buy),
        )
        for p, cell in rows.items()
    }


def stacked(rows: Rows, flags: dict[Decimal, tuple[bool, bool]], tick: Decimal, run: int) -> list[tuple[Any, ...]]:
    """Runs as (low, side, high, length, volume), in order."""
    found = []
    for side, name in enumerate(("buy", "sell")):
        for price in rows:
            if flags[price][side] and not flags.get(price - tick, (False, False))[side]:
                prices = [price]
                while flags.get(prices[-1] + tick, (False, False))[side]:
                    prices.append(prices[-1] + tick)
                if len(prices) >= run:
                    volume = sum((getattr(rows[p], name) for p in prices), ZERO)
                    found.append((price, name, prices[-1], len(prices), volume))
    return sorted(found, key=lambda r: (r[0], r[1]))


def naked(found: Footprint, bars: Footprint, tick: Decimal, bar_of: BarOf) -> list[tuple[int, Decimal, int | None]]:
    """Of each bar: its start, its point of control, and the minute that tested it."""
    result = []
    for start, rows in bars.items():
        poc = point_of_control(rows)
        end = next(bar[1] for m in found if (bar := bar_of(m)) is not None and bar[0] == start)
        tested = None
        for minute in sorted(found):
            touched = [row_of(p, tick) for p in found[minute]]
            if tested is None and minute >= end and min(touched) <= poc <= max(touched):
                tested = minute
        result.append((start, poc, tested))
    return result


# --- sums over time -----------------------------------------------------------------------------------------------------------


def deltas(found: Footprint, bar_of: BarOf) -> dict[int, dict[str, Any]]:
    """Of each bar: sums, and the lowest and highest delta after each minute, of the bar's own and since its session began."""
    bars: dict[int, dict[str, Any]] = {}
    cumulative: dict[int, Decimal] = {}
    for minute in sorted(found):
        where = bar_of(minute)
        if where is None:
            continue
        start, end, session = where
        before = cumulative.setdefault(session, ZERO)
        bar = bars.setdefault(
            start,
            {"end": end, "session": session, "open": before, "high": before, "low": before, "min": ZERO, "max": ZERO}
            | {"buy": ZERO, "sell": ZERO, "total": ZERO, "count": 0, "minutes": 0},
        )
        for cell in found[minute].values():
            for name in ("buy", "sell", "total", "count"):
                bar[name] += getattr(cell, name)
            cumulative[session] += cell.buy - cell.sell
        now = cumulative[session]
        bar |= {"close": now, "high": max(bar["high"], now), "low": min(bar["low"], now), "minutes": bar["minutes"] + 1}
        own = bar["buy"] - bar["sell"]
        bar |= {"min": min(bar["min"], own), "max": max(bar["max"], own)}
    return bars


def vwaps(found: Footprint, bar_of: BarOf) -> dict[int, tuple[int, Decimal, Decimal, Decimal]]:
    """Of each bar: its session, and since that began the mean price, its standard deviation and the volume."""
    traded: dict[int, list[tuple[Decimal, Decimal]]] = {}
    result = {}
    for minute in sorted(found):
        where = bar_of(minute)
        if where is None:
            continue
        start, _, session = where
        traded.setdefault(session, []).extend((p, cell.total) for p, cell in found[minute].items())
        result[start] = (session, *weighed(traded[session]))
    return result


def weighed(points: list[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal, Decimal]:
    """Mean, standard deviation and weight."""
    weight = sum((w for _, w in points), ZERO)
    mean = ROOMY.divide(sum((ROOMY.multiply(p, w) for p, w in points), ZERO), weight)
    spread = sum((ROOMY.multiply(w, ROOMY.power(ROOMY.subtract(p, mean), 2)) for p, w in points), ZERO)
    return mean, ROOMY.sqrt(ROOMY.divide(spread, weight)), weight
