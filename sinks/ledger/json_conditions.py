"""Conditions in a JSON file: the same as `ledger.conditions`, for who has no need of a database yet.

Every change writes the whole file, so it is for hundreds of conditions rather than for many thousands. There are no strategies
beside it: whether one of a condition's `strategy_id` exists is not checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import AlreadyExists, BadValue, Missing, Stale
from pipeline.trading.condition import Condition, ConditionStatus, ConditionType
from pipeline.trading.moments import utc
from pipeline.trading.plain import plain_dict
from sinks.ledger.condition_steps import ConditionSteps
from sinks.ledger.conditions_file import ConditionsFile

_WAITING = (ConditionStatus.ACTIVE, ConditionStatus.PAUSED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Stored = dict[str, Condition]


class JsonConditions(ConditionSteps):
    """Conditions, in the order that they were made in. Blocking and thread-safe; close it, or use it in a `with` block.

    StorageError for a file that can't be read, is damaged or of a newer version: it is left as it is.
    """

    def __init__(self, path: Path, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._file = ConditionsFile(path)
        self._clock_ns = clock_ns
        self.where = str(path)
        try:
            self._file.read()
        except BaseException:
            self._file.close()
            raise

    # --- in -------------------------------------------------------------------------------------------------------------

    def save(self, entity: Condition) -> None:
        """Stores a new one, or a changed one over what it was read as. AlreadyExists, Stale, Missing: nothing is stored."""
        self.save_many([entity])

    def create(self, entity: Condition) -> None:
        """Stores a new condition. AlreadyExists where its key is taken."""
        if entity.version:
            raise AlreadyExists(f"{_named(entity.condition_id)} is stored already: update it")
        self.save(entity)

    def update(self, entity: Condition) -> None:
        """Stores a changed condition. Missing where it was never stored."""
        if not entity.version:
            raise Missing(f"{_named(entity.condition_id)} isn't stored: create it")
        self.save(entity)

    def save_many(self, entities: Iterable[Condition]) -> None:
        """Stores all of them, or none."""
        batch = list(entities)
        now = self._now()
        with self._file.changing() as stored:
            written = [_put(stored, entity, now) for entity in batch]
        for entity, kept in zip(batch, written, strict=True):
            _note(entity, kept)

    def change(self, key: str, change: Callable[[Condition], Any]) -> Condition:
        """Reads one, changes it and stores it: no other writer comes between. As it is then. Missing."""
        with self._file.changing() as stored:
            entity = _changed(stored, key, change, self._now())
        return entity

    def delete(self, key: str) -> bool:
        """Removes one; whether it was there."""
        with self._file.changing() as stored:
            return stored.pop(key, None) is not None

    def expire_due(self, at: datetime | None = None) -> list[Condition]:
        """Expires all that are waited for and whose `expires_at` has come; those, as they are then."""
        moment = self._at(at)
        with self._file.changing() as stored:
            due = [c for c in stored.values() if c.status in _WAITING and c.is_expired(moment)]
            due.sort(key=lambda c: (c.expires_at, *_order(c)))
            return [_changed(stored, c.condition_id, lambda c: c.expire(moment), self._now()) for c in due]

    # --- out ------------------------------------------------------------------------------------------------------------

    def find_by_id(self, key: str) -> Condition | None:
        """The condition of a key, or None."""
        found = self._file.read().get(key)
        return found and _copy(found)

    def find_all(self, limit: int | None = None, offset: int = 0) -> list[Condition]:
        """All of them, in their order."""
        return self.find(limit=limit, offset=offset, newest_first=False)

    def find(
        self,
        *,
        symbol: str | None = None,
        condition_type: ConditionType | str | None = None,
        status: ConditionStatus | str | None = None,
        strategy_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Condition]:
        """Those that fit all that is given, by when they were made. `start` up to, and without, `end`."""
        if (limit is not None and limit < 0) or offset < 0:
            raise BadValue(f"limit {limit}, offset {offset}: expected 0 or more")
        wanted = {
            "symbol": symbol,
            "condition_type": condition_type and ConditionType(condition_type),
            "status": status and ConditionStatus(status),
            "strategy_id": strategy_id,
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        first, last = (None if at is None else utc(at, name) for at, name in ((start, "start"), (end, "end")))
        found = [
            c
            for c in self._file.read().values()
            if all(getattr(c, name) == value for name, value in wanted.items())
            and (first is None or _made(c) >= first)
            and (last is None or _made(c) < last)
        ]
        found.sort(key=_order, reverse=newest_first)
        return [_copy(c) for c in found[offset : None if limit is None else offset + limit]]

    def find_active(self, symbol: str | None = None) -> list[Condition]:
        """Those that are waited for, of one symbol or of all."""
        return self.find(symbol=symbol, status=ConditionStatus.ACTIVE, newest_first=False)

    def find_by_symbol(self, symbol: str, status: ConditionStatus | str | None = None) -> list[Condition]:
        """Those of a symbol."""
        return self.find(symbol=symbol, status=status, newest_first=False)

    def find_by_status(self, status: ConditionStatus | str) -> list[Condition]:
        """Those of a status."""
        return self.find(status=ConditionStatus(status), newest_first=False)

    def find_by_strategy(self, strategy_id: str, status: ConditionStatus | str | None = None) -> list[Condition]:
        """Those of a strategy."""
        return self.find(strategy_id=strategy_id, status=status, newest_first=False)

    def exists(self, key: str) -> bool:
        """Whether it is stored."""
        return key in self._file.read()

    def count(self) -> int:
        """How many are stored."""
        return len(self._file.read())

    def close(self) -> None:
        """Closes the file and its locks."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _at(self, at: datetime | None) -> datetime:
        return self._now() if at is None else utc(at, "at")

    def _now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._clock_ns() // 1_000)


def _put(stored: Stored, entity: Condition, now: datetime) -> Condition:
    """Puts a condition where it belongs, if it may; as it is stored. The entity itself is not touched yet."""
    key, before = entity.condition_id, stored.get(entity.condition_id)
    if not entity.version and before:
        raise AlreadyExists(f"{_named(key)} is stored already")
    if entity.version and not before:
        raise Missing(f"{_named(key)} was deleted since it was read")
    if before and before.version != entity.version:
        raise Stale(f"{_named(key)} was changed by another process since it was read: read it again")
    kept = _copy(entity)
    kept.__post_init__()  # what was assigned since it was made is checked, too
    kept.created_at = before.created_at if before else entity.created_at or now
    kept.updated_at = now if before else entity.updated_at or now
    kept.version = entity.version + 1
    stored[key] = kept
    return kept


def _changed(stored: Stored, key: str, change: Callable[[Condition], Any], now: datetime) -> Condition:
    if key not in stored:
        raise Missing(f"{_named(key)} isn't stored")
    entity = _copy(stored[key])
    change(entity)
    _note(entity, _put(stored, entity, now))
    return entity


def _note(entity: Condition, kept: Condition) -> None:
    """What the store knows of the entity now."""
    entity.version, entity.updated_at = kept.version, kept.updated_at
    entity.created_at = entity.created_at or kept.created_at


def _copy(condition: Condition) -> Condition:
    """One that the caller may change."""
    copied = copy(condition)
    copied.parameters = plain_dict(condition.parameters, "parameters")
    return copied


def _made(condition: Condition) -> datetime:
    return condition.created_at or _EPOCH


def _order(condition: Condition) -> tuple[datetime, str]:
    return _made(condition), condition.condition_id


def _named(key: str) -> str:
    return f"condition {key!r}"
