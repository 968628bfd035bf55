"""What was looked at, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

_INDENT = " " * 9


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"  # nothing to do, but worth knowing: also what could not be looked at for a good reason
    WARNING = "warning"  # it works, and may not for long
    WRONG = "wrong"  # data may be lost, or nothing works


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: Level
    found: str
    todo: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<9}{self.what}: {self.found}"
        return f"{line}\n{_INDENT}  -> {self.todo}" if self.todo else line


@dataclass(frozen=True, slots=True)
class Report:
    """All that was looked at. `late`: some look was given up, and its thread may still hang."""

    findings: Sequence[Finding]
    late: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; there may be warnings."""
        return not self.count(Level.WRONG)

    def count(self, level: Level) -> int:
        """How many findings have this level."""
        return sum(finding.level is level for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For machines: `{"ok": ..., "wrong": n, "warnings": n, "findings": [{"what", "level", "found", "todo"}]}`."""
        counts = {"wrong": self.count(Level.WRONG), "warnings": self.count(Level.WARNING)}
        return {"ok": self.ok, **counts, "findings": [asdict(finding) for finding in self.findings]}

    def lines(self) -> list[str]:
        """For people."""
        wrong, warnings = self.count(Level.WRONG), self.count(Level.WARNING)
        verdict = f"{wrong} wrong, {warnings} warnings" if wrong or warnings else "all is well"
        return [*map(str, self.findings), f"{len(self.findings)} things looked at: {verdict}"]


def ok(what: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(what, Level.OK, found)


def note(what: str, found: str, todo: str = "") -> Finding:
    """Worth knowing."""
    return Finding(what, Level.NOTE, found, todo)


def warning(what: str, found: str, todo: str) -> Finding:
    """It works, and may not for long."""
    return Finding(what, Level.WARNING, found, todo)


def wrong(what: str, found: str, todo: str) -> Finding:
    """Data may be lost, or nothing works."""
    return Finding(what, Level.WRONG, found, todo)
