"""Redis windows for tests: on fakeredis in seconds, and the same on real servers. `-k "not real"` leaves the latter out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline import writer
from pipeline.window import RedisWindow
from tests.pipeline.fake_redis import fake_redis
from tests.pipeline.house import House

FAKE_AND_REAL = [pytest.param("fake", id="fake"), pytest.param("redis_server", id="real")]
ALL_KINDS = [*FAKE_AND_REAL, pytest.param("oldest_redis_server", id="real-6.2")]


@pytest_asyncio.fixture
async def window(request: pytest.FixtureRequest) -> AsyncIterator[RedisWindow]:
    """An empty window; which kind of Redis it is in, the test module says by parametrising."""
    kind = request.param
    if kind == "fake":
        opened = RedisWindow(await fake_redis(), "fake")
    else:
        opened = RedisWindow.connect(request.getfixturevalue(kind).url)
        await opened.client.flushall()
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def house(window: RedisWindow, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house around the window, and no writer of it left at the end."""
    monkeypatch.setattr(writer, "LEASE_MS", 60_000)  # a busy machine must not lose a lease in the midst of a test
    made = House(window)
    yield made
    for each in made.writers:
        await each.abandon()
