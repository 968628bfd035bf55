"""An exchange on loopback where many symbols trade at a steady rate: `python -m bench.crowd SYMBOLS RATE`.

It tells them as Binance's combined streams do, each connection what it subscribed to. Trade `n` of symbol `k` happens at
`began + (n * SYMBOLS + k) / RATE` seconds, whoever listens: so that a reader knows when each was told. It says `ready PORT`, and
`began NS` (wall clock) when the first one is told.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

HOST = "127.0.0.1"
TICK_S = 0.002
QUIET_S = 2.0  # after the last connect, before it begins


def symbol_of(number: int) -> str:
    """The symbols' names."""
    return f"COIN{number:03d}USDT"


class Listener(WSListener):
    """One connection."""

    def __init__(self, crowd: Crowd, symbols: list[int]) -> None:
        self.symbols = symbols
        self._crowd = crowd

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self.transport = transport
        self._crowd.join(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The client is gone."""
        self._crowd.leave(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """The end."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


class Crowd:
    """The symbols, and who listens to which."""

    def __init__(self, count: int, rate: float) -> None:
        self.count, self.rate = count, rate
        self.by_symbol: dict[int, Listener] = {}
        self.complete = asyncio.Event()

    def accept(self, request: WSUpgradeRequest) -> WSListener:
        """A listener for the symbols that its address names."""
        streams = request.path.decode().partition("streams=")[2].split("/")
        return Listener(self, [int(stream[4:7]) for stream in streams])

    def join(self, listener: Listener) -> None:
        """Tells it its symbols from now on."""
        self.by_symbol |= dict.fromkeys(listener.symbols, listener)
        if len(self.by_symbol) == self.count:
            self.complete.set()

    def leave(self, listener: Listener) -> None:
        """Tells it no more."""
        self.by_symbol = {number: other for number, other in self.by_symbol.items() if other is not listener}

    async def trade(self) -> None:
        """Once all symbols are listened to: trades at the rate."""
        await self.complete.wait()
        await asyncio.sleep(QUIET_S)
        began, told = time.time_ns(), 0
        print("began", began, flush=True)
        while True:
            due = int((time.time_ns() - began) * self.rate / 1e9)
            parts: dict[Listener, list[bytes]] = {}
            for number in range(told, due):
                symbol = number % self.count
                if listener := self.by_symbol.get(symbol):
                    parts.setdefault(listener, []).append(_frame(symbol, number // self.count + 1, began, number / self.rate))
            for listener, frames in parts.items():
                listener.transport.underlying_transport.write(b"".join(frames))
            told = max(told, due)
            await asyncio.sleep(TICK_S)


def _frame(symbol: int, trade_id: int, began: int, after_s: float) -> bytes:
    name, ms = symbol_of(symbol), (began + int(after_s * 1e9)) // 1_000_000
    cents, lots = 6_000_000 + trade_id * 7919 % 600, trade_id * 104_729 % 1_000_000 + 1
    payload = (
        f'{{"stream":"{name.lower()}@aggTrade","data":{{"e":"aggTrade","E":{ms},"s":"{name}","a":{trade_id},'
        f'"p":"{cents // 100}.{cents % 100:02d}000000","q":"{lots // 100_000}.{lots % 100_000:05d}000","f":{trade_id},'
        f'"l":{trade_id},"T":{ms},"m":{"true" if trade_id & 1 else "false"},"M":true}}}}'
    ).encode()
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


async def serve(count: int, rate: float) -> None:
    """Serves until it is stopped."""
    crowd = Crowd(count, rate)
    server = await ws_create_server(crowd.accept, HOST, 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.trade(), name="trade")
        tasks.create_task(server.serve_forever(), name="serve")


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
