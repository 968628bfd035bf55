"""docs/upgrade.md: its program makes a tape of the former minute files, or of a former Redis, and nothing of them is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner

import spillway
from spillway.cli import app
from spillway.redis_server import RunningRedis
from spillway.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "upgrade.md").read_text()
PROGRAM, FROM_REDIS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
INSTRUMENT = ("--venue", "binance-former", "--symbol", "BTCUSDT")
VOLUMES = ["buy_volume", "sell_volume", "total_volume", "delta", "trade_count"]


def documents() -> dict[str, str]:
    """Three former minutes by their file's name; binary sums, as the former program wrote them."""
    made = {}
    for minute in range(3):
        levels = {}
        for step in range(4):
            buy, sell = 0.1 + 0.2 + minute, sum([0.07] * (step + 3))
            price = 60000.0 - step * 0.5
            levels[f"{price:.2f}"] = {
                "price_level": price, "buy_volume": buy, "sell_volume": sell, "total_volume": buy + sell, "delta": buy - sell,
                "trade_count": 10 + step,
            }  # fmt: skip
        document = {"timestamp": f"2024-10-23T14:3{minute}:00.000000", "price_levels": levels}
        made[f"trades_20241023_143{minute}.json"] = json.dumps(document, indent=2)
    return made


def expected() -> list[list[Decimal]]:
    return [
        [buy, sell, buy + sell, buy - sell, Decimal(10 + step)]
        for minute in range(3)
        for step in (3, 2, 1, 0)
        for buy, sell in [(Decimal("0.3") + minute, Decimal("0.07") * (step + 3))]
    ]


def replayed(folder: Path) -> list[list[Decimal]]:
    data = folder / "data"
    done = CliRunner().invoke(app, ["replay", str(folder / "former.csv"), *INSTRUMENT, "--data", str(data)])
    assert done.exit_code == 0, done.output
    with spillway.open(data) as store:
        levels = store.levels("binance-former", "BTCUSDT", during="2024-10-23")
    return [[Decimal(repr(value)) for value in row] for row in levels[VOLUMES].to_numpy(object).tolist()]


def run(program: str, folder: Path) -> None:
    (folder / "former.py").write_text(program)
    done = subprocess.run([sys.executable, "former.py", "storage"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    for name, text in documents().items():
        (tmp_path / "storage" / name).write_text(text)
    return tmp_path


def test_former_minute_files_come_back_exactly(storage: Path) -> None:
    run(PROGRAM, storage)
    assert replayed(storage) == expected()


def test_minutes_of_a_former_redis_come_back_exactly(tmp_path: Path, redis_server: RunningRedis) -> None:
    with redis.from_url(redis_server.url) as former:
        former.delete("trades_window")
        former.zadd("trades_window", {text: number for number, text in enumerate(documents().values())})
    program, replaced = re.subn(r"^documents = .*\n", lambda _: FROM_REDIS, PROGRAM, flags=re.M)
    assert replaced == 1
    run(program.replace("redis://localhost:6379/0", redis_server.url), tmp_path)
    assert (tmp_path / "former.csv").read_text().count("\n") == 1 + 12
    assert replayed(tmp_path) == expected()


def test_the_former_settings_are_read() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("    redis: {"))
    settings = Settings.model_validate(yaml.safe_load(line))
    assert settings.redis.connection_url == "redis://localhost:6379/0"
    assert settings.storage_dir == Path("storage")
