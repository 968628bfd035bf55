"""A store on the real disk, and small disks of their own that can be filled up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sinks.days import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Minute files and an archive."""
    return Store(tmp_path / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts file systems in memory: `small_disk("1m", inodes=20)`. Skips where that isn't allowed."""
    mounted: list[Path] = []

    def mount(size: str, inodes: int = 0) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "spillway-test", os.fspath(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small disk can't be mounted here: it needs root and CAP_SYS_ADMIN")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True)
