"""A strategy: what it may do, whether it runs, and what it has earned."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from pipeline.errors import BadValue
from pipeline.trading import exact
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity, checked_version
from pipeline.trading.exact import Number
from pipeline.trading.moments import utc_or_none
from pipeline.trading.names import brief, checked_id, checked_name, checked_symbol, checked_text
from pipeline.trading.plain import Plain, plain_dict


class StrategyStatus(Choice):
    """Whether it runs."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"


class StrategyType(Choice):
    """What it goes by."""

    MARKET_MAKING = "market_making"
    TREND_FOLLOWING = "trend_following"
    MEAN_REVERSION = "mean_reversion"
    ARBITRAGE = "arbitrage"
    MOMENTUM = "momentum"
    CUSTOM = "custom"


MOVES: dict[str, frozenset[str]] = {
    "start": frozenset({StrategyStatus.INACTIVE, StrategyStatus.STOPPED, StrategyStatus.ERROR}),
    "pause": frozenset({StrategyStatus.ACTIVE}),
    "resume": frozenset({StrategyStatus.PAUSED}),
    "stop": frozenset({StrategyStatus.ACTIVE, StrategyStatus.PAUSED, StrategyStatus.ERROR}),
    "fail": frozenset({StrategyStatus.ACTIVE, StrategyStatus.PAUSED}),
}


@dataclass(slots=True, kw_only=True)
class Strategy(Entity):
    """A strategy. `parameters` are plain JSON; `instruments` are symbols; limits are more than 0, or None for no limit."""

    ID: ClassVar[str] = "strategy_id"
    strategy_id: str
    name: str
    strategy_type: StrategyType = StrategyType.CUSTOM
    status: StrategyStatus = StrategyStatus.INACTIVE
    parameters: dict[str, Plain] = field(default_factory=dict)
    instruments: list[str] = field(default_factory=list)
    max_position_size: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_leverage: Decimal | None = None
    total_pnl: Decimal = exact.ZERO
    daily_pnl: Decimal = exact.ZERO
    total_trades: int = 0
    error_message: str | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    def _check(self) -> None:
        self.strategy_id = checked_id(self.strategy_id, "strategy_id")
        self.name = checked_name(self.name, "name")
        if type(self.strategy_type) is not StrategyType:
            self.strategy_type = StrategyType(self.strategy_type)
        if type(self.status) is not StrategyStatus:
            self.status = StrategyStatus(self.status)
        if self.error_message is not None:
            checked_text(self.error_message, "error_message")
        self.parameters = plain_dict(self.parameters, "parameters")
        self.instruments = _symbols(self.instruments)
        self._check_numbers()
        self.started_at = utc_or_none(self.started_at, "started_at")
        self.stopped_at = utc_or_none(self.stopped_at, "stopped_at")
        self.created_at = utc_or_none(self.created_at, "created_at")
        self.updated_at = utc_or_none(self.updated_at, "updated_at")
        self.version = checked_version(self.version)

    def _check_numbers(self) -> None:
        if self.max_position_size is not None:
            self.max_position_size = exact.positive(self.max_position_size, "max_position_size")
        if self.max_daily_loss is not None:
            self.max_daily_loss = exact.positive(self.max_daily_loss, "max_daily_loss")
        if self.max_leverage is not None:
            self.max_leverage = exact.positive(self.max_leverage, "max_leverage")
        self.total_pnl = exact.number(self.total_pnl, "total_pnl")
        self.daily_pnl = exact.number(self.daily_pnl, "daily_pnl")
        if type(self.total_trades) is not int or self.total_trades < 0:
            raise BadValue(f"total_trades {brief(self.total_trades)}: expected a whole number, 0 or more")

    def start(self, at: datetime | None = None) -> None:
        """It runs from now on; what it failed of before is forgotten."""
        self._move("start", StrategyStatus.ACTIVE, at)
        self.started_at, self.stopped_at, self.error_message = self.updated_at, None, None

    def pause(self, at: datetime | None = None) -> None:
        """It waits."""
        self._move("pause", StrategyStatus.PAUSED, at)

    def resume(self, at: datetime | None = None) -> None:
        """It goes on."""
        self._move("resume", StrategyStatus.ACTIVE, at)

    def stop(self, at: datetime | None = None) -> None:
        """It ends, until it is started again."""
        self._move("stop", StrategyStatus.STOPPED, at)
        self.stopped_at = self.updated_at

    def fail(self, reason: str, at: datetime | None = None) -> None:
        """It ended by an error, `reason`."""
        self._allow("fail", self.status, MOVES)
        message = checked_text(reason, "reason")
        self._move("fail", StrategyStatus.ERROR, at)
        self.error_message, self.stopped_at = message, self.updated_at

    def record_trade(self, at: datetime | None = None) -> None:
        """One trade more; in any status, for a fill may come after the stop."""
        self.updated_at = utc_or_none(at, "at")
        self.total_trades += 1

    def update_pnl(self, total: Number, daily: Number, at: datetime | None = None) -> None:
        """What it earned in all, and today."""
        earned, today, moment = exact.number(total, "total_pnl"), exact.number(daily, "daily_pnl"), utc_or_none(at, "at")
        self.total_pnl, self.daily_pnl, self.updated_at = earned, today, moment

    def _move(self, move: str, to: StrategyStatus, at: datetime | None) -> None:
        self._allow(move, self.status, MOVES)
        self.updated_at = utc_or_none(at, "at")
        self.status = to


def _symbols(values: object) -> list[str]:
    if not isinstance(values, list | tuple):
        raise BadValue(f"instruments {brief(values)}: expected a list of symbols")
    return [checked_symbol(value, "instrument") for value in values]
