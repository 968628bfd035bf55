"""The machine and the programs that the numbers hold for."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from spillway.redis_binary import find_redis_server


def line() -> str:
    """CPU, cores, memory, kernel, Python, Redis and date in one line."""
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}; Redis {redis_version()}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def redis_version() -> str:
    """The version of the redis-server that is used."""
    told = subprocess.run([find_redis_server(), "--version"], capture_output=True, text=True, timeout=30, check=True)
    found = re.search(r"\bv=(\S+)", told.stdout)
    return found[1] if found else "?"


def _cpu() -> str:
    names = _first("/proc/cpuinfo", r"model name\s*:\s*(.+)")
    return names or platform.processor() or platform.machine()


def _memory_gib() -> float:
    return int(_first("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) / 2**20


def _first(path: str, pattern: str) -> str:
    if not Path(path).exists():
        return ""
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else ""
