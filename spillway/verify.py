"""`spillway verify`: all that is kept read again, and what is damaged told by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.errors import BadValue
from sinks.archive import Archive
from sinks.damage import Damage
from sinks.minute_files import MinuteFiles
from sinks.verify import Found, Verifier, Wanted
from spillway.settings import Settings
from spillway.times import TimeLike, minute_range


@dataclass(frozen=True, slots=True)
class What:
    """What to verify; None: all."""

    venue: str | None = None
    symbol: str | None = None
    start: TimeLike = None
    end: TimeLike = None
    deep: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What a verification found, for notebooks: it shows itself as `spillway verify` does."""

    found: Found

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.found.damages

    @property
    def damages(self) -> pd.DataFrame:
        """A row for each finding: file, what is wrong with it, and what to do."""
        rows = [(str(damage.path), damage.what, damage.todo) for damage in self.found.damages]
        return pd.DataFrame(rows, columns=["file", "what", "todo"], dtype="str")

    def __repr__(self) -> str:
        return "\n".join(describe(self.found, files=False))


def verify(settings: Settings, what: What, progress: Callable[[int, int], None] = lambda done, total: None) -> Found:
    """Reads all that is wanted again. BadValue for what is no time; StorageError where a folder can't be listed."""
    first, last = minute_range(what.start, what.end)
    if not settings.storage_dir.is_dir() and not settings.archive_dir.is_dir():
        raise BadValue(f"{settings.storage_dir} and {settings.archive_dir}: nothing is kept there")
    verifier = Verifier(MinuteFiles(settings.storage_dir), Archive(settings.archive_dir), deep=what.deep)
    return verifier.verify(Wanted(first, last, what.venue, what.symbol), progress)


def as_dict(found: Found, *, files: bool) -> dict[str, Any]:
    """For machines. `files`: with each file that was read."""
    listed = {"files": [str(path) for path in found.read]} if files else {}
    return {
        "whole": not found.damages,
        "minute_files": found.minute_files,
        "days": found.days,
        "months": found.months,
        "minutes": found.minutes,
        "levels": found.levels,
        "bytes": found.bytes,
        "damages": [{"file": str(d.path), "what": d.what, "todo": d.todo} for d in found.damages],
        "notes": found.notes,
        **listed,
    }


def describe(found: Found, *, files: bool) -> list[str]:
    """For people, line by line."""
    bad = {damage.path for damage in found.damages}
    lines = [f"{'damaged' if path in bad else 'whole  '}  {path}" for path in found.read] if files else []
    for damage in found.damages:
        lines += _told(damage)
    lines += [f"note: {note}" for note in found.notes]
    months = f" ({found.months:,} merged months)" if found.months else ""
    read = f"{found.minute_files:,} minute files, {found.days:,} archived days{months}, {found.bytes:,} bytes read"
    counted = f"{found.minutes:,} archived minutes, {found.levels:,} levels add up"
    verdict = f"{len(bad):,} files are damaged or out of place" if bad else f"all is whole: {counted}"
    return [*lines, f"{read}: {verdict}"]


def _told(damage: Damage) -> list[str]:
    return [str(damage), f"    {damage.todo}"]
