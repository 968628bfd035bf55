"""A full disk, a damaged file, two of everything at once: what the commands say, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spillway.cli import app
from tests import judge, tapes
from tests.processes import finish, spillway, succeed

BTC = ("--venue", "binance", "--symbol", "BTCUSDT")


def rows() -> Iterator[dict[str, str]]:
    return tapes.rows(hours=50, per_minute=60, every=10)


@pytest.fixture(scope="module")
def want() -> judge.Levels:
    return judge.expected(rows())


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judge.write_tape(tmp_path_factory.mktemp("tape") / "tape.csv", rows())


@pytest.fixture
def data(tape: Path, tmp_path: Path) -> Path:
    """A folder with the tape in its window and a few minute files."""
    succeed("replay", tape, *BTC, "--data", tmp_path / "data")
    return tmp_path / "data"


def fails(*args: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 1, result.output
    return result.stderr.strip().splitlines()[-1]


def exact(data: Path, want: judge.Levels) -> None:
    assert judge.differences(want, judge.stored(data)) == []


# --- a full disk --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk() -> Iterator[list[Path]]:
    """Mounts a tmpfs of 400 KB over each folder that is put into the list; `mount` grows it."""
    mounted: list[Path] = []
    yield mounted
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=False)


def mount(folder: Path, size: str, *options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join((*options, f"size={size}")), "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode and not options:
        pytest.skip(f"this machine doesn't let us mount a small disk: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr


def test_a_disk_that_fills_during_spill_is_named_deletes_nothing_and_goes_on_when_there_is_room(
    data: Path, want: judge.Levels, small_disk: list[Path]
) -> None:
    storage = data / "storage" / "binance" / "BTCUSDT"
    kept = {p.name: p.read_bytes() for p in storage.iterdir()}
    for path in storage.iterdir():
        path.unlink()
    mount(storage, "400k")
    small_disk.append(storage)
    for name, content in kept.items():
        (storage / name).write_bytes(content)

    line = fails("spill", "--all", "--data", data)
    assert "the disk is full" in line
    assert str(storage) in line
    assert not list(storage.glob(".tmp-*"))
    assert "0 levels" not in line
    state = succeed("status", "--data", data, "--json")
    assert '"sealed": 0' not in state  # what found no room is still in Redis

    mount(storage, "50m", "remount")
    succeed("spill", "--all", "--data", data)
    exact(data, want)


def test_a_disk_that_fills_during_compaction_is_named_deletes_nothing_and_goes_on_when_there_is_room(
    data: Path, want: judge.Levels, small_disk: list[Path]
) -> None:
    succeed("spill", "--all", "--data", data)
    before = sorted(p.name for p in (data / "storage").rglob("trades_*.json"))
    mount(data / "archive", "60k")
    small_disk.append(data / "archive")

    line = fails("compact", "--data", data)
    assert str(data / "archive") in line
    assert "full" in line or "are free" in line
    assert sorted(p.name for p in (data / "storage").rglob("trades_*.json")) == before
    exact(data, want)

    mount(data / "archive", "50m", "remount")
    succeed("compact", "--data", data)
    assert not list((data / "storage").rglob("trades_*.json"))
    exact(data, want)


# --- a damaged file -----------------------------------------------------------------------------------------------------------


def test_a_damaged_minute_file_is_named_and_left_and_its_day_compacts_without_losing_the_others(
    data: Path, want: judge.Levels
) -> None:
    succeed("spill", "--all", "--data", data)
    victim = sorted((data / "storage").rglob("trades_*.json"))[20]
    whole = victim.read_bytes()
    broken = bytearray(whole)
    broken[300] ^= 1
    victim.write_bytes(broken)

    line = fails("compact", "--data", data)
    assert victim.name in line
    assert "damaged" in line
    assert victim.read_bytes() == broken
    assert list((data / "storage").rglob("trades_*.json")) == [victim]

    victim.write_bytes(whole)  # from a backup, say: the day was left open for it
    succeed("compact", "--data", data)
    assert not victim.exists()
    exact(data, want)


def test_a_late_trade_for_a_damaged_minute_goes_to_the_dead_letters(data: Path, tmp_path: Path) -> None:
    succeed("spill", "--all", "--data", data)
    victim = sorted((data / "storage").rglob("trades_*.json"))[20]
    victim.write_bytes(victim.read_bytes()[:-40])
    late = next(r for n, r in enumerate(rows()) if n == 20 * 60 + 5) | {"id": "900000"}
    other = next(r for n, r in enumerate(rows()) if n == 30 * 60 + 5) | {"id": "900001"}
    text = succeed("replay", judge.write_tape(tmp_path / "late.csv", [late, other]), *BTC, "--data", data)
    assert "1 trades taken" in text
    assert "1 in the dead letters" in text
    (letters,) = (data / "dead_letters").rglob("late.csv.jsonl")
    assert victim.name in letters.read_text()


# --- two at once --------------------------------------------------------------------------------------------------------------


def test_two_spillers_at_once_do_no_damage(data: Path, want: judge.Levels) -> None:
    both = [spillway("spill", "--all", "--data", data) for _ in range(2)]
    outcomes = [finish(process) for process in both]  # one may have the lease and the other the lock: then both are refused
    for code, text in outcomes:
        assert code == 0 or "process" in text or "pid" in text, text
    succeed("spill", "--all", "--data", data)
    exact(data, want)


def test_two_compactors_at_once_do_no_damage(data: Path, want: judge.Levels) -> None:
    succeed("spill", "--all", "--data", data)
    both = [spillway("compact", "--data", data) for _ in range(2)]
    outcomes = [finish(process) for process in both]
    assert 0 in [code for code, _ in outcomes]
    for code, text in outcomes:
        assert code == 0 or "process" in text or "pid" in text, text
    succeed("compact", "--data", data)
    exact(data, want)


def test_a_second_writer_is_refused_by_name_and_does_no_damage(tape: Path, tmp_path: Path, want: judge.Levels) -> None:
    data = tmp_path / "data"
    first = spillway("replay", tape, *BTC, "--data", data, crash_at="")
    socket = data / "redis" / "redis.sock"
    while first.poll() is None and not socket.exists():
        os.sched_yield()
    second = spillway("replay", tape, *BTC, "--data", data)
    (first_code, first_text), (second_code, second_text) = finish(first), finish(second)
    assert 0 in (first_code, second_code)
    for code, text, rival in ((first_code, first_text, second.pid), (second_code, second_text, first.pid)):
        assert code == 0 or f"is being written by process {rival}" in text, text
    succeed("replay", tape, *BTC, "--data", data)
    succeed("spill", "--all", "--data", data)
    exact(data, want)


def test_a_paused_writer_that_lost_its_lease_is_refused_when_it_wakes(tape: Path, tmp_path: Path, want: judge.Levels) -> None:
    data = tmp_path / "data"
    paused = spillway("replay", tape, *BTC, "--data", data)
    while paused.poll() is None and not (data / "redis" / "redis.sock").exists():
        os.sched_yield()
    os.kill(paused.pid, signal.SIGSTOP)
    try:
        for _ in range(200):  # until its lease has run out
            code, _ = finish(spillway("replay", tape, *BTC, "--data", data))
            if code == 0:
                break
        assert code == 0
    finally:
        os.kill(paused.pid, signal.SIGCONT)
    code, text = finish(paused)
    assert code == 0 or "superseded" in text or "is being written" in text, text
    succeed("spill", "--all", "--data", data)
    exact(data, want)
