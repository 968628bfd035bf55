"""A real Redis that knows our ACL user from config/, and a line to it that breaks when a test wants."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from spillway.redis_binary import find_redis_server
from tests.conftest import gone_with_us

USERS = Path(__file__).parents[4] / "config" / "redis" / "users.acl"
SECRET = "s3cret-of-the-test"


@dataclass(slots=True)
class Server:
    """A running one."""

    socket: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """As the user that our programs are."""
        return user_url(self.socket)

    def admin(self) -> Any:
        """A client that may do all."""
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)


def user_url(socket: Path, secret: str = SECRET) -> str:
    return f"unix://trading-adapter:{secret}@{quote(str(socket))}"


def our_line() -> str:
    """What config/ grants the user of the programs."""
    (line,) = [line for line in USERS.read_text().splitlines() if line.startswith("user trading-adapter ")]
    return line


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server with our user of config/redis/users.acl, and one that may do all, for the test itself."""
    users = f"user default on nopass ~* &* +@all\n{our_line()} >{SECRET}\n"
    (folder / "users.acl").write_text(users)
    process = start(folder)
    server = Server(folder / "redis.sock", process)
    try:
        with gone_with_us(process.pid):
            yield server
    finally:
        server.process.kill()
        server.process.wait()


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Starts it, and waits until it answers."""
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--aclfile", str(folder / "users.acl")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [find_redis_server(), *options, "--save", "", "--appendonly", "yes"], stdout=log, stderr=subprocess.STDOUT
        )
    with redis.Redis(unix_socket_path=str(socket)) as client:
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(redis.RedisError):
                if client.ping():
                    return process


@dataclass(slots=True)
class Line:
    """Between a client and Redis: cuts the connection instead of the answer to a command, so often as it is told."""

    server: Path
    path: Path
    command: bytes = b"\0"
    cuts: int = 0
    cut: list[bytes] = field(default_factory=list)

    def cut_answers_to(self, command: bytes, times: int) -> None:
        self.command, self.cuts = command, times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, out = await asyncio.open_unix_connection(str(self.server))
        try:
            while asked := await reader.read(1 << 16):
                out.write(asked)
                answer = await back.read(1 << 16)
                if self.command in asked and self.cuts:
                    self.cuts -= 1
                    self.cut.append(asked)
                    return
                writer.write(answer)
        finally:
            for end in (out, writer):
                end.close()


@contextmanager
def line_to(server: Server, path: Path) -> Iterator[Line]:
    """A line to a server, in a thread of its own."""
    line, loop = Line(server.socket, path), asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_unix_server(line.serve, path))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield line
    finally:
        asyncio.run_coroutine_threadsafe(_end(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(listening: asyncio.Server) -> None:
    listening.close()
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Returns when it is; the test's own timeout ends it where it never is."""
    pause = threading.Event()
    while not is_so():
        pause.wait(0.002)
