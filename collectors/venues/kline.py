"""A venue's own account of a minute, to hold ours against."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Kline:
    """One official 1-minute candle: what traded in the minute, in units of the base asset, as far as the venue says."""

    minute: int  # minutes since 1970-01-01 00:00 UTC
    volume: Decimal
    buy_volume: Decimal | None = None  # what takers bought
    trade_count: int | None = None
