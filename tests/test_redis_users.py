"""config/redis: each of the users may do its work, and nothing else; Redis keeps what it is given."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import spillway
from collectors.simulator import Simulator, synthetic_trades
from pipeline.instrument import Instrument
from pipeline.window import INSTRUMENTS
from sinks.ledger.ledger import open_ledger
from spillway.app import opened
from spillway.backfill_requests import Request, Requests
from spillway.redis_binary import find_redis_server
from spillway.service import Service
from spillway.settings import Collect, Http, Redis, Schedule, Settings
from spillway.spill import spill_now
from spillway.watch.job import Wanted, Watcher
from tests.conftest import gone_with_us

CONFIG = Path(__file__).parents[1] / "config" / "redis"
BTC = Instrument("binance", "BTCUSDT")
WITH_SECRETS = ("spillway", "reader", "trading-adapter")


@dataclass(slots=True)
class Server:
    """A Redis that was started as docker-compose.yml starts it, on a unix socket."""

    folder: Path
    passwords: dict[str, str]

    def url(self, user: str) -> str:
        return f"unix://{user}:{self.passwords.get(user, 'any')}@{quote(str(self.folder / 'redis.sock'))}"

    def client(self, user: str, password: str | None = None) -> Any:
        known = self.passwords.get(user, "any") if password is None else password
        who: dict[str, Any] = {"username": user, "password": known}
        once = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self.folder / "redis.sock"), decode_responses=True, retry=once, **who)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("users")
    shutil.copytree(CONFIG, folder / "config")
    with (folder / "config" / "users.acl").open("a") as users:  # the test's own, to look at what was refused
        users.write("user admin on nopass ~* &* +@all\n")
    passwords = {user: secrets.token_hex(8) for user in WITH_SECRETS if user != "trading-adapter"}
    for user, password in passwords.items():
        (folder / f"redis_{user}").write_text(f"{password}\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "redis-server").symlink_to(find_redis_server())
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SECRETS": str(folder), "ACL_FILE": str(folder / "acl")}
    environment["DATA"] = str(folder)
    options = ["--port", "0", "--unixsocket", str(folder / "redis.sock")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([folder / "config" / "start.sh", *options], env=environment, stdout=log, stderr=log)
    server = Server(folder, passwords)
    try:
        with gone_with_us(process.pid):
            wait_for(process, server)
            yield server
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], server: Server) -> None:
    with server.client("admin") as client:
        while True:
            assert process.poll() is None, (server.folder / "log").read_text()
            with suppress(redis.RedisError):
                if client.ping():
                    return


def test_nobody_gets_in_without_a_user_or_with_another_password(server: Server) -> None:
    nobody = redis.Redis(unix_socket_path=str(server.folder / "redis.sock"), retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.AuthenticationError), nobody:
        nobody.ping()
    for user in ("default", "spillway", "reader", "trading-adapter"):  # the last has no secret here
        for password in ("", "wrong"):
            with pytest.raises(redis.AuthenticationError), server.client(user, password) as client:
                client.ping()


def test_passwords_are_kept_as_hashes_for_redis_alone(server: Server) -> None:
    users = server.folder / "acl"
    assert users.stat().st_mode & 0o077 == 0
    assert not [password for password in server.passwords.values() if password in users.read_text()]


def test_redis_appends_and_never_evicts(server: Server) -> None:
    with server.client("admin") as admin:
        info = admin.info()
        assert (info["aof_enabled"], info["maxmemory_policy"], info["maxmemory"]) == (1, "noeviction", 2 * 1024**3)
        assert admin.config_get("appendfsync") == {"appendfsync": "everysec"}


REFUSED = ["CONFIG GET *", "FLUSHALL", "KEYS *", "SHUTDOWN", "DEBUG SLEEP 0", "ACL LIST", "SCRIPT FLUSH", "SAVE", "MONITOR"]
OTHERS_KEYS = ["GET trading:x", "HGETALL other", "SET other 1", "EVAL return(redis.call('GET','trading:x')) 0"]
WRITES = ["SET {key} 1", "DEL {key}", "HSET {key} a 1", "HDEL {key} a", "XADD {key} * a 1", "SADD {key} a", "EVAL return(1) 0"]


@pytest.mark.parametrize("user", ["spillway", "reader", "health"])
def test_a_user_is_refused_what_its_work_does_not_need(server: Server, user: str) -> None:
    commands = REFUSED + OTHERS_KEYS + ([] if user == "spillway" else WRITES)
    with server.client(user) as client:
        assert client.ping()
        for command in commands:
            words = command.format(key="trades_window:{binance:BTCUSDT}:sealed").split()
            with pytest.raises(redis.ResponseError, match=r"(?i)no ?perm|can't|not allowed"):
                client.execute_command(*words)


async def test_the_whole_way_of_a_trade_needs_no_more_than_the_user_has(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.jobs.SURVEY_S", 0.05)
    with server.client("admin") as admin:
        admin.acl_log_reset()
    start_ns = (time.time_ns() // 60_000_000_000 - 20) * 60_000_000_000
    trades = list(synthetic_trades(3, start_ns, 2_000, "BTCUSDT", trades_per_minute=200))
    async with Simulator(trades, cut_every=700, missed=50) as exchange:
        entry = Collect(venue="binance", symbols=("BTCUSDT",), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        settings = Settings(
            data_dir=tmp_path,
            collect=(entry,),
            redis=Redis(url=server.url("spillway")),
            http=Http(port=0),
            schedule=Schedule(seal_every_s=0.05, flush_ms=10),
        )
        with open_ledger(settings.ledger_url) as ledger:
            async with opened(settings) as app:
                service = Service(app, ledger)
                running = asyncio.create_task(service.run())
                await Requests(app.window).put(BTC, Request(start_ns - 10**9, start_ns, None, time.time_ns()), new=True)
                async with asyncio.timeout(60):
                    while not service.collections or service.collections[0].counts("BTCUSDT").taken < len(trades):
                        await asyncio.sleep(0.01)
                    while not service.jobs.survey.fills:
                        await asyncio.sleep(0.01)
                with server.client("reader") as reader:
                    assert reader.smembers(INSTRUMENTS) == {BTC.tag}
                read = settings.model_copy(update={"redis": Redis(url=server.url("reader"))})
                with spillway.open(read) as store:
                    assert len(await asyncio.to_thread(store.levels, "binance", "BTCUSDT", last="1d"))
                watching = Watcher(read, Wanted("binance", "BTCUSDT"))
                assert (await watching.look(time.time_ns(), 80, 24)).as_dict()["minutes"]
                await watching.close()
                service.stop.set()
                await running
                report = await spill_now(app, True, lambda done, total: None)
                assert (report.failures, report.written > 5) == ([], True)
    with server.client("admin") as admin:
        refused = {(entry["username"], entry["object"]) for entry in admin.acl_log()}
    # What the client says of itself, a Redis before 7.2 wouldn't know how to allow; it is told that nothing depends on it.
    assert {(user, what) for user, what in refused if not what.startswith("client")} == set()
