"""Who writes when, within one process: one after the other, and those who wait meanwhile share one commit.

A durable commit costs an fsync, however much it holds. So a writer that is done, while others wait, leaves the transaction open
to the next and waits for its commit; the last one commits for all. Each writer's part is a savepoint: one that fails is undone
by itself. Nobody is told that it is written before it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

MOST = 256  # writers that share one commit


class Writable(Protocol):
    """What of an engine is needed to write. Parts of a transaction may lie in each other."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Holds off other processes."""

    def begin(self) -> Connection:
        """Begins the transaction."""

    def commit(self, connection: Connection) -> None:
        """Makes it durable, and ends it."""

    def rollback(self, connection: Connection) -> None:
        """Undoes it, and ends it, whatever state it is in."""

    def begin_part(self, connection: Connection) -> None:
        """Begins a part that can be undone by itself."""

    def keep_part(self, connection: Connection) -> None:
        """Ends the part: it counts as the transaction does."""

    def undo_part(self, connection: Connection) -> None:
        """Undoes the part and ends it."""

    def is_open(self, connection: Connection) -> bool:
        """Whether the transaction still is: some errors undo all of it at once."""


@dataclass(slots=True)
class _Batch:
    """A transaction that several writers share."""

    connection: Connection
    held: ExitStack
    members: int = 0  # whose part is in it
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Commits:
    """The writers' turns. Thread-safe."""

    def __init__(self, engine: Writable) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._batch: _Batch | None = None  # left open by a writer for the next

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A writer's part: durable when this returns; undone whole where it raises."""
        batch = self._take_turn()
        try:
            self._engine.begin_part(batch.connection)
            yield batch.connection
            self._engine.keep_part(batch.connection)
        except BaseException as error:
            self._undo(batch, error)
            self._leave(batch)
            raise
        batch.members += 1
        self._leave(batch)
        batch.done.wait()
        if batch.error is not None:
            raise batch.error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds off all other writers of this process; what those before have written is committed."""
        with self._turn:
            self._end_if_left_open()
            yield

    def _take_turn(self) -> _Batch:
        with self._counting:
            self._waiting += 1
        try:
            self._turn.acquire()
        except BaseException:  # Ctrl-C: whoever counted on this writer to commit must not wait for ever
            self._waits_no_more()
            with self._turn:
                self._end_if_left_open()
            raise
        self._waits_no_more()
        try:
            self._batch = self._batch or self._begin()
        except BaseException:
            self._turn.release()
            raise
        return self._batch

    def _waits_no_more(self) -> None:
        with self._counting:
            self._waiting -= 1

    def _begin(self) -> _Batch:
        with ExitStack() as stack:
            stack.enter_context(self._engine.exclusive())
            connection = self._engine.begin()
            return _Batch(connection, stack.pop_all())

    def _undo(self, batch: _Batch, error: BaseException) -> None:
        """Takes back a part that failed: what the others wrote stays, unless the database took back all."""
        try:
            if self._engine.is_open(batch.connection):
                self._engine.undo_part(batch.connection)
            else:
                batch.error = error
        except BaseException as failure:
            batch.error = failure

    def _leave(self, batch: _Batch) -> None:
        """Hands the transaction to the next writer, or ends it; gives up the turn."""
        try:
            with self._counting:
                others = self._waiting
            if not others or batch.error is not None or not 0 < batch.members < MOST:
                self._batch = None
                self._end(batch)
        finally:
            self._turn.release()

    def _end_if_left_open(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            self._end(batch)

    def _end(self, batch: _Batch) -> None:
        """Commits, or rolls back what can't count; tells all members."""
        try:
            with batch.held:
                if batch.error is None and batch.members:
                    self._commit(batch.connection)
                else:
                    self._engine.rollback(batch.connection)
        except BaseException as error:
            batch.error = batch.error or error
        finally:
            batch.done.set()

    def _commit(self, connection: Connection) -> None:
        try:
            self._engine.commit(connection)
        except BaseException:
            self._engine.rollback(connection)
            raise
