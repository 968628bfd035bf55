"""A password stands in each setting that may hold one; then all that Spillway says, writes and shows is searched for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from typer.testing import CliRunner

from collectors.simulator import Simulator, synthetic_trades
from spillway.cli import app
from spillway.redis_binary import find_redis_server
from spillway.settings import SettingsError, load_settings
from spillway.trading_config import AdapterConfig
from tests.conftest import gone_with_us

SECRETS = {"redis": "hunter2-of-redis", "ledger": "hunter2-of-the-ledger", "http": "hunter2-of-http", "own": "hunter2-of-ours"}
DEADLINE_S = 60.0
COMMANDS = [
    ["status"], ["status", "--json"], ["gaps"], ["spill"], ["compact"], ["verify"], ["watch", "--once"], ["watch", "--json"],
    ["doctor"], ["config", "check"], ["ledger", "check"],
]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """The socket of a Redis that wants a password."""
    place = tmp_path / "its"
    place.mkdir()
    (place / "redis.conf").write_text(
        f'port 0\nunixsocket {place}/redis.sock\nappendonly yes\nsave ""\ndir {place}\nrequirepass {SECRETS["redis"]}\n'
    )
    process = subprocess.Popen([find_redis_server(), place / "redis.conf"], stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(place / "redis.sock"), password=SECRETS["redis"])
    try:
        with gone_with_us(process.pid), client:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                assert time.monotonic() < deadline
                with suppress(redis.RedisError):
                    if client.ping():
                        break
            yield place / "redis.sock"
    finally:
        process.kill()
        process.wait()


def leaks(text: str, where: object) -> list[str]:
    """Which of the secrets stand in a text."""
    return [f"{name} in {where}: {line[:300]}" for name, s in SECRETS.items() for line in text.splitlines() if s in line]


def command_lines() -> str:
    """Of all processes of this machine's, with their environments left out: those only their owner can read."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text(errors="replace").replace("\0", " "))
    return "\n".join(found)


def written(folder: Path) -> list[str]:
    """Leaks in all files of a folder, the embedded or shared Redis's own left out."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [leak for path in paths for leak in leaks(path.read_bytes().decode("latin1"), path)]


def environment(config: Path, socket: Path, ledger: str) -> dict[str, str]:
    """The settings as variables: nothing of them may stand on a command line or in the file."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("SPILLWAY_")}
    return mine | {
        "SPILLWAY_REDIS__URL": f"unix://:{SECRETS['redis']}@{quote(str(socket))}",
        "SPILLWAY_LEDGER__URL": ledger,
        "SPILLWAY_HTTP__TOKEN": SECRETS["http"],
    }


def run(config: Path, variables: dict[str, str], *args: str) -> tuple[int, str]:
    """A command's exit code, and all that it said, an unexpected error's text too."""
    done = CliRunner().invoke(app, [*args, "-c", str(config)], env=variables)
    return done.exit_code, done.output + repr(done.exception) + "".join(traceback.format_exception(done.exception))


async def test_a_service_and_all_commands_tell_no_secret(server: Path, tmp_path: Path) -> None:
    start_ns = (time.time_ns() // 60_000_000_000 - 10) * 60_000_000_000
    trades = list(synthetic_trades(3, start_ns, 2_000, "BTCUSDT", trades_per_minute=500))
    config, log, data = tmp_path / "spillway.yaml", tmp_path / "log", tmp_path / "data"
    variables = environment(config, server, f"sqlite:///{data / 'ledger.db'}")
    async with Simulator(trades, rate=2_000.0, cut_every=900) as exchange:
        urls = f"ws_url: '{exchange.ws_url}', rest_url: '{exchange.rest_url}'"
        config.write_text(
            f"data_dir: {data}\nhttp: {{port: 0}}\nlog: {{level: debug, format: json}}\n"
            f"collect: [{{venue: binance, symbols: [BTCUSDT], {urls}}}]\n"
        )
        with log.open("ab") as file:
            process = subprocess.Popen([sys.executable, "-m", "spillway", "run", "-c", str(config)], env=variables, stderr=file)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not served_at(log) or len(exchange.happened) < len(trades):
                    await asyncio.sleep(0.02)
            said = await asyncio.to_thread(ask_http, served_at(log))
            said += await asyncio.to_thread(run_all, config, variables)
            found = leaks(command_lines(), "a command line")
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 30)
    found += leaks(said, "what was said") + written(data) + leaks(log.read_text(), "the log")
    assert found == []
    assert "spillway_trades_total" in said  # the token was right


def served_at(log: Path) -> str:
    """Where the service says that it serves, or nothing yet."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")] if log.exists() else []
    return next((line["at"][0] for line in lines if line["event"] == "serving metrics"), "")


def ask_http(url: str) -> str:
    texts = []
    for path in ("/metrics", "/healthz", "/readyz"):
        asked = urllib.request.Request(url.rpartition("/")[0] + path, headers={"Authorization": f"Bearer {SECRETS['http']}"})
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(asked, timeout=30) as answer:
            texts.append(answer.read().decode())
    return "\n".join(texts)


def run_all(config: Path, variables: dict[str, str]) -> str:
    told = [run(config, variables, *command) for command in COMMANDS]
    return "\n".join(text for _, text in told)


def test_what_can_not_be_reached_or_opened_is_told_without_its_secret(tmp_path: Path) -> None:
    config = tmp_path / "spillway.yaml"
    config.write_text(f"data_dir: {tmp_path / 'data'}\n")
    everywhere = [
        f"redis://user:{SECRETS['redis']}@127.0.0.1:1/0",
        f"redis://127.0.0.1:1/0?password={SECRETS['redis']}",
        f"unix://:{SECRETS['redis']}@/nowhere/redis.sock",
        f"redis://user:{SECRETS['redis']}@127.0.0.1:port/0",
        f"http://user:{SECRETS['redis']}@127.0.0.1/0",
    ]
    postgres = f"postgresql://user:{SECRETS['ledger']}@127.0.0.1:1/db"
    for url in everywhere:
        variables = environment(config, tmp_path, postgres) | {"SPILLWAY_REDIS__URL": url}
        code, said = run(config, variables, "status")
        assert (code, leaks(said, url)) == (1, []), said
    variables = environment(config, tmp_path, postgres)
    del variables["SPILLWAY_REDIS__URL"]
    for command in (["ledger", "check"], ["ledger", "migrate"], ["gaps"], ["status"]):
        code, said = run(config, variables, *command)
        assert leaks(said, command) == []
        assert "127.0.0.1" in said


@pytest.mark.parametrize(
    "yaml",
    [
        "redis: {{password: {own}, port: no}}",
        "redis: {{password: [{own}]}}",
        "redis: {{passwort: {own}}}",
        "redis: {{url: 'redis://:{own}@h', host: h}}",
        "redis: {{url: 'http://:{own}@h'}}",
        "ledger: {{url: 'postgresql:{own}@h'}}",
        "http: {{token: [{own}]}}",
        "collect: [{{venue: binance, symbols: [B], ws_url: 'http://u:{own}@h'}}]",
        "collect: [{{venue: binance, symbols: [B], rest_url: 'ws://u:{own}@h'}}]",
        "redis: {{password: {own}",
        "{own}",
    ],
)
def test_a_wrong_setting_is_told_without_its_secret(yaml: str, tmp_path: Path) -> None:
    path = tmp_path / "spillway.yaml"
    path.write_text(yaml.format(own=SECRETS["own"]))
    with pytest.raises(SettingsError) as refused:
        load_settings(path, environ={})
    assert SECRETS["own"] not in str(refused.value) + repr(refused.value)


def test_no_value_shows_its_secret() -> None:
    own = SECRETS["own"]
    settings = load_settings(
        environ={
            "SPILLWAY_REDIS__URL": f"redis://u:{own}@h",
            "SPILLWAY_LEDGER__URL": f"postgresql://u:{own}@h/d",
            "SPILLWAY_HTTP__TOKEN": own,
            "SPILLWAY_COLLECT": json.dumps([{"venue": "binance", "symbols": ["B"], "rest_url": f"http://u:{own}@h"}]),
        }
    )
    parts = load_settings(environ={"SPILLWAY_REDIS__HOST": "h", "SPILLWAY_REDIS__PASSWORD": own})
    trading = AdapterConfig(environ={"TRADING_ADAPTER_REDIS_URL": f"redis://u:{own}@h"})
    for value in (settings, settings.redis, settings.ledger, settings.http, settings.collect, parts, parts.redis, trading):
        assert own not in f"{value!r} {value}"
