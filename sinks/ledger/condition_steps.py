"""The steps that a condition takes, each one transaction, whatever the conditions are kept in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pipeline.trading.condition import Condition
from pipeline.trading.exact import Number


class ConditionSteps:
    """`trigger`, `pause`, `resume`, `cancel` and `expire` read and write in one transaction.

    Of two processes that trigger a condition at the same time only the first does, and the other gets NotAllowed.
    """

    def change(self, key: str, change: Callable[[Condition], Any]) -> Condition:
        """Reads one, changes it and stores it: no other writer comes between. As it is then. Missing."""
        raise NotImplementedError

    def _at(self, at: datetime | None) -> datetime:
        """That moment, or now."""
        raise NotImplementedError

    def trigger(self, condition_id: str, value: Number | None = None, at: datetime | None = None) -> Condition:
        """It has come, with `value`; as it is then. NotAllowed where it isn't active (any more), Missing."""
        return self.change(condition_id, lambda condition: condition.trigger(value, self._at(at)))

    def pause(self, condition_id: str, at: datetime | None = None) -> Condition:
        """It is not waited for, for now."""
        return self.change(condition_id, lambda condition: condition.pause(self._at(at)))

    def resume(self, condition_id: str, at: datetime | None = None) -> Condition:
        """It is waited for again."""
        return self.change(condition_id, lambda condition: condition.resume(self._at(at)))

    def cancel(self, condition_id: str, at: datetime | None = None) -> Condition:
        """It is waited for no more."""
        return self.change(condition_id, lambda condition: condition.cancel(self._at(at)))

    def expire(self, condition_id: str, at: datetime | None = None) -> Condition:
        """Its time is over."""
        return self.change(condition_id, lambda condition: condition.expire(self._at(at)))
