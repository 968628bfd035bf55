"""A condition: what a strategy waits for, and whether it has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from pipeline.errors import BadValue, NotAllowed
from pipeline.trading import exact
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity, checked_version
from pipeline.trading.exact import Number
from pipeline.trading.moments import utc_or_none
from pipeline.trading.names import checked_id, checked_symbol, checked_text, new_id
from pipeline.trading.plain import Plain, plain_dict


class ConditionStatus(Choice):
    """Whether it is waited for."""

    ACTIVE = "active"
    TRIGGERED = "triggered"
    PAUSED = "paused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ConditionType(Choice):
    """What its value is of."""

    PRICE = "price"
    VOLUME = "volume"
    DELTA = "delta"
    INDICATOR = "indicator"
    TIME = "time"
    CUSTOM = "custom"


class Comparison(Choice):
    """How a value is held against the condition's."""

    ABOVE = "above"
    AT_OR_ABOVE = "at_or_above"
    BELOW = "below"
    AT_OR_BELOW = "at_or_below"
    CROSSES_ABOVE = "crosses_above"
    CROSSES_BELOW = "crosses_below"


MOVES: dict[str, frozenset[str]] = {
    "trigger": frozenset({ConditionStatus.ACTIVE}),
    "pause": frozenset({ConditionStatus.ACTIVE}),
    "resume": frozenset({ConditionStatus.PAUSED}),
    "cancel": frozenset({ConditionStatus.ACTIVE, ConditionStatus.PAUSED}),
    "expire": frozenset({ConditionStatus.ACTIVE, ConditionStatus.PAUSED}),
}

_HOLDS: dict[Comparison, Callable[[Decimal, Decimal], bool]] = {
    Comparison.ABOVE: lambda value, limit: value > limit,
    Comparison.AT_OR_ABOVE: lambda value, limit: value >= limit,
    Comparison.BELOW: lambda value, limit: value < limit,
    Comparison.AT_OR_BELOW: lambda value, limit: value <= limit,
    Comparison.CROSSES_ABOVE: lambda value, limit: value > limit,
    Comparison.CROSSES_BELOW: lambda value, limit: value < limit,
}
_CROSSES = frozenset({Comparison.CROSSES_ABOVE, Comparison.CROSSES_BELOW})


@dataclass(slots=True, kw_only=True)
class Condition(Entity):
    """What is waited for: a comparison with an exact value, or neither where the strategy judges by `parameters` itself.

    `action` is free text for whoever acts on it; `parameters` are plain JSON.
    """

    ID: ClassVar[str] = "condition_id"
    condition_id: str = field(default_factory=new_id)
    symbol: str
    condition_type: ConditionType = ConditionType.PRICE
    comparison: Comparison | None = None
    value: Decimal | None = None
    action: str = ""
    parameters: dict[str, Plain] = field(default_factory=dict)
    strategy_id: str | None = None
    status: ConditionStatus = ConditionStatus.ACTIVE
    expires_at: datetime | None = None
    triggered_at: datetime | None = None
    triggered_value: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    def _check(self) -> None:
        self.condition_id = checked_id(self.condition_id, "condition_id")
        checked_symbol(self.symbol)
        if self.strategy_id is not None:
            self.strategy_id = checked_id(self.strategy_id, "strategy_id")
        checked_text(self.action, "action")
        self.parameters = plain_dict(self.parameters, "parameters") if self.parameters else {}
        self._check_choices()
        if self.value is not None:
            self.value = exact.number(self.value, "value")
        if self.triggered_value is not None:
            self.triggered_value = exact.number(self.triggered_value, "triggered_value")
        if (self.comparison is None) is not (self.value is None):
            raise BadValue("expected a comparison and a value, or neither")
        self.expires_at = utc_or_none(self.expires_at, "expires_at")
        self.triggered_at = utc_or_none(self.triggered_at, "triggered_at")
        self.created_at = utc_or_none(self.created_at, "created_at")
        self.updated_at = utc_or_none(self.updated_at, "updated_at")
        self.version = checked_version(self.version)

    def _check_choices(self) -> None:
        if type(self.condition_type) is not ConditionType:
            self.condition_type = ConditionType(self.condition_type)
        if self.comparison is not None and type(self.comparison) is not Comparison:
            self.comparison = Comparison(self.comparison)
        if type(self.status) is not ConditionStatus:
            self.status = ConditionStatus(self.status)

    def is_met(self, value: Number, previous: Number | None = None) -> bool:
        """Whether `value` meets it. A crossing needs the value before, on or beyond the other side; with None it is not met.

        NotAllowed for a condition without a comparison: only its strategy can judge it.
        """
        if self.comparison is None or self.value is None:
            raise NotAllowed(f"{self.label} has no comparison: it can't be judged by a value; its strategy must")
        now = exact.number(value, "value")
        before = None if previous is None else exact.number(previous, "previous")
        holds = _HOLDS[self.comparison]
        if self.comparison in _CROSSES and (before is None or holds(before, self.value)):
            return False
        return holds(now, self.value)

    def is_expired(self, at: datetime) -> bool:
        """Whether its time is over at `at`, whatever its status."""
        moment = utc_or_none(at, "at")
        return self.expires_at is not None and moment is not None and moment >= self.expires_at

    def trigger(self, value: Number | None = None, at: datetime | None = None) -> None:
        """It has come, with `value`; refused at a time at which it is expired."""
        self._allow("trigger", self.status, MOVES)
        seen = None if value is None else exact.number(value, "value")
        if at is not None and self.expires_at is not None and self.is_expired(at):
            raise NotAllowed(
                f"{self.label} expired at {self.expires_at.isoformat()}: it can't trigger; allowed: expire, cancel"
            )
        self._move("trigger", ConditionStatus.TRIGGERED, at)
        self.triggered_value, self.triggered_at = seen, self.updated_at

    def pause(self, at: datetime | None = None) -> None:
        """It is not waited for, for now."""
        self._move("pause", ConditionStatus.PAUSED, at)

    def resume(self, at: datetime | None = None) -> None:
        """It is waited for again."""
        self._move("resume", ConditionStatus.ACTIVE, at)

    def cancel(self, at: datetime | None = None) -> None:
        """It is waited for no more."""
        self._move("cancel", ConditionStatus.CANCELLED, at)

    def expire(self, at: datetime | None = None) -> None:
        """Its time is over."""
        self._move("expire", ConditionStatus.EXPIRED, at)

    def _move(self, move: str, to: ConditionStatus, at: datetime | None) -> None:
        self._allow(move, self.status, MOVES)
        self.updated_at = utc_or_none(at, "at")
        self.status = to
