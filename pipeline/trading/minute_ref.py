"""A reference to the recorded minute that a decision was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.trading.names import brief, checked_text
from pipeline.trading.plain import Plain

KEYS = ("venue", "symbol", "minute", "revision", "checksum")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_LAST_MINUTE = (datetime(9999, 12, 31, 23, 59, tzinfo=UTC) - _EPOCH) // _MINUTE


@dataclass(frozen=True, slots=True)
class MinuteRef:
    """An instrument's minute as it was seen: its revision (1 or more) and its checksum.

    `minute` is given as minutes since 1970, an aware datetime or ISO text (`2024-10-23T14:30`, UTC if it names no zone), and
    kept as the first.
    """

    venue: str
    symbol: str
    minute: int
    revision: int
    checksum: str

    def __post_init__(self) -> None:
        Instrument(self.venue, self.symbol)  # refuses what can't be one
        object.__setattr__(self, "minute", _minute(self.minute))
        if type(self.revision) is not int or self.revision < 1:
            raise BadValue(f"minute's revision {brief(self.revision)}: expected a whole number, 1 or more")
        checked_text(self.checksum, "minute's checksum")

    @property
    def at(self) -> datetime:
        """When the minute begins."""
        return _EPOCH + self.minute * _MINUTE

    @property
    def instrument(self) -> Instrument:
        """Venue and symbol."""
        return Instrument(self.venue, self.symbol)

    def to_dict(self) -> dict[str, Plain]:
        """The five fields by name; the minute as minutes since 1970."""
        return {key: getattr(self, key) for key in KEYS}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> MinuteRef:
        """The reference of a dict with just these five keys."""
        if set(values) != set(KEYS):
            raise BadValue(f"minute {brief(dict(values))}: expected the keys {', '.join(KEYS)}")
        return cls(**values)  # type: ignore[arg-type]  # each field is checked when it is made


def _minute(value: object) -> int:
    if type(value) is int and 0 <= value <= _LAST_MINUTE:
        return value
    at = _moment(value)
    minute, rest = divmod(at - _EPOCH, _MINUTE)
    if rest or minute < 0:
        raise BadValue(f"minute {brief(value)}: expected a whole minute since 1970")
    return minute


def _moment(value: object) -> datetime:
    """A datetime that is aware, of a datetime or a text."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise BadValue(f"minute {brief(value)}: expected a time such as 2024-10-23T14:30") from None
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    raise BadValue(f"minute {brief(value)}: expected minutes since 1970, an aware datetime or a time such as 2024-10-23T14:30")
