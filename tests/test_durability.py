"""P1 under kill -9: at each named step, and at random moments of a replay, with Redis killed too in half of them."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.crash import POINTS
from tests import judge, tapes
from tests.processes import finish, kill_redis, spillway, succeed

# Which time to die at such a point; the second one elsewhere.
BUSY_POINTS = {
    "file.created": 7,
    "file.written": 60,
    "file.renamed": 40,
    "spill.verified": 1,
    "spill.deleted": 1,
    "compact.deleting": 5,
}


def replay_args(tape: Path, data: Path) -> list[str | Path]:
    return ["replay", tape, "--venue", "binance", "--symbol", "BTCUSDT", "--data", data]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty hours: the 48-hour window overflows, so that a replay flushes several times, seals and spills."""
    return judge.write_tape(tmp_path_factory.mktemp("tape") / "tape.csv", tapes.rows(hours=60, per_minute=200, every=10))


@pytest.fixture(scope="module")
def want() -> judge.Levels:
    return judge.expected(tapes.rows(hours=60, per_minute=200, every=10))


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    kill_redis(tmp_path / "data")  # where a test failed half-way, its server must not stay behind


def exact(data: Path, want: judge.Levels) -> None:
    assert judge.differences(want, judge.stored(data)) == []


def settle(tape: Path, data: Path, want: judge.Levels) -> None:
    """Finishes the tape, drains the window, compacts; what is stored is exact at each step."""
    succeed(*replay_args(tape, data))
    succeed("spill", "--all", "--data", data)
    exact(data, want)
    succeed("compact", "--data", data)
    exact(data, want)
    assert not list(data.rglob(".tmp-*"))


@pytest.mark.parametrize("point", [p for p in POINTS if not p.startswith(("compact.", "month.", "retention."))])
def test_a_replay_killed_at_any_named_step_is_finished_exactly_by_the_next(
    point: str, tape: Path, data: Path, want: judge.Levels
) -> None:
    code, text = finish(spillway(*replay_args(tape, data), crash_at=f"{point}:{BUSY_POINTS.get(point, 2)}"))
    assert code == -signal.SIGKILL, f"the replay never came to {point}: {text}"
    settle(tape, data, want)


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith(("spill.", "file."))])
def test_a_drain_killed_at_any_named_step_is_finished_exactly_by_the_next(
    point: str, tape: Path, data: Path, want: judge.Levels
) -> None:
    succeed(*replay_args(tape, data))
    code, _ = finish(spillway("spill", "--all", "--data", data, crash_at=f"{point}:{BUSY_POINTS.get(point, 3)}"))
    assert code == -signal.SIGKILL
    settle(tape, data, want)


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith(("compact.", "file."))])
def test_a_compaction_killed_at_any_named_step_is_finished_to_the_same_bytes_by_the_next(
    point: str, tape: Path, data: Path, want: judge.Levels, whole: dict[str, bytes]
) -> None:
    succeed(*replay_args(tape, data))
    succeed("spill", "--all", "--data", data)
    times = 2 if point.startswith("file.") else BUSY_POINTS.get(point, 1)
    code, _ = finish(spillway("compact", "--data", data, crash_at=f"{point}:{times}"))
    assert code == -signal.SIGKILL
    settle(tape, data, want)
    assert kept(data) == whole


@pytest.fixture(scope="module")
def whole(tape: Path, want: judge.Levels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run keeps."""
    data = tmp_path_factory.mktemp("whole") / "data"
    settle(tape, data, want)
    return kept(data)


def kept(data: Path) -> dict[str, bytes]:
    """Every file of storage and archive with its bytes; locks are no data."""
    files = [p for name in ("storage", "archive") for p in (data / name).rglob("*") if p.is_file()]
    return {str(p.relative_to(data)): p.read_bytes() for p in files if not p.name.startswith(".")}


@pytest.mark.parametrize("seed", range(20))
def test_a_replay_killed_at_a_random_moment_is_finished_exactly_by_the_next(
    seed: int, tape: Path, data: Path, want: judge.Levels
) -> None:
    dice = random.Random(seed)
    process = spillway(*replay_args(tape, data))
    while process.poll() is None and not (data / "redis" / "redis.pid").exists():
        time.sleep(0.005)
    time.sleep(dice.uniform(0.0, 0.9))  # any moment is a right one: the outcome must not depend on it
    process.kill()
    finish(process)
    if seed % 2:
        kill_redis(data)
    settle(tape, data, want)


def test_replaying_the_same_tape_again_changes_not_one_byte(tape: Path, data: Path, want: judge.Levels) -> None:
    settle(tape, data, want)
    before = kept(data)
    settle(tape, data, want)
    assert kept(data) == before
