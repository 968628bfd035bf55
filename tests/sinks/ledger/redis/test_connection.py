"""What our user may and may not, and what is sent anew when the connection to Redis breaks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from pipeline.errors import BadValue, RedisUnavailable
from sinks.ledger.redis.cache import FOREVER
from sinks.ledger.redis.connection import RETRIES
from sinks.ledger.redis.registries import RedisRegistry
from sinks.ledger.redis.shared import Shared, open_shared
from tests.sinks.ledger.redis.servers import SECRET, Server, line_to, our_line, start, user_url
from tests.sinks.ledger.redis.test_services import ENGINE


def test_our_user_may_touch_no_other_keys(trading_redis: Server) -> None:
    client: Any
    with redis.Redis.from_url(trading_redis.url) as client:
        for key in ("trades_window:{binance:BTCUSDT}:cursor", "tradin", "x", "Trading:a"):
            for command in (["MGET", key], ["SET", key, "v"], ["UNLINK", key]):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.publish("other", "x")
        listening = client.pubsub()
        listening.subscribe("other")
        with pytest.raises(redis.exceptions.NoPermissionError):
            listening.get_message(timeout=10)
        listening.close()


DENIED = [
    "KEYS trading:*", "FLUSHALL", "FLUSHDB", "CONFIG GET *", "EVAL return 0", "SHUTDOWN", "ACL LIST",
    "CLIENT LIST", "MONITOR", "DEL trading:a", "RENAME trading:a trading:b", "INFO", "SCRIPT LOAD x", "PSUBSCRIBE trading:*",
]  # fmt: skip


@pytest.mark.parametrize("command", DENIED)
def test_our_user_may_give_no_other_commands(trading_redis: Server, command: str) -> None:
    with redis.Redis.from_url(trading_redis.url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split(" ", 1 if command.startswith("EVAL") else 9), *["0"] * command.startswith("EVAL"))


def test_our_user_has_no_right_that_it_does_not_need(trading_redis: Server) -> None:
    granted = {word[1:] for word in our_line().split() if word.startswith("+")}
    with trading_redis.admin() as admin, open_shared(trading_redis.url) as shared:
        admin.flushdb()
        admin.acl_log_reset()
        admin.config_resetstat()
        _do_all(shared)
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
        assert admin.acl_log() == []
        admin.flushdb()
    # A database other than 0 is chosen by `select`; the channel of changes has its own tests.
    assert granted - used == {"select", "publish", "subscribe"}


def _do_all(shared: Shared) -> None:
    cache, services = shared.cache, shared.services
    shared.ping()
    cache.set("a", "1", ttl=60)
    cache.set_many({"b": "2", "c": "3"})
    assert (cache.get("a"), cache.exists("a"), cache.ttl("a") > 0, cache.expire("b", 5)) == ("1", True, True, True)
    cache.expire("a", 1e6)
    cache.expire("c", FOREVER)
    assert (cache.increment("n"), cache.keys("*"), cache.delete_pattern("?"), cache.clear()) == (1, ["a", "b", "c", "n"], 4, 0)
    services.register(ENGINE)
    services.register(replace(ENGINE, service_id="dead"))
    assert services.update_heartbeat("engine-1")
    assert services.cleanup_stale_services(1e6) == 0
    assert services.cleanup_stale_services(0.000001) == 2
    services.register(ENGINE)
    assert shared.redis
    assert RedisRegistry(shared.redis)._still_stale(["engine-1"], 0) == []  # seemed stale, and beats after all


def test_the_line_in_config_lets_nobody_in_without_a_password_of_ones_own() -> None:
    line = our_line()
    assert "nopass" not in line
    assert ">" not in line
    assert "#" not in line


def test_a_wrong_password_is_told_without_it(trading_redis: Server) -> None:
    with pytest.raises(RedisUnavailable, match="refuses this user or password") as caught:
        open_shared(user_url(trading_redis.socket, "hunter2"))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://user:hunter2@host", "redis://user:hunter2@host:port/0", "", "memory", "redis://:hunter2@host:99999999/0"],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((BadValue, RedisUnavailable)) as caught:
        open_shared(url)
    assert "hunter2" not in str(caught.value)


def test_the_secret_shows_nowhere(trading_redis: Server) -> None:
    with open_shared(trading_redis.url) as shared:
        assert SECRET not in shared.where
        assert "trading-adapter:***@" in shared.where


def test_a_redis_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable, match=r"Redis at unix://.*gone\.sock can't be reached: .*No such file"):
        open_shared(f"unix://{tmp_path}/gone.sock")


def test_a_user_with_too_few_rights_is_told_where_they_stand(trading_redis: Server) -> None:
    with trading_redis.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "reader", "on", ">x", "~trading:*", "-@all", "+ping", "+mget")
    with open_shared(f"unix://reader:x@{trading_redis.socket}") as shared:
        assert shared.cache.get("a") is None
        with pytest.raises(RedisUnavailable, match=r"config/redis/users\.acl"):
            shared.cache.set("a", "1")


def test_a_counter_is_never_counted_twice(trading_redis: Server, tmp_path: Path) -> None:
    with line_to(trading_redis, tmp_path / "line") as line, open_shared(user_url(line.path)) as shared:
        shared.cache.clear()
        shared.cache.increment("orders", 10)
        line.cut_answers_to(b"INCRBY", times=1)
        with pytest.raises(RedisUnavailable, match="can't be reached"):
            shared.cache.increment("orders")
        assert len(line.cut) == 1
        assert shared.cache.get("orders") == "11"  # it had arrived; a client that retries would have made it 12


ONCE: dict[str, tuple[bytes, Callable[[Shared], Any]]] = {
    "set_if_absent": (b"NX", lambda shared: shared.cache.set_if_absent("new", "v")),
    "delete": (b"UNLINK", lambda shared: shared.cache.delete("a")),
    "deregister": (b"UNLINK", lambda shared: shared.services.deregister("engine-1")),
}


@pytest.mark.parametrize("operation", ONCE)
def test_what_tells_whether_this_call_did_it_is_sent_once(trading_redis: Server, tmp_path: Path, operation: str) -> None:
    command, ask = ONCE[operation]
    with line_to(trading_redis, tmp_path / "line") as line, open_shared(user_url(line.path)) as shared:
        shared.cache.clear()
        line.cut_answers_to(command, times=1)
        with pytest.raises(RedisUnavailable):
            ask(shared)
        assert len(line.cut) == 1


AGAIN: dict[str, tuple[bytes, Callable[[Shared], Any], Any]] = {
    "get": (b"MGET", lambda shared: shared.cache.get("a"), None),
    "set": (b"SET", lambda shared: shared.cache.set("b", "1"), None),
    "set_many": (b"EXEC", lambda shared: shared.cache.set_many({"c": "1", "d": "2"}), None),
    "expire": (b"PEXPIRE", lambda shared: shared.cache.expire("a", 1), False),
    "register": (b"EXEC", lambda shared: shared.services.register(ENGINE).service_id, "engine-1"),
    "heartbeat": (b"XX", lambda shared: shared.services.update_heartbeat("nobody"), False),
}


@pytest.mark.parametrize("operation", AGAIN)
def test_what_may_be_done_twice_is_sent_again(trading_redis: Server, tmp_path: Path, operation: str) -> None:
    command, ask, expected = AGAIN[operation]
    with line_to(trading_redis, tmp_path / "line") as line, open_shared(user_url(line.path)) as shared:
        shared.cache.clear()
        line.cut_answers_to(command, times=2)
        assert ask(shared) == expected
        assert len(line.cut) == 2


def test_a_line_that_always_breaks_ends_in_an_error(trading_redis: Server, tmp_path: Path) -> None:
    with line_to(trading_redis, tmp_path / "line") as line, open_shared(user_url(line.path)) as shared:
        line.cut_answers_to(b"MGET", times=100)
        with pytest.raises(RedisUnavailable, match="can't be reached"):
            shared.cache.get("a")
        assert len(line.cut) == RETRIES + 1


def test_a_redis_that_does_not_answer_is_given_up(own_redis: Server) -> None:
    with open_shared(own_redis.url, timeout_s=0.05) as shared:
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RedisUnavailable, match="can't be reached: Timeout"):
                shared.cache.increment("a")
        finally:
            os.kill(own_redis.process.pid, signal.SIGCONT)
        shared.cache.get("a")


def test_a_redis_that_was_killed_and_came_back_is_used_again(own_redis: Server, tmp_path: Path) -> None:
    with open_shared(own_redis.url) as shared:
        shared.cache.increment("a")
        own_redis.process.kill()
        own_redis.process.wait()
        with pytest.raises(RedisUnavailable):
            shared.cache.increment("a")
        own_redis.process = start(tmp_path)
        assert shared.cache.increment("a") == 2


def test_more_threads_than_connections_wait_for_one(trading_redis: Server) -> None:
    with trading_redis.admin() as admin, open_shared(trading_redis.url, pool_size=2) as shared:
        before = int(admin.info("clients")["connected_clients"])
        shared.cache.clear()
        threads = [threading.Thread(target=lambda: [shared.cache.increment("n") for _ in range(20)]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shared.cache.get("n") == "320"
        assert int(admin.info("clients")["connected_clients"]) <= before + 4  # two pools of two
