"""The programs that are measured, and the servers that they talk to: started, heard, and always stopped, by their pid."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from spillway.redis_binary import find_redis_server

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
STOP_S = 20.0


class BenchError(RuntimeError):
    """Something could not be measured; the row says why."""


class Child:
    """A running program of ours. Its output is read line by line, its errors go to a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._lines: queue.Queue[str | None] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        threading.Thread(target=self._read, name=f"read {log.stem}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def line(self, start: str, timeout_s: float) -> str:
        """The rest of the next line that begins with `start`. BenchError if it ends, or the time is over, before."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise BenchError(f"{self.log.stem} ended early: {self.complaint()}")
            if line.startswith(start):
                return line[len(start) :].strip()
        raise BenchError(f"{self.log.stem} said no {start!r} within {timeout_s:g} s: {self.complaint()}")

    def check(self) -> None:
        """BenchError if it is gone."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.log.stem} ended early: {self.complaint()}")

    def complaint(self) -> str:
        """The last line of its errors."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no error was printed")

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ends it: asked first, then made to."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


@contextmanager
def running(command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> Iterator[Child]:
    """A program that runs for as long as the block."""
    child = Child(command, log, env)
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def module(name: str, *arguments: str | Path | int, log: Path, python: str | Path = sys.executable) -> Iterator[Child]:
    """A Python module that runs for as long as the block."""
    with running([python, "-m", name, *map(str, arguments)], log) as child:
        yield child


class RedisServer:
    """A Redis of its own for one row, with the settings that Spillway gives its embedded one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.url = f"redis://{HOST}:{port}/0"
        self.client = redis.Redis(host=HOST, port=port)
        self.folder = folder

    def wait(self, child: Child) -> None:
        """Returns once it answers."""
        for _ in range(500):
            child.check()
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.02)
        raise BenchError(f"redis-server does not answer: {child.complaint()}")

    def clear(self) -> None:
        """Throws all data away."""
        self.client.flushall()


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A redis-server on loopback for as long as the block, append-only as ours is."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "auto-aof-rewrite-percentage": "0",  # a rewrite would fall on one run and not on the next
        "logfile": str(folder / "redis.log"),
    }
    command = [str(find_redis_server()), *(part for name, value in options.items() for part in (f"--{name}", value))]
    with running(command, folder / "redis-server.log") as child:
        server = RedisServer(folder, port)
        try:
            server.wait(child)
            yield server
        finally:
            server.client.close()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
