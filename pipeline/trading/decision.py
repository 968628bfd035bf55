"""A decision: what a program decided to do, in the free form that it was given, and the minutes that it saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from pipeline.errors import BadValue
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity, checked_version
from pipeline.trading.minute_ref import KEYS, MinuteRef
from pipeline.trading.moments import utc, utc_or_none
from pipeline.trading.names import brief, checked_id, checked_symbol
from pipeline.trading.plain import Plain, plain, plain_dict


class DecisionAction(Choice):
    """What was decided."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"


_FIELDS = ("timestamp", "asset_pair", "action", "confidence")


@dataclass(slots=True, kw_only=True)
class Decision(Entity):
    """A decision as a record. `from_dict` and `to_dict` are each other's inverse: extra keys and numbers stay as they came.

    `timestamp` is ISO text, kept as it was given; with no offset it means UTC. `confidence` is a finite number, of
    whatever scale the program uses.
    """

    ID: ClassVar[str] = "decision_id"
    decision_id: str
    timestamp: str | None = None
    asset_pair: str | None = None
    action: DecisionAction | None = None
    confidence: int | float | None = None
    extra: dict[str, Plain] = field(default_factory=dict)
    minutes: tuple[MinuteRef, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    def _check(self) -> None:
        self.decision_id = checked_id(self.decision_id, "id")
        if self.timestamp is not None:
            _moment(self.timestamp)
        if self.asset_pair is not None:
            checked_symbol(self.asset_pair, "asset_pair")
        if self.action is not None and type(self.action) is not DecisionAction:
            self.action = DecisionAction(self.action)
        if self.confidence is not None and type(plain(self.confidence, "confidence")) not in {int, float}:
            raise BadValue(f"confidence {brief(self.confidence)}: expected a number")
        self.extra = plain_dict(self.extra, "decision")
        self._check_extra()
        self.minutes = _references(self.minutes)
        self.created_at = utc_or_none(self.created_at, "created_at")
        self.updated_at = utc_or_none(self.updated_at, "updated_at")
        self.version = checked_version(self.version)

    def _check_extra(self) -> None:
        """A known key stands among the extra ones only to tell that it was given as None."""
        told = [key for key in ("id", *_FIELDS) if self.extra.get(key) is not None]
        if "id" in self.extra or told:
            raise BadValue(f"extra keys {', '.join(told) or 'id'}: expected none of the fields' own")

    @property
    def at(self) -> datetime | None:
        """The moment that the timestamp tells, in UTC."""
        return None if self.timestamp is None else _moment(self.timestamp)

    @classmethod
    def from_dict(cls, decision: Mapping[str, object], minutes: Sequence[MinuteRef] = ()) -> Decision:
        """The record of a dict: `id` is needed, `timestamp`, `asset_pair`, `action` and `confidence` are known, others kept.

        A list under `minutes` of dicts with venue, symbol, minute, revision and checksum (or of MinuteRef) is what it saw.
        """
        if not isinstance(decision, Mapping) or decision.get("id") is None:
            raise BadValue(f"decision {brief(decision)}: expected a dict with an id")
        extra = {key: value for key, value in decision.items() if key != "id" and (key not in _FIELDS or value is None)}
        seen = tuple(minutes)
        if _are_references(extra.get("minutes")):
            seen += _references(extra["minutes"])
            if extra["minutes"] == [ref.to_dict() for ref in seen] or not _is_plain(extra["minutes"]):
                del extra["minutes"]  # `to_dict` makes the same again
        known = {key: decision[key] for key in _FIELDS if decision.get(key) is not None}
        return cls(decision_id=decision["id"], extra=extra, minutes=seen, **known)  # type: ignore[arg-type]  # checked there

    def to_dict(self) -> dict[str, Plain]:
        """The dict that it came from, as a new copy."""
        known: dict[str, Plain] = {"id": self.decision_id, "timestamp": self.timestamp, "asset_pair": self.asset_pair}
        known |= {"action": None if self.action is None else self.action.value, "confidence": self.confidence}
        told = {key: value for key, value in known.items() if value is not None}
        saw: dict[str, Plain] = {"minutes": [ref.to_dict() for ref in self.minutes]} if self.minutes else {}
        return told | saw | plain_dict(self.extra, "decision")


def _moment(timestamp: str) -> datetime:
    if not isinstance(timestamp, str):
        raise BadValue(f"timestamp {brief(timestamp)}: expected ISO text such as 2024-12-29T10:30:00")
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        raise BadValue(f"timestamp {brief(timestamp)}: expected ISO text such as 2024-12-29T10:30:00") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else utc(at, "timestamp")


def _are_references(value: object) -> bool:
    """Whether a decision's `minutes` are meant as references, and not something of the program's own."""
    return isinstance(value, list | tuple) and bool(value) and all(_is_reference(item) for item in value)


def _is_reference(item: object) -> bool:
    return isinstance(item, MinuteRef) or (isinstance(item, dict) and set(item) == set(KEYS))


def _is_plain(value: object) -> bool:
    return isinstance(value, list) and not any(isinstance(item, MinuteRef) for item in value)


def _references(values: object) -> tuple[MinuteRef, ...]:
    if not isinstance(values, list | tuple):
        raise BadValue(f"minutes {brief(values)}: expected a list of references")
    return tuple(item if isinstance(item, MinuteRef) else MinuteRef.from_dict(item) for item in values)
