"""Strategies."""

from __future__ import annotations

from datetime import datetime

from pipeline.errors import NotAllowed
from pipeline.trading.exact import Number
from pipeline.trading.strategy import Strategy, StrategyStatus, StrategyType
from sinks.ledger.filters import Where, among, by_time, within
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import STRATEGIES as T
from sinks.ledger.types import holds_text


class Strategies(Repository[Strategy]):
    """Strategies, in the order that they were made in. One that anything points to can't be deleted."""

    kind = Kind(Strategy, T, "strategy", "strategy_id", by_time(T.c.created_at, T.c.strategy_id, newest_first=False))

    def find(
        self,
        *,
        strategy_type: StrategyType | str | None = None,
        status: StrategyStatus | str | None = None,
        symbol: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Strategy]:
        """Those that fit all that is given, by when they were made. `start` up to, and without, `end`."""
        where: Where = [
            *among(T.c.strategy_type, StrategyType, strategy_type),
            *among(T.c.status, StrategyStatus, status),
            *within(T.c.created_at, start, end),
        ]
        if symbol is not None:
            where.append(holds_text(T.c.instruments, symbol))
        return self._find(*where, order=by_time(T.c.created_at, T.c.strategy_id, newest_first), limit=limit, offset=offset)

    def find_active(self) -> list[Strategy]:
        """Those that run."""
        return self._find(T.c.status == StrategyStatus.ACTIVE)

    def find_by_status(self, status: StrategyStatus | str) -> list[Strategy]:
        """Those of a status."""
        return self._find(T.c.status == StrategyStatus(status))

    def find_by_type(self, strategy_type: StrategyType | str) -> list[Strategy]:
        """Those of a type."""
        return self._find(T.c.strategy_type == StrategyType(strategy_type))

    def find_by_symbol(self, symbol: str) -> list[Strategy]:
        """Those that trade an instrument."""
        return self._find(holds_text(T.c.instruments, symbol))

    def update_status(
        self, strategy_id: str, status: StrategyStatus | str, at: datetime | None = None, reason: str = ""
    ) -> Strategy:
        """Starts, pauses, resumes, stops or fails (of `reason`) a strategy; as it is then. NotAllowed, Missing."""
        wanted = StrategyStatus(status)
        return self.change(strategy_id, lambda strategy: _move(strategy, wanted, at or self._database.now(), reason))

    def update_pnl(self, strategy_id: str, total_pnl: Number, daily_pnl: Number, at: datetime | None = None) -> Strategy:
        """Sets what it earned in all and today."""
        return self.change(strategy_id, lambda strategy: strategy.update_pnl(total_pnl, daily_pnl, at))

    def increment_trade_count(self, strategy_id: str, at: datetime | None = None) -> Strategy:
        """Counts one trade more, whoever else counts meanwhile."""
        return self.change(strategy_id, lambda strategy: strategy.record_trade(at))


def _move(strategy: Strategy, to: StrategyStatus, at: datetime, reason: str) -> None:
    if to is StrategyStatus.INACTIVE:
        raise NotAllowed(f"{strategy.label} is {strategy.status}: it can't become inactive again; stop it")
    if to is StrategyStatus.ACTIVE:
        (strategy.resume if strategy.status is StrategyStatus.PAUSED else strategy.start)(at)
    elif to is StrategyStatus.PAUSED:
        strategy.pause(at)
    elif to is StrategyStatus.STOPPED:
        strategy.stop(at)
    else:
        strategy.fail(reason, at)
