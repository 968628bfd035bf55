"""Conditions: what the programs wait for. A change is seen by all other processes with the next question."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from pipeline.trading.condition import Condition, ConditionStatus, ConditionType
from pipeline.trading.moments import utc
from sinks.ledger.condition_steps import ConditionSteps
from sinks.ledger.filters import among, by_time, equal, within
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import CONDITIONS as T

_WAITING = (ConditionStatus.ACTIVE, ConditionStatus.PAUSED)


class Conditions(Repository[Condition], ConditionSteps):
    """Conditions, in the order that they were made in."""

    kind = Kind(Condition, T, "condition", "condition_id", by_time(T.c.created_at, T.c.condition_id, newest_first=False))

    def find(
        self,
        *,
        symbol: str | None = None,
        condition_type: ConditionType | str | None = None,
        status: ConditionStatus | str | None = None,
        strategy_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Condition]:
        """Those that fit all that is given, by when they were made. `start` up to, and without, `end`."""
        where = [
            *equal(T, symbol=symbol, strategy_id=strategy_id),
            *among(T.c.condition_type, ConditionType, condition_type),
            *among(T.c.status, ConditionStatus, status),
            *within(T.c.created_at, start, end),
        ]
        return self._find(*where, order=by_time(T.c.created_at, T.c.condition_id, newest_first), limit=limit, offset=offset)

    def find_active(self, symbol: str | None = None) -> list[Condition]:
        """Those that are waited for, of one symbol or of all."""
        return self._find(*equal(T, symbol=symbol), T.c.status == ConditionStatus.ACTIVE)

    def find_by_symbol(self, symbol: str, status: ConditionStatus | str | None = None) -> list[Condition]:
        """Those of a symbol."""
        return self._find(T.c.symbol == symbol, *among(T.c.status, ConditionStatus, status))

    def find_by_status(self, status: ConditionStatus | str) -> list[Condition]:
        """Those of a status."""
        return self._find(T.c.status == ConditionStatus(status))

    def find_by_strategy(self, strategy_id: str, status: ConditionStatus | str | None = None) -> list[Condition]:
        """Those of a strategy."""
        return self._find(T.c.strategy_id == strategy_id, *among(T.c.status, ConditionStatus, status))

    def expire_due(self, at: datetime | None = None) -> list[Condition]:
        """Expires all that are waited for and whose `expires_at` has come; those, as they are then."""
        moment = self._at(at)
        due = select(T.c.condition_id).where(T.c.status.in_(_WAITING), T.c.expires_at <= moment).order_by(T.c.expires_at)
        with self._database.writing():
            return [self.expire(row[0], moment) for row in self._database.answer(due)]

    def _at(self, at: datetime | None) -> datetime:
        return self._database.now() if at is None else utc(at, "at")
