"""An exchange on loopback where many symbols trade at a steady rate: `python -m bench.crowd SYMBOLS RATE`.

It tells them as Binance's combined streams do, each connection what it subscribed to. Trade `n` of symbol `k` happens at
`began + (n * SYMBOLS + k) / RATE` seconds, whoever listens: so a reader knows when each was told. It says `rest PORT` for its
history, `ready PORT`, and `began NS` (wall clock) when the first one is told.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop
from aiohttp import web
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
        self.began = 0

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
        self.began = began = time.time_ns()
        told = 0
        print("began", began, flush=True)
        while True:
            due = self.happened()
            parts: dict[Listener, list[bytes]] = {}
            for number in range(told, due):
                symbol = number % self.count
                if listener := self.by_symbol.get(symbol):
                    parts.setdefault(listener, []).append(_frame(symbol, number // self.count + 1, began, number / self.rate))
            for listener, frames in parts.items():
                listener.transport.underlying_transport.write(b"".join(frames))
            told = max(told, due)
            await asyncio.sleep(TICK_S)

    def happened(self) -> int:
        """How many trades there were, of all symbols together."""
        return int((time.time_ns() - self.began) * self.rate / 1e9) if self.began else 0

    async def history(self, request: web.Request) -> web.Response:
        """What REST answers: trades of a symbol from an id on."""
        symbol, first = int(request.query["symbol"][4:7]), int(request.query["fromId"])
        last = min((self.happened() - symbol - 1) // self.count + 1, first + int(request.query["limit"]) - 1)
        rows = [_trade(i, self.began, ((i - 1) * self.count + symbol) / self.rate) for i in range(first, last + 1)]
        return web.Response(text="[{" + "},{".join(rows) + "}]" if rows else "[]", content_type="application/json")


def _frame(symbol: int, trade_id: int, began: int, after_s: float) -> bytes:
    name = symbol_of(symbol)
    head = f'{{"stream":"{name.lower()}@aggTrade","data":{{"e":"aggTrade","E":{began // 1_000_000},"s":"{name}",'
    payload = f"{head}{_trade(trade_id, began, after_s)}}}}}".encode()
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def _trade(trade_id: int, began: int, after_s: float) -> str:
    ms = (began + int(after_s * 1e9)) // 1_000_000
    # As real ones do, the price wanders: some 600 levels in a minute of 6,000 trades, and a few of them at a time.
    cents, lots = 6_000_000 + trade_id // 10 % 600 + trade_id * 7919 % 5, trade_id * 104_729 % 1_000_000 + 1
    return (
        f'"a":{trade_id},"p":"{cents // 100}.{cents % 100:02d}000000","q":"{lots // 100_000}.{lots % 100_000:05d}000",'
        f'"f":{trade_id},"l":{trade_id},"T":{ms},"m":{"true" if trade_id & 1 else "false"},"M":true'
    )


async def serve(count: int, rate: float) -> None:
    """Serves until it is stopped."""
    crowd = Crowd(count, rate)
    server = await ws_create_server(crowd.accept, HOST, 0)
    app = web.Application()
    app.router.add_get("/fapi/v1/aggTrades", crowd.history)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    print("rest", runner.addresses[0][1], flush=True)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.trade(), name="trade")
        tasks.create_task(server.serve_forever(), name="serve")


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
