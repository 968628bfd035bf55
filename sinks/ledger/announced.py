"""What programs that follow a SQLite ledger know of it, carried on over a restore.

They ask for the changes after the last one that they saw. A restored ledger must go on with these numbers, tell what became of
each condition and order, and take no version that a program may still hold of later content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, column, insert, select, table, update
from sqlalchemy.sql import func

from pipeline.errors import StorageError
from sinks.ledger import dump
from sinks.ledger.database import Database
from sinks.ledger.plain_rows import AT_ONCE, BY_NAME
from sinks.ledger.trading_tables import CHANGES

_SEQUENCE = table("sqlite_sequence", column("name"), column("seq"))
_FOLLOWED = {"conditions": "condition", "orders": "order"}


@dataclass(frozen=True, slots=True)
class Announced:
    """How far a ledger's changes are, and the versions of what it holds."""

    changes: Sequence[dict[str, Any]] = ()
    last_id: int = 0
    versions: dict[str, dict[str, int]] = field(default_factory=dict)


def announced(database: Database) -> Announced:
    """What the ledger has told of; nothing where it is too damaged to say."""
    try:
        with database.reading() as connection:
            rows = [dict(row._mapping) for row in connection.execute(select(CHANGES).order_by(CHANGES.c.change_id))]
            last = connection.execute(select(_SEQUENCE.c.seq).where(_SEQUENCE.c.name == CHANGES.name)).scalar()
            return Announced(rows, int(last or 0), dump.versions(connection))
    except StorageError:
        return Announced()


def carry_on(restored: Database, before: Announced) -> None:
    """Has a restored ledger go on from there."""
    with restored.writing() as connection:
        own = connection.execute(select(func.max(CHANGES.c.change_id))).scalar() or 0
        connection.execute(CHANGES.delete())
        for at in range(0, len(before.changes), AT_ONCE):
            connection.execute(insert(CHANGES), list(before.changes[at : at + AT_ONCE]))
        _count_on(connection, max(int(own), before.last_id))
        now = dump.versions(connection)
        for name, later in before.versions.items():
            dump.step_over(connection, BY_NAME[name], later)  # told by a trigger
        for name, entity in _FOLLOWED.items():
            _tell(connection, restored, entity, before.versions.get(name, {}), now[name])


def _count_on(connection: Connection, last_id: int) -> None:
    same = _SEQUENCE.c.name == CHANGES.name
    if not connection.execute(update(_SEQUENCE).where(same).values(seq=last_id)).rowcount:
        connection.execute(insert(_SEQUENCE).values(name=CHANGES.name, seq=last_id))


def _tell(connection: Connection, restored: Database, entity: str, was: dict[str, int], now: dict[str, int]) -> None:
    at = restored.now()
    gone = [(key, version, "deleted") for key, version in was.items() if key not in now]
    new = [(key, version, "created") for key, version in now.items() if key not in was]
    older = [(key, version, "updated") for key, version in now.items() if was.get(key, version) < version]
    rows = [
        {"entity": entity, "entity_id": key, "version": version, "change": change, "changed_at": at}
        for key, version, change in [*gone, *new, *older]
    ]
    if rows:
        connection.execute(insert(_NEW_CHANGE), rows)


_NEW_CHANGE: Table = table(CHANGES.name, *(column(c.name, c.type) for c in CHANGES.c if c.name != "change_id"))  # type: ignore[assignment]
