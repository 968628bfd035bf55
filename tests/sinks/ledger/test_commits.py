"""Writers of one process: they take turns, those who wait share a commit, and nobody is told too early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from sinks.ledger import commits
from sinks.ledger.commits import Commits
from sinks.ledger.sqlite import SqliteEngine


class Watched(SqliteEngine):
    """A database that counts its commits, and whose commit can be held up or fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.commits = 0
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.committing = threading.Event()
        self.broken: Exception | None = None

    def commit(self, connection: Connection) -> None:
        self.committing.set()
        assert self.may_commit.wait(30)
        self.commits += 1
        if self.broken is not None:
            raise self.broken
        super().commit(connection)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Watched]:
    engine = Watched(tmp_path / "ledger.db")
    connection = engine.begin()
    connection.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    engine.commit(connection)
    engine.commits = 0
    engine.committing.clear()
    yield engine
    engine.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def write(turns: Commits, x: int) -> None:
    with turns.writing() as connection:
        connection.exec_driver_sql(f"INSERT INTO t VALUES ({x})")


def stored(engine: Watched) -> list[int]:
    with engine.reader.begin() as connection:
        return list(connection.exec_driver_sql("SELECT x FROM t ORDER BY x").scalars())


@contextmanager
def others_wait(turns: Commits, pool: ThreadPoolExecutor, numbers: range) -> Iterator[list[Future[None]]]:
    """A writer's turn, in which as many others as there are numbers come to wait."""
    with turns.writing():
        waiting = [pool.submit(write, turns, x) for x in numbers]
        while turns._waiting < len(numbers):
            threading.Event().wait(0.001)
        yield waiting


def test_those_who_wait_share_one_commit(engine: Watched, pool: ThreadPoolExecutor) -> None:
    turns = Commits(engine)
    with others_wait(turns, pool, range(30)) as waiting:
        pass
    for each in waiting:
        each.result(30)
    assert stored(engine) == list(range(30))
    assert engine.commits == 1  # all thirty and the one before them


def test_no_more_than_a_bounded_number_of_them(
    engine: Watched, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MOST", 4)
    turns = Commits(engine)
    with others_wait(turns, pool, range(11)) as waiting:
        pass
    for each in waiting:
        each.result(30)
    assert engine.commits == 3  # of twelve writers


def test_alone_a_writer_commits_at_once(engine: Watched) -> None:
    turns = Commits(engine)
    for x in range(3):
        write(turns, x)
    assert engine.commits == 3


def test_nobody_is_told_before_it_is_written(engine: Watched, pool: ThreadPoolExecutor) -> None:
    turns = Commits(engine)
    engine.may_commit.clear()
    with ThreadPoolExecutor(1) as first:
        leader = first.submit(lambda: _lead(turns, pool))
        waiting = leader.result(30)
        assert engine.committing.wait(30)
        assert not any(each.done() for each in waiting)
        assert stored(engine) == []
        engine.may_commit.set()
        for each in waiting:
            each.result(30)
    assert stored(engine) == list(range(5))


def _lead(turns: Commits, pool: ThreadPoolExecutor) -> list[Future[None]]:
    """Has others wait, in a thread of its own, which itself waits for the commit; returns them at once."""
    told: Future[list[Future[None]]] = Future()

    def lead() -> None:
        with others_wait(turns, pool, range(5)) as waiting:
            told.set_result(waiting)

    pool.submit(lead)
    return told.result(30)


def test_one_that_fails_is_undone_by_itself(engine: Watched, pool: ThreadPoolExecutor) -> None:
    turns = Commits(engine)

    def fail() -> None:
        with turns.writing() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (99)")
            raise ValueError("changed my mind")

    with others_wait(turns, pool, range(3)) as waiting:
        failing = pool.submit(fail)
        while turns._waiting < 4:
            threading.Event().wait(0.001)
    with pytest.raises(ValueError, match="changed my mind"):
        failing.result(30)
    for each in waiting:
        each.result(30)
    assert stored(engine) == [0, 1, 2]


def test_a_first_one_that_fails_leaves_nothing_open(engine: Watched) -> None:
    turns = Commits(engine)
    with pytest.raises(ValueError, match="no"), turns.writing() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        raise ValueError("no")
    assert stored(engine) == []
    write(turns, 2)
    assert stored(engine) == [2]


def test_a_commit_that_fails_is_told_to_all_who_shared_it(engine: Watched, pool: ThreadPoolExecutor) -> None:
    turns = Commits(engine)
    engine.broken = OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone"), others_wait(turns, pool, range(5)) as waiting:
        pass
    for each in waiting:
        with pytest.raises(OSError, match="the disk is gone"):
            each.result(30)
    engine.broken = None
    assert stored(engine) == []
    write(turns, 7)
    assert stored(engine) == [7]


def test_where_the_database_undid_all_those_before_are_told_too(engine: Watched, pool: ThreadPoolExecutor) -> None:
    turns = Commits(engine)

    def lose() -> None:
        with turns.writing() as connection:
            engine.rollback(connection)  # as SQLite itself does where a disk is full
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), turns.writing() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        losing = pool.submit(lose)
        while turns._waiting < 1:
            threading.Event().wait(0.001)
    with pytest.raises(OSError, match="disk full"):
        losing.result(30)
    assert stored(engine) == []
    write(turns, 2)
    assert stored(engine) == [2]


class Interrupted:
    """A lock whose second acquisition is interrupted, as by Ctrl-C, once the lock's holder has given it up."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.calls = 0
        self.gave_up = threading.Event()

    def acquire(self) -> bool:
        self.calls += 1
        if self.calls == 2:
            assert self.gave_up.wait(30)
            raise KeyboardInterrupt
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()
        self.gave_up.set()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_one_that_is_interrupted_as_it_waits_leaves_no_transaction_open(engine: Watched, pool: ThreadPoolExecutor) -> None:
    turns = Commits(engine)
    turns._turn = Interrupted(turns._turn)  # type: ignore[assignment]
    with turns.writing() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        waiting = pool.submit(write, turns, 2)
        while turns._waiting < 1:
            threading.Event().wait(0.001)
    with pytest.raises(KeyboardInterrupt):
        waiting.result(30)
    assert stored(engine) == [1]
