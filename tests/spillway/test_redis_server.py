"""The embedded Redis, tested with real servers, real other processes and real signals."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from pipeline.errors import RedisUnavailable, StorageError
from spillway.redis_server import RunningRedis, ensure_embedded

# What another process of ours does: use the server, tell its pid, and go on when its input ends.
USER = """
import sys, pathlib
from spillway.redis_server import ensure_embedded
with ensure_embedded(pathlib.Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""

# Comes and goes, so that starts and stops of several such processes meet in every way.
COUNTER = """
import sys, pathlib, redis
from spillway.redis_server import ensure_embedded
for _ in range(int(sys.argv[2])):
    with ensure_embedded(pathlib.Path(sys.argv[1])) as server, redis.Redis.from_url(server.url) as connection:
        connection.incr("visits")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "redis"
    yield folder
    with suppress(OSError, ValueError):  # a test that fails must not leave its server behind
        os.kill(int((folder / "redis.pid").read_text()), signal.SIGKILL)


@pytest.fixture
def start_user(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    users: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(folder)]
        users.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return users[-1]

    yield start
    for user in users:
        user.kill()
        user.communicate()


def told_pid(user: subprocess.Popen[str]) -> int:
    assert user.stdout
    return int(user.stdout.readline())


def client(server: RunningRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def server_runs(folder: Path) -> bool:
    """Whether any server has the folder: the kernel knows."""
    with (folder / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill_server(server: RunningRedis) -> None:
    os.kill(server.pid, signal.SIGKILL)
    with (server.redis_dir / "server.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # free when it is dead


def test_a_server_is_started_and_is_gone_when_released(folder: Path) -> None:
    server = ensure_embedded(folder)
    with client(server) as connection:
        connection.set("key", "value")
        assert connection.info("server")["process_id"] == server.pid
    assert server_runs(folder)
    server.release()
    assert not server_runs(folder)
    assert not server.socket_path.exists()
    server.release()  # again does nothing


def test_it_keeps_all_on_disk_and_never_evicts(folder: Path) -> None:
    with ensure_embedded(folder, maxmemory="64mb") as server, client(server) as connection:
        expected = {
            "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction",
            "maxmemory": str(64 << 20), "port": "0", "dir": str(folder), "daemonize": "no",
        }  # fmt: skip
        config = connection.config_get()  # whole: Redis 6 takes no list of names
        assert {name: config[name] for name in expected} == expected
    assert folder.stat().st_mode & 0o077 == 0  # the socket in it is for nobody else


def test_what_was_written_is_there_at_the_next_start(folder: Path) -> None:
    with ensure_embedded(folder) as server, client(server) as connection:
        connection.set("key", "value")
    with ensure_embedded(folder) as server, client(server) as connection:
        assert connection.get("key") == "value"


def test_two_users_share_a_server_and_the_last_stops_it(folder: Path, start_user: Callable[[], subprocess.Popen[str]]) -> None:
    other = start_user()
    pid = told_pid(other)
    with ensure_embedded(folder) as mine, ensure_embedded(folder) as again:
        assert mine.pid == again.pid == pid
        again.release()
        other.communicate()
        with client(mine) as connection:
            assert connection.ping()
    assert not server_runs(folder)


def test_processes_that_start_at_once_get_one_server(folder: Path, start_user: Callable[[], subprocess.Popen[str]]) -> None:
    users = [start_user() for _ in range(4)]
    assert len({told_pid(user) for user in users}) == 1
    for user in users:
        user.communicate()
        assert user.returncode == 0
    assert not server_runs(folder)


def test_users_that_come_and_go_lose_nothing_and_leave_no_server(folder: Path) -> None:
    command = [sys.executable, "-c", COUNTER, str(folder), "25"]
    users = [subprocess.Popen(command) for _ in range(4)]
    assert [user.wait() for user in users] == [0] * 4
    assert not server_runs(folder)
    with ensure_embedded(folder) as server, client(server) as connection:
        assert connection.get("visits") == "100"


def test_a_killed_user_leaves_the_server_to_the_next(folder: Path, start_user: Callable[[], subprocess.Popen[str]]) -> None:
    user = start_user()
    pid = told_pid(user)
    user.kill()
    user.communicate()
    with ensure_embedded(folder) as server:
        assert server.pid == pid
    assert not server_runs(folder)


def test_a_user_that_only_exits_has_released(folder: Path) -> None:
    script = "import sys, pathlib; from spillway.redis_server import ensure_embedded as e; e(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    assert not server_runs(folder)


def test_a_killed_server_comes_back_with_what_it_wrote(folder: Path) -> None:
    with ensure_embedded(folder) as server:
        with client(server) as connection:
            connection.set("key", "value")
        kill_server(server)
        assert server.socket_path.exists()  # stale
        with ensure_embedded(folder) as again, client(again) as connection:
            assert again.pid != server.pid
            assert connection.get("key") == "value"
    assert not server_runs(folder)


def test_a_user_restarts_a_server_that_died_under_it(folder: Path) -> None:
    with ensure_embedded(folder) as server:
        pid = server.pid
        server.restart_if_dead()
        assert server.pid == pid
        kill_server(server)
        server.restart_if_dead()
        assert server.pid != pid
        with client(server) as connection:
            assert connection.ping()


def test_releasing_after_the_server_died_is_no_error(folder: Path) -> None:
    server = ensure_embedded(folder)
    kill_server(server)
    server.release()
    assert not server_runs(folder)


def test_a_dead_server_leaves_no_zombie(folder: Path) -> None:
    before = set(threading.enumerate())  # other tests' servers may be running
    server = ensure_embedded(folder)
    (reaper,) = [thread for thread in set(threading.enumerate()) - before if thread.name == "redis-reaper"]
    server.release()
    reaper.join(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_it_is_ready_only_when_all_is_loaded(folder: Path) -> None:
    folder.mkdir()
    keys = 300_000
    entries = (f"*3\r\n$3\r\nSET\r\n$6\r\n{key:06}\r\n$1\r\nv\r\n" for key in range(keys))
    (folder / "appendonly.aof").write_text("".join(entries))  # as Redis 6 has it; 7 reads it too
    with ensure_embedded(folder) as server, client(server) as connection:
        assert connection.dbsize() == keys


def test_a_server_that_hangs_gets_no_second_beside_it(folder: Path) -> None:
    with ensure_embedded(folder) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RedisUnavailable, match=r"runs, but did not answer on .* within 0\.1 s"):
                ensure_embedded(folder, timeout_s=0.1)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        with ensure_embedded(folder) as again:
            assert again.pid == server.pid


def test_a_server_without_its_socket_gets_no_second_beside_it(folder: Path) -> None:
    with ensure_embedded(folder) as server:
        away = server.socket_path.rename(folder / "away.sock")
        with pytest.raises(RedisUnavailable, match="runs, but did not answer"):
            ensure_embedded(folder, timeout_s=0.1)
        away.rename(server.socket_path)


def test_a_deep_folder_has_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("y" * 60)
    try:
        with ensure_embedded(deep) as server, ensure_embedded(deep) as again, client(again) as connection:
            assert connection.ping()
            assert server.socket_path == again.socket_path
            assert not server.socket_path.is_relative_to(deep)
            assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        server.socket_path.parent.rmdir()


def test_a_short_socket_folder_that_others_can_enter_is_refused(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("z" * 60)
    server = ensure_embedded(deep)
    server.release()
    planted = server.socket_path.parent
    planted.chmod(0o755)
    try:
        with pytest.raises(StorageError, match="not a private folder of ours"):
            ensure_embedded(deep)
    finally:
        planted.rmdir()


def test_a_folder_with_odd_characters_works(folder: Path) -> None:
    with ensure_embedded(folder / "a b?%20#é") as server, client(server) as connection:
        assert connection.ping()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/redis: Not a directory, expected a folder that can be written"):
        ensure_embedded(tmp_path / "file" / "redis")


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    with pytest.raises(RedisUnavailable, match=r"did not start in .*: .*memory value") as caught:
        ensure_embedded(folder, maxmemory="plenty")
    assert "\n" not in str(caught.value)
    assert not server_runs(folder)


def test_a_damaged_file_is_not_started_from_empty(folder: Path) -> None:
    folder.mkdir()
    (folder / "appendonly.aof").write_text("this is no append-only file\r\n" * 3)
    with pytest.raises(RedisUnavailable, match="did not start in"):
        ensure_embedded(folder)
    assert not server_runs(folder)
