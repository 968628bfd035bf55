"""The archive and what couldn't be taken: quickly, by manifests and sizes; `spillway verify` reads it all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from pipeline.minute import day_text
from sinks.archive import Archive
from sinks.manifest import KINDS
from spillway.doctor.finding import Finding, note, ok, warning, wrong
from spillway.progress import Reporter
from spillway.settings import Settings

LIMIT_S = 60.0
_ARCHIVE, _LETTERS = "archive", "dead letters"
_MOST = 5  # damages that are told
_LATELY_S = 24 * 3600
_BLOCK = 1 << 20


def look(settings: Settings) -> Iterator[Finding]:
    """Whether each day's manifest can be read, and the files that it names are there and as long as it says."""
    archive = Archive(settings.archive_dir)
    checked = [_checked(archive, instrument) for instrument in archive.instruments()]
    days, problems = sum(count for count, _ in checked), [problem for _, found in checked for problem in found]
    for problem in problems[:_MOST]:
        yield wrong(_ARCHIVE, problem, "`spillway verify` names all that is damaged, and what to do")
    if len(problems) > _MOST:
        yield wrong(_ARCHIVE, f"{len(problems) - _MOST:,} more", "`spillway verify`")
    if not days and not problems:
        yield note(_ARCHIVE, f"{settings.archive_dir}: nothing is archived yet")
    elif not problems:
        yield ok(_ARCHIVE, f"{days:,} days' manifests read, all files there and as long as they say")


def deep(settings: Settings, progress: Reporter) -> Iterator[Finding]:
    """All of it read again, minute files too."""
    from spillway import verify  # and with it pandas, which the quick look can do without

    if not settings.storage_dir.is_dir() and not settings.archive_dir.is_dir():
        yield note(_ARCHIVE, "nothing is kept yet")
        return
    found = verify.verify(settings, verify.What(deep=True), lambda done, total: progress("verify", done, total))
    for damage in found.damages:
        yield wrong(_ARCHIVE, str(damage), damage.todo)
    if not found.damages:
        yield ok(_ARCHIVE, verify.describe(found, files=False)[-1])


def dead_letters(folder: Path, now_s: float) -> Iterator[Finding]:
    """How many rows and frames couldn't be taken, and whether any of them lately."""
    counts = counted(folder)
    files, total = list(counts), sum(counts.values())
    if not total:
        yield ok(_LETTERS, "none")
        return
    lately = [path for path in files if counts[path] and now_s - path.stat().st_mtime < _LATELY_S]
    told = f"{total:,} in {len(files):,} files of {folder}"
    if not lately:
        yield ok(_LETTERS, f"{told}, none in the last 24 hours")
        return
    newest = max(lately, key=lambda path: path.stat().st_mtime)
    todo = f"read the reasons in {newest}: what a venue sends may have changed"
    yield warning(_LETTERS, f"{told}, {len(lately):,} of them written to in the last 24 hours", todo)


def counted(folder: Path) -> dict[Path, int]:
    """How many dead letters each file of a folder holds."""
    return {path: _lines(path) for path in sorted(folder.rglob("*.jsonl"))}


def _checked(archive: Archive, instrument: Instrument) -> tuple[int, list[str]]:
    """How many days were looked at, and what is wrong, each thing once: a merged month's days share its manifest and files."""
    days, problems = set(archive.layout.days(instrument)), []
    sizes: dict[Path, tuple[int, int]] = {}
    for month in archive.layout.months(instrument):
        try:
            found = archive.catalog.month(instrument, month)
            days |= set(found.numbers if found else ())
        except StorageError as error:
            problems.append(str(error))
    for day in sorted(days):
        try:
            one = archive.manifest(instrument, day)
            sizes |= {archive.part(kind, instrument, one): (one.part(kind).bytes, day) for kind in KINDS} if one else {}
        except StorageError as error:
            problems.append(str(error))
    problems += [_wrong_with(path, size, f"{instrument} {day_text(day)}") for path, (size, day) in sizes.items()]
    return len(days), list(dict.fromkeys(filter(None, problems)))


def _wrong_with(path: Path, size: int, of: str) -> str:
    try:
        found = os.stat(path).st_size
    except OSError as error:
        return f"{path}: {error.strerror}, and it holds {of}"
    return "" if found == size else f"{path}: has {found:,} bytes, and its manifest says {size:,}"


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
