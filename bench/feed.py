"""An exchange on loopback that pours trades as fast as they are taken: `python -m bench.feed COUNT trade|aggTrade`.

It tells them as Binance's combined streams do. All frames are made before it says `ready PORT`, and written many at a time, so
that the reader and not this server is what is measured. Each connection gets all of them; `pouring NS` tells when the first
frame left, by the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.market import PER_MINUTE, Trades, laps, recorded, synthetic

SYMBOL = "BTCUSDT"
HOST = "127.0.0.1"
BLOCK_BYTES = 60_000
BEFORE_S = 0.5  # what a client gets to be ready after it connected
LAP_MINUTES = 5


def payloads(trades: Trades, kind: str) -> Iterator[bytes]:
    """Each trade as Binance tells it, with ids from 1."""
    columns = (column.tolist() for column in (trades.time_ms, trades.cents, trades.lots, trades.sold))
    for number, (ms, cents, lots, sold) in enumerate(zip(*columns, strict=True), 1):
        ids = f'"t":{number}' if kind == "trade" else f'"a":{number}'
        fills = "" if kind == "trade" else f'"f":{number},"l":{number},'
        yield (
            f'{{"stream":"{SYMBOL.lower()}@{kind}","data":{{"e":"{kind}","E":{ms},"s":"{SYMBOL}",{ids},'
            f'"p":"{cents // 100}.{cents % 100:02d}000000","q":"{lots // 100_000}.{lots % 100_000:05d}000",{fills}'
            f'"T":{ms},"m":{"true" if sold else "false"},"M":true}}}}'
        ).encode()


def blocks(trades: Trades, kind: str) -> Iterator[bytes]:
    """The websocket frames, many in a block."""
    parts: list[bytes] = []
    size = 0
    for payload in payloads(trades, kind):
        length = len(payload)
        head = bytes((0x81, length)) if length < 126 else bytes((0x81, 126)) + length.to_bytes(2, "big")
        parts += (head, payload)
        size += length
        if size > BLOCK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


class Pourer(WSListener):
    """One connection."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        self._room = asyncio.Event()
        self._room.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._task = asyncio.get_running_loop().create_task(self._pour(transport), name="pour")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The client is gone."""
        self._task.cancel()

    def pause_writing(self) -> None:
        """The reader is behind."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._room.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answers what a client may ask."""
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, b'{"result":null,"id":1}')
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    async def _pour(self, transport: WSTransport) -> None:
        await asyncio.sleep(BEFORE_S)
        print("pouring", time.monotonic_ns(), flush=True)
        for block in self._frames:
            await self._room.wait()
            transport.underlying_transport.write(block)
            await asyncio.sleep(0)


def accept(frames: list[bytes], request: WSUpgradeRequest) -> WSListener:
    """A listener for whoever comes, whatever they ask for."""
    return Pourer(frames)


async def serve(count: int, kind: str) -> None:
    """Serves until it is stopped. The last trade happens now, so that none lies in the future."""
    now_ms = time.time_ns() // 1_000_000
    trades = recorded() or synthetic(LAP_MINUTES, start_ms=now_ms, per_minute=PER_MINUTE)
    frames = list(blocks(laps(trades, count, end_ms=now_ms), kind))
    server = await ws_create_server(lambda request: accept(frames, request), HOST, 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
