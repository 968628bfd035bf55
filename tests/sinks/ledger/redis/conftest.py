"""What programs share: on a real Redis, as our ACL user and no other, and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.ledger.redis.shared import Shared, open_shared
from tests.sinks.ledger.redis.servers import Server, running


@pytest.fixture(scope="session")
def trading_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("trading")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    """One that the test may kill."""
    with running(tmp_path) as server:
        yield server


@pytest.fixture(params=["redis", "memory"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """Empty, in each store."""
    if request.param == "memory":
        with open_shared("memory://") as opened:
            yield opened
        return
    server: Server = request.getfixturevalue("trading_redis")
    with server.admin() as admin:
        admin.flushdb()
    with open_shared(server.url) as opened:
        yield opened
