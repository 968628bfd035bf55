"""All that a Redis holds, to compare, and to take it back to an earlier moment as a failover or a power cut would."""

from __future__ import annotations

from typing import Any


async def contents(client: Any) -> dict[bytes, Any]:
    """Every key's value (times to live left out)."""
    read = {b"hash": client.hgetall, b"set": client.smembers, b"string": client.get, b"stream": client.xrange}
    return {key: await read[await client.type(key)](key) for key in sorted(await client.keys("*"))}


async def snapshot(client: Any) -> dict[bytes, bytes]:
    """Every key as Redis itself dumps it."""
    keys = sorted(await client.keys("*"))
    at_once = client.pipeline(transaction=True)
    for key in keys:
        at_once.dump(key)
    return {key: value for key, value in zip(keys, await at_once.execute(), strict=True) if value is not None}


async def restore(client: Any, saved: dict[bytes, bytes]) -> None:
    """Takes Redis back: to these keys, and no others. The lease is not part of it: it would have run out."""
    back = client.pipeline(transaction=True)  # at once, as those who go on writing would find it
    back.flushdb()
    for key, value in saved.items():
        if not key.endswith(b":lease"):
            back.restore(key, 0, value)
    await back.execute()
