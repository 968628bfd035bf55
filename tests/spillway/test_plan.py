"""What a load takes, against what was measured of such loads; and what an installation's own minutes change in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from sinks.minute_files import MinuteFiles
from spillway import plan
from spillway.plan import Correction, Load, Size, cores_of, describe, lag_of, levels_of, planned
from spillway.plan_measured import Seen, load_of, measure
from spillway.redis_server import ensure_embedded
from spillway.settings import Settings
from tests.spillway.kept import all_cold, replayed
from tests.spillway.test_cli import refused, spillway

BENCHMARKS = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
SIZES = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", BENCHMARKS, re.M)


def load(**changed: Any) -> Load:
    given: dict[str, Any] = {
        "symbols": 10,
        "trades_per_s": 20.0,
        "levels_per_minute": 400.0,
        "window_hours": 48.0,
        "file_days": 2.0,
    }
    return Load(**given | changed)


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return replayed(tmp_path_factory.mktemp("plan") / "data", hours=60, per_minute=20)


def test_the_lines_are_within_a_twelfth_of_the_sizes_in_the_documentation() -> None:
    assert len(SIZES) >= 5
    for row in SIZES:
        _, levels, redis, file, archive = (int(cell.replace(",", "")) for cell in row)
        for size, measured in ((plan.REDIS, redis), (plan.FILE, file), (plan.ARCHIVE, archive)):
            assert size.of(levels) == pytest.approx(measured, rel=1 / 12)


@pytest.mark.parametrize(
    "told",
    [
        f"{plan.TRADES_A_CORE_S // 1000}k/s",
        f"{plan.FULL_SYMBOLS} instruments in one process at {plan.FULL_TRADES_S:,} trades/s",
        f"{plan.FULL_P50_S} s",
        f"{plan.FULL_P99_S} s",
        "522 MB and 35 MB",
        f"{plan.IDLE_BYTES // 1_000_000} MB",
        "1.08 s",
        "0.65 s",
        f"{plan.UPKEEP_LEVELS} levels",
    ],
)
def test_each_figure_stands_in_the_benchmarks(told: str) -> None:
    assert told in BENCHMARKS


def test_the_process_that_was_measured_full_is_reckoned_full() -> None:
    full = load(symbols=plan.FULL_SYMBOLS, trades_per_s=plan.FULL_TRADES_S / plan.FULL_SYMBOLS)
    assert cores_of(full) == pytest.approx(1)
    assert lag_of(cores_of(full)) == "full"
    assert cores_of(load(symbols=1, trades_per_s=plan.TRADES_A_CORE_S)) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("cores", "lag"), [(0.1, "prompt"), (0.75, "busy"), (0.9, "full"), (1.01, "too much")])
def test_a_fuller_core_makes_a_longer_lag(cores: float, lag: str) -> None:
    assert lag_of(cores) == lag


def test_a_days_archive_is_what_a_generated_year_took_a_day() -> None:
    one = planned(load(symbols=1, levels_per_minute=501.0, trades_per_s=1580 / 60))
    assert one.archive_bytes_a_day == pytest.approx(9.3e6, rel=0.05)
    assert one.archive_bytes_a_year == pytest.approx(3.39e9, rel=0.05)


def test_the_window_of_a_liquid_symbol_is_what_was_measured_of_one() -> None:
    minute = 10_800
    one = planned(load(symbols=1, levels_per_minute=625.0))
    assert one.redis_bytes - plan.OPEN_BYTES == pytest.approx(minute * 2880, rel=0.1)


def test_more_than_a_process_can_is_shared_among_several_that_each_take_memory() -> None:
    one, many = planned(load(symbols=100)), planned(load(symbols=1000))
    assert (one.processes, many.processes) == (1, 3)
    assert many.process_bytes == pytest.approx(3 * plan.IDLE_BYTES + 1000 * plan.PROCESS_BYTES)
    assert "3 processes" in "".join(describe(many, []))


def test_a_symbol_that_trades_every_other_minute_has_half_the_minutes() -> None:
    seldom = planned(load(trades_per_s=0.5 / 60, levels_per_minute=1.0))
    often = planned(load(trades_per_s=1 / 60, levels_per_minute=1.0))
    assert seldom.archive_bytes_a_day == pytest.approx(often.archive_bytes_a_day / 2)


@given(symbols=st.integers(1, 500), hours=st.floats(1, 200), factor=st.integers(2, 10))
def test_what_is_stored_grows_with_symbols_and_hours_alike(symbols: int, hours: float, factor: int) -> None:
    one, more = planned(load(symbols=symbols, window_hours=hours)), planned(load(symbols=symbols * factor, window_hours=hours))
    longer = planned(load(symbols=symbols, window_hours=hours * factor))
    assert more.archive_bytes_a_day == pytest.approx(one.archive_bytes_a_day * factor)
    assert more.redis_bytes == pytest.approx(one.redis_bytes * factor)
    assert longer.redis_bytes - symbols * plan.OPEN_BYTES == pytest.approx(
        (one.redis_bytes - symbols * plan.OPEN_BYTES) * factor
    )
    assert longer.archive_bytes_a_day == one.archive_bytes_a_day


def test_a_correction_scales_each_place_by_itself() -> None:
    plain, own = planned(load()), planned(load(), Correction(redis=2, file=3, archive=4))
    window, own_window = (p.redis_bytes - 10 * plan.OPEN_BYTES for p in (plain, own))
    assert own_window == pytest.approx(2 * window)
    assert own.file_bytes == pytest.approx(3 * plain.file_bytes)
    assert own.archive_bytes_a_year == pytest.approx(4 * plain.archive_bytes_a_year)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"symbols": 0}, "--symbols 0: expected a number above 0"),
        ({"trades_per_s": float("nan")}, "--trades-per-s nan"),
        ({"window_hours": float("inf")}, "--window-hours inf"),
        ({"levels_per_minute": 1201.0}, "20 trades a second are 1200 a minute"),
    ],
)
def test_a_load_that_cannot_be_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(BadValue, match=told):
        load(**changed)


# --- measured -----------------------------------------------------------------------------------------------------------


def test_what_was_seen_is_held_against_the_line() -> None:
    assert Seen(1, minutes=10, levels=50, trades=100, bytes=300.0).against(Size(10, 1)) == 2
    assert Seen().against(Size(10, 1)) == 1


def test_the_newest_minutes_of_window_and_files_are_measured(hot: Path) -> None:
    settings = Settings(data_dir=hot)
    with ensure_embedded(settings.redis_dir):
        found = measure(settings)
    assert (found.window.minutes, found.files.minutes, found.archive.minutes) == (60, 47, 0)
    assert found.window.levels / 60 == pytest.approx(found.files.levels / 47, rel=0.2)
    assert all(0.7 < share < 1.4 for share in (found.correction.redis, found.correction.file))
    assert found.correction.archive == 1 and len(found.lines()) == 2


def test_a_redis_that_does_not_run_is_not_started_to_be_measured(hot: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in (hot / "redis").rglob("*"))
    assert measure(Settings(data_dir=hot)).window == Seen()
    assert sorted((path, path.stat().st_mtime_ns) for path in (hot / "redis").rglob("*")) == before


def test_an_archives_own_size_is_what_the_plan_of_the_same_load_says(tmp_path: Path) -> None:
    settings = Settings(data_dir=all_cold(replayed(tmp_path / "data", hours=60, per_minute=20)))
    found = measure(settings)
    own = planned(load_of(settings, found, None, None, None, None), found.correction)
    kept = sum(path.stat().st_size for path in settings.archive_dir.rglob("*.parquet"))
    assert own.load.symbols == 1
    assert own.archive_bytes_a_day == pytest.approx(kept / found.archive.minutes * 1440, rel=0.01)
    assert not list(MinuteFiles(settings.storage_dir).instruments())


def test_a_damaged_file_is_left_out_and_hides_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=all_cold(replayed(tmp_path / "data", hours=60, per_minute=20)))
    next((settings.archive_dir / "manifest").rglob("*.json")).write_bytes(b"{")
    assert measure(settings).archive == Seen()


# --- the command --------------------------------------------------------------------------------------------------------


def test_the_command_says_what_its_figures_are_based_on() -> None:
    done = spillway("plan", "--symbols", "50", "--trades-per-second", "20", "--window-hours", "24")
    assert done.exit_code == 0
    assert "50 symbols, each 20 trades/s, 400 levels a minute" in done.stdout
    assert "for 24 hours" in done.stdout and "docs/benchmarks.md" in done.stdout
    told = json.loads(spillway("plan", "--symbols", "50", "--trades-per-second", "20", "--json").stdout)
    assert told["load"]["levels_per_minute"] == levels_of(20) == 400
    assert told["redis_bytes"] == round(planned(load(symbols=50)).redis_bytes)


def test_with_a_data_folder_nothing_else_need_be_said(hot: Path) -> None:
    told = json.loads(spillway("plan", "--data", hot, "--json").stdout)
    assert told["load"]["symbols"] == 1
    assert told["load"]["trades_per_s"] == pytest.approx(20 / 60, rel=0.2)
    assert any(line.startswith("measured here") for line in told["based_on"])
    more = json.loads(spillway("plan", "--data", hot, "--symbols", "7", "--json").stdout)
    assert more["load"]["symbols"] == 7


def test_what_lacks_is_told(tmp_path: Path) -> None:
    assert "--trades-per-second" in refused("plan", "--symbols", "5")
    assert "no minutes are kept there" in refused("plan", "--data", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert "--symbols -1" in refused("plan", "--symbols", "-1", "--trades-per-second", "1")
