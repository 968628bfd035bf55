"""Findings, as tests ask for them."""

from __future__ import annotations

from collections.abc import Iterable

from spillway.doctor.finding import Finding, Level


def levels(findings: Iterable[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


def only(findings: Iterable[Finding], what: str = "", level: Level | None = None) -> Finding:
    """The one finding about `what`, of a level."""
    (found,) = [f for f in findings if what in (f.what, "") and level in (f.level, None)]
    return found
