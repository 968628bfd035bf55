"""The embedded Redis: one `redis-server` per folder, shared by all our processes that use the folder.

Two locks in the folder say everything. The kernel drops each one when its holder dies, however it dies:

    server.lock  held by the server itself (it inherits the open file): no second one ever runs on the same append-only file
    users.lock   shared by all users; who can have it alone was the last, and holds it so while the server shuts down

So a user that is killed leaves the server to the next one, and a server that is killed is started again on what it wrote.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.errors import RedisUnavailable, StorageError
from sinks import durable
from spillway.redis_binary import find_redis_server, refuse_older

__all__ = ["RunningRedis", "ensure_embedded", "find_redis_server", "socket_url"]

log = logging.getLogger(__name__)

POLL_S = 0.01
ANSWER_TIMEOUT_S = 1.0
STOP_TIMEOUT_S = 60.0
# A socket's address holds 104 bytes on macOS and 108 on Linux, with the closing zero.
LONGEST_SOCKET_PATH = 100


def ensure_embedded(redis_dir: Path, *, maxmemory: str | None = None, timeout_s: float = 300.0) -> RunningRedis:
    """The folder's running server, started if need be, ready for commands; the caller must `release()` it.

    `maxmemory` (such as `2gb`) holds for a server that this call starts. `timeout_s` bounds all waiting, also that for
    a long append-only file to load. Raises `RedisUnavailable`, or `StorageError` for a folder that can't be used.
    """
    return RunningRedis(redis_dir.expanduser().resolve(), maxmemory, timeout_s)


def running_server(redis_dir: Path) -> str | None:
    """The address of the folder's server if one runs, answering or not; nothing is started or made. StorageError."""
    folder = redis_dir.expanduser().resolve()
    try:
        lock = os.open(folder / "server.lock", os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{folder / 'server.lock'}: {error.strerror}, expected a file that can be read") from error
    try:
        return None if _try_lock(lock, fcntl.LOCK_SH) else _url(_socket_in(folder))
    finally:
        os.close(lock)


def socket_url(redis_dir: Path) -> str:
    """The address at which a folder's server answers while it runs. Nothing is started or made."""
    return _url(_socket_in(redis_dir.expanduser().resolve()))


class RunningRedis:
    """A server in use by this process. A context manager; released at the interpreter's exit at the latest."""

    def __init__(self, redis_dir: Path, maxmemory: str | None, timeout_s: float) -> None:
        self.redis_dir = redis_dir
        self.pid = 0
        self._server_lock = redis_dir / "server.lock"
        self._users_lock = redis_dir / "users.lock"
        self._maxmemory = maxmemory
        self._timeout_s = timeout_s
        self._owner_pid = os.getpid()
        _make_folder(redis_dir)
        self.socket_path = _socket_path(redis_dir)
        self._users: int | None = self._join()
        atexit.register(self.release)

    @property
    def url(self) -> str:
        """The server's address for redis-py."""
        return _url(self.socket_path)

    def restart_if_dead(self) -> None:
        """Start the server again if it died, on the file that it wrote; do nothing if it answers."""
        self._ensure_running()

    def release(self) -> None:
        """Stop using the server; the last user shuts it down and returns when it is gone. May be called again."""
        if self._users is None or os.getpid() != self._owner_pid:  # a forked child must not end its parent's use
            return
        os.close(self._users)
        self._users = None
        atexit.unregister(self.release)
        # Asked only after our own lock is gone: of two who leave at once, at least the later one then has it alone.
        with _opened(self._users_lock) as users:
            if _try_lock(users, fcntl.LOCK_EX):
                self._shut_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _join(self) -> int:
        users = _open_lock(self._users_lock)
        try:
            self._lock(users, fcntl.LOCK_SH, self._timeout_s)
            self._ensure_running()
        except BaseException:
            os.close(users)
            raise
        return users

    def _lock(self, lock: int, kind: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(lock, kind):
            if time.monotonic() > deadline:
                raise RedisUnavailable(f"the Redis server of {self.redis_dir} has been stopping for {timeout_s:g} s")
            time.sleep(POLL_S)

    def _ensure_running(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        process: subprocess.Popen[bytes] | None = None
        while not self._answers():
            if process and process.poll() is not None:
                raise RedisUnavailable(f"redis-server did not start in {self.redis_dir}: {self._last_log_line()}")
            if time.monotonic() > deadline:
                raise RedisUnavailable(
                    f"the Redis server of {self.redis_dir} runs, but did not answer on {self.socket_path} "
                    f"within {self._timeout_s:g} s; its log ends: {self._last_log_line()}"
                )
            process = process or self._start_if_none_runs()
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        # INFO and not PING: the latter fails when the disk is full, and then the window must still be read and spilled.
        with suppress(redis.RedisError), self._client(ANSWER_TIMEOUT_S) as client:
            info = cast(dict[str, Any], client.info())
            self.pid = int(info["process_id"])
            return not info["loading"]
        return False

    def _client(self, timeout_s: float) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket_path), socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))

    def _start_if_none_runs(self) -> subprocess.Popen[bytes] | None:
        # Silence is no proof: a server that hangs, or whose socket was removed, still writes the append-only file.
        with _opened(self._server_lock) as server:
            return self._start(server) if _try_lock(server, fcntl.LOCK_EX) else None

    def _start(self, server_lock: int) -> subprocess.Popen[bytes]:
        binary = find_redis_server()
        refuse_older(binary, self.redis_dir)
        log.info("starting %s in %s", binary, self.redis_dir)
        with open(self.redis_dir / "redis.log", "ab", opener=durable.private) as output:  # for what it says before it opens it
            process = subprocess.Popen(
                [str(binary), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[server_lock],
                umask=~durable.FILE_MODE & 0o777,
                start_new_session=True,  # Ctrl-C is for us: we drain into Redis before it stops
            )
        # Someone has to take a child's exit code, or it stays as a zombie for as long as we live.
        threading.Thread(target=process.wait, name="redis-reaper", daemon=True).start()
        return process

    def _options(self) -> Iterator[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.redis_dir),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": self._maxmemory or "0",
            "maxmemory-policy": "noeviction",
            "logfile": str(self.redis_dir / "redis.log"),
            "pidfile": str(self.redis_dir / "redis.pid"),
            "daemonize": "no",
        }
        for name, value in options.items():
            yield from (f"--{name}", value)

    def _shut_down(self) -> None:
        try:
            with self._client(STOP_TIMEOUT_S) as client:
                client.shutdown(nosave=True)  # no RDB file; the append-only file is written and fsynced in any case
        except redis.RedisError as error:
            raise RedisUnavailable(f"the Redis server of {self.redis_dir} did not shut down: {error}") from error
        with _opened(self._server_lock) as server:
            self._lock(server, fcntl.LOCK_EX, STOP_TIMEOUT_S)

    def _last_log_line(self) -> str:
        with suppress(OSError), (self.redis_dir / "redis.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
            return next(filter(None, reversed(lines)), "(empty)")
        return "(no log)"


def _make_folder(folder: Path) -> None:
    if not folder.parent.exists():
        durable.make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}, expected a folder that can be written") from error


def _url(socket_path: Path) -> str:
    return f"unix://{quote(str(socket_path))}"


def _socket_in(redis_dir: Path) -> Path:
    """Where the socket lies."""
    direct = redis_dir / "redis.sock"
    if len(os.fsencode(direct)) <= LONGEST_SOCKET_PATH:
        return direct
    # Not by TMPDIR if it can be helped: a service and a notebook may differ in it, and must meet.
    base = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    return base / f"spillway-{os.getuid()}-{hashlib.sha256(os.fsencode(redis_dir)).hexdigest()[:16]}" / "redis.sock"


def _socket_path(redis_dir: Path) -> Path:
    """The same, with a private folder made for it where it can't lie in `redis_dir`."""
    path = _socket_in(redis_dir)
    folder = path.parent
    if folder == redis_dir:
        return path
    _make_folder(folder)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o170077 != 0o040000:  # others could listen in our place
        raise StorageError(f"{folder}: not a private folder of ours, and Redis's socket has to lie there: remove it")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    lock = _open_lock(path)
    try:
        yield lock
    finally:
        os.close(lock)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}, expected a file that can be written") from error


def _try_lock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
