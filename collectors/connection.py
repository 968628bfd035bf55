"""The one place that owns sockets: a websocket whose frames wait in a bounded buffer.

A full buffer stops the reading, and TCP then slows the venue. Knows picows, and translates its errors.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)

from collectors.delays import is_fatal, retry_after
from collectors.venues.parsed import cut_short, plain
from pipeline.errors import VenueError

MiB = 1 << 20
_GIANT = 4  # times `max_frame_bytes`
_MAX_PARTS = 1000  # of one message: more are an attack on whoever joins them
_LINGER_S = 1.0  # what a closing socket gets to say goodbye


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may hold and how long it may be silent. One read may pass the first two by its own size."""

    max_frames: int = 20_000
    max_bytes: int = 32 * MiB
    max_frame_bytes: int = 16 * MiB  # a longer message is cut, and its parser refuses it; one of four times as many ends it all
    batch_frames: int = 4_000  # at most so many are given at once: a batch should stay in the processor's cache
    gather_s: float = 0.01  # how long frames gather before they are given: a batch of one read costs twice as much a frame
    silence_s: float = 30.0  # without any frame (ours are pinged for): the socket is taken for dead
    stale_s: float = 120.0  # without a message, though the peer may answer pings: it may have forgotten what we asked for
    handshake_s: float = 10.0
    overlap_s: float = 1.0  # how long a connection goes on beside the one that replaces it


class Connection(WSListener):
    """One websocket, from its upgrade to its end. Made by `connect`; leave it by its context."""

    def __init__(self, limits: Limits, clock_ns: Callable[[], int] | None = None) -> None:
        self.reason = ""  # why it ended; empty while frames may still come in
        self.stamps: list[int] = []  # with a clock: when each message of the last batch was received, in ns
        self._limits = limits
        self._clock_ns = clock_ns
        self._most = limits.max_frame_bytes
        self._full: deque[tuple[list[bytes], int, list[int]]] = deque()  # whole batches, each with its bytes and stamps
        self._full_frames = self._full_size = 0
        self._frames: list[bytes] = []  # the batch that is being gathered
        self._stamps: list[int] = []
        self._size = 0  # its bytes
        self._counted = 0  # so many of its messages are in that
        self._parts: list[bytes] = []  # of a message that comes in several frames
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()  # a full batch is there, or no more will come
        self._paused = False
        self._transport: WSTransport | None = None
        self._abandoned = False
        self._heard = True
        self._silent_quarters = 0
        self._idle_quarters = 0
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.TimerHandle | None = None

    @property
    def buffered(self) -> int:
        """How many messages wait to be taken."""
        return self._full_frames + len(self._frames)

    @property
    def behind(self) -> bool:
        """Whether some of what the peer has sent waits in the system: our buffer is full."""
        return self._paused

    async def frames(self) -> list[bytes]:
        """What has arrived, at least one message; nothing once the connection ended and all was given."""
        while not self.buffered:
            if self.reason:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        if not self._full and not self.reason:
            await self._gather()
        if not self._full:
            self._turn()
        batch, size, self.stamps = self._full.popleft() if self._full else ([], 0, [])
        self._full_frames -= len(batch)
        self._full_size -= size
        self._balance()
        return batch

    async def heard(self, timeout_s: float) -> bool:
        """Whether a message came in time, or the connection ended, without taking it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (self.buffered or self.reason):
                    self._arrived.clear()
                    await self._arrived.wait()
        return self.buffered > 0

    def send(self, message: bytes) -> None:
        """Sends a text message; on a connection that has ended it does nothing."""
        if self._transport is not None and not self.reason:
            self._transport.send(WSMsgType.TEXT, message)

    def keep_alive(self, message: bytes, every_s: float) -> None:
        """Sends a message again and again, for venues that want to hear from their clients. An endless time: never."""
        if every_s == math.inf or self.reason:
            return
        self._keeping = asyncio.get_running_loop().call_later(every_s, self._keep, message, every_s)

    def close(self, reason: str = "closed by us") -> None:
        """Stops the intake. What has arrived can still be had from `frames`."""
        self._end(reason)
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    @property
    def opened(self) -> bool:
        """Whether the upgrade was done; the connection may have ended since."""
        return self._transport is not None

    def abandon(self) -> None:
        """Gives up a connection that nobody will use; should its upgrade still come, it is cut at once."""
        self._abandoned = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Closes, and waits until the socket is gone."""
        self.close()
        assert self._transport is not None
        try:
            await asyncio.wait_for(self._transport.wait_disconnected(), _LINGER_S)
        except (TimeoutError, asyncio.CancelledError) as error:
            self._transport.disconnect(graceful=False)
            if isinstance(error, asyncio.CancelledError):
                raise
        except WSProtocolError:
            pass  # told as the reason already

    # --- called by picows -----------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        if self._abandoned:
            transport.disconnect(graceful=False)
            return
        self._tick()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Copies a message into the buffer. Runs for every frame, so what need not be done here is done once a read."""
        payload = frame.get_payload_as_bytes()
        # Control frames have at most 125 bytes: a longer one needs no look at its kind, which would cost a third of all this.
        if len(payload) > 125 and frame.fin and not self._parts:
            self._frames.append(payload)
        else:
            self._on_rare_frame(transport, frame, payload)
        if frame.last_in_buffer:
            self._on_read()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._end(_ending(transport))
        for timer in (self._timer, self._keeping):
            if timer:
                timer.cancel()

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Makes whole batches of what was gathered: to cut one at a time off a long list would touch all of it each time."""
        self._count()
        most = self._limits.batch_frames
        for at in range(0, len(self._frames), most):
            batch = self._frames[at : at + most]
            self._full.append((batch, sum(map(len, batch)), self._stamps[at : at + most]))
        self._full_frames += len(self._frames)
        self._full_size += self._size
        self._frames, self._size, self._counted, self._stamps = [], 0, 0, []

    async def _gather(self) -> None:
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.gather_s):
                await self._enough.wait()

    def _on_read(self) -> None:
        """All messages of one read are there."""
        self._count()
        self._heard = True
        self._arrived.set()
        if len(self._frames) >= self._limits.batch_frames:
            self._turn()
            self._enough.set()
        self._balance()

    def _count(self) -> None:
        """Counts the bytes of what came since, and cuts giants short. One that ended the connection is dropped."""
        sizes = list(map(len, self._frames[self._counted :]))
        if sizes and max(sizes) > self._most:
            came = [f for f in self._frames[self._counted :] if len(f) <= self._most * _GIANT]
            self._frames[self._counted :] = [f if len(f) <= self._most else cut_short(f) for f in came]
            sizes = list(map(len, self._frames[self._counted :]))
        self._size += sum(sizes)
        self._counted = len(self._frames)
        self._idle_quarters = 0 if sizes else self._idle_quarters
        if self._clock_ns and sizes:
            self._stamps += [self._clock_ns()] * len(sizes)

    def _on_rare_frame(self, transport: WSTransport, frame: WSFrame, payload: bytes) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.PING:
            transport.send_pong(payload)
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind is not WSMsgType.PONG and not transport.is_close_frame_sent:
            self._on_part(payload, frame.fin)

    def _on_part(self, payload: bytes, last: bool) -> None:
        """A short message, a giant, or a part of one that comes in several frames."""
        self._parts.append(payload)
        if sum(map(len, self._parts)) > self._most * _GIANT or len(self._parts) > _MAX_PARTS:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "a message in too many or too large parts")
        if last:
            self._frames.append(b"".join(self._parts))
            self._parts.clear()

    def _balance(self) -> None:
        """Stops reading while the buffer is full."""
        full = self.buffered >= self._limits.max_frames or self._full_size + self._size >= self._limits.max_bytes
        if full is self._paused or self._transport is None:
            return
        self._paused = full
        socket = self._transport.underlying_transport
        if full:
            socket.pause_reading()
        elif not self.reason:
            socket.resume_reading()

    def _tick(self) -> None:
        """Each quarter of `silence_s`: pings a silent peer, and gives it up after four; unread frames are no silence of its."""
        assert self._transport is not None
        self._silent_quarters = 0 if self._heard or self._paused else self._silent_quarters + 1
        self._idle_quarters = 0 if self._paused else self._idle_quarters + 1
        self._heard = False
        silence_s, stale_s = self._limits.silence_s, self._limits.stale_s
        if self._silent_quarters >= 4 or self._idle_quarters * silence_s / 4 > stale_s:
            silent = self._silent_quarters >= 4
            self._end(f"no frame for {silence_s:g} s" if silent else f"no message for {stale_s:g} s, though it lives")
            self._transport.disconnect(graceful=False)
            return
        if self._silent_quarters:
            self._transport.send_ping()
        self._timer = asyncio.get_running_loop().call_later(self._limits.silence_s / 4, self._tick)

    def _keep(self, message: bytes, every_s: float) -> None:
        self.send(message)
        self.keep_alive(message, every_s)

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._arrived.set()
        self._enough.set()


async def connect(url: str, limits: Limits = Limits(), clock_ns: Callable[[], int] | None = None) -> Connection:
    """Opens a websocket. VenueError where that fails; it is fatal where the same request can't do better later.

    With a clock each message's time of arrival is kept.
    """
    connection = Connection(limits, clock_ns)
    shown = url.partition("?")[0]
    opened = False

    def accept(request: WSUpgradeRequest, response: WSUpgradeResponse) -> WSListener:
        return connection

    try:
        async with asyncio.timeout(limits.handshake_s):
            await ws_connect(
                accept,
                url,
                enable_auto_pong=False,  # it would hide pings, and with them the end of a read, from `on_ws_frame`
                max_frame_size=limits.max_frame_bytes * _GIANT,
                websocket_handshake_timeout=limits.handshake_s,
            )
        opened = connection.opened
    except TimeoutError:
        raise VenueError(f"{shown}: no answer within {limits.handshake_s:g} s") from None
    except WSHandshakeError as error:
        raise _refusal(shown, error) from None
    except (WSError, OSError, UnicodeError) as error:
        raise VenueError(f"{shown}: {plain(str(error)) or type(error).__name__}") from None
    finally:
        if not opened:  # also where the upgrade came, but whoever waited for it was cancelled
            connection.abandon()
    if not opened:
        raise VenueError(f"{shown}: closed during the upgrade")
    return connection


def _refusal(shown: str, error: WSHandshakeError) -> VenueError:
    if error.response is None:
        return VenueError(f"{shown}: the upgrade failed: {plain(str(error))}")
    status = int(error.response.status)
    body = plain((error.raw_body or b"").decode("utf-8", "replace"))
    wait_s = retry_after(error.response.headers.get("Retry-After"))
    return VenueError(f"{shown}: refused with HTTP {status} {body}".rstrip(), fatal=is_fatal(status), retry_after_s=wait_s)


def _ending(transport: WSTransport) -> str:
    handshake = transport.close_handshake
    if handshake is None:
        return "cut without a close frame"
    if handshake.recv is not None and (handshake.recv_then_sent or handshake.sent is None):
        return f"closed by the venue: {handshake.recv.code:d} {plain(handshake.recv.reason or '')}".rstrip()
    return f"broken protocol: {plain(handshake.sent.reason or '')}" if handshake.sent is not None else "cut"
