"""One connection to the simulated exchange. Knows picows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from collectors.simulator.wires.wire import Session

_PIECE = 64  # bytes that a slow connection sends at a time
_PIECE_S = 0.002
_HALF_A_FRAME = b"\x81\x7e\x01\x00" + b'{"stream":"'


class Host(Protocol):
    """What a connection tells the exchange."""

    def join(self, client: Client) -> None:
        """A client's upgrade is done."""

    def listens(self, client: Client) -> None:
        """A client may have subscribed to something."""

    def leave(self, client: Client) -> None:
        """A client is gone."""


class Client(WSListener):
    """One connection. `slam`: it is cut as soon as it's open."""

    def __init__(self, host: Host, session: Session, *, slam: bool = False) -> None:
        self.session = session
        self.ready = asyncio.Event()  # it takes more
        self.ready.set()
        self.silent = False
        self.heard_at = asyncio.get_running_loop().time()
        self._host = host
        self._slam = slam
        self._transport: WSTransport | None = None
        self._paused = False
        self._slow_bytes = 0
        self._pent = bytearray()  # what trickles
        self._trickle: asyncio.Task[None] | None = None

    def say(self, payloads: Iterable[bytes]) -> None:
        """Text messages."""
        self.write(b"".join(map(framed, payloads)))

    def write(self, data: bytes) -> None:
        """Raw bytes."""
        if self.silent or self._transport is None or not data:
            return
        if self._slow_bytes or self._pent:
            self._pent += data
            self.ready.clear()
            self._trickle = self._trickle or asyncio.create_task(self._drip(), name="trickle")
        else:
            self._transport.underlying_transport.write(data)

    def slow_down(self, size: int) -> None:
        """Lets the next `size` bytes trickle."""
        self._slow_bytes += size

    def fall_silent(self) -> None:
        """Nothing is sent on it any more, though it stays open."""
        self.silent = True
        self._stop_trickle()
        self.ready.set()

    def cut(self) -> None:
        """Ends it within a frame, with no close frame."""
        if not self.silent:
            self._raw(_HALF_A_FRAME)
        self.disconnect()

    def close(self, code: int, reason: str) -> None:
        """Ends it with a close frame."""
        self._stop_trickle()
        if self._transport is not None:
            self._transport.send(WSMsgType.CLOSE, code.to_bytes(2, "big") + reason.encode())
            self._transport.disconnect()

    def disconnect(self) -> None:
        """Drops the socket."""
        self._stop_trickle()
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # --- called by picows -----------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        self._host.join(self)
        if self._slam:
            self.disconnect()
            self._host.leave(self)
            return
        self.say(self.session.hello())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A request, a ping, or the end."""
        self.heard_at = asyncio.get_running_loop().time()
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type is WSMsgType.PING and not self.silent:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.TEXT:
            self.say(self.session.heard(frame.get_payload_as_bytes()))
            self._host.listens(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._stop_trickle()
        self._host.leave(self)

    def pause_writing(self) -> None:
        """The reader is slow."""
        self._paused = True
        self.ready.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        if not self._pent:
            self.ready.set()

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _raw(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.underlying_transport.write(data)

    async def _drip(self) -> None:
        while self._pent:
            size = _PIECE if self._slow_bytes > 0 else len(self._pent)
            self._raw(bytes(self._pent[:size]))
            del self._pent[:size]
            self._slow_bytes = max(0, self._slow_bytes - size)
            await asyncio.sleep(_PIECE_S)
        self._trickle = None
        if not self._paused:
            self.ready.set()

    def _stop_trickle(self) -> None:
        if self._trickle is not None:
            self._trickle.cancel()
        self._trickle = None
        self._pent.clear()
        self._slow_bytes = 0


def framed(payload: bytes) -> bytes:
    """A text message as a server's websocket frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
