"""What all entities share: they check themselves when they are made, and refuse by name what isn't allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pipeline.errors import BadValue, NotAllowed


class Entity:
    """Base of the domain's dataclasses. `_check` validates and normalises the fields, which it may assign."""

    __slots__ = ()
    ID: ClassVar[str]  # the field that names it

    def __post_init__(self) -> None:
        try:
            self._check()
        except BadValue as error:
            raise BadValue(f"{self.label}: {error}") from None

    def _check(self) -> None:
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What it is called in messages: `order ord_001`."""
        return f"{type(self).__name__.lower()} {str(getattr(self, self.ID))[:64]}"

    def _allow(self, move: str, state: str, moves: Mapping[str, frozenset[str]]) -> None:
        """NotAllowed unless `moves` has `move` from `state`."""
        if state not in moves[move]:
            allowed = [name for name, states in moves.items() if state in states]
            raise NotAllowed(f"{self.label} is {state}: it can't {move}; allowed: {', '.join(allowed) or 'nothing more'}")


def checked_version(value: int) -> int:
    """How often an entity was saved: 0 for never."""
    if type(value) is not int or value < 0:
        raise BadValue(f"version {value!r}: expected a whole number, 0 or more")
    return value
