"""Our commands as processes of their own, and how a test kills them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from typer.testing import CliRunner

from spillway.cli import app


def spillway(*args: str | Path, crash_at: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"SPILLWAY_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "spillway", *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output + errors


def succeed(*args: str | Path) -> str:
    """A command that must not fail, in this process: that takes a second less."""
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def kill_redis(data: Path) -> None:
    """Kills the folder's own Redis, found by the pid that it wrote, and waits until it is gone."""
    pid_file = data / "redis" / "redis.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text() or 0)
    if pid and "redis-server" in _proc(pid, "cmdline"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while (state := _proc(pid, "stat")) and ") Z" not in state:
            time.sleep(0.01)


def _proc(pid: int, what: str) -> str:
    """What the system tells of a process; nothing once it is gone, which it may be at any moment."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
