"""What the live view shows, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from pipeline import fixed
from pipeline.instrument import Instrument
from pipeline.minute import Minute, minute_text


@dataclass(frozen=True, slots=True)
class Coverage:
    """Today's minutes so far: of `known`, `whole` are proven whole. `proves`: whether the venue's ids can prove anything."""

    known: int
    whole: int
    degraded: int
    absent: int
    proves: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One instrument as it stands. What isn't known is None."""

    instrument: Instrument
    price: Decimal | None = None  # of the last trade
    minute: int | None = None  # the current one
    delta: Decimal | None = None  # bought less sold in it
    per_s: float | None = None  # trades a second, lately
    lag_s: float | None = None  # since the last trade by the exchange's time; None for a tape, which has its own clock
    clock: str | None = None
    coverage: Coverage | None = None
    sealed: int | None = None  # minutes in the window
    sealed_bytes: int | None = None
    writer: str | None = None
    open_ids: int | None = None  # ids that are missing, and not given up
    open_outages: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data; exact numbers are texts."""
        found = asdict(self) | {"venue": self.instrument.venue, "symbol": self.instrument.symbol}
        del found["instrument"]
        texts = {name: None if found[name] is None else format(found[name], "f") for name in ("price", "delta")}
        return found | texts | {"minute": None if self.minute is None else minute_text(self.minute)}


@dataclass(frozen=True, slots=True)
class Board:
    """All instruments at one moment; `total` of them, of which `rows` were looked at."""

    now_ns: int
    redis: str
    used_bytes: int | None = None  # None: it was never reached
    limit_bytes: int | None = None
    rows: tuple[Row, ...] = ()
    total: int = 0
    error: str | None = None  # why it isn't up to date
    ledger_error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        redis = {"at": self.redis, "used_bytes": self.used_bytes, "limit_bytes": self.limit_bytes or None}
        return {
            "now_ns": self.now_ns,
            "redis": redis,
            "ledger_error": self.ledger_error,
            "instruments": [row.as_dict() for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Building:
    """One instrument's footprint as it builds: the current minute and those before it, as many as were asked for."""

    board: Board  # of this instrument alone
    instrument: Instrument
    current: int | None = None
    minutes: tuple[Minute, ...] = ()
    still_open: frozenset[int] = frozenset()

    @property
    def row(self) -> Row:
        """The instrument as it stands."""
        return self.board.rows[0] if self.board.rows else Row(self.instrument)

    def as_dict(self) -> dict[str, Any]:
        """As plain data; exact numbers are texts."""
        return self.board.as_dict() | {"minutes": [self._minute(m) for m in self.minutes]}

    def _minute(self, minute: Minute) -> dict[str, Any]:
        def level(price: int) -> dict[str, Any]:
            buy, sell, total, count = (*minute.levels[price],)
            sizes = {"buy_volume": buy, "sell_volume": sell, "total_volume": total}
            texts = {name: fixed.to_text(size, minute.size_scale) for name, size in sizes.items()}
            return {"price_level": fixed.to_text(price, minute.price_scale), **texts, "trade_count": count}

        return {
            "minute": minute_text(minute.start),
            "open": minute.start in self.still_open,
            "status": str(minute.status),
            "revision": minute.revision,
            "levels": [level(price) for price in sorted(minute.levels)],
        }
