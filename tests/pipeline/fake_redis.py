"""A Redis inside the test's own process."""

from __future__ import annotations

import hashlib
from typing import Any

import fakeredis


async def fake_redis() -> Any:
    """An empty fakeredis that knows the one Lua function of ours that it lacks."""
    server: Any = fakeredis.FakeServer()
    client = fakeredis.FakeAsyncRedis(server=server)
    await client.eval("return 1", 0)  # it makes its Lua with the first script
    server._lua_runtime.globals()[b"redis"][b"sha1hex"] = lambda text: hashlib.sha1(text).hexdigest().encode()
    return client
