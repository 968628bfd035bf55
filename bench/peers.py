"""The others: installed from PyPI at pinned versions into a virtual environment of their own, when first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from bench.processes import BenchError

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv-peers"
PINS = HERE / "peers.txt"
INSTALL_S = 600


class NotInstalled(BenchError):
    """A peer that can't be had here."""


def cryptofeed_python() -> Path:
    """The interpreter that has cryptofeed. NotInstalled, with pip's reason, where it can't be had."""
    python, mark = ENVIRONMENT / "bin" / "python", ENVIRONMENT / ".ready"
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if not (mark.exists() and mark.read_text() == pins):
        print("installing the peers into bench/.venv-peers ...", file=sys.stderr, flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        _run(sys.executable, "-m", "venv", ENVIRONMENT)
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", PINS)
        mark.write_text(pins)
    return python


def cryptofeed_version() -> str:
    """The version that is pinned."""
    return next(line for line in PINS.read_text().split() if line.startswith("cryptofeed==")).partition("==")[2]


def duckdb_version() -> str:
    """DuckDB's version. NotInstalled where it is missing."""
    try:
        return metadata.version("duckdb")
    except metadata.PackageNotFoundError:
        raise NotInstalled("DuckDB is not installed (pip install 'spillway[bench]')") from None


def _run(*command: str | Path) -> None:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"peer not installed: pip took more than {INSTALL_S} s") from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "no reason given")
        raise NotInstalled(f"peer not installed: {reason.strip()[:200]}")
