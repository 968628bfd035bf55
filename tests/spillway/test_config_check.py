"""Settings shown with their sources and without their secrets, and all that is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spillway.config_check import Checked, check, files_with_secrets
from spillway.settings import Settings
from tests.spillway.test_cli import spillway

DEFAULT_FILE = Path(__file__).parents[2] / "config" / "spillway.yaml"
FILE = """
data_dir: /d
redis: {url: "redis://user:hunter2@host:6379/0"}
collect:
  - {venue: binance, symbols: [BTCUSDT], price_group: {BTCUSDT: 0.10}}
  - {venue: kraken, symbols: [BTC/USD]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spillway.yaml"
    path.write_text(FILE)
    return path


def found(file: Path, data: Path | None = None, **environ: str) -> dict[str, tuple[Any, str]]:
    checked = check(file, data, environ)
    assert checked.problems == []
    return {one.key: (one.value, one.source) for one in checked.settings}


def of(file: Path, text: str, **environ: str) -> Checked:
    file.write_text(text)
    return check(file, None, environ)


def test_the_default_file_has_nothing_wrong_and_every_setting_is_shown() -> None:
    checked = check(DEFAULT_FILE, None, {})
    assert checked.problems == checked.warnings == []
    sections = Settings.model_fields.keys()
    assert {one.key.partition(".")[0] for one in checked.settings} == set(sections)


def test_each_setting_is_shown_with_its_last_source(file: Path) -> None:
    told = found(file, Path("/e"), SPILLWAY_HTTP__PORT="7", SPILLWAY_REDIS__WINDOW_HOURS="24")
    assert told["data_dir"] == ("/e", "arguments")
    assert told["http.port"] == (7, "environment SPILLWAY_HTTP__PORT")
    assert told["redis.window_hours"] == (24.0, "environment SPILLWAY_REDIS__WINDOW_HOURS")
    assert told["collect.0.symbols"] == (["BTCUSDT"], str(file))
    assert told["collect.0.price_group"] == ({"BTCUSDT": "0.10"}, str(file))
    assert told["collect.1.venue"] == ("kraken", str(file))
    assert told["schedule.flush_ms"] == (100, "defaults")


def test_what_follows_from_other_settings_is_shown_as_it_counts(file: Path) -> None:
    told = found(file)
    assert told["redis.storage_dir"][0] == "/d/storage"
    assert told["archive.dir"][0] == "/d/archive"
    assert told["ledger.url"][0] == "sqlite:////d/ledger.db"
    assert told["ledger.backup_dir"][0] == "/d/backups"


def test_no_secret_is_shown_wherever_it_comes_from(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://me:hunter2@db/ledger")
    environ = {"SPILLWAY_LEDGER__URL_FILE": str(secret), "SPILLWAY_HTTP__TOKEN": "hunter2"}
    checked = check(file, None, environ)
    text = "\n".join(checked.lines()) + json.dumps(checked.as_dict())
    assert "hunter2" not in text
    told = {one.key: (one.value, one.source) for one in checked.settings}
    assert told["redis.url"] == ("redis://user:***@host:6379/0", str(file))
    assert told["ledger.url"] == ("***", "environment SPILLWAY_LEDGER__URL_FILE")
    assert told["http.token"] == ("***", "environment SPILLWAY_HTTP__TOKEN")


def test_all_that_is_wrong_is_told_at_once(file: Path) -> None:
    checked = of(file, "redis: {window_hours: 0, hots: h}\nhttp: {port: x}\n", SPILLWAY_SCHEDULE__FLUSH_MS="soon")
    assert len(checked.problems) == 4 and checked.settings == []
    assert f"{file}: http.port: given 'x', expected a valid integer" in checked.problems[2]
    assert "environment SPILLWAY_SCHEDULE__FLUSH_MS" in "".join(checked.problems)


@pytest.mark.parametrize(
    ("collect", "told"),
    [
        ("{venue: binanse, symbols: [BTCUSDT]}", "collect.0.venue: given 'binanse', expected one of binance, binance-usdm"),
        ("{venue: ccxt-nowhere, symbols: [BTC/USDT]}", "collect.0: venue 'ccxt-nowhere'"),
        ("{venue: ccxt-kucoin, symbols: [BTC/USDT], record: true}", "collect.0: ccxt-kucoin: ws_url, rest_url and record"),
        ('{venue: "bin/ance", symbols: [BTCUSDT]}', "collect.0.venue: given 'bin/ance'"),
        ("{venue: binance, symbols: [" + "B" * 65 + "]}", "collect.0.symbols.0: given 'BBBB"),
    ],
)
def test_what_cannot_be_collected_is_a_problem(file: Path, collect: str, told: str) -> None:
    assert told in "\n".join(of(file, f"collect: [{collect}]").problems)


def test_a_symbol_in_another_venues_spelling_is_a_warning(file: Path) -> None:
    checked = of(file, "collect: [{venue: coinbase, symbols: [BTCUSD, ETH-USD]}]")
    assert checked.problems == []
    assert checked.warnings == ["'BTCUSD' doesn't look like a symbol of coinbase, which writes them like BTC-USD"]


def test_variables_that_do_nothing_are_told(file: Path) -> None:
    environ = {
        "SPILLWAY_HTTP__PORT": "",
        "spillway_http__host": "h",
        "SPILLWAY_CRASH_AT": "flush",
        "SPILLWAY_DATA_DIR": "/x",
        "SPILLWAY_SCHEDULE__FLUSH_MS": "50",
        "PATH": "/bin",
    }
    checked = check(file, Path("/e"), environ)
    assert checked.problems == []
    assert [line.split()[1].rstrip(":") for line in checked.warnings] == [
        "SPILLWAY_CRASH_AT",
        "SPILLWAY_HTTP__PORT",
        "spillway_http__host",
        "SPILLWAY_DATA_DIR",
    ]


def test_what_cannot_be_read_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    missing = check(tmp_path / "none.yaml", None, {})
    assert "none.yaml: No such file" in missing.problems[0]
    assert "expected JSON" in check(None, None, {"SPILLWAY_COLLECT": "[{"}).problems[0]


def test_the_files_that_hold_secrets_are_known(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    environ = {"SPILLWAY_REDIS__PASSWORD_FILE": str(secret)}
    assert files_with_secrets(DEFAULT_FILE, environ) == [secret]
    assert files_with_secrets(file, environ) == [secret, file]
    assert files_with_secrets(None, {}) == []
    file.write_text("http: {token: abc}")
    assert files_with_secrets(file, {}) == [file]


def test_the_command_exits_by_what_it_finds(file: Path) -> None:
    fine = spillway("config", "check", "-c", file)
    assert fine.exit_code == 0 and "the settings can be used" in fine.stdout
    told = json.loads(spillway("config", "check", "-c", file, "--json").stdout)
    assert told["ok"] is True
    assert {"key": "http.port", "value": 9108, "source": "defaults"} in told["settings"]
    file.write_text("http: {port: x}\n")
    wrong = spillway("config", "check", "-c", file)
    assert wrong.exit_code == 1
    assert "problem: " in wrong.stdout and "Traceback" not in wrong.stdout + wrong.stderr
