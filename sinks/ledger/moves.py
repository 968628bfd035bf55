"""A whole ledger from another one: what is missing is added, what differs is told and stays, unless it shall be replaced.

It may be stopped and run again: what is there is not written twice. At its end every row of the source is held against the
target's, and the exact sums of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, tuple_
from sqlalchemy import update as sql_update

from pipeline.errors import LedgerConflict, StorageError
from sinks.ledger.database import Database
from sinks.ledger.dump import Content, Told, row_counts, untold
from sinks.ledger.plain_rows import (
    PARTS,
    TABLES,
    Values,
    by_key,
    key_columns,
    names_of,
    question,
    rows_of,
    to_insert,
)

_NAMED = 5  # differing rows that an error names


@dataclass(frozen=True, slots=True)
class _Entity:
    """A row, and the rows that are a part of it."""

    row: Values
    parts: tuple[Values, ...] = ()


@dataclass(slots=True)
class Moved:
    """What became of a table's rows."""

    rows: int = 0  # of the source
    added: int = 0
    replaced: int = 0
    same: int = 0


@dataclass(slots=True)
class Report:
    """What became of a ledger's rows, by table, and the exact sums, which are the same in both."""

    tables: dict[str, Moved] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)


def move(source: Database, target: Database, *, replace: bool = False, told: Told = untold) -> Report:
    """Takes a ledger's rows into another one. LedgerConflict, before anything is written, for rows that differ there."""
    report = Report()
    with source.reading() as connection:
        total = sum(row_counts(connection).values())
        if not replace:
            _refuse_differing(connection, target, lambda done: told("compare", done, total))
        done = 0
        for table in _moved():
            moved = report.tables.setdefault(str(table.name), Moved())
            for batch in _entities(connection, table):
                with target.writing() as writer:
                    _put(writer, table, batch, moved, replace)
                done += len(batch)
                told("import", done, total)
        report.sums = _verified(connection, target, lambda done: told("verify", done, total))
    return report


# --- inside -------------------------------------------------------------------------------------------------------------

Keyed = dict[Values, _Entity]


def _moved() -> list[Table]:
    return [table for table in TABLES if table not in PARTS.values()]


def _entities(connection: Connection, table: Table) -> Iterator[Keyed]:
    for rows in rows_of(connection, question(table)):
        yield _with_parts(connection, table, rows)


def _with_parts(connection: Connection, table: Table, rows: Sequence[Values]) -> Keyed:
    keyed = by_key(table, rows)
    parts: dict[Values, list[Values]] = {}
    if (of := PARTS.get(str(table.name))) is not None and keyed:
        owner = next(iter(of.primary_key))
        asked = question(of).where(owner.in_([key[0] for key in keyed]))
        for row in connection.execute(asked):
            parts.setdefault((row[0],), []).append(tuple(row))
    return {key: _Entity(row, tuple(parts.get(key, ()))) for key, row in keyed.items()}


def _stored(connection: Connection, table: Table, wanted: Keyed) -> Keyed:
    """Those of them that a ledger holds."""
    asked = question(table)
    keys = key_columns(table)
    if table.name == "gaps":  # its keys hold nulls
        asked = asked.where(table.c.venue.in_({key[0] for key in wanted}), table.c.symbol.in_({key[1] for key in wanted}))
    elif len(keys) == 1:
        asked = asked.where(keys[0].in_([key[0] for key in wanted]))
    else:
        values = to_insert(names_of(table), [entity.row for entity in wanted.values()])
        asked = asked.where(tuple_(*keys).in_([tuple(row[key.name] for key in keys) for row in values]))
    found = _with_parts(connection, table, [tuple(row) for row in connection.execute(asked)])
    return {key: entity for key, entity in found.items() if key in wanted}


def _put(connection: Connection, table: Table, batch: Keyed, moved: Moved, replace: bool) -> None:
    stored = _stored(connection, table, batch)
    new = [entity for key, entity in batch.items() if key not in stored]
    other = {key: entity for key, entity in batch.items() if key in stored and stored[key] != entity}
    if other and not replace:
        raise LedgerConflict(_differing(table, list(other)))
    _insert(connection, table, [entity.row for entity in new])
    for key, entity in other.items():
        _replace(connection, table, key, entity)
    if (of := PARTS.get(str(table.name))) is not None:
        _insert(connection, of, [part for entity in [*new, *other.values()] for part in entity.parts])
    moved.rows += len(batch)
    moved.added += len(new)
    moved.replaced += len(other)
    moved.same += len(batch) - len(new) - len(other)


def _insert(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    if rows:
        connection.execute(insert(table), to_insert(names_of(table), rows))


def _replace(connection: Connection, table: Table, key: Values, entity: _Entity) -> None:
    (values,) = to_insert(names_of(table), [entity.row])
    same = [column == values[column.name] for column in _identity(table, values)]
    connection.execute(sql_update(table).where(*same).values(values))
    if (of := PARTS.get(str(table.name))) is not None:
        connection.execute(delete(of).where(next(iter(of.primary_key)) == key[0]))


def _identity(table: Table, values: Mapping[str, object]) -> list[ColumnElement[object]]:
    """The columns of a row's key; of a gap's those of the index that holds it."""
    keys = key_columns(table)
    if table.name == "gaps":
        other = "before_ns" if values["kind"] == "ids" else "first_id"
        return [column for column in keys if column.name != other]
    return list(keys)


def _refuse_differing(connection: Connection, target: Database, told: Callable[[int], None]) -> None:
    done = 0
    for table in _moved():
        differing: list[Values] = []
        for batch in _entities(connection, table):
            with target.reading() as other:
                stored = _stored(other, table, batch)
            differing += [key for key, entity in stored.items() if batch[key] != entity]
            done += len(batch)
            told(done)
        if differing:
            raise LedgerConflict(_differing(table, differing))


def _differing(table: Table, keys: Sequence[Values]) -> str:
    named = ", ".join("/".join(map(str, key)) for key in keys[:_NAMED]) + (", ..." if len(keys) > _NAMED else "")
    return f"{table.name}: {len(keys):,} are stored with another content ({named}): they stay; --replace takes the new one"


def _verified(connection: Connection, target: Database, told: Callable[[int], None]) -> dict[str, str]:
    """Holds every row against the target's; the sums, which are the same. StorageError where one isn't there as it should."""
    ours, theirs, done = Content(), Content(), 0
    for table in _moved():
        for batch in _entities(connection, table):
            with target.reading() as other:
                stored = _stored(other, table, batch)
            for content, entities in ((ours, batch), (theirs, stored)):
                _count(content, table, entities)
            if lost := [key for key, entity in batch.items() if stored.get(key) != entity]:
                raise StorageError(f"{target.where}: {table.name} {'/'.join(map(str, lost[0]))} is not there as it was written")
            done += len(batch)
            told(done)
    if (ours.rows, ours.sums) != (theirs.rows, theirs.sums):
        raise StorageError(f"{target.where}: its sums are not those of what was imported")
    return ours.sums


def _count(content: Content, table: Table, entities: Keyed) -> None:
    content.count(table, names_of(table), [entity.row for entity in entities.values()])
    if (of := PARTS.get(str(table.name))) is not None:
        content.count(of, names_of(of), [part for entity in entities.values() for part in entity.parts])
