"""Who may read and write what is ours: folders 0750, files 0640, owned by who runs Spillway."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sinks.durable import FILE_MODE, FOLDER_MODE
from spillway.doctor.finding import Finding, note, ok, warning, wrong
from spillway.settings import Settings
from spillway.survey import folders_of

LIMIT_S = 10.0
_WHAT, _ANY = "rights", 0o777


def look(settings: Settings, secrets: Iterable[Path]) -> Iterator[Finding]:
    """Whether our folders can be written, by whom else, and who can read what is secret."""
    fine = 0
    for name, path in {**folders_of(settings), "dead_letters": settings.dead_letter_dir}.items():
        found = list(_of_folder(path) if path.exists() else _not_there(name, path))
        yield from found
        fine += path.exists() and not found
    for path in filter(Path.exists, [*_files(settings), *secrets]):
        found = list(_of_file(path))
        yield from found
        fine += not found
    if fine:
        yield ok(_WHAT, f"{fine} folders and files can be used, and others can't")


def _not_there(name: str, path: Path) -> Iterator[Finding]:
    there = next(p for p in path.absolute().parents if p.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield wrong(_WHAT, f"{path}: isn't there, and can't be made in {there}", f"chown {there}, or set another folder")
    elif name == "data":
        yield note(_WHAT, f"{path}: isn't there yet", "if there should be data in it: -c or --data names another folder")


def _of_folder(path: Path) -> Iterator[Finding]:
    facts, me = path.stat(), os.geteuid()
    mode = facts.st_mode & _ANY
    if not path.is_dir():
        yield wrong(_WHAT, f"{path}: is no folder", "move it away, or set another folder")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(_WHAT, f"{path}: uid {me} can't read and write it (mode {mode:o}, owner {facts.st_uid})", f"chown {path}")
    elif facts.st_uid != me:
        yield warning(_WHAT, f"{path}: uid {facts.st_uid} owns it, and this is uid {me}", f"run as its owner, or chown {path}")
    elif mode & ~FOLDER_MODE:
        yield warning(_WHAT, f"{path}: has mode {mode:o}", f"chmod {FOLDER_MODE:o} {path}")


def _of_file(path: Path) -> Iterator[Finding]:
    mode = path.stat().st_mode & _ANY
    if not os.access(path, os.R_OK):
        yield wrong(_WHAT, f"{path}: uid {os.geteuid()} can't read it (mode {mode:o})", f"chown {path}")
    elif mode & ~FILE_MODE:
        yield warning(_WHAT, f"{path}: has mode {mode:o}: others see what is in it", f"chmod {FILE_MODE:o} {path}")


def _files(settings: Settings) -> Iterator[Path]:
    """Those that it all hangs on. The many files of storage and archive are written with these rights in any case."""
    scheme, _, path = settings.ledger_url.partition(":///")
    if scheme == "sqlite":
        yield from (Path(path + ending) for ending in ("", "-wal"))
    yield from sorted(settings.backup_dir.glob("ledger-*"))[-1:]
