"""How each account did, day by day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select
from sqlalchemy import update as sql_update

from pipeline.errors import AlreadyExists, BadValue, Missing, StorageError
from pipeline.trading import exact
from pipeline.trading.performance import PerformanceMetrics
from sinks.ledger.database import Database
from sinks.ledger.trading_tables import ACCOUNTS
from sinks.ledger.trading_tables import PERFORMANCE as T
from sinks.ledger.types import exact_sum, ordered

_NAMES = tuple(f.name for f in fields(PerformanceMetrics))
_SELECT = select(*(T.c[name] for name in _NAMES))
_AVERAGED = ("total_value_usd", "pnl_daily", "sharpe_ratio", "sortino_ratio", "max_drawdown", "win_rate", "profit_factor")


@dataclass(frozen=True, slots=True)
class AverageMetrics:
    """Means over days, each rounded half even at 18 decimals. A ratio's is over the days that have it; None where none has."""

    account_id: str
    days: int  # of which there are metrics
    total_value_usd: Decimal | None
    pnl_daily: Decimal | None
    sharpe_ratio: Decimal | None
    sortino_ratio: Decimal | None
    max_drawdown: Decimal | None
    win_rate: Decimal | None
    profit_factor: Decimal | None
    trades_count: Decimal | None


class Performance:
    """Metrics by account and day. A day that is saved again is replaced: the last word counts. Blocking and thread-safe.

    Ranges of days include both ends, and are open where None is given. Lists stand in the order of days.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, metrics: PerformanceMetrics) -> None:
        """Stores an account's day, over what was stored of it. Missing (the account), StorageError: nothing is written."""
        self.save_many([metrics])

    def save_many(self, metrics: Iterable[PerformanceMetrics]) -> None:
        """Stores all of them, or none."""
        with self._database.writing() as connection:
            for day in metrics:
                self._put(connection, day, new=not self._is_stored(day))

    def create(self, metrics: PerformanceMetrics) -> None:
        """Stores a new day. AlreadyExists where it is stored."""
        with self._database.writing() as connection:
            if self._is_stored(metrics):
                raise AlreadyExists(f"{metrics.label} is stored already")
            self._put(connection, metrics, new=True)

    def update(self, metrics: PerformanceMetrics) -> None:
        """Replaces a stored day. Missing where it isn't."""
        with self._database.writing() as connection:
            if not self._is_stored(metrics):
                raise Missing(f"{metrics.label} isn't stored")
            self._put(connection, metrics, new=False)

    def find_by_id(self, account_id: str, day: date) -> PerformanceMetrics | None:
        """An account's day, or None."""
        return next(iter(self._find(T.c.account_id == account_id, T.c.date == _day(day))), None)

    def find_by_date(self, account_id: str, day: date) -> PerformanceMetrics | None:
        """The same."""
        return self.find_by_id(account_id, day)

    def find_all(self, limit: int | None = None, offset: int = 0) -> list[PerformanceMetrics]:
        """All of them, by account."""
        return self._find(limit=limit, offset=offset)

    def find_by_account(self, account_id: str) -> list[PerformanceMetrics]:
        """All days of an account."""
        return self._find(T.c.account_id == account_id)

    def find_range(self, account_id: str, start: date | None = None, end: date | None = None) -> list[PerformanceMetrics]:
        """An account's days from `start` to `end`."""
        return self._find(*_days(account_id, start, end))

    def find_latest(self, account_id: str) -> PerformanceMetrics | None:
        """An account's last day, or None."""
        return self._first(_days(account_id, None, None), T.c.date.desc())

    def delete(self, account_id: str, day: date) -> bool:
        """Removes a day; whether it was there."""
        question = delete(T).where(T.c.account_id == account_id, T.c.date == _day(day))
        with self._database.writing() as connection:
            return bool(connection.execute(question).rowcount)

    def exists(self, account_id: str, day: date) -> bool:
        """Whether a day is stored."""
        return bool(self._database.answer(select(T.c.date).where(T.c.account_id == account_id, T.c.date == _day(day))))

    def count(self) -> int:
        """How many days are stored, of all accounts."""
        return int(self._database.answer(select(func.count()).select_from(T))[0][0])

    # --- analytics ------------------------------------------------------------------------------------------------------

    def get_best_day(self, account_id: str, start: date | None = None, end: date | None = None) -> PerformanceMetrics | None:
        """The day with the most `pnl_daily`: of equal ones the first; None of none."""
        return self._first(_days(account_id, start, end), ordered(T.c.pnl_daily).desc(), T.c.date)

    def get_worst_day(self, account_id: str, start: date | None = None, end: date | None = None) -> PerformanceMetrics | None:
        """The day with the least `pnl_daily`: of equal ones the first; None of none."""
        return self._first(_days(account_id, start, end), ordered(T.c.pnl_daily), T.c.date)

    def get_total_pnl(self, account_id: str, start: date | None = None, end: date | None = None) -> Decimal:
        """The exact sum of `pnl_daily`; 0 of none."""
        question = select(exact_sum(T.c.pnl_daily)).where(*_days(account_id, start, end))
        return self._database.answer(question)[0][0] or Decimal(0)

    def get_average_metrics(self, account_id: str, days: int = 30, until: date | None = None) -> AverageMetrics | None:
        """Means over the last `days` days, of which `until` (None: today, in UTC) is the last; None where there are none."""
        if days < 1:
            raise BadValue(f"days {days}: expected 1 or more")
        end = self._database.now().date() if until is None else _day(until)
        found = self.find_range(account_id, end - timedelta(days=days - 1), end)
        if not found:
            return None
        means = {name: _mean([getattr(day, name) for day in found]) for name in _AVERAGED}
        trades = _mean([Decimal(day.trades_count) for day in found])
        return AverageMetrics(account_id, len(found), **means, trades_count=trades)

    def export_to_csv(self, account_id: str, path: str | Path) -> int:
        """Writes an account's days to a csv file; how many. Missing (the account), StorageError."""
        from sinks.ledger.exports import export_table

        if not self._database.answer(select(ACCOUNTS.c.account_id).where(ACCOUNTS.c.account_id == account_id)):
            raise Missing(f"account {account_id!r} isn't stored")
        own = {"account_id": account_id}
        return export_table(self._database, "performance_metrics", Path(path), where=own, order=("date",), form=".csv")

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _find(self, *where: ColumnElement[bool], limit: int | None = None, offset: int = 0) -> list[PerformanceMetrics]:
        if (limit is not None and limit < 0) or offset < 0:
            raise BadValue(f"limit {limit}, offset {offset}: expected 0 or more")
        question = _SELECT.where(*where).order_by(T.c.account_id, T.c.date).limit(limit).offset(offset or None)
        return self._read(self._database.answer(question))

    def _first(self, where: Sequence[ColumnElement[bool]], *order: ColumnElement[Any]) -> PerformanceMetrics | None:
        return next(iter(self._read(self._database.answer(_SELECT.where(*where).order_by(*order).limit(1)))), None)

    def _read(self, rows: Sequence[Row[Any]]) -> list[PerformanceMetrics]:
        try:
            return [PerformanceMetrics(**dict(zip(_NAMES, row, strict=True))) for row in rows]
        except BadValue as error:
            raise StorageError(f"{self._database.where}: what is stored can't be: {error}") from None

    def _is_stored(self, metrics: PerformanceMetrics) -> bool:
        return self.exists(metrics.account_id, metrics.date)

    def _put(self, connection: Connection, metrics: PerformanceMetrics, new: bool) -> None:
        now: datetime = self._database.now()
        row = {name: getattr(metrics, name) for name in _NAMES} | {"updated_at": now}
        if new:
            connection.execute(insert(T), row | {"created_at": now})
        else:
            same = (T.c.account_id == metrics.account_id, T.c.date == metrics.date)
            connection.execute(sql_update(T).where(*same).values(row))


def _mean(values: Sequence[Decimal | None]) -> Decimal | None:
    known = [value for value in values if value is not None]
    return exact.divided(exact.total(known), Decimal(len(known))) if known else None


def _days(account_id: str, start: date | None, end: date | None) -> list[ColumnElement[bool]]:
    where = [T.c.account_id == account_id]
    if start is not None:
        where.append(T.c.date >= _day(start))
    if end is not None:
        where.append(T.c.date <= _day(end))
    return where


def _day(value: date) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise BadValue(f"day {value!r}: expected a date, without a time")
    return value
