"""Ledgers on each engine. PostgreSQL where its server and psycopg are installed: a server of the session's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

from sinks.ledger.ledger import Ledger, open_ledger
from tests.conftest import gone_with_us

_SERVER_USER = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
_names = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty server, without a database's name."""
    if not all(map(shutil.which, ("initdb", "pg_ctl", "psql"))) or not find_spec("psycopg"):
        pytest.skip("no PostgreSQL here: initdb, pg_ctl, psql and the package psycopg are needed")
    folder = Path(tempfile.mkdtemp(prefix="spillway-pg-"))  # not below pytest's own folder, which is for its owner only
    shutil.chown(folder, user=_SERVER_USER or os.getuid())
    try:
        with _running(folder):
            yield f"postgresql://postgres@/NAME?host={folder}"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The URL of an empty database."""
    name = f"ledger{next(_names)}"
    folder = postgres.partition("host=")[2]
    subprocess.run(["psql", "-q", "-h", folder, "-U", "postgres", "-c", f"CREATE DATABASE {name}"], check=True)
    return postgres.replace("NAME", name)


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


@contextmanager
def _running(folder: Path) -> Iterator[None]:
    data, options = str(folder / "data"), f"-k {folder} -c listen_addresses= -c fsync=off"
    _run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
    _run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        with gone_with_us(int((folder / "data" / "postmaster.pid").read_text().split()[0])):
            yield
    finally:
        _run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")


def _run(*command: str) -> None:
    subprocess.run(command, user=_SERVER_USER, cwd="/", stdout=subprocess.DEVNULL, check=True)
