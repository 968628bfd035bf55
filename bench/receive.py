"""Receives the feed's frames with one library, and does nothing else: `python -m bench.receive LIBRARY PORT COUNT` -> `done NS`

It runs in the peers' environment too, so it imports nothing of ours, and each library only where it is asked for.
"""

from __future__ import annotations

import asyncio
import sys
import time

try:
    from uvloop import run
except ImportError:
    from asyncio import run


async def by_picows(url: str, count: int) -> None:
    """Each frame as bytes, in a callback."""
    from picows import WSFrame, WSListener, WSTransport, ws_connect

    class Reader(WSListener):
        left = count
        done = asyncio.Event()

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            frame.get_payload_as_bytes()
            self.left -= 1
            if not self.left:
                self.done.set()

    reader = Reader()
    await ws_connect(lambda request, response: reader, url)
    await reader.done.wait()


async def by_websockets(url: str, count: int) -> None:
    """Each frame as bytes, awaited."""
    from websockets.asyncio.client import connect

    async with connect(url, compression=None, max_size=None, max_queue=None) as socket:
        for _ in range(count):
            await socket.recv(decode=False)


async def by_aiohttp(url: str, count: int) -> None:
    """Each frame as text, awaited."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        for _ in range(count):
            await socket.receive()


LIBRARIES = {"picows": by_picows, "websockets": by_websockets, "aiohttp": by_aiohttp}


async def receive(library: str, port: int, count: int) -> None:
    """Returns after so many frames, and says when."""
    await LIBRARIES[library](f"ws://127.0.0.1:{port}/stream?streams=btcusdt@aggTrade", count)
    print("done", time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    run(receive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
