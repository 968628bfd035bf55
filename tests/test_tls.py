"""Redis over TLS, with real certificates: what is encrypted and checked, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import ValidationError

import spillway
from pipeline.errors import BadValue, RedisUnavailable
from pipeline.window import RedisWindow
from sinks.ledger.redis.connection import SharedRedis
from spillway.redis_binary import find_redis_server
from spillway.settings import Redis, Settings
from tests.certificates import Authority, Signed
from tests.conftest import gone_with_us
from tests.processes import succeed

DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis that speaks TLS alone, and asks its clients for certificates of the same authority."""

    port: int
    authority: Authority
    other: Authority
    client: Signed

    def url(self, host: str = "localhost") -> str:
        return f"rediss://{host}:{self.port}/0"

    def settings(self, **other: object) -> Redis:
        known = {"tls_ca": self.authority.cert, "tls_cert": self.client.cert, "tls_key": self.client.key}
        return Redis.model_validate({"url": self.url()} | known | other)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = Authority(folder, "ours"), Authority(folder, "other")
    signed, client = authority.sign("server", "DNS:localhost"), authority.sign("client", "DNS:client")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = {
        "port": 0, "tls-port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "tls-auth-clients": "yes",
        "tls-cert-file": signed.cert, "tls-key-file": signed.key, "tls-ca-cert-file": authority.cert,
    }  # fmt: skip
    command = [str(find_redis_server()), *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with gone_with_us(process.pid):
            wait_for(process, port, folder / "log")
            yield Server(port, authority, other, client)
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not listens(port):
        if process.poll() is not None:
            lacking = f"this redis-server has no TLS: {log.read_text().strip().splitlines()[-1]}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def refused(redis: Redis) -> str:
    """Why it can't be reached."""

    async def ask() -> str:
        window = RedisWindow.connect(redis.connection_url)
        try:
            with pytest.raises(RedisUnavailable) as found:
                await window.check()
        finally:
            await window.close()
        return str(found.value)

    return asyncio.run(ask())


def test_the_whole_way_of_a_trade_goes_over_tls(server: Server, tmp_path: Path) -> None:
    tape, config = tmp_path / "tape.csv", tmp_path / "spillway.yaml"
    tape.write_text("id,time,price,size,side\n" + "".join(f"{n},{1_700_000_000 + n}000,100,1,buy\n" for n in range(300)))
    files = f"tls_ca: {server.authority.cert}, tls_cert: {server.client.cert}, tls_key: {server.client.key}"
    config.write_text(f"data_dir: {tmp_path / 'data'}\nredis: {{tls: true, host: localhost, port: {server.port}, {files}}}\n")
    succeed("replay", tape, "--venue", "binance", "--symbol", "BTCUSDT", "-c", config)
    settings = Settings(data_dir=tmp_path / "data", redis=server.settings())
    with spillway.open(settings) as store:
        assert store.minutes("binance", "BTCUSDT")["trade_count"].sum() == 300
    succeed("spill", "--all", "-c", config)
    assert len(list((tmp_path / "data" / "storage").rglob("trades_*.json"))) == 6


def test_a_certificate_of_another_authority_is_refused(server: Server) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refused(server.settings(tls_ca=server.other.cert))


def test_without_an_authority_the_systems_are_asked_and_they_do_not_know_ours(server: Server) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refused(server.settings(tls_ca=None))


def test_a_certificate_for_another_host_is_refused(server: Server) -> None:
    assert "IP address mismatch" in refused(server.settings(url=server.url("127.0.0.1")))


def test_a_client_without_a_certificate_or_with_anothers_is_refused(server: Server) -> None:
    assert "can't be reached" in refused(server.settings(tls_cert=None, tls_key=None))
    foreign = server.other.sign("client", "DNS:client")
    assert "can't be reached" in refused(server.settings(tls_cert=foreign.cert, tls_key=foreign.key))


def test_plain_text_is_not_spoken_to_it(server: Server) -> None:
    assert "can't be reached" in refused(Redis(url=f"redis://localhost:{server.port}/0"))


def test_what_programs_share_goes_over_tls_too(server: Server) -> None:
    for _ in range(20):  # what ends the handshake may come before or after it is looked for
        known = SharedRedis(server.settings().connection_url)
        known.ping()
        known.close()
    unknown = SharedRedis(server.settings(tls_ca=server.other.cert).connection_url)
    with pytest.raises(RedisUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        unknown.ping()
    unknown.close()


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_no_url_can_switch_the_check_off(option: str) -> None:
    with pytest.raises(ValidationError, match="always checked"):
        Redis(url=f"rediss://localhost:6379/0?{option}")
    with pytest.raises(BadValue, match="always checked"):
        SharedRedis(f"rediss://localhost:6379/0?{option}")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"host": "h", "tls_ca": __file__}, "without TLS they are not used"),
        ({"url": "redis://h", "tls": True}, "host or a rediss:// URL"),
        ({"tls": True}, "host or a rediss:// URL"),
        ({"host": "h", "tls": True, "tls_cert": __file__}, "tls_cert and tls_key, both or neither"),
        ({"host": "h", "tls": True, "tls_ca": "/nowhere.pem"}, "a file that is there"),
    ],
)
def test_settings_that_would_not_encrypt_are_refused(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Redis.model_validate(given)
