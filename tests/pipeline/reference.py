"""What minutes must hold, by a slow and independent road: decimals, dictionaries, one trade after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import pairwise

from pipeline.minute import Minute, Status
from pipeline.trade import NS_PER_MINUTE, Side, Trade, TradeId

EXACT = Context(prec=500)


@dataclass
class Expected:
    """A minute as plain values; prices and volumes are decimals."""

    levels: dict[Decimal, tuple[Decimal, Decimal, Decimal, int]]
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    notional: Decimal
    first_id: TradeId
    last_id: TradeId
    first_ns: int
    last_ns: int
    seen: int


def minutes_of(trades: Iterable[Trade], *, group: Decimal | None = None, by_time: bool = False) -> dict[int, Expected]:
    """The minutes of trades, each id counted once. `by_time`: ids have no order, so open and close go by time."""
    once = {t.trade_id: t for t in trades}.values()
    ordered = sorted(once, key=lambda t: t.ts_event_ns) if by_time else sorted(once, key=lambda t: t.trade_id)
    found: dict[int, list[Trade]] = defaultdict(list)
    for one in ordered:
        found[one.ts_event_ns // NS_PER_MINUTE].append(one)
    return {start: _minute(members, group) for start, members in found.items()}


def _minute(members: Sequence[Trade], group: Decimal | None) -> Expected:
    levels: dict[Decimal, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
    notional = Decimal(0)
    for one in members:
        notional = EXACT.add(notional, EXACT.multiply(one.price, one.size))
        row = levels[floored(one.price, group)]
        added = (
            one.size if one.side is Side.BUY else Decimal(0),
            one.size if one.side is Side.SELL else Decimal(0),
            one.size,
            Decimal(one.count),
        )
        row[:] = [EXACT.add(a, b) for a, b in zip(row, added, strict=True)]
    first, last = members[0], members[-1]
    prices = [one.price for one in members]
    return Expected(
        {price: (buy, sell, total, int(count)) for price, (buy, sell, total, count) in levels.items()},
        first.price,
        max(prices),
        min(prices),
        last.price,
        notional,
        first.trade_id,
        last.trade_id,
        first.ts_event_ns,
        last.ts_event_ns,
        len(members),
    )


def floored(price: Decimal, group: Decimal | None) -> Decimal:
    """A price's level: itself, or the multiple of `group` at or below it."""
    if not group:
        return price.normalize(EXACT)
    multiple = EXACT.divide(price, group).to_integral_value(ROUND_FLOOR)
    return EXACT.multiply(multiple, group).normalize(EXACT)


def vwap(notional: Decimal, volume: Decimal, decimals: int) -> Decimal:
    """notional / volume with so many decimals, rounded half to even, without any rounding before."""
    scaled = Fraction(notional) / Fraction(volume) * 10**decimals
    below = scaled.numerator // scaled.denominator
    rest = scaled - below
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1)
    return Decimal(below + up).scaleb(-decimals, EXACT)


def as_expected(bucket: Minute) -> Expected:
    """A minute bucket as plain values."""

    def price(value: int) -> Decimal:
        return Decimal(value).scaleb(-bucket.price_scale, EXACT)

    def size(value: int) -> Decimal:
        return Decimal(value).scaleb(-bucket.size_scale, EXACT)

    return Expected(
        {price(p).normalize(EXACT): (size(b), size(s), size(t), n) for p, (b, s, t, n) in bucket.levels.items()},
        price(bucket.open),
        price(bucket.high),
        price(bucket.low),
        price(bucket.close),
        Decimal(bucket.notional).scaleb(-bucket.price_scale - bucket.size_scale, EXACT),
        bucket.first_trade_id,
        bucket.last_trade_id,
        bucket.first_ns,
        bucket.last_ns,
        bucket.seen,
    )


@dataclass
class Known:
    """What contiguous ids prove of a minute."""

    id_ranges: tuple[tuple[int, int], ...]
    missing: tuple[tuple[int, int], ...]
    status: Status


def proven_of(trades: Iterable[Trade], repaired: Iterable[int] = ()) -> dict[int, Known]:
    """What contiguous ids prove, minute by minute; times must ascend with the ids. `repaired`: ids that filled a hole."""
    by_id = {t.trade_id: t for t in trades if isinstance(t.trade_id, int)}
    ids = sorted(by_id)
    holes = [(a + 1, b - 1, _start(by_id[a]), _start(by_id[b])) for a, b in pairwise(ids) if b - a > 1]
    members: dict[int, list[int]] = defaultdict(list)
    for i in ids:
        members[_start(by_id[i])].append(i)
    found = {}
    for start, own in members.items():
        missing = tuple((a, b) for a, b, left, right in holes if left <= start <= right)
        begun = start > _start(by_id[ids[0]]) or ids[0] <= 1
        status = Status.DEGRADED if missing else Status.COMPLETE if begun else Status.UNKNOWN
        if status is Status.COMPLETE and set(own) & set(repaired):
            status = Status.REPAIRED
        found[start] = Known(ranges(own), missing, status)
    return found


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as sorted, disjoint, non-adjacent ranges."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def _start(one: Trade) -> int:
    return one.ts_event_ns // NS_PER_MINUTE
