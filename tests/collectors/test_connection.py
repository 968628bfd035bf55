"""The websocket against real servers on loopback: bounds, endings, refusals; and the delays between tries, which are pure."""

from __future__ import annotations

import asyncio
import math
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha1
from itertools import count

import pytest
from picows import WSTransport

from collectors.connection import Connection, Limits, connect
from collectors.venues.parsed import MAX_RAW
from pipeline.errors import VenueError

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(payload: bytes, kind: int = TEXT, fin: bool = True) -> bytes:
    """A server's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((size,))
    else:
        head = b"\x7e" + struct.pack(">H", size) if size < 1 << 16 else b"\x7f" + struct.pack(">Q", size)
    return bytes((kind | (0x80 if fin else 0),)) + head + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """A client's frame: its kind and payload (all that clients send here is short)."""
    kind, size = await reader.readexactly(2)
    mask = await reader.readexactly(4)
    data = await reader.readexactly(size & 0x7F)
    return kind & 0xF, bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """A server that upgrades every connection and then does as `talk` says; its address."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = request.lower().partition(b"sec-websocket-key: ")[2].partition(b"\r")[0]
        key = request[request.lower().index(key) :][: len(key)]
        proof = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(head + b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n")
        await talk(reader, writer)

    async with plain_server(accept) as address:
        yield address.replace("http", "ws")


@asynccontextmanager
async def plain_server(talk: Talk) -> AsyncIterator[str]:
    talks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def everything(connection: Connection) -> list[bytes]:
    """All frames up to the end of the connection."""
    taken: list[bytes] = []
    while frames := await connection.frames():
        taken += frames
    return taken


async def until(true: Callable[[], bool]) -> None:
    """Lets the loop run until something has come about; a test that waits in vain is stopped."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


async def forever(reader: asyncio.StreamReader) -> None:
    await reader.read(-1)


# --- frames ---------------------------------------------------------------------------------------------------------------


async def test_frames_come_in_order_and_those_that_wait_come_at_once() -> None:
    sent = [b'{"n":%d}' % n + b" " * (n % 300) for n in range(1000)]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(map(frame, sent)))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        await until(lambda: connection.buffered == 1000)
        assert await connection.frames() == sent


async def test_a_batch_has_at_most_so_many_frames_and_none_is_left_behind() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(frame(b"%d" % n) for n in range(100)) + frame(b"", CLOSE))
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(batch_frames=30)) as connection:
        await until(lambda: bool(connection.reason))
        sizes = [len(await connection.frames()) for _ in range(5)]
    assert sizes == [30, 30, 30, 10, 0]


async def test_a_message_in_several_frames_is_put_together_even_around_a_ping() -> None:
    long = b"x" * 300

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = frame(b"a", TEXT, fin=False) + frame(long, CONTINUED, fin=False) + frame(b"", PING) + frame(long, CONTINUED)
        writer.write(frame(long) + parts + frame(b"short") + frame(long, BINARY) + frame(b"", CLOSE))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        assert await everything(connection) == [long, b"a" + long + long, b"short", long]


async def test_a_ping_is_answered_with_its_payload_and_hides_no_frame_that_came_with_it() -> None:
    go: asyncio.Event = asyncio.Event()
    answers: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(frame(b"trade") + frame(b"1723161255342", PING))
        answers.put_nowait(await read_frame(reader))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        waiting = asyncio.create_task(connection.frames())
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.wait_for(waiting, 10) == [b"trade"]
        assert await answers.get() == (PONG, b"1723161255342")


# --- bounds ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "count", "size"),  # 100 MB: more than what the system buffers between two sockets
    [(Limits(max_frames=2_000), 100_000, 1_000), (Limits(max_bytes=2_000_000), 2_000, 50_000)],
    ids=["frames", "bytes"],
)
async def test_a_reader_that_stops_draining_stops_the_sender_and_loses_nothing(limits: Limits, count: int, size: int) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for n in range(count):
            writer.write(frame(b"%d " % n + b"x" * size))
            sent += 1
            await writer.drain()
        writer.write(frame(b"", CLOSE))
        await forever(reader)

    async with server(talk) as url, await connect(url, limits) as connection:
        seen = -1
        while seen != sent:  # both sides run until neither moves
            seen = sent
            for _ in range(200):
                await asyncio.sleep(0)
        await until(lambda: connection.buffered >= min(2_000, 2_000_000 / (size + 10)))
        assert sent < count
        assert connection.buffered < count / 2  # the bound, and what one read brings
        taken = await everything(connection)
    assert [int(text.partition(b" ")[0]) for text in taken] == list(range(count))


async def test_a_giant_frame_is_cut_and_the_connection_lives() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"one") + frame(b'{"x":"' + b"y" * 300_000 + b'"}') + frame(b"three"))
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(max_frame_bytes=100_000)) as connection:
        await until(lambda: connection.buffered == 3)
        first, giant, last = await connection.frames()
    assert (first, last) == (b"one", b"three")
    assert giant.startswith(b'{"x":"yyy')
    assert giant.endswith(b"y ... (300008 bytes)")  # no JSON any more: the parser refuses it
    assert len(giant) <= MAX_RAW


async def test_a_frame_many_times_beyond_the_limit_ends_the_connection_with_a_reason() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"x" * 400_001) + frame(b"more" * 100))
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(max_frame_bytes=100_000)) as connection:
        taken = await everything(connection)
    assert taken in ([], [b"more" * 100])
    assert "exceeding max allowed size" in connection.reason


async def test_endless_parts_of_one_message_end_the_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"x", TEXT, fin=False))
        for _ in range(500):
            writer.write(frame(b"x" * 1_000, CONTINUED, fin=False))
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(max_frame_bytes=100_000)) as connection:
        assert await everything(connection) == []
    assert "too large parts" in connection.reason


# --- endings --------------------------------------------------------------------------------------------------------------


async def test_a_close_is_told_with_its_code_after_all_that_came_before_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"last") + frame(struct.pack(">H", 1001) + b"24 hours\nover", CLOSE))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        assert await everything(connection) == [b"last"]
        assert connection.reason == "closed by the venue: 1001 24 hours?over"


async def test_a_cut_within_a_frame_gives_the_whole_frames_before_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"one") + frame(b"two" * 100)[:150])
        await writer.drain()
        writer.close()

    async with server(talk) as url, await connect(url) as connection:
        assert await everything(connection) == [b"one"]
        assert connection.reason == "cut without a close frame"


async def test_our_own_close_stops_the_intake_and_keeps_what_has_arrived() -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"one") + frame(b"two"))
        assert (await read_frame(reader))[0] == CLOSE
        closed.set()
        writer.write(frame(b"too late"))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        await until(lambda: connection.buffered == 2)
        connection.close("stopped")
        await closed.wait()
        assert await everything(connection) == [b"one", b"two"]
        assert connection.reason == "stopped"


async def test_a_peer_that_says_nothing_at_all_is_given_up() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"one"))
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(silence_s=0.1)) as connection:
        assert await everything(connection) == [b"one"]
        assert connection.reason == "no frame for 0.1 s"


async def test_a_peer_that_answers_pings_is_quiet_but_alive() -> None:
    pings = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        while (await read_frame(reader))[0] == PING:
            pings += 1
            writer.write(frame(b"", PONG))

    async with server(talk) as url, await connect(url, Limits(silence_s=0.4)) as connection:
        await until(lambda: pings >= 4)  # a ping follows a quarter of silence, so this is longer than silence_s
        assert connection.reason == ""


async def test_while_we_do_not_read_the_peer_is_not_taken_for_silent() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            writer.write(frame(b"x" * 200))
            await writer.drain()
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(max_frames=5, silence_s=0.04)) as connection:
        await until(lambda: connection.buffered >= 5)
        await asyncio.sleep(0.1)  # more than twice the silence
        assert connection.reason == ""


async def test_a_peer_that_answers_pings_but_tells_nothing_is_left_in_the_end() -> None:
    pings = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        writer.write(frame(b"one"))
        while (await read_frame(reader))[0] == PING:
            pings += 1
            writer.write(frame(b"", PONG))

    async with server(talk) as url, await connect(url, Limits(silence_s=0.08, stale_s=0.2)) as connection:
        assert await everything(connection) == [b"one"]
        assert connection.reason == "no message for 0.2 s, though it lives"
    assert pings >= 4


async def test_frames_that_we_do_not_take_are_no_staleness_of_the_peer() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(frame(b"%d" % n) for n in range(10)))
        await writer.drain()
        await forever(reader)

    limits = Limits(max_frames=5, silence_s=0.04, stale_s=0.05)
    async with server(talk) as url, await connect(url, limits) as connection:
        await until(lambda: connection.behind)
        await asyncio.sleep(0.15)  # three times as long as it may be stale
        assert connection.reason == ""
        assert len(await connection.frames()) == 10
        assert not connection.behind
        assert await connection.frames() == []  # it is read again, and says nothing
        assert connection.reason.startswith("no ")


# --- what we send ---------------------------------------------------------------------------------------------------------


async def test_what_is_sent_arrives_as_text_and_after_the_end_sending_does_nothing() -> None:
    heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.put_nowait(await read_frame(reader))

    async with server(talk) as url, await connect(url) as connection:
        connection.send(b'{"op":"subscribe"}')
        connection.send(b"x" * 125)
        assert await heard.get() == (TEXT, b'{"op":"subscribe"}')
        assert await heard.get() == (TEXT, b"x" * 125)
        connection.close()
        connection.send(b"too late")
        assert (await heard.get())[0] == CLOSE
    assert heard.empty()


async def test_a_venue_that_wants_to_hear_from_us_does_so_until_the_connection_ends() -> None:
    heard: list[tuple[int, bytes]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.append(await read_frame(reader))

    async with server(talk) as url, await connect(url) as connection:
        connection.keep_alive(b"ping", 0.005)
        await until(lambda: len(heard) >= 5)
        connection.close()
        await connection.leave()
        await until(lambda: heard[-1][0] == CLOSE)
        said = len(heard)
        await asyncio.sleep(0.03)  # six times what it takes to say it again
        assert len(heard) == said
        connection.keep_alive(b"ping", 0.001)  # on a connection that has ended: nothing
        await asyncio.sleep(0.01)
    assert heard[:-1] == [(TEXT, b"ping")] * (said - 1)


async def test_an_endless_time_to_keep_alive_is_never() -> None:
    timers: list[object] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "call_later", lambda *args: timers.append(args))
            connection.keep_alive(b"ping", math.inf)
        assert timers == []


async def test_whether_something_came_is_told_without_taking_it() -> None:
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(frame(b"one"))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        assert not await connection.heard(0.01)
        waiting = asyncio.create_task(connection.heard(10))
        go.set()
        assert await waiting
        assert await connection.heard(0)
        assert await connection.frames() == [b"one"]
        assert not await connection.heard(0)


async def test_a_connection_that_ends_without_a_word_was_not_heard_and_nobody_waits_for_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"", CLOSE))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        async with asyncio.timeout(5):
            assert not await connection.heard(600)


# --- when it came ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_frames", [7, 100, 10_000])
async def test_each_frame_of_each_batch_has_its_stamp_also_where_giants_are_cut_short_or_many_wait(batch_frames: int) -> None:
    sent = [(b"%d " % n).ljust(2_000 if n % 11 == 0 else 130 if n % 3 else 9, b"x") for n in range(500)]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for n in range(0, 500, 50):  # several reads
            writer.write(b"".join(map(frame, sent[n : n + 50])) + frame(b"", PING))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(frame(b"", CLOSE))
        await forever(reader)

    clock = count(1)
    limits = Limits(batch_frames=batch_frames, max_frame_bytes=1_000, max_frames=200)
    async with server(talk) as url, await connect(url, limits, lambda: next(clock)) as connection:
        frames: list[bytes] = []
        stamps: list[int] = []
        while batch := await connection.frames():
            assert len(batch) == len(connection.stamps) <= batch_frames
            frames += batch
            stamps += connection.stamps
    assert [int(text.split(b" ")[0]) for text in frames] == list(range(500))
    assert stamps == sorted(stamps)
    assert stamps[0] == 1 and len(set(stamps)) == stamps[-1], "one look at the clock a read"


async def test_a_giant_that_ends_the_connection_takes_no_stamp_of_another_frame() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"one") + frame(b"y" * 3_000) + frame(b"x" * 5_000) + frame(b"more" * 100))
        await forever(reader)

    async with server(talk) as url, await connect(url, Limits(max_frame_bytes=1_000), lambda: 42) as connection:
        while batch := await connection.frames():
            assert connection.stamps == [42] * len(batch)
            assert b"x" * 5_000 not in batch


async def test_without_a_clock_there_are_no_stamps() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"one"))
        await forever(reader)

    async with server(talk) as url, await connect(url) as connection:
        assert await connection.frames() == [b"one"]
        assert connection.stamps == []


# --- given up -------------------------------------------------------------------------------------------------------------


async def test_whoever_is_cancelled_when_the_upgrade_has_just_come_leaves_no_socket_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await forever(reader)
        finally:
            gone.set()

    def cancelled_now(connection: Connection, transport: WSTransport) -> None:
        opened(connection, transport)
        connecting.cancel()
        came.set()

    opened = Connection.on_ws_connected
    monkeypatch.setattr(Connection, "on_ws_connected", cancelled_now)
    async with server(talk) as url:
        connecting = asyncio.create_task(connect(url))
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert came.is_set()
        await asyncio.wait_for(gone.wait(), 5)


async def test_whoever_is_cancelled_while_leaving_leaves_no_socket_behind_either() -> None:
    gone, closed = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert (await read_frame(reader))[0] == CLOSE
            closed.set()
            await forever(reader)  # it doesn't say goodbye
        finally:
            gone.set()

    async with server(talk) as url:
        connection = await connect(url)
        leaving = asyncio.create_task(connection.leave())
        await closed.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await asyncio.wait_for(gone.wait(), 5)


# --- refusals -------------------------------------------------------------------------------------------------------------


def answering(text: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()

    return talk


@pytest.mark.parametrize(
    ("status", "fatal", "wait_s"), [(404, True, 0), (403, True, 0), (429, False, 7), (418, False, 7), (503, False, 7)]
)
async def test_a_refused_upgrade_tells_whether_to_try_again(status: int, fatal: bool, wait_s: float) -> None:
    answer = f"HTTP/1.1 {status} No\r\nRetry-After: {7 if wait_s else ''}\r\nContent-Length: 5\r\n\r\nsorry".encode()
    async with plain_server(answering(answer)) as url:
        with pytest.raises(VenueError, match=f"refused with HTTP {status}") as caught:
            await connect(url.replace("http", "ws") + "/stream?streams=a@trade")
    assert (caught.value.fatal, caught.value.retry_after_s) == (fatal, wait_s)
    assert "streams=" not in str(caught.value)


@pytest.mark.parametrize("text", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""])
async def test_what_is_no_websocket_is_a_venue_error_that_may_pass(text: bytes) -> None:
    async with plain_server(answering(text)) as url:
        with pytest.raises(VenueError) as caught:
            await connect(url.replace("http", "ws"))
    assert not caught.value.fatal


async def test_a_server_that_never_answers_the_upgrade_is_not_waited_for() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever(reader)

    async with plain_server(talk) as url:
        with pytest.raises(VenueError, match=r"no answer within 0\.05 s"):
            await connect(url.replace("http", "ws"), Limits(handshake_s=0.05))


async def test_a_closed_port_is_a_venue_error_that_may_pass() -> None:
    async with plain_server(answering(b"")) as url:
        closed = url.replace("http", "ws")
    with pytest.raises(VenueError, match=closed) as caught:
        await connect(closed)
    assert not caught.value.fatal


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "nonsense"])
async def test_an_address_that_is_none_is_a_venue_error(url: str) -> None:
    with pytest.raises(VenueError):
        await connect(url)


async def test_a_connection_that_is_no_longer_wanted_is_dropped_when_its_upgrade_comes() -> None:
    asked, go, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever(reader)
        gone.set()

    async with server(talk) as inner:

        async def delay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            port = int(inner.rpartition(":")[2])
            theirs, ours = await asyncio.open_connection("127.0.0.1", port)
            ours.write(await reader.readuntil(b"\r\n\r\n"))
            await go.wait()
            writer.write(await theirs.readuntil(b"\r\n\r\n"))
            await forever(reader)
            ours.close()
            gone.set()

        async with plain_server(delay) as url:
            task = asyncio.create_task(connect(url.replace("http", "ws")))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go.set()
            async with asyncio.timeout(4):
                await gone.wait()
