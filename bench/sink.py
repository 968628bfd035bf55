"""Receives and decodes the feed's frames, and does nothing else: the limit. `python -m bench.sink PORT COUNT` -> `done NS`"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSTransport, ws_connect


class Trade(msgspec.Struct, gc=False):
    """What of an aggTrade one must know."""

    s: str
    a: int
    p: str
    q: str
    T: int
    m: bool


class Frame(msgspec.Struct, gc=False):
    """A frame of a combined stream."""

    data: Trade


class Reader(WSListener):
    """Decodes each frame where it arrives, without a copy."""

    def __init__(self, count: int) -> None:
        self.done = asyncio.Event()
        self._left = count
        self._decode = msgspec.json.Decoder(Frame).decode

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Runs for every frame."""
        self._decode(frame.get_payload_as_memoryview())
        self._left -= 1
        if not self._left:
            print("done", time.monotonic_ns(), flush=True)
            self.done.set()


async def read(port: int, count: int) -> None:
    """Returns after so many frames."""
    reader = Reader(count)
    await ws_connect(lambda request, response: reader, f"ws://127.0.0.1:{port}/stream?streams=btcusdt@aggTrade")
    await reader.done.wait()


if __name__ == "__main__":
    uvloop.run(read(int(sys.argv[1]), int(sys.argv[2])))
