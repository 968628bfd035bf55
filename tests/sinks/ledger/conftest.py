"""Ledgers on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.tables import METADATA
from tests.sinks.ledger.postgres_server import make_database


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
