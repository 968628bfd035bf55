"""What came of holding our minutes against the venues' own klines: how far it got, and each minute that differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, or_, select, update

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import Status
from sinks.ledger.database import Database
from sinks.ledger.tables import KLINE_CHECKS as PROGRESS
from sinks.ledger.tables import KLINE_DIFFERENCES as DIFFERENCES

NOTHING = "none"  # the status of a minute that we have nothing of
_ROOMY = Context(prec=200)
EXPLAINED = (Status.DEGRADED, Status.UNKNOWN)  # that a minute with one of these differs is no wonder


@dataclass(frozen=True, slots=True)
class Figures:
    """What traded in a minute. None: the venue doesn't tell."""

    volume: Decimal
    buy_volume: Decimal | None = None
    trade_count: int | None = None

    def __post_init__(self) -> None:
        told = [number for number in (self.volume, self.buy_volume, self.trade_count) if number is not None]
        if not all(Decimal(number).is_finite() and number >= 0 for number in told):
            raise BadValue(f"volumes {self.volume}, {self.buy_volume} and count {self.trade_count}: expected 0 or more")

    def agree(self, other: Figures) -> bool:
        """Whether all that both tell is equal."""
        pairs = [(self.volume, other.volume), (self.buy_volume, other.buy_volume), (self.trade_count, other.trade_count)]
        return all(a == b for a, b in pairs if a is not None and b is not None)


@dataclass(frozen=True, slots=True)
class KlineCheck:
    """A minute held against its kline. Revision 0 and status `none`: nothing of ours lies in it."""

    minute: int
    revision: int
    status: str
    ours: Figures
    theirs: Figures

    @property
    def equal(self) -> bool:
        """The verdict."""
        return self.ours.agree(self.theirs)

    @property
    def unexplained(self) -> bool:
        """Whether it differs though we know of nothing that lacks in it, and it wasn't cut short."""
        return not self.equal and self.status not in EXPLAINED

    def told(self) -> dict[str, str]:
        """What both say, as far as the venue tells: `volume`: "ours 1.5, theirs 1.6"."""
        fields = ("volume", "buy_volume", "trade_count")
        pairs = {name: (getattr(self.ours, name), getattr(self.theirs, name)) for name in fields}
        return {
            name: f"ours {_plain(a)}, theirs {_plain(b)}" for name, (a, b) in pairs.items() if a is not None and b is not None
        }


@dataclass(frozen=True, slots=True)
class KlineSums:
    """An instrument's checks in numbers."""

    checked_until: int  # the last minute that needs no more asking
    checked: int = 0
    unanswered: int = 0  # minutes of which the venue has no kline
    differing: int = 0  # that differ still ...
    unexplained: int = 0  # ... though we know of nothing that lacks in them
    resolved: int = 0  # that differed until a later revision
    last: KlineCheck | None = None  # the latest minute that differs still


class KlineBook:
    """The repository of kline checks. Blocking and thread-safe; recording the same again changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, instrument: Instrument, checks: Sequence[KlineCheck], now_ns: int, *, until: int, unanswered: int = 0
    ) -> None:
        """All minutes up to `until` are done with: these checks, which may be of earlier ones too, and those not answered."""
        with self._database.writing() as connection:
            before = _progress(connection, instrument)
            if before is None or until > before.checked_until:
                new = [check for check in checks if before is None or check.minute > before.checked_until]
                _advance(connection, instrument, before, (until, len(new), unanswered))
            for check in checks:
                _note(connection, instrument, check, now_ns)

    def standing(self, instrument: Instrument, limit: int) -> list[KlineCheck]:
        """The latest minutes that differ still, in order."""
        with self._database.reading() as connection:
            rows = connection.execute(_latest(instrument, limit)).all()
        return [_check(row) for row in reversed(rows)]

    def sums(self, instrument: Instrument) -> KlineSums | None:
        """One instrument's checks in numbers; None where there are none."""
        standing = _standing(instrument)
        questions = {
            "differing": standing,
            "unexplained": (*standing, DIFFERENCES.c.status.not_in(EXPLAINED)),
            "resolved": (_of(DIFFERENCES, instrument), DIFFERENCES.c.resolved_ns.is_not(None)),
        }
        with self._database.reading() as connection:
            progress = _progress(connection, instrument)
            if progress is None:
                return None
            counts = {name: connection.scalar(select(func.count()).where(*q)) or 0 for name, q in questions.items()}
            last = connection.execute(_latest(instrument, 1)).one_or_none()
        return replace(progress, **counts, last=_check(last) if last else None)

    def instruments(self) -> list[Instrument]:
        """All that were checked."""
        with self._database.reading() as connection:
            return sorted(Instrument(row.venue, row.symbol) for row in connection.execute(select(PROGRESS)))


def _progress(connection: Connection, instrument: Instrument) -> KlineSums | None:
    row = connection.execute(select(PROGRESS).where(_of(PROGRESS, instrument))).one_or_none()
    return KlineSums(row.checked_until, row.checked, row.unanswered) if row else None


def _advance(connection: Connection, instrument: Instrument, before: KlineSums | None, by: tuple[int, int, int]) -> None:
    until, checked, unanswered = by
    if before is None:
        values = {"checked_until": until, "checked": checked, "unanswered": unanswered}
        connection.execute(insert(PROGRESS), [_names(instrument) | values])
        return
    values = {"checked_until": until, "checked": before.checked + checked, "unanswered": before.unanswered + unanswered}
    connection.execute(update(PROGRESS).where(_of(PROGRESS, instrument)), values)


def _note(connection: Connection, instrument: Instrument, check: KlineCheck, now_ns: int) -> None:
    """Writes a difference down; an equal minute that differed before is resolved."""
    here = and_(_of(DIFFERENCES, instrument), DIFFERENCES.c.minute == check.minute)
    known = connection.execute(select(DIFFERENCES).where(here)).one_or_none()
    if known is None:
        if not check.equal:
            connection.execute(insert(DIFFERENCES), [_names(instrument) | _values(check, now_ns)])
    elif _check(known) != check or (known.resolved_ns is None) == check.equal:
        newer = or_(DIFFERENCES.c.revision <= check.revision, DIFFERENCES.c.resolved_ns.is_(None))
        connection.execute(update(DIFFERENCES).where(here, newer), _values(check, now_ns))


def _values(check: KlineCheck, now_ns: int) -> dict[str, Any]:
    return {
        "minute": check.minute,
        "revision": check.revision,
        "status": check.status,
        **_columns("our", check.ours),
        **_columns("their", check.theirs),
        "checked_ns": now_ns,
        "resolved_ns": now_ns if check.equal else None,
    }


def _columns(whose: str, figures: Figures) -> dict[str, Any]:
    buy = None if figures.buy_volume is None else format(figures.buy_volume, "f")
    volume = format(figures.volume, "f")
    return {f"{whose}_volume": volume, f"{whose}_buy_volume": buy, f"{whose}_trade_count": figures.trade_count}


def _check(row: Row[Any]) -> KlineCheck:
    return KlineCheck(row.minute, row.revision, row.status, _figures(row, "our"), _figures(row, "their"))


def _figures(row: Row[Any], whose: str) -> Figures:
    volume, buy, count = (getattr(row, f"{whose}_{name}") for name in ("volume", "buy_volume", "trade_count"))
    return Figures(Decimal(volume), None if buy is None else Decimal(buy), count)


def _names(instrument: Instrument) -> dict[str, Any]:
    return {"venue": instrument.venue, "symbol": instrument.symbol}


def _of(table: Any, instrument: Instrument) -> ColumnElement[bool]:
    return and_(table.c.venue == instrument.venue, table.c.symbol == instrument.symbol)


def _standing(instrument: Instrument) -> tuple[ColumnElement[bool], ...]:
    return _of(DIFFERENCES, instrument), DIFFERENCES.c.resolved_ns.is_(None)


def _latest(instrument: Instrument, limit: int) -> Select[Any]:
    return select(DIFFERENCES).where(*_standing(instrument)).order_by(DIFFERENCES.c.minute.desc()).limit(limit)


def _plain(number: Decimal | int) -> str:
    """A number as people write it: 1.5, not 1.50000000."""
    return format(Decimal(number).normalize(_ROOMY), "f")
