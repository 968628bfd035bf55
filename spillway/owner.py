"""Who holds a lease: this process, named so that others can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def owner_name() -> str:
    """`host/boot/pid/start`: unique over restarts of the process and of the machine."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(owner: str) -> bool:
    """Whether an owner surely runs no more: it was a process of this machine, and that process is gone."""
    machine, _, process = owner.rpartition("/")
    machine, _, pid = machine.rpartition("/")
    if not pid.isdigit() or not Path("/proc/self").exists():
        return False
    if machine.partition("/")[0] == socket.gethostname() and machine != _machine():
        return True  # the machine was started again since
    return machine == _machine() and _started(int(pid)) != process


def people_name(owner: str) -> str:
    """An owner for people: `process 1234 on host`."""
    parts = owner.split("/")
    return f"process {parts[2]} on {parts[0]}" if len(parts) == 4 else owner


def _machine() -> str:
    boot = _BOOT.read_text().strip()[:8] if _BOOT.exists() else "unknown"
    return f"{socket.gethostname()}/{boot}"


def _started(pid: int) -> str:
    """A process's start time in clock ticks since boot, or nothing where it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
