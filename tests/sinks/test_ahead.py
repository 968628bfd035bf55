"""What will be read is asked for at once; what isn't there is left to who reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sinks import ahead


def test_each_file_is_asked_for_and_none_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(b"x" * 10_000)
    asked: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def noted(handle: int, start: int, length: int, advice: int) -> None:
        asked.append((os.fstat(handle).st_ino, advice))
        advise(handle, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", noted)
    before = len(os.listdir("/proc/self/fd"))
    ahead.fetch(paths)
    assert asked == [(path.stat().st_ino, os.POSIX_FADV_WILLNEED) for path in paths]
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_fetched_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    ahead.fetch([tmp_path / "gone", tmp_path / "link", tmp_path])
    monkeypatch.delattr(os, "posix_fadvise")
    ahead.fetch([tmp_path])
