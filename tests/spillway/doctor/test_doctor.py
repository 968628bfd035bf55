"""`spillway doctor` as a user meets it: all looks in one report, nothing started, nothing changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY
from sinks.ledger.ledger import open_ledger
from tests.sinks.days import random_minute
from tests.spillway.kept import BTC, stored
from tests.spillway.test_cli import refused, spillway

LOOKED_AT = {
    "Redis",
    "Redis version",
    "redis-server program",
    "ledger",
    "ledger backup",
    "archive",
    "dead letters",
    "rights",
    "open files",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    minutes = [random_minute(19_000 * MINUTES_PER_DAY + n, instrument=Instrument(*BTC)) for n in range(5)]
    folder = stored(tmp_path / "data", minutes)
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}"):
        pass
    return folder


def state(folder: Path) -> dict[str, str]:
    """All files with their content; SQLite's shared memory holds locks and no data."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_sound_installation_is_well_and_stays_as_it_is(data: Path) -> None:
    before = state(data)
    done = spillway("doctor", "--data", data)
    assert done.exit_code == 0, done.stdout
    assert ": 0 wrong, 1 warnings" in done.stdout  # there is no backup yet
    assert state(data) == before
    told = json.loads(spillway("doctor", "--data", data, "--json").stdout)
    assert (told["ok"], told["wrong"], told["warnings"]) == (True, 0, 1)
    assert {finding["what"] for finding in told["findings"]} >= LOOKED_AT


def test_what_is_wrong_ends_the_command_with_1_and_says_what_to_do(data: Path) -> None:
    next((data / "archive").rglob("*.parquet")).unlink()
    done = spillway("doctor", "--data", data)
    assert done.exit_code == 1
    assert "wrong    archive: " in done.stdout and "-> `spillway verify`" in done.stdout
    told = json.loads(spillway("doctor", "--data", data, "--json").stdout)
    assert (told["ok"], told["wrong"]) == (False, 1)


def test_the_deep_look_reads_the_files_themselves(data: Path) -> None:
    part = next((data / "archive").rglob("*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    assert spillway("doctor", "--data", data).exit_code == 0
    done = spillway("doctor", "--deep", "--data", data)
    assert done.exit_code == 1 and str(part) in done.stdout


def test_a_folder_that_does_not_exist_is_looked_at_and_not_made(tmp_path: Path) -> None:
    done = spillway("doctor", "--data", tmp_path / "data")
    assert done.exit_code == 0
    assert "isn't there yet" in done.stdout
    assert not (tmp_path / "data").exists()


def test_offline_asks_no_venue(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"data_dir: {data}\ncollect: [{{venue: binance, symbols: [X], rest_url: 'http://127.0.0.1:1'}}]\n")
    assert "clock of binance" in spillway("doctor", "-c", file).stdout
    assert "clock of binance" not in spillway("doctor", "-c", file, "--offline").stdout


def test_a_settings_file_with_a_password_that_others_can_read_is_told(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"data_dir: {data}\nhttp: {{token: hunter2}}\n")
    file.chmod(0o644)
    done = spillway("doctor", "--offline", "-c", file)
    assert f"chmod 640 {file}" in done.stdout and "hunter2" not in done.stdout
    file.chmod(0o640)
    assert f"chmod 640 {file}" not in spillway("doctor", "--offline", "-c", file).stdout


def test_settings_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    assert "none.yaml" in refused("doctor", "-c", tmp_path / "none.yaml")
