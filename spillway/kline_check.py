"""Our minutes against the venue's own klines: pure comparison, exact to the last digit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from collectors.venues.kline import Kline
from pipeline import fixed
from pipeline.minute import Minute
from sinks.ledger.klines import NOTHING, Figures, KlineCheck


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of one answer. `until`: the last minute that needs no more asking; of `unanswered` ones there is no kline."""

    checks: list[KlineCheck]
    until: int
    unanswered: int = 0


def figures_of(minute: Minute) -> Figures:
    """A minute's sums. Price groups don't touch volumes; `count` is what the venue counts too: fills, not messages."""
    buy, _, total, count = minute.totals
    return Figures(fixed.to_decimal(total, minute.size_scale), fixed.to_decimal(buy, minute.size_scale), count)


def check(minute: int, ours: Minute | None, theirs: Figures) -> KlineCheck:
    """One minute held against its kline. Where we have nothing, nothing should have traded."""
    if ours is None:
        return KlineCheck(minute, 0, NOTHING, Figures(Decimal(0), Decimal(0), 0), theirs)
    return KlineCheck(minute, ours.revision, str(ours.status), figures_of(ours), theirs)


def told_by(klines: Iterable[Kline], since: int | None = None) -> dict[int, Figures]:
    """What the venue says of each minute. Some venues leave out minutes without trades: before later ones, back to `since`
    (without it: to the first), these are nothing."""
    told = {k.minute: Figures(k.volume, k.buy_volume, k.trade_count) for k in klines}
    if not told:
        return {}
    first = min(told) if since is None else min(*told, since)
    return {minute: told.get(minute, Figures(Decimal(0))) for minute in range(first, max(told) + 1)}


def compare(minutes: range, ours: Mapping[int, Minute], klines: Iterable[Kline], *, young: int) -> Compared:
    """Holds `minutes` (not empty) against an answer.

    Of minutes from `young` on that come after all that was answered the venue may yet tell: they must be asked for again.
    Older ones that the answer doesn't reach stay unanswered.
    """
    told = told_by(klines, since=max(minutes.start, young))
    until = max((m for m in minutes if m in told or m < young), default=minutes.start - 1)
    done = range(minutes.start, until + 1)
    checks = [check(m, ours.get(m), told[m]) for m in done if m in told]
    return Compared(checks, until, len(done) - len(checks))
