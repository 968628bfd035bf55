"""An exchange on loopback that speaks Binance: websocket streams and REST history of given trades, with faults.

It isn't faster than its readers, unless a rate says so, and its trades are one tape for all connections: what happens while
nobody is connected is told by REST only, as it is with a real exchange.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left
from collections import deque
from collections.abc import Container, Iterable, Mapping
from typing import Self
from urllib.parse import unquote

from aiohttp import web
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from collectors.synthetic import WIRES, SimTrade, synthetic_trades

__all__ = ["SimTrade", "Simulator", "synthetic_trades"]

_HOST = "127.0.0.1"
_BLOCK = 400  # trades to a write
_TICK_S = 0.005  # how exactly a rate is kept


class Simulator:
    """One simulated venue with ports of its own. Use it as a context; its tape starts with the first connection.

    `rate`: trades a second, or None for as fast as the readers take them. `cut_every`: so many trades to a connection, then it
    is cut within a frame, with no close frame. `lossy`: the tape goes on while nobody is connected: by the clock where there is
    a rate, else by `missed` trades after each cut. The last trade always waits for a reader, who then knows what lacks.
    `unsent`: ids that the stream skips. `unkept`: ids that history doesn't have. `prepared`: encodes all frames beforehand.
    """

    def __init__(
        self,
        trades: Iterable[SimTrade],
        *,
        venue: str = "binance",
        rate: float | None = None,
        cut_every: int | None = None,
        lossy: bool = True,
        missed: int = 500,
        unsent: Container[int] = (),
        unkept: Container[int] = (),
        prepared: bool = False,
    ) -> None:
        self.ws_url = self.rest_url = ""  # set on entering
        self.done = asyncio.Event()  # all trades have happened
        self.connections = 0  # accepted so far
        self.requests = 0  # REST requests so far
        self.upgrade_answers: deque[tuple[int, dict[str, str]]] = deque()  # (status, headers) for the next upgrades
        self.rest_answers: deque[tuple[int, dict[str, str]]] = deque()  # the same for the next REST requests
        self._wire = WIRES[venue]
        self._trades = list(trades)
        self._rate, self._cut_every, self._lossy, self._missed = rate, cut_every, lossy, missed
        self._unsent, self._unkept = unsent, unkept
        self._prepared = [_framed(self._wire.combined(trade)) for trade in self._trades] if prepared else None
        self._places: dict[str, list[int]] = {}  # symbol -> where on the tape its trades are
        for place, trade in enumerate(self._trades):
            self._places.setdefault(trade.symbol, []).append(place)
        self._at = 0  # how many trades have happened
        self._to_cut = cut_every
        self._clients: set[_Client] = set()
        self._present = asyncio.Event()  # somebody is connected

    async def __aenter__(self) -> Self:
        self._server = await ws_create_server(self._on_upgrade, _HOST, 0)
        self.ws_url = f"ws://{_HOST}:{self._server.sockets[0].getsockname()[1]}"
        app = web.Application()
        app.router.add_get(self._wire.history, self._on_history)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, 0).start()
        self.rest_url = f"http://{_HOST}:{self._runner.addresses[0][1]}"
        self._pump = asyncio.create_task(self._run(), name="simulator")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        for client in list(self._clients):
            client.disconnect()
        self._server.close()
        await self._server.wait_closed()
        await self._runner.cleanup()

    def cut(self) -> None:
        """Cuts all connections within a frame, without a close frame."""
        half = b"\x81\x7e\x01\x00" + b'{"stream":"'
        for client in list(self._clients):
            client.write(half)
            client.disconnect()
            self.leave(client)

    # --- the tape -------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._present.wait()
        clock = asyncio.get_running_loop().time
        began = clock()
        while self._at < len(self._trades):
            absent = clock()
            if self._waits_for_client():
                await self._present.wait()
                began += 0.0 if self._lossy else clock() - absent
            due = _BLOCK if self._rate is None else int((clock() - began) * self._rate) + 1 - self._at
            if due <= 0:
                await asyncio.sleep(_TICK_S)
                continue
            self._happen(min(due, _BLOCK))
            await self._written()
        self.done.set()

    def _waits_for_client(self) -> bool:
        return self._rate is None or not self._lossy or self._at == len(self._trades) - 1

    def _happen(self, count: int) -> None:
        """The next trades, up to the next cut, or to the last one while nobody would see it."""
        left = len(self._trades) - self._at
        if self._clients and self._to_cut is not None:
            count = min(count, self._to_cut)
        count = min(count, left if self._clients else left - 1)
        for client in self._clients:
            client.tell(range(self._at, self._at + count))
        self._at += count
        if self._clients and self._to_cut is not None:
            self._to_cut -= count
            if not self._to_cut and self._at < len(self._trades):
                self._cut_short()

    def _cut_short(self) -> None:
        self._to_cut = self._cut_every
        self.cut()
        if self._lossy and self._rate is None:
            self._happen(self._missed)

    async def _written(self) -> None:
        for client in list(self._clients):
            await client.ready.wait()
        await asyncio.sleep(0)

    def frames(self, places: Iterable[int], symbols: Container[str], combined: bool) -> bytes:
        """The websocket frames of those trades on the tape that belong to `symbols`."""
        trades = [(p, self._trades[p]) for p in places]
        told = [(p, t) for p, t in trades if t.symbol in symbols and t.trade_id not in self._unsent]
        if not combined:
            return b"".join([_framed(self._wire.event(trade).encode()) for _, trade in told])
        if self._prepared is None:
            return b"".join([_framed(self._wire.combined(trade)) for _, trade in told])
        return b"".join([self._prepared[place] for place, _ in told])

    # --- connections ----------------------------------------------------------------------------------------------------

    def _on_upgrade(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        if self.upgrade_answers:
            status, headers = self.upgrade_answers.popleft()
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, b"", headers), None)
        return _Client(self, self._wire.stream, unquote(request.path.decode()))

    def join(self, client: _Client) -> None:
        """A client's upgrade is done."""
        self.connections += 1
        self._clients.add(client)
        self._present.set()

    def leave(self, client: _Client) -> None:
        """A client is gone."""
        self._clients.discard(client)
        client.ready.set()
        if not self._clients:
            self._present.clear()

    # --- history --------------------------------------------------------------------------------------------------------

    async def _on_history(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.rest_answers:
            status, headers = self.rest_answers.popleft()
            return web.json_response({"code": -1, "msg": "simulated"}, status=status, headers=headers)
        try:
            rows = self._rows(request.query)
        except (KeyError, ValueError):
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        return web.Response(body=f"[{','.join(rows)}]", content_type="application/json")

    def _rows(self, query: Mapping[str, str]) -> list[str]:
        places = self._places[query["symbol"]]
        limit = min(int(query.get("limit", "500")), 1000)
        happened = bisect_left(places, self._at)
        first = max(0, happened - limit)
        if "fromId" in query:
            first = bisect_left(places, int(query["fromId"]), hi=happened, key=lambda place: self._trades[place].trade_id)
        page = [self._trades[place] for place in places[first : min(first + limit, happened)]]
        return [self._wire.row(trade) for trade in page if trade.trade_id not in self._unkept]


class _Client(WSListener):
    """One connection to the simulator."""

    def __init__(self, exchange: Simulator, kind: str, path: str) -> None:
        self.ready = asyncio.Event()  # it takes more
        self.ready.set()
        self._exchange = exchange
        self._kind = kind
        self._transport: WSTransport | None = None
        self._symbols: set[str] = set()
        place, _, query = path.partition("?")
        self._combined = place.endswith("/stream")
        self._subscribe((query.partition("streams=") if self._combined else place.partition("/ws/"))[2].split("/"))

    def tell(self, places: Iterable[int]) -> None:
        """Writes those of the trades that it has subscribed to."""
        self.write(self._exchange.frames(places, self._symbols, self._combined))

    def write(self, data: bytes) -> None:
        """Writes raw bytes."""
        if self._transport is not None:
            self._transport.underlying_transport.write(data)

    def disconnect(self) -> None:
        """Drops the socket."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        self._exchange.join(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A subscription, or the end."""
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type is WSMsgType.TEXT:
            request = json.loads(frame.get_payload_as_bytes())
            self._subscribe(request["params"])
            transport.send(WSMsgType.TEXT, json.dumps({"result": None, "id": request["id"]}).encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._exchange.leave(self)

    def pause_writing(self) -> None:
        """The reader is slow."""
        self.ready.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.ready.set()

    def _subscribe(self, streams: Iterable[str]) -> None:
        names = (stream.partition("@") for stream in streams)
        self._symbols |= {symbol.upper() for symbol, _, kind in names if kind == self._kind}


def _framed(payload: bytes) -> bytes:
    """A text message as a server's websocket frame."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload
