"""How an account did on one day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from pipeline.errors import BadValue
from pipeline.trading import exact
from pipeline.trading.entity import Entity
from pipeline.trading.names import brief, checked_id

_RATIOS = ("sharpe_ratio", "sortino_ratio", "max_drawdown", "win_rate", "profit_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceMetrics(Entity):
    """An account's day. Value and P&L in USD, exact. The ratios come computed: of a float with more than 18 decimals
    they keep 18. `win_rate` is a share of 1; `max_drawdown` is told as 0 or less.
    """

    ID: ClassVar[str] = "account_id"
    account_id: str
    date: Date
    total_value_usd: Decimal
    pnl_daily: Decimal
    pnl_total: Decimal
    sharpe_ratio: Decimal | None = None
    sortino_ratio: Decimal | None = None
    max_drawdown: Decimal | None = None
    win_rate: Decimal | None = None
    profit_factor: Decimal | None = None
    trades_count: int = 0

    def _check(self) -> None:
        put = object.__setattr__
        put(self, "account_id", checked_id(self.account_id, "account_id"))
        if not isinstance(self.date, Date) or isinstance(self.date, datetime):
            raise BadValue(f"date {brief(self.date)}: expected a date, without a time")
        put(self, "total_value_usd", exact.number(self.total_value_usd, "total_value_usd"))
        put(self, "pnl_daily", exact.number(self.pnl_daily, "pnl_daily"))
        put(self, "pnl_total", exact.number(self.pnl_total, "pnl_total"))
        for name in _RATIOS:
            value = getattr(self, name)
            if value is not None:
                put(self, name, exact.ratio(value, name))
        if self.win_rate is not None and not 0 <= self.win_rate <= 1:
            raise BadValue(f"win_rate {exact.text(self.win_rate)}: expected 0 to 1")
        if self.max_drawdown is not None and self.max_drawdown > 0:
            raise BadValue(f"max_drawdown {exact.text(self.max_drawdown)}: expected 0 or less")
        if self.profit_factor is not None and self.profit_factor < 0:
            raise BadValue(f"profit_factor {exact.text(self.profit_factor)}: expected 0 or more")
        if type(self.trades_count) is not int or self.trades_count < 0:
            raise BadValue(f"trades_count {brief(self.trades_count)}: expected a whole number, 0 or more")

    @property
    def label(self) -> str:
        """What it is called in messages: `performance of acc_001 on 2024-10-23`."""
        return f"performance of {str(self.account_id)[:64]} on {str(self.date)[:64]}"
