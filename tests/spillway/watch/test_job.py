"""`spillway watch` beside a real `spillway run`: once, for machines, and on a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from collectors.simulator import Simulator, synthetic_trades
from spillway.cli import app
from tests.processes import kill_redis
from tests.test_service import running, settings, taken

DEADLINE_S = 60.0
RATE = 1_000.0
# Without a terminal that is its own, Ctrl-C would be a mere byte.
TAKE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from spillway.cli import main; main()"


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[Path]:
    """A service that takes trades as long as the test needs; the folder of its data."""
    start_ns = (time.time_ns() // 60_000_000_000 - 5) * 60_000_000_000
    trades = synthetic_trades(3, start_ns, 40_000, "BTCUSDT", trades_per_minute=1_000)
    async with Simulator(trades, rate=RATE) as exchange, running(settings(folder, exchange), folder / "log") as process:
        await taken(folder / "data", 1_500)
        yield folder / "data"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, (folder / "log").read_text()


@dataclass
class Terminal:
    """A terminal with `spillway watch` in it."""

    process: subprocess.Popen[bytes]
    end: int
    text: str = ""

    def until(self, holds: Callable[[str], object]) -> str:
        """What was written until `holds`, without colours and moves of the cursor."""
        deadline = time.monotonic() + DEADLINE_S
        while not holds(self.text):
            assert time.monotonic() < deadline, self.text[-3000:]
            self.read()
        return self.text

    def read(self) -> bool:
        try:
            new = os.read(self.end, 65536).decode()
        except OSError:  # the other end was closed
            return False
        self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", new)
        return bool(new)

    def leave(self) -> int:
        """Ctrl-C. Returns the exit code, after all that was written is read."""
        os.write(self.end, b"\x03")
        while self.read():
            pass
        return self.process.wait(30)


@contextmanager
def terminal(*args: str | Path, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    command = [sys.executable, "-c", TAKE_TERMINAL, "watch", *map(str, args)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def watched(*args: str | Path) -> str:
    result = CliRunner().invoke(app, ["watch", *map(str, args)])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


async def test_what_runs_is_seen_once_and_live_and_redis_may_go_and_come_back(tmp_path: Path) -> None:
    async with service(tmp_path) as data:
        await asyncio.to_thread(look_once, data)
        await asyncio.to_thread(look_on, data)
    await asyncio.to_thread(look_at_what_is_gone, data)


def look_once(data: Path) -> None:
    text = watched("--once", "--data", data).splitlines()
    assert "\x1b" not in "".join(text)
    assert re.fullmatch(r"instrument +price  delta \d\d:\d\d  trades/s .*", text[2])
    assert re.match(r"binance BTCUSDT +[56]\d,\d{3}\.\d\d +[+-]?\d\S* +\d+\.\d +\d+ [smh] ", text[3])
    assert re.search(r"process \d+ on \S+$", text[3])
    text = watched("--once", "--venue", "binance", "--symbol", "BTCUSDT", "--data", data).splitlines()
    assert text[-1].endswith("building")
    assert sum(" x " in line for line in text[4:]) > 10
    found = json.loads(watched("--json", "--once", "--venue", "binance", "--symbol", "BTCUSDT", "--data", data))
    assert found["instruments"][0]["open_ids"] == 0
    assert found["minutes"][-1]["open"] is True
    assert found["minutes"][-1]["levels"]
    for wrong, message in {
        ("--symbol", "BTCUSDT"): "--symbol BTCUSDT: expected its --venue too",
        ("--tick", "1"): "--tick: expected --venue and --symbol too",
        ("--venue", "binance", "--symbol", "NONE"): "binance NONE: nothing of it is in Redis",
        ("--venue", "../x"): "venue '../x': expected letters",
    }.items():
        refused = CliRunner().invoke(app, ["watch", "--once", "--data", str(data), *wrong])
        assert (refused.exit_code, message in refused.stderr) == (1, True), refused.stderr


def look_at_what_is_gone(data: Path) -> None:
    gone = CliRunner().invoke(app, ["watch", "--once", "--data", str(data)])
    assert gone.exit_code == 1
    assert gone.stderr.startswith(f"spillway: Redis at unix://{data}/redis/redis.sock can't be reached: ")
    assert gone.stderr.endswith("is `spillway run` running?\n")


def look_on(data: Path) -> None:
    with terminal("--data", data) as board, terminal("--venue", "binance", "--symbol", "BTCUSDT", "--data", data) as one:
        board.until(lambda text: text.count("written by process") >= 2)
        one.until(lambda text: text.count("building") >= 2)
        pid = int((data / "redis" / "redis.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        board.until(lambda text: "has not answered for" in text)
        os.kill(pid, signal.SIGCONT)
        board.text = one.text = ""
        kill_redis(data)
        board.until(lambda text: text.count("written by process") >= 3 and "not up to date" not in text[-800:])
        one.until(lambda text: text.count("building") >= 3)
        assert (board.leave(), one.leave()) == (0, 0)
        assert "Traceback" not in board.text + one.text


def test_it_waits_for_a_service_that_does_not_run_yet(tmp_path: Path) -> None:
    with terminal("--data", tmp_path / "data") as board:
        board.until(lambda text: "can't be reached" in text and "is `spillway run` running?" in text)
        assert board.leave() == 0
    assert list(tmp_path.iterdir()) == []  # nothing was made


def test_sigterm_ends_it_as_ctrl_c_does(tmp_path: Path) -> None:
    with terminal("--data", tmp_path / "data") as board:
        board.until(lambda text: "can't be reached" in text)
        board.process.send_signal(signal.SIGTERM)
        while board.read():
            pass
        assert board.process.wait(30) == 0
