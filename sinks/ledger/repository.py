"""What all repositories share: an entity is a row, found by its key, and saved only over what was read.

Each stored entity that can change has a version. `save` writes the one that follows, and only if the stored one is still the
one that was read: so no process overwrites unseen what another one wrote meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, Table, bindparam, delete, func, insert, select
from sqlalchemy import update as sql_update

from pipeline.errors import AlreadyExists, BadValue, InUse, Missing, Stale, StorageError
from sinks.ledger.database import Database

E = TypeVar("E")
_OLD = "stored_version"


@dataclass(frozen=True, slots=True)
class Kind(Generic[E]):
    """How an entity is kept."""

    entity: type[E]
    table: Table
    name: str  # as errors call it
    key: str
    order: tuple[ColumnElement[Any], ...]  # in which `find_all` gives them

    @property
    def versioned(self) -> bool:
        """Whether it can change once it is stored."""
        return "version" in self.table.c


class Repository(Generic[E]):
    """Entities of one kind. Blocking and thread-safe; every method is one transaction."""

    kind: Kind[E]

    def __init__(self, database: Database) -> None:
        self._database = database
        kind, table = self.kind, self.kind.table
        self._key = table.c[kind.key]
        self._names = [f.name for f in fields(self.kind.entity) if f.init]  # type: ignore[arg-type]
        self._columns = self._columns_of_entity()
        self._select = select(*self._columns)
        self._by_key = database.prepare(self._select.where(self._key == bindparam("key")))
        self._keys = database.prepare(select(self._key).where(self._key == bindparam("key")))
        self._add = database.prepare_insert(insert(table), [c.name for c in table.c])
        self._delete = delete(table).where(self._key == bindparam("key"))
        values: dict[str, Any] = {c.name: bindparam(c.name) for c in table.c if c.name not in (kind.key, "created_at")}
        same = self._key == bindparam("key")
        if kind.versioned:
            same &= table.c.version == bindparam(_OLD)
        self._update = sql_update(table).where(same).values(values)

    # --- the common operations ------------------------------------------------------------------------------------------

    def save(self, entity: E) -> None:
        """Stores a new entity, or a changed one over what it was read as.

        AlreadyExists, Stale, Missing (what it points to, or itself, isn't stored), BadValue, StorageError: nothing is written.
        """
        self.save_many([entity])

    def create(self, entity: E) -> None:
        """Stores a new entity. AlreadyExists where its key is taken."""
        if _version(entity):
            raise AlreadyExists(f"{self._named(entity)} is stored already: update it")
        self.save(entity)

    def update(self, entity: E) -> None:
        """Stores a changed entity. Missing where it was never stored."""
        if not self.kind.versioned:
            raise BadValue(f"{self._named(entity)}: is never changed once it is stored")
        if not _version(entity):
            raise Missing(f"{self._named(entity)} isn't stored: create it")
        self.save(entity)

    def save_many(self, entities: Iterable[E]) -> None:
        """Stores all of them, or none."""
        batch = list(entities)
        if self.kind.versioned:
            self._check(batch)
        now = self._database.now()
        with self._told(batch), self._database.writing() as connection:
            new = [e for e in batch if not _version(e)]
            if new:
                self._add(connection, self._first_values(new, now))
            for entity in batch:
                if _version(entity):
                    self._write_over(connection, entity, now)
            self._write_more(connection, batch, now)
        for entity in batch:
            self._note_stored(entity, now)

    def change(self, key: str, change: Callable[[E], Any]) -> E:
        """Reads one, changes it and stores it, in one transaction: no other writer comes between. As it is then. Missing."""
        with self._database.writing():
            entity = self.find_by_id(key)
            if entity is None:
                raise Missing(f"{self.kind.name} {key!r} isn't stored")
            change(entity)
            self.save(entity)
        return entity

    def find_by_id(self, key: str) -> E | None:
        """The entity of a key, or None."""
        rows = self._by_key({"key": key})
        return self._read(rows)[0] if rows else None

    def find_all(self, limit: int | None = None, offset: int = 0) -> list[E]:
        """All of them, in their order."""
        return self._find(limit=limit, offset=offset)

    def delete(self, key: str) -> bool:
        """Removes one, and what belongs to it; whether it was there. InUse where something else points to it."""
        try:
            with self._database.writing() as connection:
                return bool(connection.execute(self._delete, {"key": key}).rowcount)
        except Missing:
            raise InUse(f"{self.kind.name} {key!r} can't be deleted: {self._pointing_to(key)} still point to it") from None

    def exists(self, key: str) -> bool:
        """Whether it is stored."""
        return bool(self._keys({"key": key}))

    def count(self) -> int:
        """How many are stored."""
        return int(self._database.answer(select(func.count()).select_from(self.kind.table))[0][0])

    # --- for the repositories of each kind ------------------------------------------------------------------------------

    def _find(
        self, *where: ColumnElement[bool], order: Sequence[Any] | None = None, limit: int | None = None, offset: int = 0
    ) -> list[E]:
        """Those that fulfil all of `where`."""
        if (limit is not None and limit < 0) or offset < 0:
            raise BadValue(f"limit {limit}, offset {offset}: expected 0 or more")
        question = self._select.where(*where).order_by(*(self.kind.order if order is None else order))
        return self._read(self._database.answer(question.limit(limit).offset(offset or None)))

    def _read(self, rows: Sequence[Sequence[Any]]) -> list[E]:
        """Stored rows as entities. StorageError for one that can't be: another program, or an older one, wrote it."""
        try:
            return self._entities(rows)
        except BadValue as error:
            raise StorageError(f"{self._database.where}: what is stored can't be: {error}") from None

    def _value(self, question: Executable, values: dict[str, Any] | None = None) -> Any:
        """The one value that a question has for an answer."""
        return self._database.answer(question, values)[0][0]

    # --- an entity and its row; overridden where they differ ------------------------------------------------------------

    def _columns_of_entity(self) -> list[ColumnElement[Any]]:
        """The columns that make an entity, in the order of its fields."""
        return [self.kind.table.c[name] for name in self._names]

    def _entities(self, rows: Sequence[Sequence[Any]]) -> list[E]:
        """Rows of `_columns_of_entity` as entities."""
        make, names = self.kind.entity, self._names
        return [make(**dict(zip(names, row, strict=True))) for row in rows]

    def _row(self, entity: E) -> dict[str, Any]:
        """An entity as the values of its columns."""
        return {column.name: getattr(entity, column.name) for column in self.kind.table.c}

    def _write_more(self, connection: Connection, entities: Sequence[E], now: datetime) -> None:
        """Writes what of the entities lies in other tables."""

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _check(self, entities: Sequence[Any]) -> None:
        """Holds them to what entities of this kind are held to when they are made: fields were assigned since."""
        for entity in entities:
            entity.__post_init__()

    def _first_row(self, entity: E, now: datetime) -> dict[str, Any]:
        row = self._row(entity)
        row["created_at"] = row["created_at"] or now
        if self.kind.versioned:
            row |= {"updated_at": row["updated_at"] or now, "version": 1}
        return row

    def _first_values(self, entities: Sequence[E], now: datetime) -> dict[str, Sequence[Any]]:
        """New entities as the values of their columns, column by column."""
        rows = [self._first_row(entity, now) for entity in entities]
        return {name: [row[name] for row in rows] for name in self.kind.table.c.keys()}  # noqa: SIM118

    def _write_over(self, connection: Connection, entity: E, now: datetime) -> None:
        row = self._row(entity)
        key, version = row.pop(self.kind.key), row["version"]
        del row["created_at"]
        row |= {"key": key, "version": version + 1, _OLD: version, "updated_at": now}
        if connection.execute(self._update, row).rowcount:
            return
        if not self._keys({"key": key}):
            raise Missing(f"{self.kind.name} {key!r} was deleted since it was read")
        raise Stale(f"{self.kind.name} {key!r} was changed by another process since it was read: read it again")

    def _note_stored(self, entity: E, now: datetime) -> None:
        """What the store knows of the entity now; forgotten again if the transaction around it is undone."""
        if not self.kind.versioned:
            return
        before = {name: getattr(entity, name) for name in ("version", "created_at", "updated_at")}
        after = {"version": before["version"] + 1, "created_at": before["created_at"] or now}
        after["updated_at"] = now if before["version"] else before["updated_at"] or now
        _set(entity, after)
        self._database.when_undone(lambda: _set(entity, before))

    @contextmanager
    def _told(self, batch: Sequence[E]) -> Iterator[None]:
        """Names which of them the database refuses, and why."""
        try:
            yield
        except AlreadyExists as error:
            taken = next((e for e in batch if not _version(e) and self.exists(getattr(e, self.kind.key))), None)
            raise AlreadyExists(f"{self._named(taken)} is stored already" if taken else str(error)) from None
        except Missing as error:
            raise Missing(next(self._pointing_nowhere(batch), str(error))) from None

    def _pointing_nowhere(self, batch: Sequence[E]) -> Iterator[str]:
        points = [(c, key.column) for c in self.kind.table.c for key in c.foreign_keys]
        for entity in batch:
            for column, target in points:
                value = getattr(entity, column.name)
                if value is not None and not self._database.answer(select(target).where(target == value)):
                    yield f"{self._named(entity)}: {column.name} {value!r} isn't stored"

    def _pointing_to(self, key: str) -> str:
        """What of other kinds points to one, and doesn't go with it."""
        keys = [k for table in self.kind.table.metadata.sorted_tables for k in table.foreign_keys]
        held = [k for k in keys if k.column is self._key and k.ondelete == "RESTRICT"]
        points = (k.parent for k in held if self._database.answer(select(k.parent).where(k.parent == key).limit(1)))
        return ", ".join(column.table.name for column in points)

    def _named(self, entity: E) -> str:
        return f"{self.kind.name} {getattr(entity, self.kind.key)!r}"


def _version(entity: object) -> int:
    """How often it was stored; 0 for what never changes."""
    return int(getattr(entity, "version", 0))


def _set(entity: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(entity, name, value)
