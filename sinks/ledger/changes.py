"""What of conditions and orders changed, in the order of commits: for programs that act on what others write, at once.

The database's triggers fill the table, with the write itself: a change is in it if, and only if, it was committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar

from sqlalchemy import bindparam, delete, func, select

from pipeline.errors import BadValue, RedisUnavailable, Stale, StorageError
from pipeline.trading.moments import utc
from pipeline.trading.names import brief
from sinks.ledger.database import Database
from sinks.ledger.redis.connection import SharedRedis
from sinks.ledger.trading_tables import CHANGES as T
from sinks.ledger.wakeups import Bell

log = logging.getLogger(__name__)

T_ = TypeVar("T_")
KINDS = ("condition", "order")
AT_ONCE = 500
_LONGEST_PAUSE_S = 2.0  # between two tries to reach a database that is away


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `entity` is condition or order, `change` is created, updated or deleted, `version` the one it led to."""

    change_id: int
    entity: str
    entity_id: str
    version: int
    change: str
    changed_at: datetime


Batches: TypeAlias = Generator[list[Change], None, None]


class Changes:
    """The changes. Blocking and thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        columns = [T.c[field.name] for field in fields(Change)]
        # From the one that is known on: that it is still there proves that none after it was removed.
        known = select(*columns).where(T.c.change_id >= bindparam("after")).order_by(T.c.change_id)
        self._from = known.limit(bindparam("most"))

    def since(self, change_id: int = 0, limit: int = AT_ONCE) -> list[Change]:
        """Those after that one, the first so many; after 0: from the oldest that is kept.

        Stale where that one isn't kept any more, so that some after it may be missing too: read anew what is followed.
        """
        if type(change_id) is not int or change_id < 0 or type(limit) is not int or limit < 1:
            raise BadValue(f"changes since {brief(change_id)}, limit {brief(limit)}: expected whole numbers, from 0 and from 1")
        rows = self._database.answer(self._from, {"after": change_id, "most": limit + 1})
        found = [Change(*tuple(row)) for row in rows]
        if not change_id:
            return found[:limit]
        if not found or found[0].change_id != change_id:
            raise Stale(
                f"change {change_id} isn't kept any more (pruned, or the ledger was restored): read anew, follow `latest()`"
            )
        return found[1:]

    def latest(self) -> int:
        """The id of the newest; 0 where there is none."""
        return int(self._database.answer(select(func.coalesce(func.max(T.c.change_id), 0)))[0][0])

    def prune(self, older_than: datetime) -> int:
        """Forgets those from before a moment, but for the last of them, by which a follower knows that it missed none.

        How many were forgotten.
        """
        first_kept = select(func.min(T.c.change_id)).where(T.c.changed_at >= utc(older_than, "older_than"))
        with self._database.writing() as connection:
            kept = connection.execute(first_kept).scalar()
            before = select(func.max(T.c.change_id))
            last = connection.execute(before if kept is None else before.where(T.c.change_id < kept)).scalar()
            return int(connection.execute(delete(T).where(T.c.change_id < (last or 0))).rowcount)

    def follow(
        self,
        after: int | None = None,
        *,
        stop: threading.Event | None = None,
        kinds: Collection[str] = KINDS,
        redis: SharedRedis | None = None,
    ) -> Generator[Change, None, None]:
        """Every change after that one (by default: from now on), as soon as it is committed, until `stop` is set.

        A lost connection is made again; nothing is missed or given twice. `redis`: wait for what writers announce there (see
        `Ledger.announce`). Close the iterator, or set `stop` and let it end. Stale as in `since`; BadValue.
        """
        wanted = checked_kinds(kinds)
        last = self.latest() if after is None else after
        batches = self.follow_batches(last, stop or threading.Event(), redis)
        return _each(batches, wanted)

    def follow_batches(
        self, last: int, stop: threading.Event, redis: SharedRedis | None = None
    ) -> Generator[list[Change], None, None]:
        """The same, as many at once as there are."""
        ear = _Ear(self._database, redis)
        try:
            while not stop.is_set():
                batch = ear.heard(partial(self.since, last), stop)
                if batch:
                    last = batch[-1].change_id
                    yield batch
        finally:
            ear.close()


def checked_kinds(kinds: Collection[str]) -> frozenset[str]:
    """Kinds of entities whose changes are told. BadValue for any other."""
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise BadValue(f"kind of change {unknown[0]!r}: expected one of {', '.join(KINDS)}")
    return frozenset(kinds)


def _each(batches: Batches, kinds: Collection[str]) -> Generator[Change, None, None]:
    with closing(batches):
        for batch in batches:
            yield from (change for change in batch if change.entity in kinds)


class _Ear:
    """Asks, and waits for the bell where there is nothing yet; through lost connections, to the bell too."""

    def __init__(self, database: Database, redis: SharedRedis | None) -> None:
        self._database = database
        self._redis = redis
        self._bell: Bell | None = None
        self._failures = 0  # since all went well

    def heard(self, ask: Callable[[], list[Change]], stop: threading.Event) -> list[Change]:
        """What there is; where there is nothing, nothing after a wait."""
        failures = self._failures
        self._try(self._open)  # before it asks: what is committed after the question rings
        found = self._try(ask) or []
        if not found:
            self._try(lambda: self._wait(stop))
        if self._failures == failures:
            self._failures = 0
        elif not found:
            stop.wait(min(0.02 * 2**self._failures, _LONGEST_PAUSE_S))
        return found

    def close(self) -> None:
        """Lets go of the bell."""
        bell, self._bell = self._bell, None
        if bell:
            bell.close()

    def _wait(self, stop: threading.Event) -> None:
        if self._bell:
            self._bell.wait(stop)

    def _open(self) -> None:
        self._bell = self._bell or self._database.bell(self._redis)

    def _try(self, step: Callable[[], T_]) -> T_ | None:
        try:
            return step()
        except (StorageError, RedisUnavailable) as error:
            if not self._failures:
                log.warning("following changes: %s; trying again", error)
            self._failures = min(self._failures + 1, 10)
            self.close()
            return None
