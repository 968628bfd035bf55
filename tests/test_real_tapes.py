"""Real recorded trades through the whole path, judged by the independent oracle. Skipped where the recordings aren't."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.processes import succeed

SHARED = Path(__file__).parents[2] / "shared"
BITFLYER = "tapes/bitflyer_BTC_JPY_62h.csv.gz"
TAPES = [
    (BITFLYER, "bitflyer", "BTC_JPY"),
    ("tapes/binance_XRPETH_aggtrades_59h.json.gz", "binance", "XRPETH"),
    ("frames/binance_spot_btcusdt_20240808.gz", "binance", "BTCUSDT"),
    ("frames/binance_spot_btcusdt_20240809.gz", "binance", "BTCUSDT"),
    ("frames/binance_usdm_btcusdt_20240808.gz", "binance-usdm", "BTCUSDT"),
]

pytestmark = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the recorded trades are not on this machine")


def oracle(tape: Path, data: Path, venue: str, symbol: str) -> None:
    command = [sys.executable, str(SHARED / "tools" / "oracle.py"), str(tape), "--data", str(data)]
    command += ["--venue", venue, "--symbol", symbol]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 levels differ" in done.stdout


@pytest.mark.parametrize(("name", "venue", "symbol"), TAPES, ids=lambda value: str(value).rpartition("/")[2])
def test_the_oracle_finds_no_difference_after_replay_after_compaction_and_after_a_second_replay(
    name: str, venue: str, symbol: str, tmp_path: Path
) -> None:
    tape, data = SHARED / "data" / name, tmp_path / "data"
    replay: list[str | Path] = ["replay", tape, "--venue", venue, "--symbol", symbol, "--data", data]
    for _ in range(2):
        succeed(*replay)
        succeed("spill", "--all", "--data", data)
        oracle(tape, data, venue, symbol)
        succeed("compact", "--data", data)
        oracle(tape, data, venue, symbol)
    assert list(data.rglob("*.parquet"))


@pytest.fixture(scope="module")
def bitflyer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, object]]]:
    """The 62-hour tape replayed, nothing drained; and the replay's own summary."""
    data = tmp_path_factory.mktemp("bitflyer") / "data"
    args: list[str | Path] = ["--venue", "bitflyer", "--symbol", "BTC_JPY", "--data", data, "--json"]
    yield data, json.loads(succeed("replay", SHARED / "data" / BITFLYER, *args))


def test_minute_files_exist_for_just_what_is_older_than_48_hours_by_the_tapes_clock(
    bitflyer: tuple[Path, dict[str, object]],
) -> None:
    data, _ = bitflyer
    ends = datetime(2018, 1, 23, 12, 45, 3, tzinfo=UTC)  # the tape's last trade
    names = sorted(p.name for p in (data / "storage" / "bitflyer" / "BTC_JPY").glob("trades_*.json"))
    assert names[0] == "trades_20180120_2246.json"
    assert names[-1] == f"trades_{ends - timedelta(hours=48, minutes=1):%Y%m%d_%H%M}.json"
    state = json.loads(succeed("status", "--data", data, "--json"))["instruments"][0]
    assert state["files"]["minutes"] == len(names)
    assert state["window"]["from"] == f"{ends - timedelta(hours=48):%Y-%m-%d %H:%M}"
    assert state["window"]["sealed"] + len(state["window"]["open"]) + len(names) == 3691


def test_rows_without_a_time_are_in_the_dead_letters_and_their_count_is_told(
    bitflyer: tuple[Path, dict[str, object]],
) -> None:
    data, summary = bitflyer
    assert summary["rejected"] == 1559
    assert summary["reasons"] == {"no time: it can't be placed in a minute": 1559}
    (letters,) = (data / "dead_letters").rglob("*.jsonl")
    lines = [json.loads(line) for line in letters.read_text().splitlines()]
    assert len(lines) == 1559
    assert all("bitflyer.jp,BTC_JPY" in line["raw"] and line["where"] for line in lines)


def test_the_loader_of_the_layout_before_spillway_reads_the_minute_files_unchanged(
    bitflyer: tuple[Path, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = bitflyer
    (data / "loader").mkdir(exist_ok=True)
    link = data / "loader" / "storage"
    if not link.exists():
        link.symlink_to(data / "storage" / "bitflyer" / "BTC_JPY")
    monkeypatch.chdir(data / "loader")
    seed = next((SHARED / "seeds").glob("003_*")).read_text()
    code = seed.partition("def load_historical_trades")[2].partition("```")[0].partition("# Example usage")[0]
    space: dict[str, object] = {}
    exec("import json\nfrom pathlib import Path\nfrom datetime import datetime\ndef load_historical_trades" + code, space)
    load = space["load_historical_trades"]
    document = load(datetime(2018, 1, 21, 3, 30), 30)  # type: ignore[operator]
    assert document["timestamp"] == "2018-01-21T03:30:00.000000"
    for key, level in document["price_levels"].items():
        assert float(key) == level["price_level"]
        assert set(level) == {"price_level", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count"}
        assert isinstance(level["price_level"], float)
        assert isinstance(level["trade_count"], int)
    assert load(datetime(2031, 1, 1), 0) is None  # type: ignore[operator]
