"""What Spillway makes is for its user and group alone, whatever the umask: files 0640, folders 0750, or less."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collectors.simulator import Simulator, synthetic_trades
from spillway.cli import app
from spillway.redis_server import ensure_embedded
from tests.test_service import running, settings, taken

BTC = ("--venue", "binance", "--symbol", "BTCUSDT")


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def done(*args: str | Path) -> None:
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, result.output + repr(result.exception)


def too_open(root: Path) -> list[str]:
    """What others may read, or the group write."""
    found = []
    for path in root.rglob("*"):
        facts = path.lstat()
        allowed = 0o750 if stat.S_ISDIR(facts.st_mode) or stat.S_ISSOCK(facts.st_mode) else 0o640
        if stat.S_IMODE(facts.st_mode) & ~allowed:
            found.append(f"{stat.S_IMODE(facts.st_mode):o} {path.relative_to(root)}")
    return found


async def collected(folder: Path) -> None:
    """A service's whole life: it records what it hears."""
    start_ns = (time.time_ns() // 60_000_000_000 - 60) * 60_000_000_000
    trades = list(synthetic_trades(3, start_ns, 4_000, "BTCUSDT", trades_per_minute=500))
    async with Simulator(trades, rate=4_000.0) as exchange:
        config = settings(folder, exchange)
        config.write_text(config.read_text().replace("symbols: [BTCUSDT]", "symbols: [BTCUSDT], record: true"))
        async with running(config, folder / "log") as process:
            await taken(folder / "data", len(trades))
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, (folder / "log").read_text()


def replayed(folder: Path) -> None:
    """A tape of five days of which one row is no trade, moved on to the archive; and what reads it again."""
    rows = [f"{n},{1_700_000_000 + n * 1_800}000,{100 + n % 7},1,buy" for n in range(240)]
    tape = folder / "tape.csv"
    tape.write_text("\n".join(["id,time,price,size,side", *rows, "x,y,z,v,w\n"]))
    data = ("--data", folder / "tape_data")
    done("replay", tape, *BTC, *data)
    for command in (["spill"], ["compact"], ["ledger", "migrate"], ["ledger", "backup"], ["verify"], ["status"]):
        done(*command, *data)
    tape.unlink()
    for ending in ("csv", "parquet", "json", "feather"):
        done("export", *BTC, "-o", folder / f"out.{ending}", *data)
    for ending in ("png", "html"):
        done("plot", *BTC, "--last", "2h", "-o", folder / f"plot.{ending}", *data)


async def test_nothing_that_is_made_is_for_everybody(tmp_path: Path, no_umask: None) -> None:
    await collected(tmp_path)
    await asyncio.to_thread(replayed, tmp_path)
    (tmp_path / "spillway.yaml").unlink()  # the test's own
    (tmp_path / "log").unlink()
    with ensure_embedded(tmp_path / "data" / "redis"):
        assert too_open(tmp_path) == []
    made = {path.relative_to(tmp_path).parts[1] for path in tmp_path.rglob("*") if len(path.relative_to(tmp_path).parts) > 1}
    assert made >= {"redis", "storage", "archive", "recordings", "dead_letters", "ledger.db", "backups"}


def test_the_test_would_see_what_is_open(tmp_path: Path, no_umask: None) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    assert sorted(too_open(tmp_path)) == ["666 folder/file", "777 folder"]
