"""The named points where a test may pull the plug."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.crash import POINTS

ROOT = Path(__file__).parents[2]
PASSES = "from pipeline.crash import point\nfor n in range(3): point('flush.before'); print(n, flush=True)"


def passes(crash_at: str | None) -> tuple[int, list[str]]:
    """The exit code of a process that passes `flush.before` three times, and what it still said."""
    environment = os.environ | ({"SPILLWAY_CRASH_AT": crash_at} if crash_at is not None else {})
    command = [sys.executable, "-c", PASSES]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("crash_at", "code", "said"),
    [
        (None, 0, ["0", "1", "2"]),
        ("", 0, ["0", "1", "2"]),
        ("seal.after", 0, ["0", "1", "2"]),
        ("flush.before", -signal.SIGKILL, []),
        ("flush.before:1", -signal.SIGKILL, []),
        ("flush.before:3", -signal.SIGKILL, ["0", "1"]),
        ("flush.before:4", 0, ["0", "1", "2"]),
    ],
)
def test_a_process_dies_at_the_point_and_time_that_a_test_asks_for(crash_at: str | None, code: int, said: list[str]) -> None:
    assert passes(crash_at) == (code, said)


def test_every_point_is_passed_somewhere_and_every_passed_one_is_named() -> None:
    sources = [p.read_text() for folder in ("pipeline", "sinks", "spillway") for p in (ROOT / folder).glob("*.py")]
    written = {name for text in sources for name in re.findall(r'crash\.point\(\s*f?"([a-z.{}]+)"', text)}
    passed = {name.replace("{kind}", kind) for name in written for kind in ("levels", "minutes")}
    assert passed == set(POINTS)
